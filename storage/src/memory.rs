//! Pages in plain memory: the oracle of the tests, and the yardstick of what no storage gives.

use std::sync::Arc;
use std::time::Instant;

use crate::{Checksums, Error, PageDevice, PageNo, PageRead, PageSize, PageSource, Result};

/// A file's pages as one array: what an index would have if it needed no storage.
#[derive(Clone)]
pub struct MemorySource {
    file: Arc<str>,
    size: PageSize,
    bytes: Arc<[u8]>,
}

impl MemorySource {
    /// The pages in `bytes`, whose last one must be full.
    ///
    /// # Errors
    /// [`Error::NotPages`] when `bytes` is no whole number of pages.
    pub fn new(file: impl Into<Arc<str>>, size: PageSize, bytes: Vec<u8>) -> Result<Self> {
        let file = file.into();
        if !bytes.len().is_multiple_of(size.bytes()) {
            let reason = format!("{} bytes are no whole number of pages of {size}", bytes.len());
            return Err(Error::not_pages(&file, reason));
        }
        Ok(Self { file, size, bytes: bytes.into() })
    }

    /// The same, once each page has been checked.
    ///
    /// # Errors
    /// [`Error::Checksum`] with the first page that does not match, [`Error::NotPages`] when the
    /// counts differ.
    pub fn verified(self, checksums: &Checksums) -> Result<Self> {
        if checksums.page_count() != self.page_count() {
            let (sums, pages) = (checksums.page_count(), self.page_count());
            return Err(Error::not_pages(
                &self.file,
                format!("{sums} checksums for {pages} pages"),
            ));
        }
        for (no, page) in self.bytes.chunks(self.size.bytes()).enumerate() {
            checksums.verify(&self.file, PageNo(no as u64), page)?;
        }
        Ok(self)
    }

    fn page(&self, page: PageNo) -> Result<&[u8]> {
        let pages = self.page_count();
        if page.0 >= pages {
            return Err(Error::NoSuchPage { file: self.file.clone(), page, pages });
        }
        let start = page.0 as usize * self.size.bytes();
        Ok(&self.bytes[start..start + self.size.bytes()])
    }
}

impl PageSource for MemorySource {
    fn page_size(&self) -> PageSize {
        self.size
    }

    fn page_count(&self) -> u64 {
        (self.bytes.len() / self.size.bytes()) as u64
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (i, &page) in pages.iter().enumerate() {
            each(i, self.page(page)?);
        }
        Ok(())
    }
}

/// The same pages as a device: each read lands within `submit`.
#[derive(Clone)]
pub struct MemoryDevice(MemorySource);

impl MemoryDevice {
    /// A device that reads from `source`.
    pub fn new(source: MemorySource) -> Self {
        Self(source)
    }
}

impl PageDevice for MemoryDevice {
    fn file(&self) -> &Arc<str> {
        &self.0.file
    }

    fn page_size(&self) -> PageSize {
        self.0.size
    }

    fn page_count(&self) -> u64 {
        self.0.page_count()
    }

    fn submit(&self, mut read: PageRead) -> std::result::Result<(), PageRead> {
        let result = self.0.page(read.page()).map(|page| read.bytes_mut().copy_from_slice(page));
        read.complete(result);
        Ok(())
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        crate::device::park_until(until, deadline)
    }
}
