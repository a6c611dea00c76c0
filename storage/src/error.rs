//! What can go wrong between an index and a disk, each with the file, the page and what to do.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::PageNo;

/// The result of everything that reads pages.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a page could not be had.
///
/// Cloned for every waiter of one failed read, hence small and shared. A failure is never kept:
/// asking again reads again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused an open or a read. The disk, the path or the permission is at fault.
    #[error("{file}: {doing}: {source}")]
    Io {
        /// Path of the file.
        file: Arc<str>,
        /// What was being done, with the page number where there is one.
        doing: Arc<str>,
        /// The system's own answer.
        source: Arc<io::Error>,
    },

    /// The bytes read are not those that were written. Restore the file from a copy.
    #[error(
        "{file}: page {page} does not match its checksum (expected {expected:08x}, found {found:08x}): \
         the file was changed or the disk returned wrong bytes; restore it from a copy"
    )]
    Checksum {
        /// Path of the file.
        file: Arc<str>,
        /// The page that is bad.
        page: PageNo,
        /// The checksum that was written beside the page.
        expected: u32,
        /// The checksum of the bytes that were read.
        found: u32,
    },

    /// The file ends before the page does. It was cut after it was opened.
    #[error(
        "{file}: page {page} ends after {found_bytes} of {expected_bytes} bytes: \
         the file is shorter than when it was opened; restore it and open it again"
    )]
    Truncated {
        /// Path of the file.
        file: Arc<str>,
        /// The page that is incomplete.
        page: PageNo,
        /// The page's size.
        expected_bytes: usize,
        /// How many bytes the file still had.
        found_bytes: usize,
    },

    /// The file cannot be one of pages: its length or kind is wrong.
    #[error("{file}: {reason}")]
    NotPages {
        /// Path of the file.
        file: Arc<str>,
        /// What is wrong with it, and what was expected.
        reason: Arc<str>,
    },

    /// A page number past the end. The caller's, or an offset in a damaged file.
    #[error("{file}: there is no page {page}: the file has {pages} pages")]
    NoSuchPage {
        /// Path of the file.
        file: Arc<str>,
        /// The page asked for.
        page: PageNo,
        /// How many pages there are.
        pages: u64,
    },

    /// No frame came free in bounded time: every one is pinned or being read into.
    /// Drop guards, or give the pool more memory.
    #[error(
        "{file}: no frame came free for page {page} within {waited:?}: all {frames} frames are \
         pinned or loading; drop guards or give the pool more memory"
    )]
    Exhausted {
        /// Path of the file.
        file: Arc<str>,
        /// The page that was wanted.
        page: PageNo,
        /// How many frames the pool has.
        frames: usize,
        /// How long was waited.
        waited: Duration,
    },

    /// The device did not answer in time. The read goes on in the background; its frame stays
    /// out of use until it ends.
    #[error("{file}: the disk did not answer within {waited:?}; check it, then ask again")]
    TimedOut {
        /// Path of the file.
        file: Arc<str>,
        /// How long was waited.
        waited: Duration,
    },

    /// The caller's own deadline has passed. What is in flight goes on, and gives back what it
    /// holds when it lands.
    #[error(
        "{file}: the deadline has passed, and page {page} is still waiting for {awaited}; \
         give it more time, or ask for less at once"
    )]
    DeadlinePassed {
        /// Path of the file.
        file: Arc<str>,
        /// The first page that is missing.
        page: PageNo,
        /// What it has been waiting for.
        awaited: Awaited,
    },

    /// The caller has cancelled the call. What is in flight goes on, and gives back what it holds
    /// when it lands.
    #[error("{file}: cancelled")]
    Cancelled {
        /// Path of the file.
        file: Arc<str>,
    },

    /// The file holds as many frames as its ceiling allows, and none of them came free in bounded
    /// time. Drop guards, or raise the ceiling.
    #[error(
        "{file}: no frame came free for page {page} within {waited:?}: all {frames} frames of the \
         file's ceiling are pinned or loading; drop guards or raise its ceiling"
    )]
    AtCeiling {
        /// Path of the file.
        file: Arc<str>,
        /// The page that was wanted.
        page: PageNo,
        /// How many frames the file may hold.
        frames: usize,
        /// How long was waited.
        waited: Duration,
    },

    /// More pages are asked for on behalf of the batches of one [`Gather`](crate::Gather) than it
    /// keeps count of. Collect what has arrived before asking for more.
    #[error(
        "{file}: page {page} was not asked for: {pages} pages are waited for already; collect what \
         has arrived before asking for more, or visit them"
    )]
    Backlogged {
        /// Path of the file.
        file: Arc<str>,
        /// The first page there was no room for.
        page: PageNo,
        /// How many pages are waited for.
        pages: usize,
    },

    /// This process is a child of the one that opened the file. Rings and frames stay with the
    /// parent; open the file again after the fork.
    #[error("{file}: opened before a fork: open it again in the child process")]
    Forked {
        /// Path of the file.
        file: Arc<str>,
    },

    /// A read was dropped before the device answered: its engine is closed or has failed.
    #[error(
        "{file}: the read of page {page} was abandoned: its engine has closed; open the file again"
    )]
    Abandoned {
        /// Path of the file.
        file: Arc<str>,
        /// The page that was wanted.
        page: PageNo,
    },
}

/// What a page was waiting for when a deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// The disk: its read is in flight.
    Disk,
    /// Room in the device's queue.
    Queue,
    /// A frame to be read into.
    Frame,
    /// Its turn: other pages of the call came first.
    Turn,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disk => "the disk",
            Self::Queue => "room in the device's queue",
            Self::Frame => "a frame",
            Self::Turn => "its turn",
        })
    }
}

impl Error {
    /// An error of the system's, while doing something to a file.
    pub fn io(file: &Arc<str>, doing: impl Into<Arc<str>>, source: io::Error) -> Self {
        Self::Io { file: file.clone(), doing: doing.into(), source: Arc::new(source) }
    }

    /// A file that cannot be one of pages.
    pub fn not_pages(file: &Arc<str>, reason: impl Into<Arc<str>>) -> Self {
        Self::NotPages { file: file.clone(), reason: reason.into() }
    }
}
