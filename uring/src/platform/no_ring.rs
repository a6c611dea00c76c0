//! A system without io_uring. Its ring is never made, so that the code around it is compiled and
//! checked everywhere, and never run.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::time::Duration;

use super::Fd;
use crate::paged_file::DioAlign;
use crate::ring::{RawRing, Sqe};

/// What a ring's wait says when its time is over. No ring is there to say it.
pub(crate) const ETIME: i32 = i32::MIN;
/// Reads have no flags here.
pub(crate) const DONT_CACHE: i32 = 0;

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring is Linux's"))
}

/// The features that the kernel reports when a ring is set up: elsewhere than on Linux, none.
///
/// # Errors
/// Always: there is no ring.
pub fn kernel_features() -> io::Result<Vec<&'static str>> {
    refused()
}

/// Nothing is known of alignments here.
pub(crate) fn dio_align(_file: &File) -> io::Result<Option<DioAlign>> {
    Ok(None)
}

pub(crate) fn lives_in_the_page_cache(_file: &File) -> bool {
    false
}

pub(crate) fn set_direct(_file: &File, direct: bool) -> io::Result<()> {
    match direct {
        true => {
            let reason = "direct reads are made use of on Linux only";
            Err(io::Error::new(io::ErrorKind::Unsupported, reason))
        }
        false => Ok(()),
    }
}

/// A ring that is refused.
pub(crate) enum KernelRing {}

impl KernelRing {
    pub(crate) fn new(_depth: u32) -> io::Result<Self> {
        refused()
    }

    pub(crate) fn make_slots(&self) -> io::Result<()> {
        match *self {}
    }
}

impl RawRing for KernelRing {
    unsafe fn push(&self, _sqe: &Sqe) -> bool {
        match *self {}
    }

    fn enter(&self, _want: usize, _patience: Duration) -> io::Result<()> {
        match *self {}
    }

    unsafe fn pop(&self, _into: &mut [(u64, i32)]) -> usize {
        match *self {}
    }

    unsafe fn completions(&self) -> usize {
        match *self {}
    }

    fn register_file(&self, _slot: u32, _fd: Fd) -> io::Result<()> {
        match *self {}
    }

    unsafe fn register_memory(
        &self,
        _slot: u32,
        _start: *mut u8,
        _len_bytes: usize,
    ) -> io::Result<()> {
        match *self {}
    }

    fn wait_any(_rings: &[&Self], _patience: Duration) {}
}
