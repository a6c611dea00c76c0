//! What Linux and the other unixes have in common.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// What a folder is locked by: itself, so that nothing is left behind. No pipe in its place is waited
/// for.
pub(crate) fn open_to_lock(folder: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY.bits() as i32;
    File::options().read(true).custom_flags(flags).open(folder)
}

/// The lock of a folder that nobody else has locked; `WouldBlock` where somebody has.
pub(crate) fn locked(folder: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let folder = File::options().read(true).custom_flags(flags.bits() as i32).open(folder)?;
    folder.try_lock()?;
    Ok(folder)
}

/// Whether what was opened is still at `path`.
pub(crate) fn is_at(opened: &File, path: &Path) -> bool {
    let (Ok(opened), Ok(there)) = (opened.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (opened.dev(), opened.ino()) == (there.dev(), there.ino())
}

/// Has new folders made as any new folder is: narrowed by the umask.
pub(crate) fn new_folder(builder: &mut tempfile::Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o777));
}
