//! A system that is no unix, such as Windows.
//!
//! A folder cannot be locked itself: a file in it is.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// The file that is locked, and stays.
const LOCK: &str = ".TOMBSTONES.lock";

/// What a folder is locked by.
pub(crate) fn open_to_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))
}

/// Folders are not locked here: what builds leave that are killed stays until somebody removes it.
pub(crate) fn locked(_folder: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn has_locks_of_all(_folder: &Path) -> bool {
    false
}

pub(crate) fn is_at(_opened: &File, _path: &Path) -> bool {
    false
}

pub(crate) fn new_folder(_builder: &mut tempfile::Builder<'_, '_>) {}

/// The pages stay until the system wants their memory.
pub(crate) fn forget_pages(_file: &File) {}

/// Left to the caller's look before a plain rename.
pub(crate) fn rename_to_nothing(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
    None
}

pub(crate) fn wish_for_huge_pages<T>(_values: &[T]) {}
