//! A file's pages straight from the disk, each checked: for what is read once and kept elsewhere.

use std::sync::{Mutex, PoisonError};

use ringpool_storage::{Checksums, PageNo, PageSize, PageSource, ReadBuffer, Result};
use ringpool_uring::OpenedFile;

/// Pages in flight at once: past the knee of most disks.
const DEPTH: u32 = 64;

pub(crate) struct Unpooled {
    opened: OpenedFile,
    checksums: Checksums,
    buffer: Mutex<ReadBuffer>,
}

impl Unpooled {
    pub(crate) fn new(opened: OpenedFile, checksums: Checksums) -> Self {
        let buffer = Mutex::new(ReadBuffer::new(DEPTH, opened.device.page_size()));
        Self { opened, checksums, buffer }
    }
}

impl PageSource for Unpooled {
    fn page_size(&self) -> PageSize {
        self.opened.device.page_size()
    }

    fn page_count(&self) -> u64 {
        self.opened.device.page_count()
    }

    /// One thread at a time; a visit within a visit would wait for itself, so nobody but this
    /// crate gets to see one.
    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let device = &*self.opened.device;
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bad = None;
        buffer.visit(device, pages, |i, bytes| {
            if bad.is_none() {
                match self.checksums.verify(device.file(), pages[i], bytes) {
                    Ok(()) => each(i, bytes),
                    Err(error) => bad = Some(error),
                }
            }
        })?;
        bad.map_or(Ok(()), Err)
    }
}
