//! What Linux and the other unixes have in common.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// What a folder is locked by: itself, so that nothing is left behind. No pipe in its place is waited
/// for.
pub(crate) fn open_to_lock(folder: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY.bits() as i32;
    File::options().read(true).custom_flags(flags).open(folder)
}

/// Has new folders made as any new folder is: narrowed by the umask.
pub(crate) fn new_folder(builder: &mut tempfile::Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o777));
}
