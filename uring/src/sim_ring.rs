//! A ring without a kernel: it reads real files, and fails as a kernel does, by seed.
//!
//! Same seed, same calls: same trace. Everything that the manual pages and other people's bug
//! reports know of a ring can be had from it: completions in any order, late, twice, old, or of
//! reads that never were; short and interrupted reads; calls that submit only a part, return
//! without a completion or with an error; reads that never end.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ring::{RawRing, Sqe, SqeFile, Target};

/// How often things go wrong, in parts of ten thousand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Completions that are short, or an error.
    pub(crate) reads: u64,
    /// Calls of the kernel that fail, submit a part only, or complete nothing.
    pub(crate) calls: u64,
    /// Completions of no read, of an old one, or for the second time.
    pub(crate) strays: u64,
    /// Reads that never end.
    pub(crate) stuck: u64,
}

pub(crate) struct SimRing {
    state: Mutex<State>,
    injected: Arc<Injected>,
}

/// What was done on purpose, over all rings that share it.
#[derive(Default)]
pub(crate) struct Injected {
    pub(crate) faults: AtomicU64,
    pub(crate) strays: AtomicU64,
    pub(crate) stuck: AtomicU64,
    /// What each ring was asked for and how it ended: offset and result.
    pub(crate) trace: Mutex<Vec<(u64, i32)>>,
    pub(crate) keeps_trace: bool,
}

struct State {
    dice: u64,
    faults: Faults,
    depth: usize,
    pushed: Vec<Op>,
    flying: Vec<Op>,
    done: std::collections::VecDeque<(u64, i32)>,
    last_done: u64,
    files: HashMap<u32, RawFd>,
}

struct Op {
    fd: RawFd,
    offset_bytes: u64,
    targets: Vec<libc::iovec>,
    user_data: u64,
}

// SAFETY: the targets are memory that whoever pushed the SQE keeps for the ring alone.
unsafe impl Send for Op {}

impl SimRing {
    pub(crate) fn new(depth: u32, seed: u64, faults: Faults, injected: Arc<Injected>) -> Self {
        let state = State {
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            faults,
            depth: depth as usize,
            pushed: Vec::new(),
            flying: Vec::new(),
            done: Default::default(),
            last_done: 0,
            files: HashMap::new(),
        };
        Self { state: Mutex::new(state), injected }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one read, well or not.
    fn complete(&self, state: &mut State, op: Op) {
        let len_bytes: usize = op.targets.iter().map(|target| target.iov_len).sum();
        let fault = state.happens(state.faults.reads);
        let kind = if fault { 1 + state.below(9) } else { 0 };
        let short_bytes = match kind {
            0 => len_bytes,
            1 => 0,
            2 => 1,
            3 => 511,
            4 => len_bytes - 1,
            5 => 512 * (1 + state.below(len_bytes as u64 / 512 - 1) as usize),
            _ => 0,
        };
        let result = match kind {
            6 => -libc::EIO,
            7 => -libc::EINTR,
            8 => -libc::EAGAIN,
            9 => -libc::ECANCELED,
            _ => op.read(short_bytes),
        };
        if fault {
            self.injected.faults.fetch_add(1, Ordering::Relaxed);
        }
        if self.injected.keeps_trace {
            let mut trace = self.injected.trace.lock().unwrap();
            trace.push((op.offset_bytes, result));
        }
        state.done.push_back((op.user_data, result));
        if state.happens(state.faults.strays) {
            let stray = match state.below(3) {
                0 => op.user_data,
                1 => state.last_done,
                _ => state.roll(),
            };
            // An old one that is one of those in flight by chance would be no stray.
            let known = |op: &Op| op.user_data == stray;
            if !state.flying.iter().chain(&state.pushed).any(known) {
                state.done.push_back((stray, len_bytes as i32));
                self.injected.strays.fetch_add(1, Ordering::Relaxed);
            }
        }
        state.last_done = op.user_data;
    }
}

impl Op {
    /// Reads the first `bytes` bytes, and spoils the others, which nobody may look at.
    fn read(&self, bytes: usize) -> i32 {
        let mut total = 0;
        for target in &self.targets {
            let len_bytes = target.iov_len;
            let offset = (self.offset_bytes + total as u64) as libc::off_t;
            let good_bytes = bytes.saturating_sub(total).min(len_bytes);
            // SAFETY: the target is this read's alone until its completion is popped.
            unsafe {
                let read = libc::pread(self.fd, target.iov_base, len_bytes, offset);
                assert_eq!(read, len_bytes as isize, "{}", io::Error::last_os_error());
                let rest = target.iov_base.cast::<u8>().add(good_bytes);
                rest.write_bytes(0xEE, len_bytes - good_bytes);
            }
            total += len_bytes;
        }
        bytes as i32
    }
}

impl State {
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    fn happens(&mut self, parts: u64) -> bool {
        parts > 0 && self.below(10_000) < parts
    }
}

impl RawRing for SimRing {
    unsafe fn push(&self, sqe: &Sqe) -> bool {
        let mut state = self.state();
        if state.pushed.len() >= state.depth {
            return false;
        }
        let fd = match sqe.file {
            SqeFile::Fd(fd) => fd,
            SqeFile::Slot(slot) => state.files[&slot],
        };
        let targets = match sqe.target {
            Target::Memory { start, len_bytes, .. } => {
                vec![libc::iovec { iov_base: start.cast(), iov_len: len_bytes as usize }]
            }
            // SAFETY: the SQE's targets stay where they are until its completion.
            Target::Scattered { iovecs, count } => unsafe {
                std::slice::from_raw_parts(iovecs, count as usize).to_vec()
            },
        };
        let (offset_bytes, user_data) = (sqe.offset_bytes, sqe.user_data);
        state.pushed.push(Op { fd, offset_bytes, targets, user_data });
        true
    }

    fn enter(&self, want: usize, patience: Duration) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        if state.happens(state.faults.calls) {
            let errno = [libc::EINTR, libc::EAGAIN, libc::EBUSY][state.below(3) as usize];
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut taken = state.pushed.len();
        if taken > 1 && state.happens(state.faults.calls) {
            taken = 1 + state.below(taken as u64 - 1) as usize;
        }
        let submitted: Vec<Op> = state.pushed.drain(..taken).collect();
        for op in submitted {
            if state.happens(state.faults.stuck) {
                self.injected.stuck.fetch_add(1, Ordering::Relaxed);
                std::mem::forget(op);
            } else {
                state.flying.push(op);
            }
        }
        if want > 0 && state.happens(state.faults.calls) {
            return Ok(()); // Without a completion.
        }
        let flying = state.flying.len() as u64;
        let at_least = (want as u64).min(flying);
        let ends = at_least + state.below(flying - at_least + 1);
        for _ in 0..ends {
            let which = state.below(state.flying.len() as u64) as usize;
            let op = state.flying.swap_remove(which);
            self.complete(state, op);
        }
        if want > 0 && state.done.is_empty() {
            std::thread::sleep(patience.min(Duration::from_millis(1)));
            return Err(io::Error::from_raw_os_error(libc::ETIME));
        }
        Ok(())
    }

    unsafe fn pop(&self, into: &mut [(u64, i32)]) -> usize {
        let mut state = self.state();
        let count = into.len().min(state.done.len());
        into.iter_mut().zip(state.done.drain(..count)).for_each(|(place, done)| *place = done);
        count
    }

    unsafe fn completions(&self) -> usize {
        self.state().done.len()
    }

    fn register_file(&self, slot: u32, fd: RawFd) -> io::Result<()> {
        match fd {
            -1 => self.state().files.remove(&slot),
            fd => self.state().files.insert(slot, fd),
        };
        Ok(())
    }

    unsafe fn register_memory(&self, _: u32, _: *mut u8, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn wait_any(_: &[&Self], patience: Duration) {
        std::thread::sleep(patience.min(Duration::from_millis(1)));
    }
}
