//! Removing segments whose points are elsewhere.

use std::fs;
use std::io;
use std::path::Path;

use crate::manifest::MANIFEST;
use crate::points::Points;
use crate::step::{Gate, step};
use crate::tombstones::{self, Locked, TOMBSTONES};
use crate::{CompactError, Patience, Selection};

/// Removes the segments in these folders, unless points of one were deleted that were not `dead`
/// when they were copied: then none is removed.
pub(crate) fn remove<'a>(
    sources: impl Iterator<Item = (&'a Path, &'a Points, &'a Selection)> + Clone,
    gate: &Gate<'_>,
) -> Result<(), CompactError> {
    let mut locks = Vec::new();
    for (dir, points, dead) in sources.clone() {
        locks.push(Locked::new(dir, Patience::default(), gate)?);
        let count = points.manifest.points;
        let now = tombstones::read(dir, points.deletes.seal(), count)?;
        if now.unwrap_or_else(|| Selection::none(count)) != *dead {
            return Err(CompactError::DeletedMeanwhile { dir: dir.into() });
        }
    }
    for ((dir, points, _), lock) in sources.zip(&locks) {
        // Without it there is no segment, whatever else is still there: not after a crash, either.
        remove_file(dir, MANIFEST, gate)?;
        lock.sync()?;
        remove_rest(dir, points, gate)?;
    }
    Ok(())
}

fn remove_rest(dir: &Path, points: &Points, gate: &Gate<'_>) -> Result<(), CompactError> {
    remove_file(dir, TOMBSTONES, gate)?;
    for component in &points.manifest.components {
        remove_file(dir, &component.pages_file(), gate)?;
        remove_file(dir, &component.checksums_file(), gate)?;
        remove_file(dir, &component.hot_set_file(), gate)?;
    }
    match step(gate, "remove the folder", || fs::remove_dir(dir)) {
        // What others have put there is theirs.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.map_err(|source| failed(dir, source)),
    }
}

fn remove_file(dir: &Path, name: &str, gate: &Gate<'_>) -> Result<(), CompactError> {
    let path = dir.join(name);
    match step(gate, "remove", || fs::remove_file(&path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| failed(&path, source)),
    }
}

fn failed(path: &Path, source: io::Error) -> CompactError {
    CompactError::Remove { path: path.into(), source }
}
