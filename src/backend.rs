//! Where an index reads from: the one word that changes when mmap is left, or gone back to.

use std::fmt;
use std::str::FromStr;

use ringpool_compat_mmap::MmapOptions;
use ringpool_index::Quantizer;
use ringpool_uring::{EngineChoice, Rung};
use serde::{Deserialize, Serialize};

use crate::config::HotSetAtClose;
use crate::{Memory, Placement, Warm, WarmUp};

/// Through what the originals of a segment are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The buffer pool, within a budget.
    #[default]
    Pool,
    /// A read-only mapping; what stays in memory is the kernel's decision.
    Mmap,
    /// Straight from the disk, past the page cache, and nothing is kept: what a pool is worth.
    Direct,
    /// Plain arrays: everything is loaded. What no storage at all would give.
    Memory,
}

/// How an index is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenOptions {
    /// Through what the originals are read.
    pub backend: Backend,
    /// Where the components are, as far as it is not said by the backend.
    pub place: Placement,
    /// What is read before it is asked for.
    pub warm_up: WarmUp,
    /// Whether [`Index::close`](crate::Index::close) saves which pages are in the pool.
    pub hot_set: HotSetAtClose,
    /// The codes that searches walk by: by default the first that the segment carries. With
    /// [`Quantizer::None`] they walk by the originals.
    pub codes: Option<Quantizer>,
    /// The pool's budget, for all components that are in it. A share is of their pages. By default
    /// a quarter of them, but at most half of what the cgroup or the machine has left, and at
    /// least what a pool needs.
    pub memory: Option<Memory>,
    /// When the pool's frames get their memory: by default in the background, once the pool is made.
    /// With [`Warm::None`] each does when a page is first read into it, and that read waits for it.
    pub populate: Option<Warm>,
    /// What all components may take together, in bytes, those that are resident and the pool; what
    /// does not fit is refused. By default what the cgroup and the machine have left, of which
    /// nothing is asked but that what is resident fits.
    pub total_bytes: Option<u64>,
    /// How files are read, also those that are loaded once.
    pub engine: EngineChoice,
    /// How a mapping is advised and checked.
    pub mmap: MmapOptions,
}

/// What a backend has done since the index was opened. `None` where a figure has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendStats {
    /// `uring` or `blocking`.
    pub engine: Option<String>,
    /// How pages are read, on the ladder from the best way to the one that always works.
    pub rung: Option<Rung>,
    /// The rung, why this one, and what would lift what was refused.
    pub engine_reason: Option<String>,
    /// Whether reads bypass the page cache.
    pub direct_io: Option<bool>,
    /// Pages read from the device.
    pub reads: Option<u64>,
    /// Pages asked for that were in memory.
    pub hits: Option<u64>,
    /// Pages asked for that were not.
    pub misses: Option<u64>,
    /// Pages evicted.
    pub evictions: Option<u64>,
}

/// A word that names no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no backend '{0}': use pool, mmap, direct or memory")]
pub struct BackendError(String);

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "pool" => Ok(Self::Pool),
            "mmap" => Ok(Self::Mmap),
            "direct" => Ok(Self::Direct),
            "memory" => Ok(Self::Memory),
            other => Err(BackendError(other.to_string())),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pool => "pool",
            Self::Mmap => "mmap",
            Self::Direct => "direct",
            Self::Memory => "memory",
        })
    }
}
