//! The file that is probed: one that is there, or a temporary one in a folder.
//!
//! The temporary file has no name: it goes when this process does, however that ends. It is
//! opened again through /proc, by its descriptor.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpool::storage::{Error, PageSize};
use ringpool::uring::{Engine, OpenedFile};
use rustix::fs::{Advice, fadvise, fstatvfs};

use crate::console::Console;
use crate::failure::Failure;
use crate::table;

/// Written in one call.
const CHUNK_BYTES: u64 = 1 << 20;

/// Written before the disk must have it, so that nobody waits long, not even for Ctrl-C.
const SYNC_BYTES: u64 = 32 << 20;

/// A file of pages.
pub struct Subject {
    /// Where it is opened.
    path: PathBuf,
    pub page_size: PageSize,
    /// The folder and the file made in it, which lives as long as its descriptor.
    temporary: Option<(PathBuf, File)>,
}

impl Subject {
    /// The file at `path`, or one of `file_bytes` random bytes in the folder there.
    pub fn at(
        path: &Path,
        page_size: PageSize,
        file_bytes: u64,
        console: &Console,
    ) -> Result<Self, Failure> {
        let metadata = fs::metadata(path);
        let metadata = metadata.map_err(|error| Failure::at(path, "find it", &error))?;
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(Failure::new(format!(
                "{}: not a regular file: give one on the disk, or a folder, to read a temporary \
                 file there",
                path.display()
            )));
        }
        if metadata.is_file() {
            return Ok(Self { path: path.into(), page_size, temporary: None });
        }
        let file_bytes = file_bytes - file_bytes % page_size.bytes() as u64;
        if file_bytes == 0 {
            return Err(Failure::Usage(format!(
                "--file-size: give at least a page of {page_size}"
            )));
        }
        let file = fill(path, file_bytes, console)?;
        let reopened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { path: reopened, page_size, temporary: Some((path.into(), file)) })
    }

    /// Whether the file was made here.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Where to open it once more.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it with `engine`. A file without pages is an error.
    pub fn open(&self, engine: &Engine) -> Result<OpenedFile, Failure> {
        let opened =
            engine.open(&self.path, self.page_size).map_err(|error| self.failed(&error))?;
        if opened.device.page_count() == 0 {
            return Err(Failure::new(format!(
                "{}: the file is empty: give one with pages in it, or a folder",
                self.path.display()
            )));
        }
        Ok(opened)
    }

    /// A disk that has answered nothing in this time.
    pub fn silent(&self, waited: Duration) -> Failure {
        let file = self.path.display().to_string().into();
        self.failed(&Error::TimedOut { file, waited })
    }

    /// An error of the engine's, in words of the one who gave the path.
    pub fn failed(&self, error: &Error) -> Failure {
        let line = Failure::of(error).to_string();
        if let Some((folder, _)) = &self.temporary {
            let shown = format!("{}: (the temporary file)", folder.display());
            return Failure::new(line.replace(&self.path.display().to_string(), &shown));
        }
        match error {
            Error::NotPages { .. } => Failure::new(format!(
                "{line}; give its folder instead, to read a temporary file there"
            )),
            _ => Failure::new(line),
        }
    }
}

/// A file without a name in `folder`, filled with random bytes that are on the disk and, as far as
/// the filesystem lets go of them, nowhere else.
fn fill(folder: &Path, file_bytes: u64, console: &Console) -> Result<File, Failure> {
    let refused = |error: &dyn std::error::Error| {
        let size = table::bytes(file_bytes);
        Failure::at(folder, &format!("write a temporary file of {size}"), error)
    };
    let mut file = tempfile::tempfile_in(folder).map_err(|error| refused(&error))?;
    let room = fstatvfs(&file).map_err(|error| refused(&error))?;
    let free_bytes = room.f_bavail.saturating_mul(room.f_frsize);
    if free_bytes < file_bytes {
        return Err(Failure::new(format!(
            "{}: a temporary file of {} does not fit, as {} are free: make room, or give a \
             smaller --file-size",
            folder.display(),
            table::bytes(file_bytes),
            table::bytes(free_bytes)
        )));
    }
    let bar = console.bar();
    // Random, as a disk may compress or leave out what is not. Any seed will do.
    let mut random = SmallRng::seed_from_u64(file_bytes);
    let mut chunk = vec![0; CHUNK_BYTES.min(file_bytes) as usize];
    let mut written = 0;
    while written < file_bytes {
        console.interrupt.check()?;
        bar.update("writing bytes", written, file_bytes);
        let length = CHUNK_BYTES.min(file_bytes - written);
        random.fill_bytes(&mut chunk[..length as usize]);
        file.write_all(&chunk[..length as usize]).map_err(|error| refused(&error))?;
        written += length;
        if written.is_multiple_of(SYNC_BYTES) || written == file_bytes {
            file.sync_all().map_err(|error| refused(&error))?;
            // For reads that cannot be direct. Where the cache is the disk (tmpfs) it all stays.
            fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| refused(&error))?;
        }
    }
    Ok(file)
}
