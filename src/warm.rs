//! Warm start of an index: what its pool held is saved, and read again after a restart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringpool_bufferpool::{HotSet, PoolError, PoolFile, Restoring, Share};
use ringpool_index::ComponentKind;
use ringpool_storage::FileKey;

use crate::{Error, Index};

/// A component in a pool, and what tells it from those of other segments.
pub(crate) struct Pooled {
    pub(crate) kind: ComponentKind,
    pub(crate) file: Arc<PoolFile>,
    pub(crate) key: FileKey,
    /// What was promised to it last.
    floor_bytes: AtomicU64,
}

impl Pooled {
    pub(crate) fn new(kind: ComponentKind, file: Arc<PoolFile>, key: FileKey) -> Self {
        Self { kind, file, key, floor_bytes: AtomicU64::new(0) }
    }

    /// What it is sure of, as far as it was promised here.
    pub(crate) fn floor_bytes(&self) -> u64 {
        self.floor_bytes.load(Ordering::Relaxed)
    }

    /// Promises it so much. What was promised before is not touched where nothing changes, nor
    /// what its owner has set meanwhile.
    pub(crate) fn set_floor_bytes(&self, floor_bytes: u64) -> Result<(), PoolError> {
        if floor_bytes != self.floor_bytes() {
            self.file.set_share(Share::default().floor_bytes(floor_bytes))?;
            // Relaxed: who promises holds a lock.
            self.floor_bytes.store(floor_bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Index {
    /// Saves to `path` which pages of the originals are in memory, and how much each is used: a
    /// byte or two a page, whole or not at all. Returns false, and writes nothing, where they
    /// are in no pool.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_hot_set(&self, path: impl AsRef<Path>) -> Result<bool, Error> {
        match self.now().originals() {
            Some(Pooled { file, key, .. }) => file.hot_set(*key).write(path)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Reads the pages that were saved to `path`, in the background and most used first. Search
    /// meanwhile; dropped, it stops. `None` where they are in no pool.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or belongs to another segment. The index is as
    /// good as before.
    pub fn restore_hot_set(&self, path: impl AsRef<Path>) -> Result<Option<Restoring>, Error> {
        let open = self.now();
        let Some(Pooled { file, key, .. }) = open.originals() else {
            return Ok(None);
        };
        Ok(Some(file.restore(HotSet::read(path, *key)?)?))
    }
}
