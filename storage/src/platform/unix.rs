//! What Linux and the other unixes have in common.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

pub(crate) fn system_page_bytes() -> Option<usize> {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok()
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
