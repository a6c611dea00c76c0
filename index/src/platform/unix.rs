//! What Linux and the other unixes have in common.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens a file for reading; `None` where a link, a pipe without a writer or a device is in its
/// place. What else is no regular file, the caller finds out.
pub(crate) fn open_no_link(path: &Path) -> io::Result<Option<File>> {
    // NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
    match opened {
        Err(error) if is_refusal(&error) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Opens a file for writing, empty, and follows no link.
pub(crate) fn replace_no_link(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)
}

/// What a folder is locked by: itself, so that nothing is left behind.
pub(crate) fn open_to_lock(folder: &Path) -> io::Result<File> {
    File::open(folder)
}

/// Has new folders made as any new folder is: narrowed by the umask.
pub(crate) fn new_folder(builder: &mut tempfile::Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o777));
}

/// A link is ELOOP, but EMLINK on FreeBSD; a pipe or a device without its other side is ENXIO.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::LOOP, Errno::MLINK, Errno::NXIO];
    error.raw_os_error().is_some_and(|errno| refusals.iter().any(|no| no.raw_os_error() == errno))
}
