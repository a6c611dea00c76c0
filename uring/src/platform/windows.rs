//! A system that is no unix, such as Windows: each range is a read of its own.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;

use super::as_of_a_ring;

/// What names a file for a ring. None is there to be told.
pub(crate) type Fd = i32;

/// A range of memory, as the unixes write it.
#[derive(Clone, Copy)]
pub(crate) struct IoVec {
    pub(crate) iov_base: *mut c_void,
    pub(crate) iov_len: usize,
}

pub(crate) fn descriptor(_file: &File) -> Fd {
    -1
}

/// Asks for reads that leave no pages behind, which here is asked for at the open.
pub(crate) fn stop_caching(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One read, with its result as a ring would give it: bytes, or the system's error, negated.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset_bytes: u64, _flags: i32) -> i32 {
    as_of_a_ring(file.seek_read(into, offset_bytes))
}

/// Reads into several ranges, until one comes short.
///
/// # Safety
/// The targets are the caller's alone, for the length of the call.
pub(crate) unsafe fn read_run(
    file: &File,
    targets: &[IoVec],
    offset_bytes: u64,
    flags: i32,
) -> i32 {
    let mut done = 0;
    for target in targets {
        // SAFETY: the caller's promise; pages were zeroed before they were read into.
        let into =
            unsafe { std::slice::from_raw_parts_mut(target.iov_base.cast(), target.iov_len) };
        match read_at(file, into, offset_bytes + done as u64, flags) {
            bytes @ 0.. => done += bytes,
            error if done == 0 => return error,
            _ => break,
        }
        if done as usize % target.iov_len != 0 {
            break;
        }
    }
    done
}
