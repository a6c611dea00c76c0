//! Opening a segment: each component taken from where it is placed, and checked.

use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use ringpool_storage::PageSource;

use crate::aligned::Aligned;
use crate::codes::{self, Measured, Scheme, Shape, with_scheme};
use crate::columns::OpenColumn;
use crate::component::{ComponentKind, expect_room, load_records, load_words};
use crate::deletes::Deletes;
use crate::graph::{Graph, Layer};
use crate::ids::{Ids, check_ids, check_ranks};
use crate::layout::Records;
use crate::originals::Originals;
use crate::paged::{Paged, UpperCodes};
use crate::patient_source::PatientSource;
use crate::resident::Rows;
use crate::segment::{OpenCodes, OpenGraph};
use crate::{Column, ComponentFile, Manifest, Patience, Placed, Quantizer, Segment, SegmentError};

/// What opening a segment allocates at most, whatever its files hold: this, and for each byte that
/// its files are long, [`OPEN_BYTES_PER_BYTE`]. Frames of a pool are not among it.
pub const OPEN_BYTES: u64 = 16 << 20;
/// What a component is kept as, and what it is checked with: see [`OPEN_BYTES`].
pub const OPEN_BYTES_PER_BYTE: u64 = 4;

/// The components that were taken so far.
pub(crate) struct Opening<'p> {
    patience: Patience<'p>,
    dir: Arc<Path>,
    manifest: Arc<Manifest>,
    deletes: Arc<Deletes>,
    graph: Option<Arc<OpenGraph>>,
    /// Those of a segment that was open before.
    codes: Option<Arc<OpenCodes>>,
    /// Those that are opened now.
    taken_codes: Option<TakenCodes>,
    /// Those of a segment that was open before.
    ids: Option<Arc<Ids>>,
    ranks: Option<Aligned<u32>>,
    own_ids: Option<Aligned<u64>>,
    originals: Option<Arc<Originals>>,
    columns: Vec<OpenColumn>,
}

/// Codes before the graph is there.
struct TakenCodes {
    file: ComponentFile,
    made: Measured,
    /// Those above layer 0, put end to end, where not all are in memory.
    upper: Option<Vec<u8>>,
    paged: Option<Paged>,
    are_inlined: bool,
}

impl<'p> Opening<'p> {
    pub(crate) fn new(
        dir: &Path,
        manifest: Manifest,
        deletes: Deletes,
        patience: Patience<'p>,
    ) -> Self {
        Self {
            patience,
            dir: dir.into(),
            columns: manifest.columns.iter().map(OpenColumn::closed).collect(),
            manifest: Arc::new(manifest),
            deletes: Arc::new(deletes),
            graph: None,
            codes: None,
            taken_codes: None,
            ids: None,
            ranks: None,
            own_ids: None,
            originals: None,
        }
    }

    /// Begins with all that `segment` has: what is taken from here on replaces it.
    pub(crate) fn of(segment: &Segment, patience: Patience<'p>) -> Self {
        let Segment { dir, manifest, graph, ids, codes, originals, deletes, columns, .. } =
            segment.clone();
        Self {
            patience,
            dir,
            manifest,
            deletes,
            graph: Some(graph),
            codes,
            taken_codes: None,
            ids: Some(ids),
            ranks: None,
            own_ids: None,
            originals: Some(originals),
            columns,
        }
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
            expect_room(&file.path, self.kept_bytes(file.kind, &placed))?;
        }
        match file.kind {
            ComponentKind::Vectors => self.take_vectors(file, placed),
            ComponentKind::Codes(quantizer) => self.take_codes(file, quantizer, placed),
            ComponentKind::Graph => self.take_graph(file, placed),
            ComponentKind::Ids => {
                self.ranks = Some(self.words_of_ids(file, placed, check_ranks)?);
                Ok(())
            }
            ComponentKind::OwnIds => {
                self.own_ids = Some(self.words_of_ids(file, placed, check_ids)?);
                Ok(())
            }
            ComponentKind::Column(number) | ComponentKind::ColumnIndex(number) => {
                let (sections, patience) = (self.manifest.sections(file.kind), self.patience);
                match (self.columns.get_mut(usize::from(number)), file.kind) {
                    (Some(column), ComponentKind::Column(_)) => {
                        column.take_values(file, placed, sections, patience)
                    }
                    (Some(column), _) => column.take_index(file, placed, sections, patience),
                    (None, _) => Ok(()),
                }
            }
        }
    }

    /// What is loaded of a component, about: all of it, or of what is read by page all but the
    /// section that is.
    fn kept_bytes(&self, kind: ComponentKind, placed: &Placed) -> u64 {
        let sections = self.manifest.sections(kind);
        let bytes = sections.iter().map(Records::bytes);
        match (placed, kind) {
            (Placed::Resident(_), _) => bytes.sum(),
            (Placed::Left, _) => 0,
            (_, ComponentKind::Graph) => bytes.skip(1).sum(),
            (_, ComponentKind::Codes(_)) => bytes.rev().skip(1).sum(),
            _ => 0,
        }
    }

    /// The segment, once all components were taken.
    pub(crate) fn end(self) -> Result<Segment, SegmentError> {
        let Self { dir, manifest, deletes, graph, codes, taken_codes, originals, columns, .. } =
            self;
        let new_ids =
            || Arc::new(Ids::new(manifest.points, manifest.ids, self.ranks, self.own_ids));
        let ids = self.ids.unwrap_or_else(new_ids);
        let (Some(originals), Some(graph)) = (originals, graph) else {
            return Err(SegmentError::NotASegment { dir: (*dir).into() });
        };
        let codes = match taken_codes {
            Some(taken) => Some(Arc::new(taken.above(&graph.layers, &manifest)?)),
            None => codes,
        };
        let are_inlined = codes.as_ref().is_some_and(|codes| codes.are_inlined);
        let is_paged = matches!(*originals, Originals::Paged(_));
        let fields = manifest.columns.iter().map(Column::field).collect();
        let segment =
            Segment { dir, manifest, graph, ids, codes, originals, deletes, fields, columns };
        let reason = if segment.node().is_none() && are_inlined {
            "inlined codes are read with an inlined graph: let that be inlined, too"
        } else if segment.node().is_some() && !(is_paged && segment.walks_by_inlined()) {
            "an inlined graph is read with the originals and the codes beside it: let originals be \
             paged, and search by the inlined codes"
        } else {
            return Ok(segment);
        };
        Err(SegmentError::Placement { path: (*segment.dir).into(), reason })
    }

    fn take_vectors(&mut self, file: &ComponentFile, placed: Placed) -> Result<(), SegmentError> {
        let records = self.manifest.sections(file.kind)[0];
        let row_bytes = self.manifest.row_bytes();
        self.originals = Some(Arc::new(match placed {
            Placed::Resident(source) => {
                Originals::Resident(Rows::load(&self.patient(file, &*source), &records, row_bytes)?)
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
        }));
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
        if self.taken_codes.is_some() {
            return refused(file, "a second set of codes is of no use: leave all but one");
        }
        let are_inlined = matches!(placed, Placed::Inlined(_));
        if are_inlined && self.manifest.inlined != Some(quantizer) {
            return refused(file, "these codes are not inlined: put them elsewhere");
        }
        let sections = self.manifest.sections(file.kind);
        let Some((all, [parameters @ .., upper])) = sections.split_last() else { return Ok(()) };
        let load =
            |source: &dyn PageSource, records| load_records(&self.patient(file, source), records);
        let loaded = |source: &dyn PageSource| {
            let loaded = parameters.iter().map(|records| load(source, records));
            loaded.collect::<Result<Vec<_>, _>>()
        };
        let (parameters, codes, upper, paged) = match placed {
            Placed::Resident(source) => (loaded(&*source)?, load(&*source, all)?, None, None),
            Placed::Paged(source) | Placed::Inlined(source) => {
                let (parameters, upper) = (loaded(&*source)?, load(&*source, upper)?);
                (parameters, Vec::new(), Some(upper), Some(paged(file, source, *all)))
            }
            Placed::Left => return Ok(()),
        };
        let code_bytes = codes::record_bytes(quantizer, self.manifest.dim);
        let shape = Shape { metric: self.manifest.metric, code_bytes };
        let made = Measured::from_sections(quantizer, shape, parameters, codes);
        let made = made.map_err(|reason| damaged(file, reason))?;
        let file = file.clone();
        self.taken_codes = Some(TakenCodes { file, made, upper, paged, are_inlined });
        Ok(())
    }

    fn words_of_ids<T: Pod>(
        &self,
        file: &ComponentFile,
        placed: Placed,
        check: fn(&[T]) -> Result<(), String>,
    ) -> Result<Aligned<T>, SegmentError> {
        match placed {
            Placed::Resident(source) => {
                let source = self.patient(file, &*source);
                let words = load_words(&source, &self.manifest.sections(file.kind)[0])?;
                check(&words).map_err(|reason| damaged(file, reason))?;
                Ok(words)
            }
            Placed::Left => refused(file, NEEDED),
            _ => refused(file, "ids cannot be read by page: keep them resident"),
        }
    }

    fn take_graph(&mut self, file: &ComponentFile, placed: Placed) -> Result<(), SegmentError> {
        let manifest = &self.manifest;
        let sections = manifest.sections(file.kind);
        let load = |source: &dyn PageSource, with_links| {
            load_graph(manifest, file, &self.patient(file, source), &sections, with_links)
        };
        let (mut paged_links, mut node) = (None, None);
        let layers = match placed {
            Placed::Resident(source) => load(&*source, true)?,
            Placed::Paged(source) => {
                let layers = load(&*source, false)?;
                paged_links = Some(paged(file, source, sections[0]));
                layers
            }
            Placed::Inlined(source) => {
                node = manifest.node();
                if node.is_none() {
                    return refused(
                        file,
                        "the graph is not inlined in this segment: put it elsewhere",
                    );
                }
                load(&*source, false)?
            }
            Placed::Left => return refused(file, NEEDED),
        };
        self.graph = Some(Arc::new(OpenGraph { layers, paged: paged_links, node }));
        Ok(())
    }

    /// What is loaded, as long as there is patience.
    fn patient<'a>(&self, file: &'a ComponentFile, source: &'a dyn PageSource) -> PatientSource<'a>
    where
        'p: 'a,
    {
        PatientSource { source, path: &file.path, patience: self.patience }
    }
}

impl TakenCodes {
    /// These codes for the points of `graph`, once those above layer 0 were checked.
    fn above(self, graph: &Graph, manifest: &Manifest) -> Result<OpenCodes, SegmentError> {
        let Self { file, made, upper, paged, are_inlined } = self;
        let code_bytes = manifest.record_bytes_of(file.kind);
        let put = |codes| UpperCodes::new(graph, manifest.points, codes, code_bytes);
        let upper = upper_of(upper.map(put), &made).map_err(|reason| damaged(&file, reason))?;
        Ok(OpenCodes { made, paged, upper, are_inlined })
    }
}

impl Segment {
    /// Whether searches walk by the codes that stand beside the originals, if any do.
    fn walks_by_inlined(&self) -> bool {
        self.manifest.inlined == Some(self.walked_by())
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
        let words = load_words::<u32>(source, section)?;
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
