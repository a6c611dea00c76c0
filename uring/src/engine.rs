//! Choosing how to read: by trying, not by version. See `rung` for the ladder.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_storage::{Error, Latencies, PageDevice, PageNo, PageSize, ReadBuffer, Result};

use crate::blocking::{BlockingEngine, BlockingFile};
use crate::books::Counters;
use crate::closing::{Unfinished, until_next_look};
use crate::options::{EngineChoice, EngineOptions};
use crate::paged_file::{Caching, DioAlign, DirectIo, PagedFile};
use crate::ring_engine::{RingEngine, RingFile};
use crate::rung::{Refusal, Rung, why_no_ring};

/// Reads the pages of any number of files, for any number of threads.
pub struct Engine {
    options: EngineOptions,
    ring: std::result::Result<Arc<RingEngine>, Refusal>,
    blocking: OnceLock<Arc<BlockingEngine>>,
    next_id: AtomicU64,
}

/// A file of pages that one page was read of.
#[non_exhaustive]
pub struct OpenedFile {
    /// What a pool reads from.
    pub device: Arc<dyn PageDevice>,
    /// `uring` or `blocking`.
    pub engine: EngineChoice,
    /// How the file is read.
    pub rung: Rung,
    /// Why so, and what would lift what was refused.
    pub reason: String,
    /// The latter alone; `None` at the best rung, and where nothing is known to.
    pub lift: Option<String>,
    /// Whether reads bypass the page cache, and why not.
    pub direct_io: DirectIo,
    /// To what direct reads must be aligned; `None` where the filesystem does not say.
    pub dio_align: Option<DioAlign>,
}

impl Engine {
    /// Sets up the first ring, if one is wanted and allowed. An [`EngineChoice`] is enough.
    ///
    /// # Errors
    /// When [`EngineChoice::Uring`] is wanted and refused: the system's answer and what lifts it.
    pub fn start(options: impl Into<EngineOptions>) -> Result<Self> {
        let options = options.into();
        let ring = match options.choice {
            EngineChoice::Blocking => Err(Refusal::of_choice("pread was asked for")),
            EngineChoice::Auto | EngineChoice::Uring => {
                RingEngine::new(&options).map(Arc::new).map_err(|error| why_no_ring(&error))
            }
        };
        if let (EngineChoice::Uring, Err(refusal)) = (options.choice, &ring) {
            let source = std::io::Error::other(refusal.to_string());
            return Err(Error::io(&"io_uring".into(), "setting up", source));
        }
        Ok(Self { options, ring, blocking: OnceLock::new(), next_id: AtomicU64::new(1) })
    }

    /// Opens the file at `path`, whose pages have `page_size`, and reads its first page through
    /// each rung from the best on until one works.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or read, [`Error::NotPages`] when it is not a
    /// regular file or its length is no whole number of pages; [`Error::TimedOut`] when the disk
    /// does not answer for [`ReadBuffer::DEFAULT_PATIENCE`].
    pub fn open(&self, path: &Path, page_size: PageSize) -> Result<OpenedFile> {
        self.open_until(path, page_size, None)
    }

    /// Opens as [`open`](Self::open) does, and waits for the first page until `deadline`, if there
    /// is one.
    ///
    /// # Errors
    /// As those of `open`; [`Error::TimedOut`] at the deadline.
    pub fn open_until(
        &self,
        path: &Path,
        page_size: PageSize,
        deadline: Option<Instant>,
    ) -> Result<OpenedFile> {
        // Relaxed: only that no two are the same counts.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let file = Arc::new(PagedFile::open(path, page_size, id)?);
        let opened = match &self.ring {
            Ok(ring) => match self.open_with_ring(ring, &file, deadline) {
                Ok(opened) => opened,
                Err(error) if self.options.choice == EngineChoice::Uring => return Err(error),
                // A disk that is silent is so for threads, too.
                Err(error @ Error::TimedOut { .. }) => return Err(error),
                Err(error) => {
                    let why = format!("io_uring cannot read it: {error}");
                    self.open_with_threads(&file, &Refusal::of_choice(&why))
                }
            },
            Err(refusal) => self.open_with_threads(&file, refusal),
        };
        let (file, rung, reason) = (&file.path, opened.rung, &opened.reason);
        tracing::info!(%file, %rung, reason, "opened");
        Ok(opened)
    }

    /// What was done since the start, over all files.
    pub fn counters(&self) -> Counters {
        let ring = self.ring.as_ref().map(|ring| ring.counters()).unwrap_or_default();
        let blocking = self.blocking.get().map(|engine| engine.counters()).unwrap_or_default();
        Counters {
            reads: ring.reads + blocking.reads,
            merged: ring.merged + blocking.merged,
            bridged_bytes: ring.bridged_bytes + blocking.bridged_bytes,
            panics: ring.panics + blocking.panics,
            ..ring
        }
    }

    /// How long reads took that went through the rings, since the start, from the submission
    /// queue to the look at the completion. Of the blocking engine, nothing is kept.
    pub fn latencies(&self) -> Option<Latencies> {
        self.ring.as_ref().ok().map(|ring| ring.latencies())
    }

    /// Waits until all files of it are gone, no read is in flight and its threads have ended, for as
    /// long as `patience` and not longer. A time beyond what the clock can tell is no bound.
    ///
    /// # Errors
    /// [`Unfinished`]: how many are left of each. Files that are open go on being read.
    pub fn close(self, patience: Duration) -> std::result::Result<(), Unfinished> {
        let begun = Instant::now();
        let deadline = begun.checked_add(patience);
        let (ring, blocking) = (self.ring.ok(), self.blocking.into_inner());
        let others = |count: usize| count.saturating_sub(1);
        let files = || {
            let ring = ring.as_ref().map_or(0, |ring| others(Arc::strong_count(ring)));
            ring + blocking.as_ref().map_or(0, |engine| others(Arc::strong_count(engine)))
        };
        while files() > 0 {
            let Some(nap) = until_next_look(deadline) else { break };
            thread::sleep(nap);
        }
        let files = files();
        let of_ring = ring.map_or([0; 2], |ring| match Arc::try_unwrap(ring) {
            Ok(ring) => ring.close(deadline),
            Err(ring) => ring.left(),
        });
        let of_threads = blocking.map_or([0; 2], |engine| match Arc::try_unwrap(engine) {
            Ok(engine) => engine.close(deadline),
            Err(engine) => engine.left(),
        });
        let [reads, threads] = [of_ring[0] + of_threads[0], of_ring[1] + of_threads[1]];
        match files + reads + threads {
            0 => Ok(()),
            _ => Err(Unfinished { files, reads, threads, waited: begun.elapsed() }),
        }
    }

    fn open_with_ring(
        &self,
        ring: &Arc<RingEngine>,
        file: &Arc<PagedFile>,
        deadline: Option<Instant>,
    ) -> Result<OpenedFile> {
        let device = Arc::new(RingFile::new(ring.clone(), file.clone()));
        probe(&*device, deadline)?;
        let registered = device.is_registered();
        let (rung, refused) = match (file.caching, ring.unregistered()) {
            (Caching::Direct, None) if registered => (Rung::RingRegistered, None),
            (Caching::Direct, why) => (Rung::RingDirect, why),
            (Caching::DontCache, _) => (Rung::RingDontCache, None),
            (Caching::Buffered, _) => (Rung::RingBuffered, None),
        };
        let reason = "a page was read so".to_string();
        let reason = refused.map_or(reason.clone(), |refused| format!("{reason}; {refused}"));
        let lift = refused.and_then(|refused| refused.lift);
        Ok(opened(device, EngineChoice::Uring, rung, (reason, lift), file))
    }

    fn open_with_threads(&self, file: &Arc<PagedFile>, refusal: &Refusal) -> OpenedFile {
        let engine = self.blocking.get_or_init(|| Arc::new(BlockingEngine::new()));
        let device = Arc::new(BlockingFile::new(engine.clone(), file.clone()));
        let rung = match file.caching {
            Caching::Direct => Rung::ThreadsDirect,
            Caching::DontCache => Rung::ThreadsDontCache,
            Caching::Buffered => Rung::ThreadsBuffered,
        };
        opened(device, EngineChoice::Blocking, rung, (refusal.to_string(), refusal.lift), file)
    }
}

fn opened(
    device: Arc<dyn PageDevice>,
    engine: EngineChoice,
    rung: Rung,
    (reason, lift): (String, Option<&str>),
    file: &PagedFile,
) -> OpenedFile {
    let (direct_io, dio_align) = (file.direct_io.clone(), file.dio_align);
    let mut lifts: Vec<String> = lift.map(str::to_string).into_iter().collect();
    let reason = match &direct_io {
        DirectIo::Yes => reason,
        DirectIo::No(why) => {
            lifts.push(lift_to_direct(file));
            let through = "through the page cache, since direct reads are refused";
            format!("{reason}; {through}: {why}: {}", lift_to_direct(file))
        }
    };
    let lift = (!lifts.is_empty()).then(|| lifts.join("; "));
    OpenedFile { device, engine, rung, reason, lift, direct_io, dio_align }
}

/// What lifts the refusal of direct reads.
fn lift_to_direct(file: &PagedFile) -> String {
    let align = file.dio_align.map_or(0, |align| align.memory_bytes.max(align.offset_bytes));
    match PageSize::new(align.into()) {
        Ok(size) if size.bytes() > file.page_size.bytes() => format!("use pages of {size}"),
        _ => {
            "keep the file on a filesystem with direct reads, such as xfs, or ext4 without journalled \
              data"
                .to_string()
        }
    }
}

/// Reads the first page, if there is one.
fn probe(device: &dyn PageDevice, deadline: Option<Instant>) -> Result<()> {
    if device.page_count() == 0 {
        return Ok(());
    }
    let mut buffer = ReadBuffer::new(1, device.page_size());
    buffer.register(device);
    match deadline {
        Some(deadline) => buffer.visit_until(device, &[PageNo(0)], deadline, |_, _| {}),
        None => buffer.visit(device, &[PageNo(0)], |_, _| {}),
    }
}
