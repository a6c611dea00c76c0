//! An open segment: graph and codes in memory, originals behind a source.

use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use crate::codes::Measured;
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
    ComponentFile, Manifest, Patience, Quantizer, SearchError, SegmentError, Selection, Vectors,
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
pub struct Segment {
    pub(crate) manifest: Manifest,
    /// Of layer 0 without neighbours where these are paged.
    pub(crate) graph: Graph,
    pub(crate) paged_links: Option<Paged>,
    pub(crate) ids: Ids,
    /// Without the codes themselves where these are paged.
    pub(crate) codes: Option<Measured>,
    pub(crate) paged_codes: Option<Paged>,
    /// The same where they are inlined: for scans, which go over codes alone.
    pub(crate) inlined_codes: Option<Paged>,
    /// Those of the points above layer 0, where the others are not in memory.
    pub(crate) upper_codes: Option<UpperCodes>,
    /// What is in each record of the originals, where walks read nothing else.
    pub(crate) node: Option<Node>,
    pub(crate) originals: Originals,
    /// The places of the points that are no more.
    pub(crate) deleted: Option<Arc<Selection>>,
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
        let files = manifest.component_files(dir)?;
        let mut opening = Opening::new(manifest);
        for file in &files {
            opening.take(file, place(file)?)?;
        }
        opening.end(dir)
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

    /// The codes where a scan reads them by page.
    pub(crate) fn scanned_codes(&self) -> Option<&Paged> {
        self.paged_codes.as_ref().or(self.inlined_codes.as_ref())
    }

    /// The places of the points that are no more: no search finds them.
    pub fn deleted(&self) -> Option<Arc<Selection>> {
        self.deleted.clone()
    }

    /// Those of the points above layer 0, where the others are not in memory.
    pub(crate) fn upper_codes(&self) -> Option<&UpperCodes> {
        self.upper_codes.as_ref()
    }

    /// What is in each record of the originals, where walks read nothing else.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Whether a walk reads no page.
    pub(crate) fn is_walked_in_memory(&self) -> bool {
        self.node.is_none() && self.paged_links.is_none() && self.is_scanned_in_memory()
    }

    /// Whether a scan reads no page.
    pub(crate) fn is_scanned_in_memory(&self) -> bool {
        match (&self.codes, &self.originals) {
            (Some(_), _) => self.scanned_codes().is_none(),
            (None, Originals::Resident(_)) => true,
            (None, Originals::Paged(_)) => false,
        }
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
        let upper = self.upper_codes.as_ref().map_or(0, UpperCodes::resident_bytes);
        self.graph.resident_bytes() + self.ids.resident_bytes() + codes + upper + originals
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
