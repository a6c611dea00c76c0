//! Linux: open(2), statx(2), fcntl(2), preadv2(2).

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

pub(crate) use libc::{ETIME, iovec as IoVec};
pub(crate) use std::os::fd::RawFd as Fd;

pub use crate::features::kernel_features;
pub(crate) use crate::kernel_ring::KernelRing;
use crate::paged_file::DioAlign;

/// Uncached buffered reads, Linux 6.14 (include/uapi/linux/fs.h).
pub(crate) const DONT_CACHE: i32 = 0x80;
/// See statfs(2); the crate of the system's words has only tmpfs.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

pub(crate) fn descriptor(file: &File) -> Fd {
    file.as_raw_fd()
}

/// Asks for reads that leave no pages behind: each read has a flag for it.
pub(crate) fn stop_caching(_file: &File) -> io::Result<()> {
    Ok(())
}

/// The alignment that direct reads need; `None` where the kernel (before 6.1) or the filesystem
/// does not say.
pub(crate) fn dio_align(file: &File) -> io::Result<Option<DioAlign>> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is an empty C string, as AT_EMPTY_PATH wants it; the kernel writes no
    // more than one `statx`, all of whose bit patterns are valid.
    let (result, answer) = unsafe {
        let flags = libc::AT_EMPTY_PATH;
        let to = answer.as_mut_ptr();
        let result = libc::statx(descriptor(file), c"".as_ptr(), flags, libc::STATX_DIOALIGN, to);
        (result, answer.assume_init())
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let said = answer.stx_mask & libc::STATX_DIOALIGN != 0;
    let (memory_bytes, offset_bytes) = (answer.stx_dio_mem_align, answer.stx_dio_offset_align);
    Ok(said.then_some(DioAlign { memory_bytes, offset_bytes }))
}

/// Whether the file has no other place than memory. Such a filesystem takes O_DIRECT, says
/// nothing of its alignment, and reads from the page cache all the same.
pub(crate) fn lives_in_the_page_cache(file: &File) -> bool {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes no more than one `statfs`, all of whose bit patterns are valid.
    let (result, answer) = unsafe {
        let result = libc::fstatfs(descriptor(file), answer.as_mut_ptr());
        (result, answer.assume_init())
    };
    // Of another type in each C library.
    result == 0 && [libc::TMPFS_MAGIC as u64, RAMFS_MAGIC].contains(&(answer.f_type as u64))
}

pub(crate) fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let fd = descriptor(file);
    // SAFETY: two calls on a descriptor that `file` owns; no memory is passed.
    let result = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        let others = flags & !libc::O_DIRECT;
        let wanted = if direct { others | libc::O_DIRECT } else { others };
        if flags < 0 { flags } else { libc::fcntl(fd, libc::F_SETFL, wanted) }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One read, with its result as a ring would give it: bytes, or -errno.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset_bytes: u64, flags: i32) -> i32 {
    if flags == 0 {
        return match file.read_at(into, offset_bytes) {
            Ok(bytes) => bytes as i32,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
    }
    let target = IoVec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: one range, which `into` lends for the length of the call.
    unsafe { read_run(file, &[target], offset_bytes, flags) }
}

/// Reads into several ranges with one call.
///
/// # Safety
/// The targets are the caller's alone, for the length of the call.
pub(crate) unsafe fn read_run(
    file: &File,
    targets: &[IoVec],
    offset_bytes: u64,
    flags: i32,
) -> i32 {
    let (offset, count) = (offset_bytes as libc::off_t, targets.len() as libc::c_int);
    // SAFETY: the caller's promise.
    let bytes = unsafe { libc::preadv2(descriptor(file), targets.as_ptr(), count, offset, flags) };
    match i32::try_from(bytes) {
        Ok(bytes @ 0..) => bytes,
        _ => -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
    }
}
