//! The unixes beside Linux: no huge pages to wish for, and no rename that never replaces.

use std::fs::File;
use std::io;
use std::path::Path;

/// The pages stay until the system wants their memory.
pub(crate) fn forget_pages(_file: &File) {}

/// Not asked here: what builds leave that are killed stays until somebody removes it.
pub(crate) fn has_locks_of_all(_folder: &Path) -> bool {
    false
}

/// Left to the caller's look before a plain rename.
pub(crate) fn rename_to_nothing(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
    None
}

pub(crate) fn wish_for_huge_pages<T>(_values: &[T]) {}
