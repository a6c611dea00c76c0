//! A system that is no unix, such as Windows.
//!
//! Links are looked for before a file is opened, and not while it is: who may write to the folder
//! can put one there in between. A folder cannot be locked itself: a file in it is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// The file that is locked, and stays.
const LOCK: &str = ".TOMBSTONES.lock";

/// Opens a file for reading; `None` where something else than a regular file is in its place.
pub(crate) fn open_no_link(path: &Path) -> io::Result<Option<File>> {
    match fs::symlink_metadata(path)?.is_file() {
        true => File::open(path).map(Some),
        false => Ok(None),
    }
}

/// Opens a file for writing, empty, and follows no link.
pub(crate) fn replace_no_link(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(io::ErrorKind::InvalidInput.into()),
        _ => OpenOptions::new().write(true).create(true).truncate(true).open(path),
    }
}

/// What a folder is locked by.
pub(crate) fn open_to_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))
}

pub(crate) fn new_folder(_builder: &mut tempfile::Builder<'_, '_>) {}

/// The pages stay until the system wants their memory.
pub(crate) fn forget_pages(_file: &File) {}

/// Left to the caller's look before a plain rename.
pub(crate) fn rename_to_nothing(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
    None
}

pub(crate) fn wish_for_huge_pages<T>(_values: &[T]) {}
