//! The unixes beside Linux: pread(2) and preadv(2), and on macOS the wish that pages are not cached.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub(crate) use libc::iovec as IoVec;
pub(crate) use std::os::fd::RawFd as Fd;

use super::as_of_a_ring;

pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    // O_NONBLOCK: a FIFO opens at once and is refused later, instead of waiting for a writer.
    // O_NOFOLLOW: who has looked at a file by its name gets none that it was exchanged for.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NOCTTY;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Whether an open was refused because a link is in the file's place: ELOOP, but EMLINK on FreeBSD.
pub(crate) fn is_of_a_link(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EMLINK))
}

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
