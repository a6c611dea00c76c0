//! An open segment: its components, each in memory or behind a source.
//!
//! A component is shared by all copies of a segment that has it where it is. So a component moves
//! by making another segment with it elsewhere, while searches of the one before go on.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use crate::codes::Measured;
use crate::columns::OpenColumn;
use crate::deletes::Deletes;
use crate::exact::{ExactProgress, exact_in};
use crate::graph::Graph;
use crate::ids::Ids;
use crate::opening::Opening;
use crate::originals::Originals;
use crate::paged::{Node, Paged, UpperCodes};
use crate::passing::{self, Passing};
use crate::search::{Hit, Scratch, SearchParams};
use crate::searches::{Query, Searches};
use crate::{
    ComponentFile, ComponentKind, DeleteError, DeleteReport, Field, Manifest, Patience, Quantizer,
    SearchError, SegmentError, Selection, Vectors,
};

/// Where a component is while its segment is open.
pub enum Placed {
    /// Read once through this source and kept as arrays.
    Resident(Arc<dyn PageSource>),
    /// Read page by page at search time.
    Paged(Arc<dyn PageSource>),
    /// Read from the records of the originals, which it is inlined in: of the graph and the codes
    /// only what is above layer 0 is read once, through this source, and kept.
    Inlined(Arc<dyn PageSource>),
    /// Not opened: codes that no search will walk by.
    Left,
}

/// An open segment. Any number of threads may search it, each with a [`Scratch`] of its own.
///
/// Clones are the same segment; they share everything.
#[derive(Clone)]
pub struct Segment {
    pub(crate) dir: Arc<Path>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) graph: Arc<OpenGraph>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) codes: Option<Arc<OpenCodes>>,
    pub(crate) originals: Arc<Originals>,
    /// Which points are deleted.
    pub(crate) deletes: Arc<Deletes>,
    pub(crate) fields: Arc<[Field]>,
    /// One for each field.
    pub(crate) columns: Vec<OpenColumn>,
}

/// The graph, wherever its layer 0 is.
pub(crate) struct OpenGraph {
    /// Of layer 0 without neighbours where these are not in memory.
    pub(crate) layers: Graph,
    /// Layer 0 where it is read by page.
    pub(crate) paged: Option<Paged>,
    /// What is in each record of the originals, where walks read nothing else.
    pub(crate) node: Option<Node>,
}

/// The codes that searches walk by, wherever they are.
pub(crate) struct OpenCodes {
    /// Without the codes themselves where these are not in memory.
    pub(crate) made: Measured,
    /// Their file where they are not in memory, also where walks find them inlined.
    pub(crate) paged: Option<Paged>,
    /// Those of the points above layer 0, where the others are not in memory.
    pub(crate) upper: Option<UpperCodes>,
    pub(crate) are_inlined: bool,
}

impl Segment {
    /// Opens the segment in `dir`. `place` says for each component where it is to be, and gives the
    /// source that it is read through. Graph, ids and codes are resident; at most one set of codes is
    /// opened, and searches walk by it, or by the originals where all are left. Searches need no
    /// field; one that is left cannot be read.
    ///
    /// # Errors
    /// When the manifest or a file is not as it was written, when a source cannot be opened or
    /// read, when what it returns cannot be a graph or codes, or when a component is put where it
    /// cannot be.
    pub fn open(
        dir: &Path,
        place: &mut dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Placed>,
    ) -> Result<Self, SegmentError> {
        Self::open_within(dir, place, Patience::default())
    }

    /// Opens as [`open`](Self::open) does, as long as `patience` lasts: it is asked before each 256
    /// pages that are loaded, and its deadline goes along with them.
    ///
    /// # Errors
    /// As those of `open`; [`SegmentError::Pages`] of a deadline that has passed, or of the caller
    /// who has cancelled.
    pub fn open_within(
        dir: &Path,
        place: &mut dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Placed>,
        patience: Patience<'_>,
    ) -> Result<Self, SegmentError> {
        let (manifest, seal) = Manifest::read_sealed(dir)?;
        let files = manifest.component_files(dir)?;
        let deletes = Deletes::open(dir, seal, manifest.points)?;
        let mut opening = Opening::new(dir, manifest, deletes, patience);
        for file in &files {
            opening.take(file, place(file)?)?;
        }
        opening.end()
    }

    /// The same segment with the components of these `kinds` opened anew, where `place` says, and
    /// all others shared. This one stays as it is, for those who search it.
    ///
    /// # Errors
    /// As those of [`open`](Self::open), also when the files at its path are not its own any more.
    pub fn replaced(
        &self,
        kinds: &[ComponentKind],
        place: &mut dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Placed>,
    ) -> Result<Self, SegmentError> {
        self.replaced_within(kinds, place, Patience::default())
    }

    /// [`replaced`](Self::replaced) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `replaced` and of [`open_within`](Self::open_within).
    pub fn replaced_within(
        &self,
        kinds: &[ComponentKind],
        place: &mut dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Placed>,
        patience: Patience<'_>,
    ) -> Result<Self, SegmentError> {
        let mut opening = Opening::of(self, patience);
        let moved = self.manifest.components.iter().filter(|one| kinds.contains(&one.kind));
        for component in moved {
            let file = ComponentFile::check(&self.dir, component, self.manifest.page_size)?;
            opening.take(&file, place(&file)?)?;
        }
        opening.end()
    }

    /// What searches walk by: the codes that were opened, or the originals.
    pub fn walked_by(&self) -> Quantizer {
        self.codes().map_or(Quantizer::None, |made| made.codes.quantizer())
    }

    /// Where it is: what it was opened by.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the segment is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The fields that its points have, in the order of the manifest.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph.layers
    }

    /// The ids of the points at all places.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Layer 0 of the graph where it is read by page.
    pub(crate) fn paged_links(&self) -> Option<&Paged> {
        self.graph.paged.as_ref()
    }

    pub(crate) fn codes(&self) -> Option<&Measured> {
        self.codes.as_ref().map(|codes| &codes.made)
    }

    /// The codes where walks read them by page.
    pub(crate) fn paged_codes(&self) -> Option<&Paged> {
        self.codes.as_ref().filter(|codes| !codes.are_inlined)?.paged.as_ref()
    }

    /// The codes where a scan reads them by page.
    pub(crate) fn scanned_codes(&self) -> Option<&Paged> {
        self.codes.as_ref()?.paged.as_ref()
    }

    /// Those of the points above layer 0, where the others are not in memory.
    pub(crate) fn upper_codes(&self) -> Option<&UpperCodes> {
        self.codes.as_ref()?.upper.as_ref()
    }

    /// What is in each record of the originals, where walks read nothing else.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.graph.node.as_ref()
    }

    /// Whether a walk reads no page.
    pub(crate) fn is_walked_in_memory(&self) -> bool {
        self.node().is_none() && self.paged_links().is_none() && self.is_scanned_in_memory()
    }

    /// Whether a scan reads no page.
    pub(crate) fn is_scanned_in_memory(&self) -> bool {
        match (&self.codes, &*self.originals) {
            (Some(_), _) => self.scanned_codes().is_none(),
            (None, Originals::Resident(_)) => true,
            (None, Originals::Paged(_)) => false,
        }
    }

    pub(crate) fn originals(&self) -> &Originals {
        &self.originals
    }

    /// The id of the point at this place; none past the last.
    pub fn id_of(&self, place: u32) -> Option<u64> {
        ((place as usize) < self.manifest.points).then(|| self.ids.id(place))
    }

    /// Whether a point has this id.
    pub fn has_id(&self, id: u64) -> bool {
        self.ids.rank_of(id).is_some()
    }

    /// The place of the point with this id, if there is one. In a packed segment it is looked for
    /// among all, four bytes a point: of many ids ask for [`places_of`](Self::places_of).
    pub fn place_of(&self, id: u64) -> Option<u32> {
        self.ids.place_of(id)
    }

    /// The places of the points that have one of these ids, in any order. Ids that no point has
    /// are left out.
    pub fn places_of(&self, ids: &[u64]) -> Selection {
        self.ids.places_of(ids, self.manifest.points)
    }

    /// The places of the points whose ids are in this range.
    pub fn places_within(&self, ids: RangeInclusive<u64>) -> Selection {
        self.ids.places_within(ids, self.manifest.points)
    }

    /// The places of the deleted points, which no search finds; none where no point ever was. What
    /// was asked for stays as it is, whatever is deleted meanwhile.
    pub fn deleted(&self) -> Option<Arc<Selection>> {
        self.deletes.dead()
    }

    /// How many points are not deleted.
    pub fn live_points(&self) -> usize {
        self.deletes.live()
    }

    /// Deletes the points with these ids: for good once it returns, and for searches of this
    /// segment that begin afterwards. Ids that no point has, or whose points are deleted already,
    /// are counted. Others who have the segment open see it after
    /// [`reload_deletes`](Self::reload_deletes). The points' bytes stay until the segment is
    /// [compacted](crate::compact).
    ///
    /// # Errors
    /// When the folder cannot be written to, the disk is full, another writer does not end, or the
    /// system refuses a step: then what was deleted before is deleted, and nothing else.
    pub fn delete(&self, ids: &[u64]) -> Result<DeleteReport, DeleteError> {
        self.delete_within(ids, Patience::default())
    }

    /// Deletes as [`delete`](Self::delete) does, and waits for another writer as long as `patience`
    /// lasts.
    ///
    /// # Errors
    /// As those of `delete`: [`DeleteError::Busy`] at the deadline, and [`DeleteError::Cancelled`].
    /// Nothing is deleted then.
    pub fn delete_within(
        &self,
        ids: &[u64],
        patience: Patience<'_>,
    ) -> Result<DeleteReport, DeleteError> {
        self.deletes.delete(&self.ids, ids, patience, crate::step::OPEN)
    }

    /// Reads what others have deleted since the segment was opened.
    ///
    /// # Errors
    /// When the file of deleted points is not what was written for this segment; what is deleted
    /// then stays as it was.
    pub fn reload_deletes(&self) -> Result<(), SegmentError> {
        self.deletes.reload()
    }

    /// The memory that the resident components take, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let codes = self.codes().map_or(0, |made| made.codes.resident_bytes());
        let originals = match &*self.originals {
            Originals::Resident(rows) => rows.resident_bytes(),
            Originals::Paged(_) => 0,
        };
        let upper = self.upper_codes().map_or(0, UpperCodes::resident_bytes);
        let ids = self.ids.resident_bytes() + self.deletes.resident_bytes();
        let columns = self.columns.iter().map(OpenColumn::resident_bytes).sum::<u64>();
        self.graph().resident_bytes() + ids + codes + upper + originals + columns
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
        self.search_among_within(query, params, None, patience, scratch, hits)
    }

    /// [`search`](Self::search) among the points of `selection`; among all where there is none. As
    /// many hits as are asked for are found whenever so many points are selected.
    ///
    /// ```
    /// # use ringpool_index::{Hit, Scratch, SearchError, SearchParams, Segment, Selection};
    /// # fn every_second(segment: &Segment, query: &[f32]) -> Result<Vec<Hit>, SearchError> {
    /// let points = segment.manifest().points;
    /// let mut selection = Selection::none(points);
    /// for place in (0..points as u32).step_by(2) {
    ///     selection.insert(place);
    /// }
    /// let params = SearchParams::default();
    /// segment.search_among(query, &params, Some(&selection), &mut Scratch::default())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of `search`, and [`SearchError::Selection`] where it is one of another segment.
    pub fn search_among(
        &self,
        query: &[f32],
        params: &SearchParams,
        selection: Option<&Selection>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Hit>, SearchError> {
        let (mut hits, patience) = (Vec::new(), Patience::default());
        self.search_among_within(query, params, selection, patience, scratch, &mut hits)?;
        Ok(hits)
    }

    /// [`search_within`](Self::search_within) among the points of `selection`, as
    /// [`search_among`](Self::search_among) does.
    ///
    /// # Errors
    /// As those of both.
    pub fn search_among_within(
        &self,
        query: &[f32],
        params: &SearchParams,
        selection: Option<&Selection>,
        patience: Patience<'_>,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        if self.is_walked_in_memory() {
            let deleted = self.deleted();
            let passing = self.passing(selection, deleted.as_deref())?;
            return scratch.search(self, query, params, &passing, &patience, hits);
        }
        let mut found = Ok(());
        let among = selection.map(std::slice::from_ref);
        let mut queries =
            std::iter::once(Query { number: 0, values: query, params: *params, among, patience });
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
        self.exact_search_among(queries, k, None, progress)
    }

    /// The same among the points of `selection`. Pages without such a point are not read.
    ///
    /// # Errors
    /// As those of `exact_search`, and [`SearchError::Selection`] where it is one of another
    /// segment.
    pub fn exact_search_among(
        &self,
        queries: &Vectors,
        k: usize,
        selection: Option<&Selection>,
        progress: &mut ExactProgress<'_>,
    ) -> Result<Vec<Vec<Hit>>, SearchError> {
        let deleted = self.deleted();
        let passing = self.passing(selection, deleted.as_deref())?;
        exact_in(self, queries, k, &passing, progress)
    }

    /// Which points may be hits of a search that sees these as deleted.
    fn passing<'s>(
        &self,
        selection: Option<&'s Selection>,
        deleted: Option<&'s Selection>,
    ) -> Result<Passing<'s>, SearchError> {
        let points = self.manifest.points;
        selection.map_or(Ok(()), |selection| passing::check(selection, 0, points))?;
        Ok(Passing::new(points, selection, deleted))
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}
