//! Deleting from segments and making one of several, without opening them for searches.

use std::path::Path;
use std::sync::Arc;

use ringpool_index::{
    BuildOptions, CompactReport, ComponentFile, DeleteReport, Patience, Progress,
};
use ringpool_storage::PageSource;
use ringpool_uring::{Engine, EngineChoice};

use crate::Error;
use crate::unpooled::Unpooled;

/// Deletes the points with these ids from the segment in `dir`, as [`Segment::delete`] does, of
/// which only the ids are read.
///
/// [`Segment::delete`]: crate::Segment::delete
///
/// # Errors
/// As those of `Segment::delete`; when the segment is damaged, or a file cannot be read.
pub fn delete(dir: impl AsRef<Path>, ids: &[u64]) -> Result<DeleteReport, Error> {
    delete_within(dir, ids, Patience::default())
}

/// [`delete`] as long as `patience` lasts.
///
/// # Errors
/// As those of `delete` and of [`Segment::delete_within`](crate::Segment::delete_within).
pub fn delete_within(
    dir: impl AsRef<Path>,
    ids: &[u64],
    patience: Patience<'_>,
) -> Result<DeleteReport, Error> {
    let engine = Engine::start(EngineChoice::Auto)?;
    let open = &mut |file: &ComponentFile| unpooled(&engine, file);
    Ok(ringpool_index::delete_within(dir.as_ref(), open, ids, patience)?)
}

/// Segments that can be made one, without their deleted points: looked at, so that it is known what
/// that takes, and nothing is written yet.
pub struct Compaction {
    engine: Engine,
    compaction: ringpool_index::Compaction,
}

impl Compaction {
    /// Looks at the segments in `dirs`.
    ///
    /// # Errors
    /// When one cannot be opened, is unlike the first or has an id that another has, and when no
    /// live point is in any, or too many for one segment.
    pub fn new<P: AsRef<Path>>(dirs: &[P]) -> Result<Self, Error> {
        Self::new_within(dirs, Patience::default())
    }

    /// [`new`](Self::new) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `new`; of a deadline that has passed, or of the caller who has cancelled.
    pub fn new_within<P: AsRef<Path>>(dirs: &[P], patience: Patience<'_>) -> Result<Self, Error> {
        let engine = Engine::start(EngineChoice::Auto)?;
        let dirs: Vec<&Path> = dirs.iter().map(AsRef::as_ref).collect();
        let open = &mut |file: &ComponentFile| unpooled(&engine, file);
        let compaction = ringpool_index::Compaction::new_within(&dirs, open, patience)?;
        Ok(Self { engine, compaction })
    }

    /// How the first segment was built: by default the new one is, too.
    pub fn options(&self) -> BuildOptions {
        BuildOptions::of(self.compaction.first())
    }

    /// How many points the new segment has.
    pub fn points(&self) -> usize {
        self.compaction.points()
    }

    /// The most memory that the process needs to make it with these options, in bytes.
    pub fn memory_bytes(&self, options: &BuildOptions) -> u64 {
        self.compaction.memory_bytes(options)
    }

    /// Reads the live points and builds the segment in `out`, whole or not at all, as
    /// [`build`](crate::build()) does. The sources stay as they are.
    ///
    /// # Errors
    /// When a page could not be had, and as those of `build`.
    pub fn build(
        &self,
        out: impl AsRef<Path>,
        options: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<CompactReport, Error> {
        let open = &mut |file: &ComponentFile| unpooled(&self.engine, file);
        Ok(self.compaction.build(open, out.as_ref(), options, progress)?)
    }

    /// Removes the sources, once the new segment is built; those whose folders have other files as
    /// well are left with these.
    ///
    /// # Errors
    /// When points of a source were deleted meanwhile, which the new segment does not know: then
    /// all stay. When the system refuses.
    pub fn remove_sources(self) -> Result<(), Error> {
        Ok(self.compaction.remove_sources()?)
    }
}

fn unpooled(
    engine: &Engine,
    file: &ComponentFile,
) -> ringpool_storage::Result<Arc<dyn PageSource>> {
    let opened = engine.open(&file.path, file.page_size)?;
    Ok(Arc::new(Unpooled::counting(opened, file.checksums.clone(), Arc::default())))
}
