//! A system that is no unix, such as Windows: no process is copied there, and a folder is not
//! opened as a file is.

use std::fs::{self, File};
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

/// A link is looked for before the file is opened, and not while it is: who may write to the folder
/// can put one there in between.
pub(crate) fn open_no_link(path: &Path) -> io::Result<Option<File>> {
    match fs::symlink_metadata(path)?.is_file() {
        true => File::open(path).map(Some),
        false => Ok(None),
    }
}

/// The journal of NTFS orders names; a program cannot ask for more.
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
