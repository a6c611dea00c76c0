//! How a segment is built.

use std::fmt;
use std::str::FromStr;

use ringpool_storage::PageSize;
use serde::{Deserialize, Serialize};

use crate::{BuildError, Metric, ParseError};

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
    /// What the graph is walked with.
    pub quantizer: Quantizer,
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
            quantizer: Quantizer::Sq8,
            page_size: PageSize::KIB_4,
            threads: 0,
            seed: 0,
        }
    }
}

impl BuildOptions {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let within = |name, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(BuildError::Option { name, value, least, most })
        };
        within("m", self.m, 2, MAX_M)?;
        let ef = self.ef_construction;
        within("ef_construction", ef, 1, MAX_EF_CONSTRUCTION)?;
        within("threads", self.threads, 0, MAX_THREADS)
    }
}

/// What the graph is walked with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantizer {
    /// The originals themselves, read from their pages at every hop.
    None,
    /// Codes of one byte a dimension, kept in memory.
    Sq8,
}

impl Quantizer {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sq8 => "sq8",
        }
    }
}

impl fmt::Display for Quantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Quantizer {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = [Self::None, Self::Sq8].into_iter().find(|q| q.name() == text);
        found.ok_or_else(|| ParseError::new(text, "quantizer", "none or sq8"))
    }
}
