//! An open segment: its components, each in memory or behind a source.
//!
//! A component is shared by all copies of a segment that has it where it is. So a component moves
//! by making another segment with it elsewhere, while searches of the one before go on.

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
use crate::search::{Hit, Scratch, SearchParams};
use crate::searches::{Query, Searches};
use crate::{
    ComponentFile, ComponentKind, Manifest, Patience, Quantizer, SearchError, SegmentError, Vectors,
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
        let mut opening = Opening::new(dir, manifest);
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
        let mut opening = Opening::of(self);
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
        let has_codes = match &*self.originals {
            Originals::Resident(_) => true,
            Originals::Paged(_) => self.codes.is_some(),
        };
        let is_paged = self.paged_links().is_some() || self.paged_codes().is_some();
        self.node().is_none() && !is_paged && has_codes
    }

    pub(crate) fn originals(&self) -> &Originals {
        &self.originals
    }

    /// The memory that the resident components take, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let codes = self.codes().map_or(0, |made| made.codes.resident_bytes());
        let originals = match &*self.originals {
            Originals::Resident(rows) => rows.resident_bytes(),
            Originals::Paged(_) => 0,
        };
        let upper = self.upper_codes().map_or(0, UpperCodes::resident_bytes);
        self.graph().resident_bytes() + self.ids.resident_bytes() + codes + upper + originals
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
