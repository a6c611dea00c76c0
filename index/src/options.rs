//! How a segment is built.

use ringpool_storage::PageSize;

use crate::codes;
use crate::paged::Node;
use crate::quantizer::expect_possible;
use crate::{BuildError, Element, Manifest, Metric, Order, Quantizer};

/// The most neighbours that a point may be given: a record of layer 0 then takes 8 KiB.
pub(crate) const MAX_M: usize = 1024;
/// The largest list of candidates that a build may keep.
pub(crate) const MAX_EF_CONSTRUCTION: usize = 1 << 20;
/// More threads than this are a slip of the hand.
const MAX_THREADS: usize = 4096;

/// How a segment is built. The same options and vectors give the same bytes, whatever `threads`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// What "near" means.
    pub metric: Metric,
    /// M: how many neighbours a new point gets; layer 0 keeps up to 2M a point. 2 to 1,024.
    pub m: usize,
    /// How many candidates a new point's neighbours are chosen from. At least 1.
    pub ef_construction: usize,
    /// The codes that the segment carries, the default of its searches first. With
    /// [`Quantizer::None`], or without any, it carries none and walks read the originals.
    pub quantizers: Vec<Quantizer>,
    /// Codes that each vector's record goes on with, after the point's neighbours, so that a walk
    /// through pages reads one record a hop: one of `quantizers`. It costs 2M codes a point.
    pub inlined: Option<Quantizer>,
    /// How points lie on disk. Ids and distances of searches are the same in any order.
    pub order: Order,
    /// The size of a page of every component.
    pub page_size: PageSize,
    /// How many threads build; 0 means one a core.
    pub threads: usize,
    /// Decides layers and order of insertion.
    pub seed: u64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            metric: Metric::L2,
            m: 16,
            ef_construction: 200,
            quantizers: vec![Quantizer::Sq8],
            inlined: None,
            order: Order::Packed,
            page_size: PageSize::KIB_4,
            threads: 0,
            seed: 0,
        }
    }
}

impl BuildOptions {
    /// Those that a segment was built with, on as many threads as there are cores.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            metric: manifest.metric,
            m: manifest.m,
            ef_construction: manifest.ef_construction,
            quantizers: manifest.quantizers.clone(),
            inlined: manifest.inlined,
            order: manifest.order,
            page_size: manifest.page_size,
            threads: 0,
            seed: manifest.seed,
        }
    }

    /// The codes that are made: all but "none".
    pub(crate) fn codes(&self) -> impl Iterator<Item = Quantizer> + '_ {
        self.quantizers.iter().copied().filter(|&quantizer| quantizer != Quantizer::None)
    }

    /// How many vectors' records a page holds.
    pub(crate) fn per_page(&self, dim: usize, element: Element) -> usize {
        let row_bytes = dim * element.bytes();
        let node = |codes| {
            let (max_neighbours, code_bytes) = (2 * self.m, codes::record_bytes(codes, dim));
            Node { row_bytes, max_neighbours, code_bytes }.record_bytes()
        };
        self.page_size.bytes() / self.inlined.map_or(row_bytes, node).max(1)
    }

    /// Passes where vectors of `dim` dimensions can be built so.
    ///
    /// # Errors
    /// When an option is out of its range, or codes are asked for that such vectors cannot have.
    pub fn check(&self, dim: usize) -> Result<(), BuildError> {
        let within = |name, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(BuildError::Option { name, value, least, most })
        };
        within("m", self.m, 2, MAX_M)?;
        let ef = self.ef_construction;
        within("ef_construction", ef, 1, MAX_EF_CONSTRUCTION)?;
        within("threads", self.threads, 0, MAX_THREADS)?;
        expect_possible(&self.quantizers, dim).map_err(BuildError::Quantizers)?;
        match self.inlined.filter(|&inlined| !self.codes().any(|codes| codes == inlined)) {
            Some(inlined) => Err(BuildError::Quantizers(format!(
                "{inlined} codes are to be inlined and not made: name them among the codes"
            ))),
            None => Ok(()),
        }
    }
}
