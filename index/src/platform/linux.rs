//! Linux: madvise(2), posix_fadvise(2), renameat2(2).

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};
use rustix::io::Errno;

/// Drops a file's pages from the page cache. Advice: where it is not taken, nothing is wrong.
pub(crate) fn forget_pages(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// Renames a folder where nothing is; `None` where the file system cannot see to that.
pub(crate) fn rename_to_nothing(from: &Path, to: &Path) -> Option<io::Result<()>> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => None,
        renamed => Some(renamed.map_err(io::Error::from)),
    }
}

/// Asks for huge pages under whole huge pages of memory that was not touched yet. A wish.
pub(crate) fn wish_for_huge_pages<T>(values: &[T]) {
    /// On x86-64, and on aarch64 with pages of 4 KiB. A multiple of the pages of any machine, so
    /// that the advice is well formed on all.
    const HUGE_PAGE_BYTES: usize = 2 << 20;
    let within = values.as_ptr_range();
    // Whole pages only: what lies beside the array is somebody else's.
    let start = (within.start as usize).next_multiple_of(HUGE_PAGE_BYTES);
    let end = within.end as usize / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if start < end {
        let (skipped, len) = (start - within.start as usize, end - start);
        let from = within.start.wrapping_byte_add(skipped).cast_mut().cast();
        // SAFETY: the range is within the borrowed array, and the advice changes how its pages are
        // backed, never what is in them.
        let _ = unsafe { rustix::mm::madvise(from, len, rustix::mm::Advice::LinuxHugepage) };
    }
}
