//! One io_uring, made safe to share: one thread at a time submits, one reaps, and any may wait.
//!
//! Completions may be waited for while another thread submits: the kernel serialises the two, and
//! each side of the ring has its own baton here. No thread owns the ring (so neither
//! SINGLE_ISSUER nor DEFER_TASKRUN), because the one that reaps changes from batch to batch and
//! may end at any time.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

use crate::baton::{Baton, Held};
use crate::direct_file::DirectFile;

pub(crate) struct Ring {
    ring: IoUring,
    submitting: Baton,
    reaping: Baton,
    /// Whether SQEs may have been pushed that no call has given to the kernel.
    staged: AtomicBool,
    pub(crate) enters: AtomicU64,
}

/// The right to push SQEs.
pub(crate) struct Submitting<'a> {
    ring: &'a Ring,
    _held: Held<'a>,
}

/// The right to pop CQEs.
pub(crate) struct Reaping<'a> {
    ring: &'a Ring,
    _held: Held<'a>,
}

impl Ring {
    /// A ring for `depth` reads at once. As its completion queue has room for twice as many, it
    /// cannot overflow while no more than `depth` are in flight.
    pub(crate) fn new(depth: u32) -> io::Result<Self> {
        let ring = IoUring::builder().dontfork().build(depth)?;
        let params = ring.params();
        if !params.is_feature_ext_arg() || !params.is_feature_nodrop() {
            let reason = "the kernel's io_uring is too old to wait with a timeout (before 5.11)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        debug_assert!(params.sq_entries() >= depth && params.cq_entries() >= 2 * depth);
        let (submitting, reaping) = (Baton::default(), Baton::default());
        let (staged, enters) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { ring, submitting, reaping, staged, enters })
    }

    pub(crate) fn submitting(&self) -> Option<Submitting<'_>> {
        self.submitting.take().map(|held| Submitting { ring: self, _held: held })
    }

    pub(crate) fn reaping(&self) -> Option<Reaping<'_>> {
        self.reaping.take().map(|held| Reaping { ring: self, _held: held })
    }

    pub(crate) fn is_reaped(&self) -> bool {
        self.reaping.is_taken()
    }

    /// Gives the kernel all SQEs that were pushed, if there are any. Those that it does not take
    /// now stay in the ring for the next wait.
    pub(crate) fn submit(&self) -> io::Result<usize> {
        // Acquire: pairs with the release in `push_read`, so that the SQEs count.
        if !self.staged.swap(false, Ordering::Acquire) {
            return Ok(0);
        }
        self.count_enter();
        self.ring.submit()
    }

    /// Gives the kernel all SQEs that were pushed, until `want` completions are there or `patience` is over.
    ///
    /// Returns also when a signal came or nothing could be submitted, with or without
    /// completions: the queue tells, not the result.
    pub(crate) fn submit_and_wait(&self, want: usize, patience: Duration) -> io::Result<usize> {
        // Acquire: as in `submit`.
        self.staged.swap(false, Ordering::Acquire);
        self.count_enter();
        let patience = types::Timespec::from(patience);
        let args = types::SubmitArgs::new().timespec(&patience);
        self.ring.submitter().submit_with_args(want, &args)
    }

    fn count_enter(&self) {
        // Relaxed: a count, read for its value alone.
        self.enters.fetch_add(1, Ordering::Relaxed);
    }
}

impl Submitting<'_> {
    /// Pushes the SQE of a read of `len` bytes at `offset_bytes` of `file` into `memory`.
    /// Returns false when the ring is full.
    ///
    /// # Safety
    /// `memory` is valid for writes of `len` bytes and `file` stays open until the completion
    /// with this `user_data` was popped, whatever happens to the ring.
    pub(crate) unsafe fn push_read(
        &mut self,
        file: &DirectFile,
        offset_bytes: u64,
        memory: *mut u8,
        len: u32,
        user_data: u64,
    ) -> bool {
        let sqe = opcode::Read::new(types::Fd(file.fd()), memory, len)
            .offset(offset_bytes)
            .build()
            .user_data(user_data);
        // SAFETY: `self` is the only one of its kind while the baton is held, so that this is the
        // only submission queue. The SQE's memory and file are as our caller promised. Dropping
        // the queue publishes its tail.
        let pushed = unsafe { self.ring.ring.submission_shared().push(&sqe).is_ok() };
        // Release: pairs with the acquires in `submit` and `submit_and_wait`.
        self.ring.staged.store(true, Ordering::Release);
        pushed
    }
}

impl Reaping<'_> {
    /// Calls `each(user_data, result)` for the completions that are there now. Returns how many.
    pub(crate) fn pop_all(&mut self, mut each: impl FnMut(u64, i32)) -> usize {
        // SAFETY: `self` is the only one of its kind while the baton is held, so that this is the
        // only completion queue.
        let completions = unsafe { self.ring.ring.completion_shared() };
        let mut count = 0;
        for cqe in completions {
            count += 1;
            each(cqe.user_data(), cqe.result());
        }
        count
    }
}
