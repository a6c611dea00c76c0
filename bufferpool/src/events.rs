//! What the pool tells whoever listens with `tracing`; nothing when the feature is off.
//!
//! Silent without a subscriber. Debug is for each batch that had to read; warnings and errors are
//! for what an operator has to look at. A hit tells nothing. A subscriber is the caller's, and what is
//! told while a read lands is told in the middle of the work for others: should it panic, the panic
//! goes no further.

use std::sync::Arc;
use std::time::Duration;

use ringpool_storage::{Error, PageNo};

use crate::restoring::Restored;

#[cfg(feature = "tracing")]
fn tell(tell: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell));
}

/// A batch that found pages absent has ended.
pub(crate) fn batch_missed(file: &Arc<str>, pages: usize, hits: u64, misses: u64) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::debug!(%file, pages, hits, misses, "a batch has read"));
    #[cfg(not(feature = "tracing"))]
    let _ = (file, pages, hits, misses);
}

/// A read gave no page.
pub(crate) fn read_failed(file: &Arc<str>, page: PageNo, error: &Error) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::warn!(%file, %page, %error, "a page could not be read"));
    #[cfg(not(feature = "tracing"))]
    let _ = (file, page, error);
}

/// Nothing has arrived for so long that a batch gives up.
pub(crate) fn device_is_silent(file: &Arc<str>, patience: Duration) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::warn!(%file, ?patience, "the disk does not answer"));
    #[cfg(not(feature = "tracing"))]
    let _ = (file, patience);
}

/// No frame came free for so long that a batch gives up.
pub(crate) fn no_frame(file: &Arc<str>, page: PageNo, waited: Duration) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::warn!(%file, %page, ?waited, "every frame is pinned or loading"));
    #[cfg(not(feature = "tracing"))]
    let _ = (file, page, waited);
}

/// A waker of a caller's future has panicked: its task may not be polled again.
pub(crate) fn waker_panicked(file: &Arc<str>) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::error!(%file, "a waker has panicked: its task may never be woken"));
    #[cfg(not(feature = "tracing"))]
    let _ = file;
}

/// Frames take their memory when they are first used, since the system gave none before.
pub(crate) fn not_populated(done_bytes: u64, error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::debug!(done_bytes, %error, "frames are not given memory in advance"));
    #[cfg(not(feature = "tracing"))]
    let _ = (done_bytes, error);
}

/// A hot set was restored, as far as that went.
pub(crate) fn restored(file: &Arc<str>, restored: &Restored) {
    #[cfg(feature = "tracing")]
    {
        let Restored { read, found, failed, left, ended } = restored;
        tell(|| tracing::info!(%file, read, found, failed, left, ?ended, "a hot set was restored"));
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (file, restored);
}

/// A file is gone, and reads of it are not over.
pub(crate) fn frames_stay_out(file: &Arc<str>, reads: usize) {
    #[cfg(feature = "tracing")]
    tell(|| tracing::error!(%file, reads, "the disk does not answer: its frames stay out of use"));
    #[cfg(not(feature = "tracing"))]
    let _ = (file, reads);
}
