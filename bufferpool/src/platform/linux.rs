//! Linux: madvise(2) and mlock2(2).
//!
//! # Safety
//! Each function is given whole pages of the caller's own mapping, or a part of it where its content
//! stays.

#![allow(unsafe_code)]

use std::io;

pub(super) use libc::MAP_NORESERVE;
use libc::{c_int, c_long, c_void};

pub(super) unsafe fn advise_huge_pages(start: *mut c_void, len_bytes: usize, wanted: bool) {
    let advice = if wanted { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    // SAFETY: the caller's promise. So below.
    unsafe { advise(start, len_bytes, advice) };
}

pub(super) unsafe fn keep_from_children(start: *mut c_void, len_bytes: usize) {
    // SAFETY: as above.
    unsafe { advise(start, len_bytes, libc::MADV_DONTFORK) };
}

pub(super) unsafe fn give_back(start: *mut c_void, len_bytes: usize) {
    // SAFETY: as above.
    unsafe { advise(start, len_bytes, libc::MADV_DONTNEED) };
}

pub(super) unsafe fn populate(start: *mut c_void, len_bytes: usize) -> io::Result<()> {
    // SAFETY: as above.
    match unsafe { libc::madvise(start, len_bytes, libc::MADV_POPULATE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Locks each page when it is touched first. Asked for by its number, since not every C library
/// has it.
pub(super) unsafe fn lock(start: *mut c_void, len_bytes: usize) -> c_long {
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_mlock2, start, len_bytes, libc::MLOCK_ONFAULT) }
}

unsafe fn advise(start: *mut c_void, len_bytes: usize, advice: c_int) {
    // SAFETY: as above.
    unsafe { libc::madvise(start, len_bytes, advice) };
}
