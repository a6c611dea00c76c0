//! The unixes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// Has the umask decide, as for any new file; a temporary file's own default is private.
pub(crate) fn like_any_new_file(builder: &mut tempfile::Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o666));
}
