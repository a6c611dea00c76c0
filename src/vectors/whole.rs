//! A file that appears whole or not at all: written under another name beside its place, synced,
//! and renamed into it.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use ringpool_storage::sync_folder;
use tempfile::NamedTempFile;

use super::Result;
use super::contents::io_error;
use crate::platform::like_any_new_file;

/// How much is handed to the system at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that is being written. Dropped before [`WholeFile::publish`], it leaves nothing.
pub(super) struct WholeFile {
    path: PathBuf,
    out: Out,
}

enum Out {
    Plain(BufWriter<NamedTempFile>),
    Gzip(GzEncoder<BufWriter<NamedTempFile>>),
}

impl WholeFile {
    /// Begins the file that is to be at `path`, with gzip around it or not.
    pub(super) fn create(path: &Path, gzip: Option<Compression>) -> Result<Self> {
        let mut beside = tempfile::Builder::new();
        like_any_new_file(beside.prefix(".ringpool-").suffix(".partial"));
        let file = beside.tempfile_in(folder_of(path));
        let file = file.map_err(|e| io_error(path, "create a file beside it", e))?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let out = match gzip {
            None => Out::Plain(out),
            // Without a time stamp, so that the same rows give the same file.
            Some(level) => Out::Gzip(GzBuilder::new().mtime(0).write(out, level)),
        };
        Ok(Self { path: path.to_owned(), out })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.out {
            Out::Plain(out) => out.write_all(bytes),
            Out::Gzip(out) => out.write_all(bytes),
        };
        written.map_err(|e| io_error(&self.path, "write", e))
    }

    /// Puts the file in its place, where it replaces what was there.
    pub(super) fn publish(self) -> Result<()> {
        let path = &self.path;
        let refused = |doing| move |source| io_error(path, doing, source);
        let out = match self.out {
            Out::Plain(out) => out,
            Out::Gzip(out) => out.finish().map_err(refused("write"))?,
        };
        let file = out.into_inner().map_err(io::IntoInnerError::into_error);
        let file = file.map_err(refused("write"))?;
        file.as_file().sync_all().map_err(refused("sync"))?;
        file.persist(path).map_err(|e| io_error(path, "rename into place", e.error))?;
        sync_folder(&folder_of(path)).map_err(refused("sync its folder"))
    }
}

/// The folder that `path` is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
