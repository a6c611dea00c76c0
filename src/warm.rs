//! Warm start of an index: what its pool held is saved, and read again after a restart.

use std::path::Path;
use std::sync::Arc;

use ringpool_bufferpool::{HotSet, PoolFile, Restoring};
use ringpool_index::ComponentKind;
use ringpool_storage::FileKey;

use crate::{Error, Index};

/// A component in a pool, and what tells it from those of other segments.
pub(crate) struct Pooled {
    pub(crate) kind: ComponentKind,
    pub(crate) file: Arc<PoolFile>,
    pub(crate) key: FileKey,
}

impl Index {
    /// Saves to `path` which pages of the originals are in memory, and how much each is used: a
    /// byte or two a page, whole or not at all. Returns false, and writes nothing, where they
    /// are in no pool.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_hot_set(&self, path: impl AsRef<Path>) -> Result<bool, Error> {
        match self.pooled_originals() {
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
        let Some(Pooled { file, key, .. }) = self.pooled_originals() else {
            return Ok(None);
        };
        Ok(Some(file.restore(HotSet::read(path, *key)?)?))
    }
}
