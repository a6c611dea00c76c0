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

/// The kernel's refusal of a ring, with what would lift it.
pub(crate) fn why_no_ring(error: &io::Error) -> String {
    let lift = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "forbidden by a seccomp profile (a container's default: allow io_uring_setup, \
             io_uring_enter and io_uring_register) or by sysctl kernel.io_uring_disabled (set it \
             to 0)"
        }
        Some(libc::ENOSYS) => "the kernel has no io_uring (before 5.1, or built without it)",
        Some(libc::ENOMEM) => "the limit of locked memory is too low: raise ulimit -l",
        Some(libc::EMFILE | libc::ENFILE) => "too many open files: raise ulimit -n",
        _ => "",
    };
    said("io_uring is refused", error, lift)
}

/// The kernel's refusal of registered memory or files, with what would lift it.
pub(crate) fn why_not_registered(error: &io::Error) -> String {
    let lift = match error.raw_os_error() {
        Some(libc::ENOMEM) => "the limit of locked memory is too low: raise ulimit -l",
        Some(libc::EPERM | libc::EACCES) => {
            "forbidden by a seccomp profile: allow io_uring_register"
        }
        Some(libc::EINVAL) => "the kernel is too old (before 5.19)",
        _ => "",
    };
    said("nothing can be registered with the ring", error, lift)
}

fn said(what: &str, error: &io::Error, lift: &str) -> String {
    let colon = if lift.is_empty() { "" } else { ": " };
    format!("{what}: {error}{colon}{lift}")
}
