//! Choosing an engine: by trying, not by version.
//!
//! A ring may be refused at its set-up (seccomp answers EPERM in a container, a sysctl turns it
//! off, memlock is short) or at its first read of a file. Each file is therefore opened by
//! reading its first page through the engine that is to serve it.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use ringpool_storage::{Error, PageDevice, PageNo, PageSize, ReadBuffer, Result};

use crate::blocking::{BlockingEngine, BlockingFile};
use crate::direct_file::{DirectFile, DirectIo};
use crate::engine::{Counters, RingEngine, RingFile};

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The ring where it works, else blocking reads.
    #[default]
    Auto,
    /// The ring, or an error.
    Uring,
    /// Blocking reads.
    Blocking,
}

/// The engine behind any number of open files.
pub struct Engine {
    choice: EngineChoice,
    ring: std::result::Result<Arc<RingEngine>, String>,
    blocking: OnceLock<Arc<BlockingEngine>>,
}

/// A file of pages that one page was read of.
pub struct OpenedFile {
    /// What a pool reads from.
    pub device: Arc<dyn PageDevice>,
    /// `uring` or `blocking`.
    pub engine: EngineChoice,
    /// Why this engine, and what would lift it where it is not the ring.
    pub reason: String,
    /// Whether reads bypass the page cache, and why not.
    pub direct_io: DirectIo,
}

impl Engine {
    /// Sets up the ring, if one is wanted and allowed.
    ///
    /// # Errors
    /// When [`EngineChoice::Uring`] is wanted and refused: the system's answer and what lifts it.
    pub fn start(choice: EngineChoice) -> Result<Self> {
        let ring = match choice {
            EngineChoice::Blocking => Err("asked for".to_string()),
            EngineChoice::Auto | EngineChoice::Uring => {
                RingEngine::new().map(Arc::new).map_err(why_refused)
            }
        };
        if let (EngineChoice::Uring, Err(refusal)) = (choice, &ring) {
            let source = io::Error::other(refusal.clone());
            return Err(Error::io(&"io_uring".into(), "setting up", source));
        }
        match &ring {
            Ok(_) => tracing::debug!("reading through io_uring"),
            Err(reason) => tracing::info!(reason, "reading by pread"),
        }
        Ok(Self { choice, ring, blocking: OnceLock::new() })
    }

    /// Opens the file at `path`, whose pages have `page_size`, and reads its first page.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or read, [`Error::NotPages`] when it is not a
    /// regular file or its length is no whole number of pages.
    pub fn open(&self, path: &Path, page_size: PageSize) -> Result<OpenedFile> {
        let file = Arc::new(DirectFile::open(path, page_size)?);
        let direct_io = file.direct_io.clone();
        let mut reason = match &self.ring {
            Ok(ring) => {
                let device = Arc::new(RingFile::new(ring.clone(), file.clone()));
                match probe(&*device) {
                    Ok(()) => {
                        let reason = "a read of this file through io_uring succeeded".to_string();
                        return Ok(OpenedFile {
                            device,
                            engine: EngineChoice::Uring,
                            reason,
                            direct_io,
                        });
                    }
                    Err(error) if self.choice == EngineChoice::Uring => return Err(error),
                    Err(error) => format!("io_uring cannot read this file: {error}"),
                }
            }
            Err(refusal) => refusal.clone(),
        };
        if let DirectIo::No(why) = &direct_io {
            reason = format!("{reason}; through the page cache: {why}");
        }
        let engine = self.blocking.get_or_init(|| Arc::new(BlockingEngine::new()));
        let device = Arc::new(BlockingFile::new(engine.clone(), file));
        Ok(OpenedFile { device, engine: EngineChoice::Blocking, reason, direct_io })
    }

    /// What was done since the start, over all files.
    pub fn counters(&self) -> Counters {
        let ring = self.ring.as_ref().map(|ring| ring.counters()).unwrap_or_default();
        let blocking = self.blocking.get().map(|engine| engine.counters()).unwrap_or_default();
        Counters { reads: ring.reads + blocking.reads, ..ring }
    }
}

/// Reads the first page, if there is one.
fn probe(device: &dyn PageDevice) -> Result<()> {
    if device.page_count() == 0 {
        return Ok(());
    }
    ReadBuffer::new(1, device.page_size()).visit(device, &[PageNo(0)], |_, _| {})
}

/// The kernel's refusal of a ring, with what would lift it.
fn why_refused(error: io::Error) -> String {
    let lift = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "forbidden by a seccomp profile (a container's default: allow io_uring_setup, \
             io_uring_enter and io_uring_register) or by sysctl kernel.io_uring_disabled"
        }
        Some(libc::ENOSYS) => "the kernel has no io_uring (before 5.1, or built without it)",
        Some(libc::ENOMEM) => "the limit of locked memory is too low: raise ulimit -l",
        Some(libc::EMFILE | libc::ENFILE) => "too many open files: raise ulimit -n",
        _ => "",
    };
    match lift {
        "" => format!("io_uring is refused: {error}"),
        lift => format!("io_uring is refused: {error}: {lift}"),
    }
}

/// A word that names no engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineChoiceError(String);

impl fmt::Display for EngineChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no engine '{}': use auto, uring or blocking", self.0)
    }
}

impl std::error::Error for EngineChoiceError {}

impl FromStr for EngineChoice {
    type Err = EngineChoiceError;

    fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "blocking" => Ok(Self::Blocking),
            other => Err(EngineChoiceError(other.to_string())),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Blocking => "blocking",
        })
    }
}
