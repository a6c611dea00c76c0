//! The ladder from the best way to read a file down to the one that always works.
//!
//! A rung is found by reading a page of the very file through it, never by a version: a ring may
//! be refused at its set-up (seccomp answers EPERM in a container, a sysctl turns it off, locked
//! memory is short), at its first call or at the first read; a filesystem may refuse direct reads
//! when they are asked for or when the first one comes. What was refused on the way down is told,
//! with what would lift it.

use std::fmt;
use std::io;

/// How a file is read, best first. Later rungs cost more processor time a read, or leave pages in
/// the system's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rung {
    /// io_uring with the file, and memory that asks for it, registered; past the page cache.
    RingRegistered,
    /// io_uring, past the page cache.
    RingDirect,
    /// io_uring through the page cache, each page dropped from it after it was read
    /// (RWF_DONTCACHE, Linux 6.14).
    RingDontCache,
    /// io_uring through the page cache.
    RingBuffered,
    /// pread on threads, past the page cache.
    ThreadsDirect,
    /// pread on threads through the page cache, each page dropped after it was read.
    ThreadsDontCache,
    /// pread on threads through the page cache.
    ThreadsBuffered,
}

impl Rung {
    /// All rungs, best first.
    pub const LADDER: [Self; 7] = [
        Self::RingRegistered,
        Self::RingDirect,
        Self::RingDontCache,
        Self::RingBuffered,
        Self::ThreadsDirect,
        Self::ThreadsDontCache,
        Self::ThreadsBuffered,
    ];

    /// Whether reads go through a ring.
    pub fn is_ring(self) -> bool {
        self < Self::ThreadsDirect
    }

    /// Its name, as scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RingRegistered => "uring+registered+direct",
            Self::RingDirect => "uring+direct",
            Self::RingDontCache => "uring+dontcache",
            Self::RingBuffered => "uring+buffered",
            Self::ThreadsDirect => "pread+direct",
            Self::ThreadsDontCache => "pread+dontcache",
            Self::ThreadsBuffered => "pread+buffered",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was refused on the way down, and what would lift that.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    why: String,
    pub(crate) lift: Option<&'static str>,
}

impl Refusal {
    /// A refusal with nothing to be lifted in the system.
    pub(crate) fn of_choice(why: &str) -> Self {
        Self { why: why.to_string(), lift: None }
    }

    fn by_kernel(what: &str, error: &io::Error, meaning: Option<(&str, &'static str)>) -> Self {
        match meaning {
            Some((cause, lift)) => {
                Self { why: format!("{what}: {error}: {cause}"), lift: Some(lift) }
            }
            None => Self { why: format!("{what}: {error}"), lift: None },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        self.lift.map_or(Ok(()), |lift| write!(f, ": {lift}"))
    }
}

/// The kernel's refusal of a ring.
pub(crate) fn why_no_ring(error: &io::Error) -> Refusal {
    let meaning = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Some((
            "forbidden by a seccomp profile (a container's default) or by sysctl \
             kernel.io_uring_disabled",
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile, \
             and set kernel.io_uring_disabled to 0",
        )),
        Some(libc::ENOSYS) => Some((
            "the kernel has no io_uring (before 5.1, or built without it), or a seccomp profile \
             hides it",
            "run a kernel that has io_uring, 5.11 or later, under a seccomp profile that allows \
             io_uring_setup, io_uring_enter and io_uring_register",
        )),
        Some(libc::ENOMEM) => Some(MEMLOCK),
        Some(libc::EMFILE | libc::ENFILE) => Some(("too many open files", "raise ulimit -n")),
        _ => None,
    };
    Refusal::by_kernel("io_uring is refused", error, meaning)
}

/// The kernel's refusal of registered memory or files.
pub(crate) fn why_not_registered(error: &io::Error) -> Refusal {
    let meaning = match error.raw_os_error() {
        Some(libc::ENOMEM) => Some(MEMLOCK),
        Some(libc::EPERM | libc::EACCES) => {
            Some(("forbidden by a seccomp profile", "allow io_uring_register in it"))
        }
        Some(libc::EINVAL) => Some(("the kernel is too old", "run one of 5.19 or later")),
        _ => None,
    };
    Refusal::by_kernel("nothing can be registered with the ring", error, meaning)
}

const MEMLOCK: (&str, &str) = ("the limit of locked memory is too low", "raise ulimit -l");
