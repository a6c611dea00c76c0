//! An open segment: graph and codes in memory, originals behind a source.

use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use crate::aligned::Aligned;
use crate::codes::{self, Measured, Shape};
use crate::component::{ComponentKind, load_records, load_words};
use crate::exact::{ExactProgress, exact_in};
use crate::graph::{Graph, Layer};
use crate::ids::Ids;
use crate::layout::Records;
use crate::originals::Originals;
use crate::paged::Paged;
use crate::resident::Rows;
use crate::search::{Hit, Scratch, SearchParams};
use crate::searches::{Query, Searches};
use crate::{ComponentFile, Manifest, Patience, Quantizer, SearchError, SegmentError, Vectors};

/// Where a component is while its segment is open.
pub enum Placed {
    /// Read once through this source and kept as arrays.
    Resident(Arc<dyn PageSource>),
    /// Read page by page at search time.
    Paged(Arc<dyn PageSource>),
    /// Not opened: codes that no search will walk by.
    Left,
}

/// An open segment. Any number of threads may search it, each with a [`Scratch`] of its own.
pub struct Segment {
    manifest: Manifest,
    /// Of layer 0 without neighbours where these are paged.
    graph: Graph,
    paged_links: Option<Paged>,
    ids: Ids,
    /// Without the codes themselves where these are paged.
    codes: Option<Measured>,
    paged_codes: Option<Paged>,
    originals: Originals,
}

impl Segment {
    /// Opens the segment in `dir`. `place` says for each component where it is to be, and gives the
    /// source that it is read through. Graph, ids and codes are resident; at most one set of codes is
    /// opened, and searches walk by it, or by the originals where all are left.
    ///
    /// # Errors
    /// When the manifest or a file is not as it was written, when a source cannot be opened or
    /// read, when what it returns cannot be a graph or codes, or when a component is put where it
    /// cannot be.
    pub fn open(
        dir: &Path,
        place: &mut dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Placed>,
    ) -> Result<Self, SegmentError> {
        let manifest = Manifest::read(dir)?;
        let (mut graph, mut paged_links) = (None, None);
        let (mut codes, mut paged_codes) = (None, None);
        let (mut originals, mut ids) = (None, Ids::Given);
        for file in manifest.component_files(dir)? {
            let placed = place(&file)?;
            if let Placed::Resident(source) | Placed::Paged(source) = &placed {
                expect_pages(&file, &**source)?;
            }
            let refused = |reason| Err(SegmentError::Placement { path: file.path.clone(), reason });
            let sections = manifest.sections(file.kind);
            match (file.kind, placed) {
                (ComponentKind::Codes(_), Placed::Left) => {}
                (_, Placed::Left) => {
                    return refused("a search needs this component: do not leave it out");
                }
                (ComponentKind::Vectors, Placed::Resident(source)) => {
                    let rows = Rows::load(&*source, &sections[0])?;
                    originals = Some(Originals::Resident(rows));
                }
                (ComponentKind::Vectors, Placed::Paged(source)) => {
                    originals = Some(Originals::Paged(paged(&file, source, sections[0])));
                }
                (ComponentKind::Codes(_), _) if codes.is_some() => {
                    return refused("a second set of codes is of no use: leave all but one");
                }
                (ComponentKind::Codes(quantizer), Placed::Resident(source)) => {
                    codes = Some(load_codes(&manifest, &file, &*source, &sections, quantizer)?);
                }
                (ComponentKind::Codes(quantizer), Placed::Paged(source)) => {
                    let Some((last, parameters)) = sections.split_last() else { continue };
                    codes = Some(load_codes(&manifest, &file, &*source, parameters, quantizer)?);
                    paged_codes = Some(paged(&file, source, *last));
                }
                (ComponentKind::Graph, Placed::Resident(source)) => {
                    graph = Some(load_graph(&manifest, &file, &*source, &sections, true)?);
                }
                (ComponentKind::Graph, Placed::Paged(source)) => {
                    graph = Some(load_graph(&manifest, &file, &*source, &sections, false)?);
                    paged_links = Some(paged(&file, source, sections[0]));
                }
                (ComponentKind::Ids, Placed::Resident(source)) => {
                    let words = load_words(&*source, &sections[0])?;
                    ids = Ids::packed(words).map_err(|reason| damaged(&file, reason))?;
                }
                (ComponentKind::Ids, Placed::Paged(_)) => {
                    return refused("ids cannot be read by page: keep them resident");
                }
            }
        }
        let (Some(originals), Some(graph)) = (originals, graph) else {
            return Err(SegmentError::NotASegment { dir: dir.into() });
        };
        Ok(Self { manifest, graph, paged_links, ids, codes, paged_codes, originals })
    }

    /// What searches walk by: the codes that were opened, or the originals.
    pub fn walked_by(&self) -> Quantizer {
        self.codes.as_ref().map_or(Quantizer::None, |made| made.codes.quantizer())
    }

    /// What the segment is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The ids of the points at all places.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Layer 0 of the graph where it is read by page.
    pub(crate) fn paged_links(&self) -> Option<&Paged> {
        self.paged_links.as_ref()
    }

    pub(crate) fn codes(&self) -> Option<&Measured> {
        self.codes.as_ref()
    }

    /// The codes where they are read by page.
    pub(crate) fn paged_codes(&self) -> Option<&Paged> {
        self.paged_codes.as_ref()
    }

    /// Whether a walk reads no page.
    pub(crate) fn is_walked_in_memory(&self) -> bool {
        let has_codes = match self.originals {
            Originals::Resident(_) => true,
            Originals::Paged(_) => self.codes.is_some(),
        };
        self.paged_links.is_none() && self.paged_codes.is_none() && has_codes
    }

    pub(crate) fn originals(&self) -> &Originals {
        &self.originals
    }

    /// The memory that the resident components take, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let codes = self.codes.as_ref().map_or(0, |made| made.codes.resident_bytes());
        let originals = match &self.originals {
            Originals::Resident(rows) => rows.resident_bytes(),
            Originals::Paged(_) => 0,
        };
        self.graph.resident_bytes() + self.ids.resident_bytes() + codes + originals
    }

    /// The `k` points nearest to `query` that the walk finds, nearest first, ties by lower id.
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page of the originals could not be had.
    pub fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        scratch: &mut Scratch,
    ) -> Result<Vec<Hit>, SearchError> {
        let mut hits = Vec::new();
        self.search_into(query, params, scratch, &mut hits)?;
        Ok(hits)
    }

    /// [`search`](Self::search) that replaces what is in `hits`. With originals in memory it
    /// allocates nothing once scratch and hits have been through a search like it.
    ///
    /// # Errors
    /// As those of `search`; what is in `hits` then has no meaning.
    pub fn search_into(
        &self,
        query: &[f32],
        params: &SearchParams,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        self.search_within(query, params, Patience::default(), scratch, hits)
    }

    /// [`search_into`](Self::search_into) for as long as `patience` lasts. The scratch fits
    /// further searches also after one that was ended.
    ///
    /// # Errors
    /// As those of `search_into`, [`SearchError::DeadlinePassed`] and [`SearchError::Cancelled`].
    pub fn search_within(
        &self,
        query: &[f32],
        params: &SearchParams,
        patience: Patience<'_>,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        if self.is_walked_in_memory() {
            return scratch.search(self, query, params, &patience, hits);
        }
        let mut found = Ok(());
        let mut queries =
            std::iter::once(Query { number: 0, values: query, params: *params, patience });
        Searches::new(&[self], 1)?.run(&mut || queries.next(), &mut |answer| {
            hits.clear();
            scratch.note_originals(answer.originals);
            found = answer.hits.map(|found| hits.extend_from_slice(found));
        });
        found
    }

    /// For each query the `k` points nearest to it, by measuring all: nearest first, ties by lower
    /// id, with the distances that a search reports. The pages of the originals are read in order,
    /// each once. Runs on all cores; `progress` hears how many points of how many are done.
    ///
    /// # Errors
    /// When `k` is 0, dimensions differ, a query has a value that is no number, a page could not
    /// be had, or `progress` broke.
    pub fn exact_search(
        &self,
        queries: &Vectors,
        k: usize,
        progress: &mut ExactProgress<'_>,
    ) -> Result<Vec<Vec<Hit>>, SearchError> {
        exact_in(&self.originals, &self.ids, queries, &self.manifest, k, progress)
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

fn damaged(file: &ComponentFile, reason: String) -> SegmentError {
    let path = file.path.clone();
    SegmentError::Component { path, reason }
}

fn expect_pages(file: &ComponentFile, source: &dyn PageSource) -> Result<(), SegmentError> {
    let expected = (file.pages, file.page_size);
    let found = (source.page_count(), source.page_size());
    if found == expected {
        return Ok(());
    }
    let ((expected, expected_size), (found, found_size)) = (expected, found);
    Err(damaged(
        file,
        format!(
            "its source has {found} pages of {found_size}, expected {expected} of {expected_size}"
        ),
    ))
}

fn paged(file: &ComponentFile, source: Arc<dyn PageSource>, records: Records) -> Paged {
    Paged { source, records, path: file.path.as_path().into() }
}

/// Loads what `sections` hold; the codes themselves stay on disk where theirs is not among them.
fn load_codes(
    manifest: &Manifest,
    file: &ComponentFile,
    source: &dyn PageSource,
    sections: &[Records],
    quantizer: Quantizer,
) -> Result<Measured, SegmentError> {
    let metric = manifest.metric;
    let loaded = sections.iter().map(|records| load_records(source, records));
    let mut loaded = loaded.collect::<Result<Vec<_>, _>>()?;
    loaded.resize(manifest.sections(file.kind).len(), Vec::new());
    let code_bytes = codes::record_bytes(quantizer, manifest.dim);
    let codes = Measured::from_sections(quantizer, Shape { metric, code_bytes }, loaded);
    codes.map_err(|reason| damaged(file, reason))
}

/// Loads the layers of the graph, the lowest `with_links` or without.
fn load_graph(
    manifest: &Manifest,
    file: &ComponentFile,
    source: &dyn PageSource,
    sections: &[Records],
    with_links: bool,
) -> Result<Graph, SegmentError> {
    let slots = if with_links { load_words(source, &sections[0])? } else { Aligned::zeroed(0) };
    let mut layers = vec![Layer { points: Vec::new(), slots, max_neighbours: 2 * manifest.m }];
    for section in &sections[1..] {
        let words = load_words(source, section)?;
        let mut points = Vec::with_capacity(section.count as usize);
        let mut slots = Aligned::zeroed(section.count as usize * manifest.m);
        let records = words.chunks(manifest.m + 1).zip(slots.chunks_mut(manifest.m));
        for (record, slots) in records {
            points.push(record[0]);
            slots.copy_from_slice(&record[1..]);
        }
        layers.push(Layer { points, slots, max_neighbours: manifest.m });
    }
    let graph = Graph { entry_point: manifest.entry_point, layers };
    graph.check(manifest.points).map_err(|reason| damaged(file, reason))?;
    Ok(graph)
}
