//! A system that is no unix, such as Windows: no process is copied there, and a folder is not
//! opened as a file is.

use std::io;
use std::path::Path;

pub(crate) struct Mark;

impl Mark {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn is_child(&self) -> bool {
        false
    }
}

pub(crate) fn system_page_bytes() -> Option<usize> {
    None
}

/// The journal of NTFS orders names; a program cannot ask for more.
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
