//! Opening an index: each component put where it is placed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringpool_bufferpool::Restoring;
use ringpool_compat_mmap::MmapSource;
use ringpool_index::{ComponentFile, ComponentKind, Manifest, Patience, Placed, SegmentError};
use ringpool_storage::{MemorySource, PageNo, PageSource};
use ringpool_uring::{DirectIo, OpenedFile, Rung};

use crate::plan::{Rules, part_of};
use crate::together::Together;
use crate::unpooled::Unpooled;
use crate::warm::{Pooled, warm};
use crate::{Error, Part, Place};

/// Opens one component of a segment after another.
pub(crate) struct Opening<'t> {
    together: &'t Together,
    manifest: &'t Manifest,
    rules: &'t Rules,
    held: Vec<Held>,
    engine: Option<EngineReport>,
    /// What failed within a component's opener and is no storage error.
    refused: Option<Error>,
    patience: Patience<'t>,
}

/// What an open index keeps of a component beside its segment.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) kind: ComponentKind,
    /// What people call it.
    pub(crate) part: Option<Part>,
    pub(crate) place: Place,
    pub(crate) path: PathBuf,
    pub(crate) pooled: Option<Arc<Pooled>>,
    pub(crate) mapped: Option<Arc<MmapSource>>,
    /// Reads its pages in the background.
    pub(crate) warming: Option<Arc<Restoring>>,
}

/// How pages are read.
#[derive(Clone)]
pub(crate) struct EngineReport {
    pub(crate) name: String,
    pub(crate) rung: Rung,
    pub(crate) reason: String,
    pub(crate) direct: bool,
}

impl Held {
    /// Whether searches read it by page, or it is the originals, which a mapping or a pool would.
    pub(crate) fn is_read_by_page(&self) -> bool {
        let is_loaded = matches!(self.place, Place::Resident | Place::Inlined);
        !is_loaded || self.kind == ComponentKind::Vectors
    }
}

/// Says where a component's file is to be.
type Placing<'p> = dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Placed> + 'p;

impl<'t> Opening<'t> {
    /// For components of the segment of `manifest`, by `rules`.
    pub(crate) fn new(
        together: &'t Together,
        manifest: &'t Manifest,
        rules: &'t Rules,
        patience: Patience<'t>,
    ) -> Self {
        Self { together, manifest, rules, held: Vec::new(), engine: None, refused: None, patience }
    }

    /// Runs `open` with what places the components that it comes to.
    pub(crate) fn run<T>(
        &mut self,
        open: impl FnOnce(&mut Placing<'_>) -> Result<T, SegmentError>,
    ) -> Result<T, Error> {
        let opened = open(&mut |file| {
            self.place(file).map_err(|error| match error {
                Error::Storage(error) => error,
                other => {
                    let path: Arc<str> = file.path.display().to_string().into();
                    let said = ringpool_storage::Error::not_pages(&path, other.to_string());
                    self.refused = Some(other);
                    said
                }
            })
        });
        match self.refused.take() {
            Some(error) => Err(error),
            None => Ok(opened?),
        }
    }

    fn place(&mut self, file: &ComponentFile) -> Result<Placed, Error> {
        let Some(place) = self.rules.place_of(self.manifest, file.kind, file.pages)? else {
            return Ok(Placed::Left);
        };
        let (kind, path) = (file.kind, file.path.clone());
        let part = part_of(self.manifest, kind);
        let mut held = Held { kind, part, place, path, pooled: None, mapped: None, warming: None };
        let placed = self.put(file, place, &mut held)?;
        self.held.push(held);
        Ok(placed)
    }

    fn put(
        &mut self,
        file: &ComponentFile,
        place: Place,
        held: &mut Held,
    ) -> Result<Placed, Error> {
        let are_originals = file.kind == ComponentKind::Vectors;
        let through = self.together.through.as_ref().filter(|_| are_originals);
        let source: Arc<dyn PageSource> = match place {
            Place::Resident | Place::Inlined => {
                let source = Arc::new(self.loading(file)?);
                match (through, place) {
                    // What is loaded is not asked for by page.
                    (Some(_), _) => Arc::new(in_memory(file, &*source, &self.patience)?),
                    (None, Place::Inlined) => return Ok(Placed::Inlined(source)),
                    (None, _) => return Ok(Placed::Resident(source)),
                }
            }
            Place::Pool(_) => {
                let opened = self.opened(file)?;
                self.report(&opened);
                let pooled = self.together.attach(opened.device, file)?;
                held.pooled.insert(pooled).file.clone()
            }
            Place::Mmap => {
                let (path, checksums) = (&file.path, Some(file.checksums.clone()));
                let mmap = self.together.mmap;
                let source = MmapSource::open(path, file.page_size, checksums, mmap)?;
                held.mapped.insert(Arc::new(source)).clone()
            }
            Place::Direct => {
                let reads = self.together.direct_reads.clone();
                let opened = self.opened(file)?;
                self.report(&opened);
                Arc::new(Unpooled::counting(opened, file.checksums.clone(), reads))
            }
        };
        Ok(Placed::Paged(match through {
            Some(through) => through(source),
            None => source,
        }))
    }

    /// What an open index keeps of the segment in `dir`, once all components were placed and the
    /// segment has loaded what it keeps of those that are paged: a mapping holds nothing of that
    /// any more. What is to be warm is warmed up.
    pub(crate) fn end(mut self, dir: &Path) -> Result<(Vec<Held>, Option<EngineReport>), Error> {
        let mut mapped = self.held.iter().filter_map(|held| held.mapped.as_ref());
        mapped.try_for_each(|source| source.let_go())?;
        warm(&mut self.held, &self.together.warm_up, dir, &self.patience)?;
        Ok((self.held, self.engine))
    }

    /// A file that is read once, and kept elsewhere.
    fn loading(&self, file: &ComponentFile) -> Result<Unpooled, Error> {
        let opened = self.opened(file)?;
        Ok(Unpooled::counting(opened, file.checksums.clone(), Arc::default()))
    }

    fn opened(&self, file: &ComponentFile) -> Result<OpenedFile, Error> {
        self.patience.check()?;
        let deadline = self.patience.deadline();
        Ok(self.together.engine.open_until(&file.path, file.page_size, deadline)?)
    }

    fn report(&mut self, opened: &OpenedFile) {
        let direct = opened.direct_io == DirectIo::Yes;
        let (name, reason) = (opened.engine.to_string(), opened.reason.clone());
        self.engine = Some(EngineReport { name, rung: opened.rung, reason, direct });
    }
}

/// Loads all pages of `file` through `source`.
fn in_memory(
    file: &ComponentFile,
    source: &dyn PageSource,
    patience: &Patience<'_>,
) -> Result<MemorySource, Error> {
    const BATCH: u64 = 256;
    let page_bytes = file.page_size.bytes();
    let mut bytes = vec![0; file.pages as usize * page_bytes];
    for first in (0..file.pages).step_by(BATCH as usize) {
        let pages: Vec<PageNo> = (first..file.pages.min(first + BATCH)).map(PageNo).collect();
        patience.check()?;
        source.visit_until(&pages, patience.deadline(), &mut |i, page| {
            let start = pages[i].0 as usize * page_bytes;
            bytes[start..start + page_bytes].copy_from_slice(page);
        })?;
    }
    Ok(MemorySource::new(file.path.display().to_string(), file.page_size, bytes)?)
}
