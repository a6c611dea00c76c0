//! Files by their names: none but the one that is named is opened, and names outlive a crash.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::platform;

/// Opens a file for reading; `None` where a link, a socket or a device without its other side is in
/// its place. What else is no regular file, the caller finds out; nobody waits for a pipe's writer.
/// Who has looked at a file by its name gets none that it was exchanged for. A name in
/// `/proc/self/fd` is of a file that the process has open, and no link in this sense.
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

    #[cfg(target_os = "linux")]
    #[test]
    fn links_are_passed_by_but_for_the_names_of_open_files() {
        use std::os::fd::AsRawFd;

        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, b"bytes").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let opened = open_no_link(&file).unwrap().unwrap();
        assert!(open_no_link(&link).unwrap().is_none());
        let by_descriptor = format!("/proc/self/fd/{}", opened.as_raw_fd());
        assert!(open_no_link(by_descriptor.as_ref()).unwrap().is_some());
        // A link in a folder that is named so stays a link.
        let folder = File::open(dir.path()).unwrap();
        let within = format!("/proc/self/fd/{}/link", folder.as_raw_fd());
        assert!(open_no_link(within.as_ref()).unwrap().is_none());
    }
}
