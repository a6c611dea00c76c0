//! A folder that a build has begun, and those that builds have left behind that were killed.
//!
//! It has a name that nobody else uses, `.NAME.building-` and six letters or digits, and goes away
//! when it is dropped. Who is killed leaves it. As long as it is being written its writer has a lock
//! on it (`flock`), which the kernel takes back however the writer ends: a folder of such a name that
//! can be locked is nobody's, and the next build of the same name removes it. On disks that several
//! machines share, such a lock may hold on one of them alone: there nothing is removed by itself.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::platform::{self, has_locks_of_all, is_at, locked};

/// What follows the name of the segment, and how many letters or digits follow that.
const ENDING: &str = ".building-";
const RANDOM_CHARS: usize = 6;
/// How often a new folder may be taken for one that was left behind, in the moment before it is
/// locked.
const TRIES: u32 = 8;

/// A folder that goes away when it is dropped, unless it has another name by then.
pub(crate) struct Begun {
    folder: TempDir,
    /// `None` where the filesystem knows no locks: then nobody removes what is left behind.
    _lock: Option<File>,
}

impl Begun {
    /// Makes one in `parent` for a segment of this name, after it has removed what builds of it
    /// have left that were killed.
    pub(crate) fn new(parent: &Path, name: &OsStr) -> io::Result<Self> {
        let prefix = format!(".{}{ENDING}", name.to_string_lossy());
        let left_there =
            if has_locks_of_all(parent) { left_behind(parent, &prefix)? } else { Vec::new() };
        for left in left_there {
            // Locked until it is gone. What cannot be removed is in nobody's way.
            if let Ok(_lock) = locked(&left) {
                let _ = fs::remove_dir_all(&left);
            }
        }
        for _ in 0..TRIES {
            let mut builder = tempfile::Builder::new();
            platform::new_folder(builder.prefix(&prefix).rand_bytes(RANDOM_CHARS));
            let folder = builder.tempdir_in(parent)?;
            match locked(folder.path()) {
                Ok(lock) if is_at(&lock, folder.path()) => {
                    return Ok(Self { folder, _lock: Some(lock) });
                }
                // Another build takes it for one that was left behind, or has removed it.
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {}
                Err(_) => return Ok(Self { folder, _lock: None }),
            }
        }
        Err(io::Error::other("other builds of the same name remove what this one begins"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Folders that builds of this name have begun, and are writing or have left behind.
fn left_behind(parent: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let is_one = |name: &OsStr| {
        let rest = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let fits = |rest: &str| {
            rest.len() == RANDOM_CHARS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        rest.is_some_and(fits)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if is_one(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(parent: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(parent).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[cfg(unix)]
    #[test]
    fn what_a_killed_build_has_left_goes_with_the_next_and_nothing_else_does() {
        let parent = tempfile::tempdir().unwrap();
        let begin = || Begun::new(parent.path(), OsStr::new("name")).unwrap();
        let stay = [
            ".name.building-",
            ".name.building-short",
            ".name.building-longer0",
            ".name.building-a.b.c.",
            ".other.building-abcdef",
            ".name.building-abcdef.building-abcdef",
            "name",
        ];
        for name in stay {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        // No folder: of nobody's build.
        fs::write(parent.path().join(".name.building-isfile"), b"").unwrap();
        std::os::unix::fs::symlink("name", parent.path().join(".name.building-islink")).unwrap();
        let before = names(parent.path());
        let left = parent.path().join(".name.building-Abc123");
        fs::create_dir_all(left.join("with/something")).unwrap();
        let first = begin();
        assert!(!left.exists() && first.path().exists());
        // One that is being written stays.
        let second = begin();
        assert!(first.path().exists() && second.path().exists());
        assert_eq!(names(parent.path()).len(), before.len() + 2);
        drop((first, second));
        assert_eq!(names(parent.path()), before);
    }

    /// Each looks for what others have left in the very moment in which these begin.
    #[test]
    fn builds_of_one_name_that_begin_at_once_leave_each_other_alone() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let own = Begun::new(parent.path(), OsStr::new("name")).unwrap();
                        fs::write(own.path().join("file"), b"mine").unwrap();
                        assert_eq!(fs::read(own.path().join("file")).unwrap(), b"mine");
                    }
                });
            }
        });
        assert!(names(parent.path()).is_empty());
    }
}
