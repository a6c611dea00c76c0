//! The kernel's io_uring.
//!
//! No thread owns it (so neither SINGLE_ISSUER nor DEFER_TASKRUN), because the one that reaps
//! changes from batch to batch and may end at any time.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, types};

use crate::registered::{FILES, REGIONS};
use crate::ring::{RawRing, Sqe, SqeFile, Target};

/// The entry of a read, for either kind of file.
macro_rules! entry {
    ($file:expr, $sqe:expr) => {
        match $sqe.target {
            Target::Memory { start, len_bytes, buffer: None } => {
                opcode::Read::new($file, start, len_bytes)
                    .offset($sqe.offset_bytes)
                    .rw_flags($sqe.flags)
                    .build()
            }
            Target::Memory { start, len_bytes, buffer: Some(slot) } => {
                opcode::ReadFixed::new($file, start, len_bytes, slot)
                    .offset($sqe.offset_bytes)
                    .rw_flags($sqe.flags)
                    .build()
            }
            Target::Scattered { iovecs, count } => opcode::Readv::new($file, iovecs, count)
                .offset($sqe.offset_bytes)
                .rw_flags($sqe.flags)
                .build(),
        }
    };
}

pub(crate) struct KernelRing {
    ring: IoUring,
}

impl KernelRing {
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
        // A seccomp profile may allow to set a ring up and not to enter it.
        // SAFETY: nothing is submitted, and no argument is passed.
        unsafe { ring.submitter().enter::<libc::sigset_t>(0, 0, 0, None)? };
        Ok(Self { ring })
    }

    /// Makes room for registered files and memory (Linux 5.19), or says why there is none.
    pub(crate) fn make_slots(&self) -> io::Result<()> {
        let submitter = self.ring.submitter();
        submitter.register_files_sparse(FILES as u32)?;
        submitter.register_buffers_sparse(REGIONS as u32)
    }
}

impl RawRing for KernelRing {
    unsafe fn push(&self, sqe: &Sqe) -> bool {
        let entry = match sqe.file {
            SqeFile::Fd(fd) => entry!(types::Fd(fd), sqe),
            SqeFile::Slot(slot) => entry!(types::Fixed(slot), sqe),
        };
        let entry = entry.user_data(sqe.user_data);
        // SAFETY: the caller is the only one that submits, so that this is the only submission
        // queue; it keeps the SQE's memory and file. Dropping the queue publishes its tail.
        unsafe { self.ring.submission_shared().push(&entry).is_ok() }
    }

    fn enter(&self, want: usize, patience: Duration) -> io::Result<()> {
        if want == 0 {
            return self.ring.submit().map(drop);
        }
        let patience = types::Timespec::from(patience);
        let args = types::SubmitArgs::new().timespec(&patience);
        self.ring.submitter().submit_with_args(want, &args).map(drop)
    }

    unsafe fn pop(&self, into: &mut [(u64, i32)]) -> usize {
        // SAFETY: the caller is the only one that reaps, so that this is the only completion
        // queue. Dropping it publishes its head.
        let completions: cqueue::CompletionQueue<'_> = unsafe { self.ring.completion_shared() };
        let mut count = 0;
        for (place, cqe) in into.iter_mut().zip(completions) {
            *place = (cqe.user_data(), cqe.result());
            count += 1;
        }
        count
    }

    unsafe fn completions(&self) -> usize {
        // SAFETY: as in `pop`.
        unsafe { self.ring.completion_shared().len() }
    }

    fn register_file(&self, slot: u32, fd: RawFd) -> io::Result<()> {
        self.ring.submitter().register_files_update(slot, &[fd]).map(drop)
    }

    unsafe fn register_memory(
        &self,
        slot: u32,
        start: *mut u8,
        len_bytes: usize,
    ) -> io::Result<()> {
        let start = if len_bytes == 0 { std::ptr::null_mut() } else { start };
        let memory = libc::iovec { iov_base: start.cast(), iov_len: len_bytes };
        // SAFETY: the caller keeps the memory as long as it is in the slot.
        unsafe { self.ring.submitter().register_buffers_update(slot, &[memory], None).map(drop) }
    }

    fn wait_any(rings: &[&Self], patience: Duration) {
        let mut fds = [const { MaybeUninit::<libc::pollfd>::uninit() }; crate::lanes::LANES];
        let fds = &mut fds[..rings.len().min(crate::lanes::LANES)];
        for (place, ring) in fds.iter_mut().zip(rings) {
            let (fd, events) = (ring.ring.as_raw_fd(), libc::POLLIN);
            place.write(libc::pollfd { fd, events, revents: 0 });
        }
        let patience_ms = patience.as_millis().clamp(1, 1000) as libc::c_int;
        // SAFETY: so many entries were written above. What the call says does not matter: whoever
        // waits looks at the queues next, and has a bound.
        unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, patience_ms) };
    }
}
