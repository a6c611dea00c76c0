//! Deleting points of a segment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::ids::Ids;
use crate::step::Gate;
use crate::tombstones::{self, Locked};
use crate::{DeleteError, Manifest, Patience, SegmentError, Selection};

/// What a call to delete has done. Ids that were given twice count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Points that were there and are deleted now.
    pub deleted: u64,
    /// Ids whose points were deleted before.
    pub already: u64,
    /// Ids that no point of the segment has.
    pub missing: u64,
    /// Points that are left.
    pub live: u64,
}

/// Which points of an open segment are deleted.
#[derive(Debug)]
pub(crate) struct Deletes {
    dir: PathBuf,
    /// The checksum of the segment's manifest.
    seal: u32,
    points: usize,
    dead: RwLock<Option<Arc<Selection>>>,
    /// Held while what is on disk is read or written, so that what is older does not replace what
    /// is newer in memory.
    turn: Mutex<()>,
}

impl Deletes {
    /// Those of the segment in `dir`.
    pub(crate) fn open(dir: &Path, seal: u32, points: usize) -> Result<Self, SegmentError> {
        let dead = tombstones::read(dir, seal, points)?.map(Arc::new);
        let (dead, turn) = (RwLock::new(dead), Mutex::new(()));
        Ok(Self { dir: dir.into(), seal, points, dead, turn })
    }

    /// The places of the deleted points; none where no point ever was.
    pub(crate) fn dead(&self) -> Option<Arc<Selection>> {
        self.dead.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The checksum of the segment's manifest.
    pub(crate) fn seal(&self) -> u32 {
        self.seal
    }

    /// How many points are left.
    pub(crate) fn live(&self) -> usize {
        self.points - self.dead().map_or(0, |dead| dead.len())
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.dead().map_or(0, |dead| dead.resident_bytes())
    }

    /// Reads what others have deleted.
    pub(crate) fn reload(&self) -> Result<(), SegmentError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.set(tombstones::read(&self.dir, self.seal, self.points)?);
        Ok(())
    }

    pub(crate) fn set(&self, dead: Option<Selection>) {
        *self.dead.write().unwrap_or_else(PoisonError::into_inner) = dead.map(Arc::new);
    }

    /// Deletes the points with these ids, with a gate at each step on disk.
    pub(crate) fn delete(
        &self,
        ids: &Ids,
        wanted: &[u64],
        patience: Patience<'_>,
        gate: &Gate<'_>,
    ) -> Result<DeleteReport, DeleteError> {
        let asked = distinct(wanted);
        let mut fresh = ids.places_of(&asked, self.points);
        let found = fresh.len();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = Locked::new(&self.dir, patience, gate)?;
        if Manifest::read_sealed(&self.dir)?.1 != self.seal {
            return Err(DeleteError::Replaced { dir: self.dir.clone() });
        }
        let on_disk = tombstones::read(&self.dir, self.seal, self.points)?;
        let mut dead = on_disk.unwrap_or_else(|| Selection::none(self.points));
        fresh.subtract(&dead);
        if fresh.is_empty() {
            // Somebody may have renamed them into place, and then could not sync the folder.
            locked.sync()?;
        } else {
            dead.unite(&fresh);
            locked.replace(&dead, self.seal)?;
        }
        let report = DeleteReport {
            deleted: fresh.len() as u64,
            already: (found - fresh.len()) as u64,
            missing: (asked.len() - found) as u64,
            live: (self.points - dead.len()) as u64,
        };
        self.set(Some(dead).filter(|dead| !dead.is_empty()));
        Ok(report)
    }
}

/// How many points of the segment in `dir` are not deleted, by its manifest and its tombstones
/// alone.
///
/// # Errors
/// When either is not what was written.
pub fn live_points(dir: &Path) -> Result<usize, SegmentError> {
    let (manifest, seal) = Manifest::read_sealed(dir)?;
    let dead = tombstones::read(dir, seal, manifest.points)?;
    Ok(manifest.points - dead.map_or(0, |dead| dead.len()))
}

fn distinct(ids: &[u64]) -> Vec<u64> {
    let mut distinct = ids.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}
