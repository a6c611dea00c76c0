//! Reading every page of a segment against its checksum.

use std::ops::ControlFlow;
use std::path::Path;

use ringpool_index::{ComponentFile, Manifest, live_points};
use ringpool_storage::{Error as PageError, PageNo, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

use crate::Error;

/// Pages that are read at once, and between two reports of progress.
const BATCH: u64 = 256;
const DEPTH: u32 = 64;

/// Reads every page of every component in `dir` against its checksum, past the page cache where
/// the filesystem allows that, so that it is the disk that is looked at. Calls
/// `bad(component, page, error)` for each page that is not as it was written or cannot be read,
/// and `progress(pages_done, pages)` now and then.
///
/// # Errors
/// When the manifest, the tombstones or a side array are damaged or a file is missing or cut, so
/// that the pages cannot be looked at; [`Error::Cancelled`] when `progress` breaks.
pub fn verify(
    dir: impl AsRef<Path>,
    engine: EngineChoice,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    bad: &mut dyn FnMut(&str, PageNo, &PageError),
) -> Result<(), Error> {
    let dir = dir.as_ref();
    let files = Manifest::read(dir)?.component_files(dir)?;
    live_points(dir)?;
    let pages = files.iter().map(|file| file.pages).sum();
    let engine = Engine::start(engine)?;
    let mut done = 0;
    for file in &files {
        let opened = engine.open(&file.path, file.page_size)?;
        let mut buffer = ReadBuffer::new(DEPTH, file.page_size);
        for first in (0..file.pages).step_by(BATCH as usize) {
            if progress(done, pages).is_break() {
                return Err(Error::Cancelled);
            }
            let batch: Vec<PageNo> = (first..file.pages.min(first + BATCH)).map(PageNo).collect();
            verify_batch(file, &*opened.device, &mut buffer, &batch, bad);
            done += batch.len() as u64;
        }
    }
    let _ = progress(done, pages);
    Ok(())
}

fn verify_batch(
    file: &ComponentFile,
    device: &dyn ringpool_storage::PageDevice,
    buffer: &mut ReadBuffer,
    batch: &[PageNo],
    bad: &mut dyn FnMut(&str, PageNo, &PageError),
) {
    let mut wrong = Vec::new();
    let read = buffer.visit(device, batch, |i, bytes| {
        if let Err(error) = file.checksums.verify(device.file(), batch[i], bytes) {
            wrong.push((batch[i], error));
        }
    });
    match read {
        Ok(()) => {
            wrong.sort_by_key(|&(page, _)| page);
            wrong.iter().for_each(|(page, error)| bad(&file.name, *page, error));
        }
        Err(error) if batch.len() == 1 => bad(&file.name, batch[0], &error),
        // One page cannot be read: look at each by itself, to tell which.
        Err(_) => batch.iter().for_each(|page| {
            verify_batch(file, device, buffer, std::slice::from_ref(page), bad);
        }),
    }
}
