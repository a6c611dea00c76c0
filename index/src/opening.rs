//! Opening a segment: each component taken from where it is placed, and checked.

use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use crate::aligned::Aligned;
use crate::codes::{self, Measured, Scheme, Shape, with_scheme};
use crate::component::{ComponentKind, load_records, load_words};
use crate::graph::{Graph, Layer};
use crate::ids::Ids;
use crate::layout::Records;
use crate::originals::Originals;
use crate::paged::{Node, Paged, UpperCodes};
use crate::resident::Rows;
use crate::{ComponentFile, Manifest, Placed, Quantizer, Segment, SegmentError};

/// The components that were taken so far.
pub(crate) struct Opening {
    manifest: Manifest,
    graph: Option<Graph>,
    paged_links: Option<Paged>,
    codes: Option<OpenedCodes>,
    node: Option<Node>,
    ids: Ids,
    originals: Option<Originals>,
}

struct OpenedCodes {
    file: ComponentFile,
    made: Measured,
    /// Those above layer 0, put end to end, where not all are in memory.
    upper: Option<Vec<u8>>,
    paged: Option<Paged>,
    are_inlined: bool,
}

impl Opening {
    pub(crate) fn new(manifest: Manifest) -> Self {
        let (graph, paged_links, codes, node, originals) = (None, None, None, None, None);
        Self { manifest, graph, paged_links, codes, node, ids: Ids::Given, originals }
    }

    /// Takes one component.
    pub(crate) fn take(
        &mut self,
        file: &ComponentFile,
        placed: Placed,
    ) -> Result<(), SegmentError> {
        if let Placed::Resident(source) | Placed::Paged(source) | Placed::Inlined(source) = &placed
        {
            expect_pages(file, &**source)?;
        }
        match file.kind {
            ComponentKind::Vectors => self.take_vectors(file, placed),
            ComponentKind::Codes(quantizer) => self.take_codes(file, quantizer, placed),
            ComponentKind::Graph => self.take_graph(file, placed),
            ComponentKind::Ids => self.take_ids(file, placed),
        }
    }

    /// The segment, once all components were taken.
    pub(crate) fn end(self, dir: &Path) -> Result<Segment, SegmentError> {
        let Self { manifest, graph, paged_links, codes, node, ids, originals } = self;
        let (Some(originals), Some(graph)) = (originals, graph) else {
            return Err(SegmentError::NotASegment { dir: dir.into() });
        };
        let are_paged = matches!(originals, Originals::Paged(_));
        let walked_by = codes.as_ref().map(|codes| codes.made.codes.quantizer());
        if node.is_some() && !(are_paged && walked_by == manifest.inlined) {
            let reason = "an inlined graph is read with the originals and the codes beside it: let \
                 originals be paged, and search by the inlined codes";
            return Err(SegmentError::Placement { path: dir.into(), reason });
        }
        let mut segment = Segment {
            manifest,
            graph,
            paged_links,
            ids,
            codes: None,
            paged_codes: None,
            inlined_codes: None,
            upper_codes: None,
            node,
            originals,
            deleted: None,
        };
        if let Some(codes) = codes {
            segment.take(codes)?;
        }
        Ok(segment)
    }

    fn take_vectors(&mut self, file: &ComponentFile, placed: Placed) -> Result<(), SegmentError> {
        let records = self.manifest.sections(file.kind)[0];
        let row_bytes = self.manifest.row_bytes();
        self.originals = Some(match placed {
            Placed::Resident(source) => {
                Originals::Resident(Rows::load(&*source, &records, row_bytes)?)
            }
            Placed::Paged(source) => {
                Originals::Paged(Paged { row_bytes, ..paged(file, source, records) })
            }
            Placed::Inlined(_) => {
                return refused(
                    file,
                    "the originals are what others are inlined in: put them elsewhere",
                );
            }
            Placed::Left => return refused(file, NEEDED),
        });
        Ok(())
    }

    fn take_codes(
        &mut self,
        file: &ComponentFile,
        quantizer: Quantizer,
        placed: Placed,
    ) -> Result<(), SegmentError> {
        if matches!(placed, Placed::Left) {
            return Ok(());
        }
        if self.codes.is_some() {
            return refused(file, "a second set of codes is of no use: leave all but one");
        }
        let are_inlined = matches!(placed, Placed::Inlined(_));
        if are_inlined && self.manifest.inlined != Some(quantizer) {
            return refused(file, "these codes are not inlined: put them elsewhere");
        }
        let sections = self.manifest.sections(file.kind);
        let Some((all, [parameters @ .., upper])) = sections.split_last() else { return Ok(()) };
        let loaded = |source: &dyn PageSource| {
            let loaded = parameters.iter().map(|records| load_records(source, records));
            loaded.collect::<Result<Vec<_>, _>>()
        };
        let (parameters, codes, upper, paged) = match placed {
            Placed::Resident(source) => {
                (loaded(&*source)?, load_records(&*source, all)?, None, None)
            }
            Placed::Paged(source) | Placed::Inlined(source) => {
                let (parameters, upper) = (loaded(&*source)?, load_records(&*source, upper)?);
                (parameters, Vec::new(), Some(upper), Some(paged(file, source, *all)))
            }
            Placed::Left => return Ok(()),
        };
        let code_bytes = codes::record_bytes(quantizer, self.manifest.dim);
        let shape = Shape { metric: self.manifest.metric, code_bytes };
        let made = Measured::from_sections(quantizer, shape, parameters, codes);
        let made = made.map_err(|reason| damaged(file, reason))?;
        self.codes = Some(OpenedCodes { file: file.clone(), made, upper, paged, are_inlined });
        Ok(())
    }

    fn take_ids(&mut self, file: &ComponentFile, placed: Placed) -> Result<(), SegmentError> {
        let records = self.manifest.sections(file.kind)[0];
        match placed {
            Placed::Resident(source) => {
                let ids = Ids::packed(load_words(&*source, &records)?);
                self.ids = ids.map_err(|reason| damaged(file, reason))?;
                Ok(())
            }
            Placed::Left => refused(file, NEEDED),
            _ => refused(file, "ids cannot be read by page: keep them resident"),
        }
    }

    fn take_graph(&mut self, file: &ComponentFile, placed: Placed) -> Result<(), SegmentError> {
        let manifest = &self.manifest;
        let sections = manifest.sections(file.kind);
        self.graph = Some(match placed {
            Placed::Resident(source) => load_graph(manifest, file, &*source, &sections, true)?,
            Placed::Paged(source) => {
                let graph = load_graph(manifest, file, &*source, &sections, false)?;
                self.paged_links = Some(paged(file, source, sections[0]));
                graph
            }
            Placed::Inlined(source) => {
                self.node = manifest.node();
                if self.node.is_none() {
                    return refused(
                        file,
                        "the graph is not inlined in this segment: put it elsewhere",
                    );
                }
                load_graph(manifest, file, &*source, &sections, false)?
            }
            Placed::Left => return refused(file, NEEDED),
        });
        Ok(())
    }
}

impl Segment {
    fn take(&mut self, codes: OpenedCodes) -> Result<(), SegmentError> {
        let OpenedCodes { file, made, upper, paged, are_inlined } = codes;
        if are_inlined && self.node.is_none() {
            let reason = "inlined codes are read with an inlined graph: let that be inlined, too";
            return refused(&file, reason);
        }
        let code_bytes = self.manifest.record_bytes_of(file.kind);
        let put = |codes| UpperCodes::new(&self.graph, self.manifest.points, codes, code_bytes);
        let upper = upper_of(upper.map(put), &made);
        self.upper_codes = upper.map_err(|reason| damaged(&file, reason))?;
        self.codes = Some(made);
        match are_inlined {
            true => self.inlined_codes = paged,
            false => self.paged_codes = paged,
        }
        Ok(())
    }
}

const NEEDED: &str = "a search needs this component: do not leave it out";

fn refused<T>(file: &ComponentFile, reason: &'static str) -> Result<T, SegmentError> {
    Err(SegmentError::Placement { path: file.path.clone(), reason })
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
    let row_bytes = records.record_bytes;
    Paged { source, records, row_bytes, path: file.path.as_path().into() }
}

/// The same codes, once each has been checked.
fn upper_of(upper: Option<UpperCodes>, made: &Measured) -> Result<Option<UpperCodes>, String> {
    let codes = upper.iter().flat_map(UpperCodes::all);
    for (number, code) in codes.enumerate() {
        let checked = with_scheme!(&made.codes, codes => codes.check(code));
        checked.map_err(|wrong| format!("code {number} of those above layer 0: {wrong}"))?;
    }
    Ok(upper)
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
