//! What a build says while it runs, and how it is told to stop.

use std::fmt;
use std::ops::ControlFlow;

/// Hears how far a build is, and may end it.
pub trait Progress: Sync {
    /// `done` of `total` steps of this phase are done: pages in [`Phase::Read`], points in
    /// [`Phase::Codes`], [`Phase::Graph`] and [`Phase::Packing`], bytes in [`Phase::Write`]. Called
    /// now and then from the building threads, so that `done` may step back a little.
    /// [`ControlFlow::Break`] cancels the build, which then leaves nothing behind.
    fn report(&self, phase: Phase, done: u64, total: u64) -> ControlFlow<()>;
}

/// What a build is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Reads the vectors of other segments.
    Read,
    /// Quantizes the vectors.
    Codes,
    /// Inserts the points into the graph.
    Graph,
    /// Puts points that are near each other side by side.
    Packing,
    /// Writes the components.
    Write,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Codes => "codes",
            Self::Graph => "graph",
            Self::Packing => "packing",
            Self::Write => "write",
        })
    }
}

/// Nobody listens, and nobody stops the build.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _: Phase, _: u64, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
