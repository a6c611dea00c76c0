//! Opening an index: each component put where it is placed.

use std::path::PathBuf;
use std::sync::Arc;

use ringpool_bufferpool::Pool;
use ringpool_compat_mmap::MmapSource;
use ringpool_index::{ComponentFile, ComponentKind, Manifest, Placed, Quantizer};
use ringpool_storage::{MemorySource, PageNo, PageSource};
use ringpool_uring::{DirectIo, OpenedFile, Rung};

use crate::together::{Together, walked_by};
use crate::unpooled::Unpooled;
use crate::warm::Pooled;
use crate::{Error, Place, Placement};

/// Opens one component of a segment after another.
pub(crate) struct Opening<'t, 'a> {
    together: &'t mut Together<'a>,
    /// What searches are to walk by.
    codes: Quantizer,
    mapped: Vec<Arc<MmapSource>>,
    opened: Opened,
}

/// What an open index keeps beside its segment.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) paged_files: Vec<PathBuf>,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) pool: Option<Pool>,
    pub(crate) pooled: Vec<Pooled>,
    /// What is read straight from the disk.
    pub(crate) unpooled: Vec<Arc<Unpooled>>,
    pub(crate) engine: Option<EngineReport>,
}

/// How pages are read.
#[derive(Clone)]
pub(crate) struct EngineReport {
    pub(crate) name: String,
    pub(crate) rung: Rung,
    pub(crate) reason: String,
    pub(crate) direct: bool,
}

impl<'t, 'a> Opening<'t, 'a> {
    pub(crate) fn new(together: &'t mut Together<'a>, manifest: &Manifest) -> Result<Self, Error> {
        let codes = walked_by(together.options, manifest)?;
        Ok(Self { together, codes, mapped: Vec::new(), opened: Opened::default() })
    }

    fn place_of(&self, kind: ComponentKind) -> Option<Place> {
        self.together.place_of(kind, self.codes)
    }

    /// Where everything goes.
    pub(crate) fn placement(&self) -> Placement {
        Placement {
            graph: self.place_of(ComponentKind::Graph),
            codes: match self.codes {
                Quantizer::None => None,
                codes => self.place_of(ComponentKind::Codes(codes)),
            },
            vectors: self.place_of(ComponentKind::Vectors),
        }
    }

    pub(crate) fn place(&mut self, file: &ComponentFile) -> Result<Placed, Error> {
        let Some(place) = self.place_of(file.kind) else { return Ok(Placed::Left) };
        let are_originals = file.kind == ComponentKind::Vectors;
        if are_originals || !matches!(place, Place::Resident | Place::Inlined) {
            self.opened.paged_files.push(file.path.clone());
        }
        let source: Arc<dyn PageSource> = match place {
            Place::Resident | Place::Inlined => {
                let source = Arc::new(self.unpooled(file)?);
                match (self.together.through, place) {
                    // What is loaded is not asked for by page.
                    (Some(_), _) if are_originals => Arc::new(in_memory(file, &*source)?),
                    (_, Place::Inlined) => return Ok(Placed::Inlined(source)),
                    _ => return Ok(Placed::Resident(source)),
                }
            }
            Place::Pool => self.pooled(file)?,
            Place::Mmap => {
                let (path, checksums) = (&file.path, Some(file.checksums.clone()));
                let mmap = self.together.options.mmap;
                let source = MmapSource::open(path, file.page_size, checksums, mmap)?;
                let source = Arc::new(source);
                self.mapped.push(source.clone());
                source
            }
            Place::Direct => {
                let source = Arc::new(self.unpooled(file)?);
                self.report(source.opened());
                self.opened.unpooled.push(source.clone());
                source
            }
        };
        Ok(Placed::Paged(match self.together.through.filter(|_| are_originals) {
            Some(through) => through(source),
            None => source,
        }))
    }

    /// What an open segment keeps, once all components were placed and the segment has loaded what
    /// it keeps of those that are paged: a mapping holds nothing of that any more.
    pub(crate) fn end(self) -> Result<Opened, Error> {
        self.mapped.iter().try_for_each(|source| source.let_go())?;
        let memory_budget_bytes = self.together.memory_budget_bytes;
        Ok(Opened { memory_budget_bytes, ..self.opened })
    }

    fn unpooled(&self, file: &ComponentFile) -> Result<Unpooled, Error> {
        let opened = self.together.engine.open(&file.path, file.page_size)?;
        Ok(Unpooled::new(opened, file.checksums.clone()))
    }

    fn pooled(&mut self, file: &ComponentFile) -> Result<Arc<dyn PageSource>, Error> {
        let opened = self.together.engine.open(&file.path, file.page_size)?;
        self.report(&opened);
        let (kind, key) = (file.kind, file.checksums.key());
        let file = self.together.attach(opened.device, file)?;
        self.opened.pool = self.together.pool.clone();
        self.opened.pooled.push(Pooled { kind, file: file.clone(), key });
        Ok(file)
    }

    fn report(&mut self, opened: &OpenedFile) {
        let direct = opened.direct_io == DirectIo::Yes;
        let (name, reason) = (opened.engine.to_string(), opened.reason.clone());
        self.opened.engine = Some(EngineReport { name, rung: opened.rung, reason, direct });
    }
}

/// Loads all pages of `file` through `source`.
fn in_memory(file: &ComponentFile, source: &dyn PageSource) -> Result<MemorySource, Error> {
    const BATCH: u64 = 256;
    let page_bytes = file.page_size.bytes();
    let mut bytes = vec![0; file.pages as usize * page_bytes];
    for first in (0..file.pages).step_by(BATCH as usize) {
        let pages: Vec<PageNo> = (first..file.pages.min(first + BATCH)).map(PageNo).collect();
        source.visit(&pages, &mut |i, page| {
            let start = pages[i].0 as usize * page_bytes;
            bytes[start..start + page_bytes].copy_from_slice(page);
        })?;
    }
    Ok(MemorySource::new(file.path.display().to_string(), file.page_size, bytes)?)
}
