//! The unixes beside Linux, by what POSIX has.
//!
//! # Safety
//! Each function is given whole pages of the caller's own mapping, or a part of it where its content
//! stays.

#![allow(unsafe_code)]

use std::io;

use libc::{c_int, c_void};

/// Here memory is not set aside before it is touched, and there is no flag that says so.
pub(super) const MAP_NORESERVE: c_int = 0;

pub(super) unsafe fn advise_huge_pages(_start: *mut c_void, _len_bytes: usize, _wanted: bool) {}

pub(super) unsafe fn keep_from_children(_start: *mut c_void, _len_bytes: usize) {}

/// Here the advice that Linux is given may leave the old content: fresh zeros take its place.
pub(super) unsafe fn give_back(start: *mut c_void, len_bytes: usize) {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: replaces pages of the caller's own mapping and no others.
    let mapped = unsafe { libc::mmap(start, len_bytes, protection, flags, -1, 0) };
    assert_ne!(mapped, libc::MAP_FAILED, "the system takes no memory back");
}

/// Cannot be asked for here.
pub(super) unsafe fn populate(_start: *mut c_void, _len_bytes: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Locks all pages, and so takes memory for them, at once.
pub(super) unsafe fn lock(start: *mut c_void, len_bytes: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { libc::mlock(start, len_bytes) }
}
