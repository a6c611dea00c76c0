//! How long a search, an opening or a build may take, and who may end it.
//!
//! Of a search asked once a hop of the walk, and before originals are read. While pages are on their way a
//! deadline ends the wait where the source can leave it
//! ([`PageSource::visit_until`](ringpool_storage::PageSource::visit_until)); a cancelled search is
//! heard when they have arrived.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::graph::walk::Scorer;
use crate::{Phase, Progress, SearchError};

/// How long a search may take, and who may end it: by default for ever, and nobody. The same for
/// whatever else takes long; a build takes it in place of a [`Progress`].
///
/// ```
/// # use std::{sync::atomic::AtomicBool, time::Duration};
/// # use ringpool_index::Patience;
/// let gone = AtomicBool::new(false); // Set by whoever hears that the asker has left.
/// let patience = Patience::default().within(Duration::from_millis(20)).unless(&gone);
/// # assert!(patience.deadline().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience<'a> {
    deadline: Option<Instant>,
    cancelled: Option<&'a AtomicBool>,
}

impl<'a> Patience<'a> {
    /// Until `deadline`, and not longer: the search then ends with
    /// [`SearchError::DeadlinePassed`].
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Until so long from now. A time beyond what the clock can tell is no deadline.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(patience), ..self }
    }

    /// As long as `cancelled` is not set: the search then ends with [`SearchError::Cancelled`].
    #[must_use]
    pub fn unless(self, cancelled: &'a AtomicBool) -> Self {
        Self { cancelled: Some(cancelled), ..self }
    }

    /// When the search gives up, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether somebody may end the search.
    pub(crate) fn is_cancellable(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Passes as long as it lasts.
    ///
    /// # Errors
    /// [`SearchError::Cancelled`] and [`SearchError::DeadlinePassed`].
    #[inline]
    pub fn check(&self) -> Result<(), SearchError> {
        // Relaxed: nothing is published with the flag.
        if self.cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            return Err(SearchError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(SearchError::DeadlinePassed),
            _ => Ok(()),
        }
    }
}

/// Ends a build at the deadline, or when it is cancelled: either is
/// [`BuildError::Cancelled`](crate::BuildError::Cancelled).
impl Progress for Patience<'_> {
    fn report(&self, _: Phase, _: u64, _: u64) -> ControlFlow<()> {
        self.check().map_or(ControlFlow::Break(()), ControlFlow::Continue)
    }
}

/// A scorer that is asked no further when patience is at its end.
pub(crate) struct Patient<'a, S> {
    pub(crate) scorer: S,
    pub(crate) patience: &'a Patience<'a>,
}

impl<S: Scorer> Scorer for Patient<'_, S>
where
    SearchError: From<S::Error>,
{
    type Error = SearchError;

    #[inline]
    fn score(
        &mut self,
        points: &[u32],
        bound: f32,
        distances: &mut Vec<f32>,
    ) -> Result<(), SearchError> {
        self.patience.check()?;
        Ok(self.scorer.score(points, bound, distances)?)
    }
}

impl From<Infallible> for SearchError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
