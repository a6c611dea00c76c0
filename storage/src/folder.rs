//! Files by their names: none but the one that is named is opened, and names outlive a crash.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::platform;

/// Opens a file for reading; `None` where a link, a pipe without a writer or a device is in its
/// place. What else is no regular file, the caller finds out.
///
/// # Errors
/// The system's, when there is no such file, or it may not be read.
pub fn open_no_link(path: &Path) -> io::Result<Option<File>> {
    platform::open_no_link(path)
}

/// Writes a folder itself to the disk: the names of the files that were created in it, renamed or
/// removed. Where the system has no such call (Windows), nothing is done.
///
/// # Errors
/// The system's, when the folder cannot be opened or written.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    platform::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_synced_and_a_missing_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        sync_folder(dir.path()).unwrap();
        let missing = sync_folder(&dir.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
