//! The unixes beside Linux: pread(2) and preadv(2), and on macOS the wish that pages are not cached.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

pub(crate) use libc::iovec as IoVec;
pub(crate) use std::os::fd::RawFd as Fd;

use super::as_of_a_ring;

pub(crate) fn descriptor(file: &File) -> Fd {
    file.as_raw_fd()
}

/// Asks for reads that leave no pages behind.
#[cfg(target_vendor = "apple")]
pub(crate) fn stop_caching(file: &File) -> io::Result<()> {
    // SAFETY: a call on a descriptor that `file` owns; no memory is passed.
    match unsafe { libc::fcntl(descriptor(file), libc::F_NOCACHE, 1) } {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Asks for reads that leave no pages behind, of which this system knows nothing.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn stop_caching(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One read, with its result as a ring would give it: bytes, or -errno.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset_bytes: u64, _flags: i32) -> i32 {
    as_of_a_ring(file.read_at(into, offset_bytes))
}

/// Reads into several ranges with one call.
///
/// # Safety
/// The targets are the caller's alone, for the length of the call.
pub(crate) unsafe fn read_run(
    file: &File,
    targets: &[IoVec],
    offset_bytes: u64,
    _flags: i32,
) -> i32 {
    let (offset, count) = (offset_bytes as libc::off_t, targets.len() as libc::c_int);
    // SAFETY: the caller's promise.
    let bytes = unsafe { libc::preadv(descriptor(file), targets.as_ptr(), count, offset) };
    as_of_a_ring(usize::try_from(bytes).map_err(|_| io::Error::last_os_error()))
}
