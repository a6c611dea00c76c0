//! An io_uring for the contestants that drive one by themselves: reads go in with a token, and come
//! out whole or with the system's answer.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use io_uring::{IoUring, opcode, types::Fd};

use super::paged_file::TRIES_MAX;

/// How often a system call is repeated that a signal interrupted.
const INTERRUPTIONS_MAX: u32 = 1_000;

/// One ring, used by one thread at a time.
pub struct OwnRing {
    ring: IoUring,
    /// What each token in flight is reading.
    flying: Vec<Option<Read>>,
    in_flight: usize,
}

/// Rings, with what their reads go to, that no visit is using: in the end as many as there were visits
/// at once.
pub struct Spares<F>(Mutex<Vec<F>>);

impl<F> Spares<F> {
    /// With a first one, so that a ring that is refused is told at opening.
    pub fn with(first: F) -> Self {
        Self(Mutex::new(vec![first]))
    }

    /// Visits with a spare one, or one that is made. After a failure or a panic it is dropped, which waits
    /// for what is in flight.
    pub fn visit<E>(
        &self,
        make: impl FnOnce() -> Result<F, E>,
        visit: impl FnOnce(&mut F) -> Result<(), E>,
    ) -> Result<(), E> {
        let spares = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spares().pop();
        let mut flight = spare.map_or_else(make, Ok)?;
        visit(&mut flight)?;
        spares().push(flight);
        Ok(())
    }
}

/// A read, as it goes to the kernel, and again where it came back short.
#[derive(Clone, Copy)]
pub struct Read {
    pub fd: Fd,
    pub into: NonNull<u8>,
    pub len_bytes: usize,
    pub offset_bytes: u64,
    done_bytes: usize,
    tries: u32,
}

// SAFETY: the pointers are to memory that whoever pushed a read keeps for it, on any thread.
unsafe impl Send for OwnRing {}

impl Read {
    pub fn new(file: &File, into: NonNull<u8>, len_bytes: usize, offset_bytes: u64) -> Self {
        let fd = Fd(file.as_raw_fd());
        Self { fd, into, len_bytes, offset_bytes, done_bytes: 0, tries: 0 }
    }
}

impl OwnRing {
    /// A ring for `depth` reads in flight.
    pub fn new(depth: u32) -> io::Result<Self> {
        let ring = IoUring::new(depth)?;
        Ok(Self { ring, flying: vec![None; depth as usize], in_flight: 0 })
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Puts a read into the submission queue under a token below the ring's depth.
    ///
    /// # Safety
    /// File and memory stay, and nobody touches the memory, until the token came out of
    /// [`completed`](Self::completed) or the ring was dropped.
    pub unsafe fn push(&mut self, token: usize, read: Read) {
        assert!(self.flying[token].is_none(), "a token is used twice");
        self.flying[token] = Some(read);
        self.in_flight += 1;
        // SAFETY: what the caller has promised.
        unsafe { self.queue(token, read) };
    }

    /// # Safety
    /// As [`push`](Self::push).
    unsafe fn queue(&mut self, token: usize, read: Read) {
        let rest = (read.len_bytes - read.done_bytes) as u32;
        // SAFETY: `done_bytes` is below the length of the memory.
        let into = unsafe { read.into.add(read.done_bytes) };
        let entry = opcode::Read::new(read.fd, into.as_ptr(), rest)
            .offset(read.offset_bytes + read.done_bytes as u64)
            .build()
            .user_data(token as u64);
        // SAFETY: memory and file stay until the completion, as the caller has promised.
        let queued = unsafe { self.ring.submission().push(&entry) };
        queued.expect("room for as many as there are tokens");
    }

    /// Submits what was pushed, and waits until `want` reads have completed.
    pub fn submit_and_wait(&mut self, want: usize) -> io::Result<()> {
        for _ in 0..INTERRUPTIONS_MAX {
            match self.ring.submit_and_wait(want) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The completion queue has to be emptied first.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(()),
                submitted => return submitted.map(|_| ()),
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// The next read that has ended, whole or refused; `None` when there is none now.
    pub fn completed(&mut self) -> Option<(usize, io::Result<()>)> {
        loop {
            let entry = self.ring.completion().next()?;
            let (token, result) = (entry.user_data() as usize, entry.result());
            let mut read = self.flying[token].take().expect("a completion of a read in flight");
            match judged(&mut read, result) {
                Some(verdict) => {
                    self.in_flight -= 1;
                    return Some((token, verdict));
                }
                None => {
                    self.flying[token] = Some(read);
                    // SAFETY: still the read that was pushed, whose token has not come out.
                    unsafe { self.queue(token, read) };
                }
            }
        }
    }
}

/// What a result of the kernel means: the end of the read, or nothing yet.
fn judged(read: &mut Read, result: i32) -> Option<io::Result<()>> {
    let error = io::Error::from_raw_os_error(-result.min(0));
    let retry = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock].contains(&error.kind());
    read.tries += 1;
    match result {
        _ if read.tries > TRIES_MAX => Some(Err(io::ErrorKind::TimedOut.into())),
        0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        ..0 if retry => None,
        ..0 => Some(Err(error)),
        more => {
            read.done_bytes += more as usize;
            (read.done_bytes >= read.len_bytes).then_some(Ok(()))
        }
    }
}

impl Drop for OwnRing {
    /// The kernel still writes to the memory of reads in flight: they end first.
    fn drop(&mut self) {
        while self.in_flight > 0 {
            if self.submit_and_wait(1).is_err() {
                // Their memory is about to be freed, and cannot be taken from the kernel.
                std::process::abort();
            }
            while self.completed().is_some() {}
        }
    }
}
