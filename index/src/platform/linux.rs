//! Linux: madvise(2), posix_fadvise(2), renameat2(2).

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};
use rustix::io::Errno;

/// Whether all who can write to this folder see each other's locks: by the number that statfs(2) has
/// for its filesystem, where that is known to be one of a single machine.
pub(crate) fn has_locks_of_all(folder: &Path) -> bool {
    /// ext2 to ext4, xfs, btrfs, tmpfs, overlayfs, f2fs, zfs, bcachefs.
    const LOCAL: [u32; 8] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0x794C_7630,
        0xF2F5_2010,
        0x2FC1_2FC1,
        0xCA45_1A4E,
    ];
    rustix::fs::statfs(folder).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

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
