//! What a call says about its pages: how they are going to be used, until when it waits, and who
//! may end it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How pages are going to be used, for the clock to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// Again or not: nobody knows. Each use counts.
    #[default]
    Random,
    /// Once, as a scan does. A use does not count, and a page that was read for it alone goes as
    /// soon as it was looked at, so that a scan passes through a handful of frames. Whatever
    /// others want of it meanwhile stays for them.
    ScanOnce,
    /// All the time. A page comes in past probation, and each use counts as many.
    Hot,
}

/// How a call reads: a [`Hint`], a deadline if it has one, and a flag by which it is cancelled.
///
/// ```
/// # use std::{sync::atomic::AtomicBool, time::Duration};
/// # use ringpool_bufferpool::{Hint, Reading};
/// let gone = AtomicBool::new(false); // Set by whoever hears that the asker has left.
/// let scan = Reading::default().hint(Hint::ScanOnce).unless(&gone);
/// let query = Reading::default().within(Duration::from_millis(20));
/// # assert!(scan.deadline().is_none() && query.deadline().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it says how to read, and reads nothing"]
pub struct Reading<'a> {
    hint: Hint,
    deadline: Option<Instant>,
    cancelled: Option<&'a AtomicBool>,
}

impl<'a> Reading<'a> {
    /// With this hint.
    pub fn hint(self, hint: Hint) -> Self {
        Self { hint, ..self }
    }

    /// Until `deadline`, and not longer: the call then fails with
    /// [`Error::DeadlinePassed`](ringpool_storage::Error::DeadlinePassed), unless everything has
    /// arrived. Its reads go on, and give back what they hold when they land.
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Until so long from now. A time beyond what the clock can tell is no deadline.
    pub fn within(self, patience: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(patience), ..self }
    }

    /// As long as `cancelled` is not set: a call that waits then fails with
    /// [`Error::Cancelled`](ringpool_storage::Error::Cancelled) within a few milliseconds. Its reads
    /// go on, as at a deadline. A future does not look at it: to cancel one, drop it.
    pub fn unless(self, cancelled: &'a AtomicBool) -> Self {
        Self { cancelled: Some(cancelled), ..self }
    }

    /// When the call gives up, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn hinted(&self) -> Hint {
        self.hint
    }

    /// The same for who outlives the flag.
    pub(crate) fn without_flag(&self) -> Reading<'static> {
        Reading { hint: self.hint, deadline: self.deadline, cancelled: None }
    }

    /// Whether the call may end with reads in flight.
    pub(crate) fn may_leave(&self) -> bool {
        self.deadline.is_some() || self.cancelled.is_some()
    }

    /// Whether somebody may end the call.
    pub(crate) fn is_cancellable(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Whether somebody has.
    pub(crate) fn is_cancelled(&self) -> bool {
        // Relaxed: nothing is published with the flag.
        self.cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed))
    }

    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Hint {
    /// How many chances a use gives.
    #[inline]
    pub(crate) fn chances(self) -> u64 {
        match self {
            Self::Random => 1,
            Self::ScanOnce => 0,
            Self::Hot => crate::word::MAX_CHANCES,
        }
    }
}
