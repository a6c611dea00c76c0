//! One ring, made safe to share: one thread at a time submits, one reaps, and any may wait.
//!
//! Completions may be waited for while another thread submits: the kernel serialises the two, and
//! each side of the ring has its own baton here. What is below is a [`RawRing`]: the kernel's, or
//! a simulated one that fails on purpose.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::baton::{Baton, Held};
use crate::platform::{Fd, IoVec};
use crate::sync::AtomicU32;

/// A submission and a completion queue, without any rule about who may touch them.
pub(crate) trait RawRing: Send + Sync + Sized {
    /// Pushes an SQE; returns false when there is no room.
    ///
    /// # Safety
    /// One thread at a time. The SQE's memory stays valid for writes, and its file open, until
    /// the completion with its `user_data` was popped, whatever happens to the ring.
    unsafe fn push(&self, sqe: &Sqe) -> bool;

    /// Gives the kernel what was pushed and waits until `want` completions are there, for
    /// `patience` at most. May return early, for nothing, with and without completions: the
    /// queue tells, not the result.
    fn enter(&self, want: usize, patience: Duration) -> io::Result<()>;

    /// Takes completions, as (`user_data`, result), as many as there are and fit. Returns how
    /// many.
    ///
    /// # Safety
    /// One thread at a time.
    unsafe fn pop(&self, into: &mut [(u64, i32)]) -> usize;

    /// How many completions are there to be popped.
    ///
    /// # Safety
    /// By the one thread that pops.
    unsafe fn completions(&self) -> usize;

    /// Makes `fd` the file of this slot; -1 empties it.
    fn register_file(&self, slot: u32, fd: Fd) -> io::Result<()>;

    /// Makes the memory the buffer of this slot; a length of 0 empties it.
    ///
    /// # Safety
    /// The memory keeps its pages as long as it is in the slot.
    unsafe fn register_memory(&self, slot: u32, start: *mut u8, len_bytes: usize)
    -> io::Result<()>;

    /// Waits until one of `rings` has completions, for `patience` at most, or for nothing.
    fn wait_any(rings: &[&Self], patience: Duration);
}

/// One read.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "no ring is there to read it"))]
pub(crate) struct Sqe {
    pub(crate) file: SqeFile,
    pub(crate) offset_bytes: u64,
    pub(crate) target: Target,
    /// RWF_ flags.
    pub(crate) flags: i32,
    pub(crate) user_data: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqeFile {
    Fd(Fd),
    Slot(u32),
}

/// Where the bytes go.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "no ring is there to read it"))]
pub(crate) enum Target {
    Memory {
        start: *mut u8,
        len_bytes: u32,
        /// The slot of the registered buffer that the memory lies in.
        buffer: Option<u16>,
    },
    Scattered {
        iovecs: *const IoVec,
        count: u32,
    },
}

pub(crate) struct Ring<R> {
    raw: R,
    submitting: Baton,
    reaping: Baton,
    /// SQEs that were pushed and that no call has given to the kernel.
    staged: AtomicU32,
    enters: AtomicU64,
}

/// The right to push SQEs.
pub(crate) struct Submitting<'a, R> {
    ring: &'a Ring<R>,
    _held: Held<'a>,
}

/// The right to pop CQEs.
pub(crate) struct Reaping<'a, R> {
    ring: &'a Ring<R>,
    _held: Held<'a>,
}

impl<R: RawRing> Ring<R> {
    pub(crate) fn new(raw: R) -> Self {
        let (submitting, reaping) = (Baton::new(), Baton::new());
        Self { raw, submitting, reaping, staged: AtomicU32::new(0), enters: AtomicU64::new(0) }
    }

    pub(crate) fn submitting(&self) -> Option<Submitting<'_, R>> {
        self.submitting.take().map(|held| Submitting { ring: self, _held: held })
    }

    pub(crate) fn reaping(&self) -> Option<Reaping<'_, R>> {
        self.reaping.take().map(|held| Reaping { ring: self, _held: held })
    }

    pub(crate) fn is_reaped(&self) -> bool {
        self.reaping.is_taken()
    }

    /// Calls of the kernel so far.
    pub(crate) fn enters(&self) -> u64 {
        // Relaxed: a count, read for its value alone.
        self.enters.load(Ordering::Relaxed)
    }

    /// How many SQEs wait for the next call.
    pub(crate) fn staged(&self) -> u32 {
        // Relaxed: a number that guides; `submit` decides by its own swap.
        self.staged.load(Ordering::Relaxed)
    }

    pub(crate) fn raw(&self) -> &R {
        &self.raw
    }

    /// Gives the kernel all SQEs that were pushed, if there are any. Those that it does not take
    /// now stay in the ring for the next wait.
    pub(crate) fn submit(&self) -> io::Result<()> {
        // Acquire: pairs with the release in `push`, so that the SQEs count.
        if self.staged.swap(0, Ordering::Acquire) == 0 {
            return Ok(());
        }
        self.enter(0, Duration::ZERO)
    }

    /// Gives the kernel all SQEs that were pushed, until `want` completions are there or
    /// `patience` is over. See [`RawRing::enter`].
    pub(crate) fn submit_and_wait(&self, want: usize, patience: Duration) -> io::Result<()> {
        // Acquire: as in `submit`.
        self.staged.swap(0, Ordering::Acquire);
        self.enter(want, patience)
    }

    fn enter(&self, want: usize, patience: Duration) -> io::Result<()> {
        // Relaxed: a count, read for its value alone.
        self.enters.fetch_add(1, Ordering::Relaxed);
        self.raw.enter(want, patience)
    }
}

impl<R: RawRing> Submitting<'_, R> {
    /// Pushes an SQE. Returns false when the ring is full.
    ///
    /// # Safety
    /// Memory and file as [`RawRing::push`] wants them.
    pub(crate) unsafe fn push(&mut self, sqe: &Sqe) -> bool {
        // SAFETY: `self` is the only one of its kind while the baton is held. The SQE's memory
        // and file are as our caller promised.
        let pushed = unsafe { self.ring.raw.push(sqe) };
        if pushed {
            // Release: pairs with the acquires in `submit` and `submit_and_wait`.
            self.ring.staged.fetch_add(1, Ordering::Release);
        }
        pushed
    }
}

impl<R: RawRing> Reaping<'_, R> {
    /// Takes completions that are there now, as many as fit. Returns how many.
    pub(crate) fn pop(&mut self, into: &mut [(u64, i32)]) -> usize {
        // SAFETY: `self` is the only one of its kind while the baton is held.
        unsafe { self.ring.raw.pop(into) }
    }

    /// How many completions are there to be popped.
    pub(crate) fn completions(&self) -> usize {
        // SAFETY: as in `pop`.
        unsafe { self.ring.raw.completions() }
    }
}
