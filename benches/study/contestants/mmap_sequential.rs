//! A mapping with MADV_SEQUENTIAL: for scans. The kernel reads ahead twice as far, and lets go of
//! what was read.
#![allow(unsafe_code)]

use std::sync::Arc;

use memmap2::{Advice, Mmap};
use ringpool::storage::{PageNo, PageSize, PageSource, Result};
use ringpool_cli::failure::Failure;

use super::paged_file::{PagedFile, Way};
use super::{Contestant, Subject};

pub struct MmapSequential;

struct Mapped {
    file: PagedFile,
    map: Mmap,
}

impl Contestant for MmapSequential {
    fn name(&self) -> &'static str {
        "mmap-sequential"
    }

    fn manner(&self) -> &'static str {
        "a mapping with MADV_SEQUENTIAL, for scans"
    }

    fn open(&self, subject: &Subject) -> std::result::Result<Arc<dyn PageSource>, Failure> {
        let file = PagedFile::open(subject, Way::Buffered)?;
        let refused = |doing: &str, error| Failure::at(&subject.path, doing, &error);
        // SAFETY: the file is the study's own, and nobody writes to it while it is mapped.
        let map = unsafe { Mmap::map(file.as_file()) };
        let map = map.map_err(|error| refused("map it", error))?;
        map.advise(Advice::Sequential).map_err(|error| refused("advise on its mapping", error))?;
        Ok(Arc::new(Mapped { file, map }))
    }
}

impl PageSource for Mapped {
    fn page_size(&self) -> PageSize {
        self.file.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.page_count
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.file.check_numbers(pages)?;
        let page_bytes = self.file.page_size.bytes();
        for (i, &page) in pages.iter().enumerate() {
            let bytes = &self.map[page.0 as usize * page_bytes..][..page_bytes];
            self.file.verify(page, bytes)?;
            each(i, bytes);
        }
        Ok(())
    }
}
