//! A file's pages straight from the disk, each checked, and none kept: for what is read once and
//! kept elsewhere, and for who wants to know what a pool is worth.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ringpool_storage::{
    Awaited, Checksums, DeviceGather, Error, Gather, PageNo, PageSize, PageSource, ReadBuffer,
    Result,
};
use ringpool_uring::OpenedFile;

/// Pages in flight at once: past the knee of most disks.
const DEPTH: u32 = 64;
/// Pages in flight at once for many batches together: as many as the pool has.
const GATHER_DEPTH: u32 = 128;

pub(crate) struct Unpooled {
    opened: OpenedFile,
    checksums: Checksums,
    /// Those that no visit is using: in the end as many as there were ever visits at once.
    buffers: Mutex<Vec<ReadBuffer>>,
    reads: Arc<AtomicU64>,
}

impl Unpooled {
    /// Counts the pages that it reads in `reads`.
    pub(crate) fn counting(
        opened: OpenedFile,
        checksums: Checksums,
        reads: Arc<AtomicU64>,
    ) -> Self {
        Self { opened, checksums, buffers: Mutex::default(), reads }
    }

    /// Runs `visit` with a buffer that nobody else uses meanwhile.
    fn with_buffer<T>(&self, visit: impl FnOnce(&mut ReadBuffer) -> T) -> T {
        // A list of buffers is whole whatever panicked while it was locked.
        let buffers = || self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let free = buffers().pop();
        let mut buffer = free.unwrap_or_else(|| ReadBuffer::new(DEPTH, self.page_size()));
        let visited = visit(&mut buffer);
        buffers().push(buffer);
        visited
    }
}

impl PageSource for Unpooled {
    fn page_size(&self) -> PageSize {
        self.opened.device.page_size()
    }

    fn page_count(&self) -> u64 {
        self.opened.device.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.visit_until(pages, None, each)
    }

    fn visit_until(
        &self,
        pages: &[PageNo],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let device = &*self.opened.device;
        self.reads.fetch_add(pages.len() as u64, Ordering::Relaxed); // Publishes nothing.
        let mut has_arrived = vec![false; if deadline.is_some() { pages.len() } else { 0 }];
        self.with_buffer(|buffer| {
            let mut bad = None;
            let verified = |i: usize, bytes: &[u8]| {
                has_arrived.get_mut(i).into_iter().for_each(|arrived| *arrived = true);
                if bad.is_none() {
                    match self.checksums.verify(device.file(), pages[i], bytes) {
                        Ok(()) => each(i, bytes),
                        Err(error) => bad = Some(error),
                    }
                }
            };
            match deadline {
                None => buffer.visit(device, pages, verified)?,
                Some(end) => {
                    let read = buffer.visit_until(device, pages, end, verified);
                    read.map_err(|error| too_late(error, end, pages, &has_arrived))?;
                }
            }
            bad.map_or(Ok(()), Err)
        })
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        let device = &*self.opened.device;
        let gather = DeviceGather::new(device, Some(&self.checksums), GATHER_DEPTH);
        Some(Box::new(gather.counting(&self.reads)))
    }
}

/// The caller's deadline has passed, or the disk was silent before.
fn too_late(error: Error, deadline: Instant, pages: &[PageNo], has_arrived: &[bool]) -> Error {
    let missing = pages.iter().zip(has_arrived).find(|&(_, &arrived)| !arrived);
    match (error, missing) {
        (Error::TimedOut { file, .. }, Some((&page, _))) if Instant::now() >= deadline => {
            Error::DeadlinePassed { file, page, awaited: Awaited::Disk }
        }
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use ringpool_storage::conformance;
    use ringpool_uring::{Engine, EngineChoice};

    use super::*;

    #[test]
    fn what_is_not_pooled_is_a_source_for_any_number_of_threads_and_batches() {
        let dir = tempfile::tempdir_in(".").unwrap();
        for choice in [EngineChoice::Auto, EngineChoice::Blocking] {
            let open = |specimen: &conformance::Specimen| -> Box<dyn PageSource> {
                let engine = Engine::start(choice).unwrap();
                let opened = engine.open(&specimen.path, specimen.page_size).unwrap();
                let checksums = specimen.checksums.clone();
                Box::new(Unpooled::counting(opened, checksums, Arc::default()))
            };
            conformance::sources(dir.path(), &open);
            conformance::gathers(dir.path(), &open);
        }
    }
}
