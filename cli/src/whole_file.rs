//! A file that appears whole or not at all, and in place of what was there before.
//!
//! It is written beside its place and renamed into it. Who is killed meanwhile leaves
//! `.ringpool-*.partial`, which nobody reads.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Puts at `path` what `write` writes.
pub fn publish(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let file = tempfile::Builder::new()
        .prefix(".ringpool-")
        .suffix(".partial")
        // As for any new file, the umask decides; a temporary file's own default is private.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_fails_on_the_way_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let half = |out: &mut dyn Write| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let entries = || fs::read_dir(dir.path()).unwrap().count();
        assert!(publish(&path, half).is_err());
        assert_eq!(entries(), 0);
        publish(&path, |out| out.write_all(b"whole")).unwrap();
        assert!(publish(&path, half).is_err());
        assert_eq!((fs::read(&path).unwrap(), entries()), (b"whole".to_vec(), 1));
        publish(&path, |out| out.write_all(b"another")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), entries()), (b"another".to_vec(), 1));
    }
}
