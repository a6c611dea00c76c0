//! Writing a segment, whole or not at all.
//!
//! Everything goes into a folder beside the place where the segment will be. Each file is synced,
//! then the folder, then the folder is renamed without replacing anything, then the rename is
//! synced. Until the rename there is nothing under the segment's name; the folder goes away on any
//! error, cancel or panic. Only a killed process leaves it behind, as `.NAME.building-*`, and the
//! next build of that name removes it (`begun`).

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ringpool_storage::{Checksums, FileKey, PageNo, sync_folder};

use crate::begun::Begun;
use crate::layout::Records;
use crate::manifest::MANIFEST;
use crate::platform;
use crate::step::{Gate, step};
use crate::{BuildError, Component, Manifest};

/// A folder that becomes a segment, or goes away.
pub(crate) struct Staging<'a> {
    folder: Begun,
    parent: PathBuf,
    out: PathBuf,
    gate: &'a Gate<'a>,
}

/// What goes into one section of a component.
pub(crate) struct Section<'a> {
    pub(crate) records: Records,
    /// The records put end to end.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// For each record that is written which of `bytes` it is, where that is another.
    pub(crate) order: Option<&'a [u32]>,
}

impl Section<'_> {
    /// Appends what one page of the section has.
    fn append_page(&self, page: u64, chunk: &mut Vec<u8>) {
        let stretch = self.records.stretch(page);
        let Some(order) = self.order else {
            chunk.extend_from_slice(&self.bytes[stretch]);
            return;
        };
        let record_bytes = self.records.record_bytes;
        let mut at = stretch.start;
        while at < stretch.end {
            let (record, from) = (at / record_bytes, at % record_bytes);
            let len = (record_bytes - from).min(stretch.end - at);
            let start = order[record] as usize * record_bytes + from;
            chunk.extend_from_slice(&self.bytes[start..start + len]);
            at += len;
        }
    }
}

/// How much is handed to the system at once.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

impl<'a> Staging<'a> {
    /// Makes the folder. Fails at once where the segment could not be put in the end.
    pub(crate) fn begin(out: &Path, gate: &'a Gate<'a>) -> Result<Self, BuildError> {
        let name = out.file_name().ok_or_else(|| BuildError::Name { out: out.into() })?;
        expect_nothing_at(out)?;
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let made = step(gate, "make a folder in it", || Begun::new(&parent, name));
        let folder = made.map_err(|e| failed(&parent, "make a folder in it", 0, e))?;
        Ok(Self { folder, parent, out: out.into(), gate })
    }

    /// Writes the pages of a component and their checksums. `written` hears how many bytes went out.
    pub(crate) fn write_component(
        &self,
        component: &mut Component,
        sections: &[Section<'_>],
        written: &mut dyn FnMut(u64) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let page_bytes = sections.first().map_or(0, |section| section.records.page_size.bytes());
        let wanted_bytes = component.pages * page_bytes as u64;
        let mut file = self.create(component.pages_file(), wanted_bytes)?;
        let mut crcs = Vec::with_capacity(component.pages as usize);
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + page_bytes);
        for section in sections {
            let records = &section.records;
            debug_assert_eq!(records.bytes(), section.bytes.len() as u64);
            debug_assert_eq!(records.first_page, crcs.len() as u64);
            for page in 0..records.pages() {
                let start = chunk.len();
                section.append_page(page, &mut chunk);
                chunk.resize(start + page_bytes, 0);
                let page = PageNo(records.first_page + page);
                crcs.push(Checksums::of_page(FileKey(component.key), page, &chunk[start..]));
                if chunk.len() >= CHUNK_BYTES {
                    file.write(&chunk)?;
                    written(chunk.len() as u64)?;
                    chunk.clear();
                }
            }
        }
        file.write(&chunk)?;
        written(chunk.len() as u64)?;
        file.finish()?;
        let crcs = Checksums::new(FileKey(component.key), crcs).to_le_bytes();
        component.checksums_crc32c = crc32c::crc32c(&crcs);
        self.write_file(component.checksums_file(), &crcs)
    }

    /// Writes the manifest and puts the segment in its place.
    pub(crate) fn publish(self, manifest: &Manifest) -> Result<(), BuildError> {
        let path = self.folder.path().join(MANIFEST);
        let bytes = manifest.to_bytes().map_err(|e| failed(&path, "encode", 0, e.into()))?;
        self.write_file(MANIFEST.into(), &bytes)?;
        self.sync_folder(self.folder.path())?;
        let renamed =
            step(self.gate, "rename", || rename_to_nothing(self.folder.path(), &self.out));
        renamed.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                BuildError::Exists { out: self.out.clone() }
            }
            _ => failed(&self.out, "rename", 0, e),
        })?;
        let synced = self.sync_folder(&self.parent);
        if synced.is_err() {
            // The name might not outlive a crash. It goes in one step, as it came; where it does
            // not, the segment is there, and whole.
            let _ = step(self.gate, "take back", || fs::rename(&self.out, self.folder.path()));
        }
        synced
    }

    fn write_file(&self, name: String, bytes: &[u8]) -> Result<(), BuildError> {
        let mut file = self.create(name, bytes.len() as u64)?;
        file.write(bytes)?;
        file.finish()
    }

    fn create(&self, name: String, wanted_bytes: u64) -> Result<NewFile<'a>, BuildError> {
        let path = self.folder.path().join(name);
        let created = step(self.gate, "create", || File::create_new(&path));
        let file = created.map_err(|e| failed(&path, "create", wanted_bytes, e))?;
        Ok(NewFile { file, path, wanted_bytes, gate: self.gate })
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), BuildError> {
        let synced = step(self.gate, "sync the folder", || sync_folder(folder));
        synced.map_err(|e| failed(folder, "sync the folder", 0, e))
    }
}

/// A file that is being written.
struct NewFile<'a> {
    file: File,
    path: PathBuf,
    wanted_bytes: u64,
    gate: &'a Gate<'a>,
}

impl NewFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        let written = step(self.gate, "write", || self.file.write_all(bytes));
        written.map_err(|e| failed(&self.path, "write", self.wanted_bytes, e))
    }

    /// Makes the file outlive a crash, and forgets its pages: who reads it next has a cache of
    /// his own.
    fn finish(self) -> Result<(), BuildError> {
        let synced = step(self.gate, "sync", || self.file.sync_all());
        synced.map_err(|e| failed(&self.path, "sync", self.wanted_bytes, e))?;
        platform::forget_pages(&self.file);
        Ok(())
    }
}

fn expect_nothing_at(out: &Path) -> Result<(), BuildError> {
    match fs::symlink_metadata(out) {
        Ok(_) => Err(BuildError::Exists { out: out.into() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed(out, "look whether it exists", 0, e)),
    }
}

fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    // A folder only ever replaces an empty folder, so that nothing is lost if one appears between
    // the look and the rename.
    platform::rename_to_nothing(from, to).unwrap_or_else(|| match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    })
}

fn failed(path: &Path, doing: &'static str, wanted_bytes: u64, source: io::Error) -> BuildError {
    let path = path.into();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            BuildError::DiskFull { path, wanted_bytes }
        }
        _ => BuildError::Io { path, doing, source },
    }
}
