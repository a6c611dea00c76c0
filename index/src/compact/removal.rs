//! Removing segments whose points are elsewhere.

use std::fs;
use std::io;
use std::path::Path;

use crate::manifest::MANIFEST;
use crate::points::Points;
use crate::tombstones::{self, Locked, TOMBSTONES};
use crate::{CompactError, Selection};

/// Removes the segments in these folders, unless points of one were deleted that were not `dead`
/// when they were copied: then none is removed.
pub(crate) fn remove<'a>(
    sources: impl Iterator<Item = (&'a Path, &'a Points, &'a Selection)> + Clone,
) -> Result<(), CompactError> {
    let mut locks = Vec::new();
    for (dir, points, dead) in sources.clone() {
        locks.push(Locked::new(dir, &|_| Ok(()))?);
        let count = points.manifest.points;
        let now = tombstones::read(dir, points.deletes.seal(), count)?;
        if now.unwrap_or_else(|| Selection::none(count)) != *dead {
            return Err(CompactError::DeletedMeanwhile { dir: dir.into() });
        }
    }
    for (dir, points, _) in sources {
        remove_one(dir, points)?;
    }
    Ok(())
}

fn remove_one(dir: &Path, points: &Points) -> Result<(), CompactError> {
    // Without it there is no segment, whatever else is still there.
    remove_file(dir, MANIFEST)?;
    remove_file(dir, TOMBSTONES)?;
    for component in &points.manifest.components {
        remove_file(dir, &component.pages_file())?;
        remove_file(dir, &component.checksums_file())?;
        remove_file(dir, &component.hot_set_file())?;
    }
    match fs::remove_dir(dir) {
        // What others have put there is theirs.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.map_err(|source| failed(dir, source)),
    }
}

fn remove_file(dir: &Path, name: &str) -> Result<(), CompactError> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| failed(&path, source)),
    }
}

fn failed(path: &Path, source: io::Error) -> CompactError {
    CompactError::Remove { path: path.into(), source }
}
