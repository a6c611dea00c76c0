//! The mapping as a source of pages.

use std::fs::File;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use ringpool_storage::{
    Checksums, Error, Gather, PageNo, PageSize, PageSource, Result, SystemPage, open_no_link,
};

use crate::gather::MmapGather;
use crate::platform;
use crate::runs::runs;
use crate::verified::VerifiedPages;
use crate::{Advice, MmapOptions, Verify};

/// How many pages of a batch are asked for ahead of the first one that is read: far more than a
/// query needs, and few enough that a batch of a whole file does not push out what it has asked
/// for before it comes to it.
pub(crate) const AHEAD_PAGES: usize = 1024;
/// What may lie between two pages that are asked for together: a few more bytes cost a disk less
/// than one more read. The ring of the pool reads over as much, once a read.
const GAP_BYTES: usize = 4 << 10;

/// A file's pages through a read-only mapping.
///
/// See the crate's first paragraph for what a mapping cannot promise.
pub struct MmapSource {
    file: Arc<str>,
    page_size: PageSize,
    map: Mmap,
    advice: Advice,
    system_page: SystemPage,
    check: Option<(Checksums, VerifiedPages)>,
}

impl MmapSource {
    /// Maps the file at `path`, whose length must be a whole number of pages and, where there are
    /// `checksums`, exactly as many pages as those. An empty file is one of no pages.
    ///
    /// Without checksums nothing can be verified, whatever `options` ask for; [`Self::verify`]
    /// tells what is in force. The length is compared here and not again: a file that is cut later
    /// ends the process with SIGBUS.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened, mapped or advised on; [`Error::NotPages`] when
    /// it is no regular file, or its length is no whole number of pages or not that of `checksums`.
    pub fn open(
        path: &Path,
        page_size: PageSize,
        checksums: Option<Checksums>,
        options: MmapOptions,
    ) -> Result<Self> {
        let name: Arc<str> = path.to_string_lossy().into();
        let (file, len) = open_pages(path, &name, page_size)?;
        let pages = (len / page_size.bytes()) as u64;
        if let Some(sums) = checksums.as_ref().map(Checksums::page_count)
            && sums != pages
        {
            let reason = format!(
                "has {pages} pages of {page_size} where {sums} have a checksum: the file was cut \
                 or replaced; restore it from a copy"
            );
            return Err(Error::not_pages(&name, reason));
        }
        let map = map_read_only(&file, len).map_err(|e| Error::io(&name, "map", e))?;
        platform::advise(&map, options.advice)
            .map_err(|e| Error::io(&name, "advise on the mapping", e))?;
        let check = checksums.filter(|_| options.verify == Verify::FirstTouch);
        Ok(Self {
            file: name,
            page_size,
            map,
            advice: options.advice,
            system_page: SystemPage::of_machine(),
            check: check.map(|sums| (sums, VerifiedPages::none_of(pages))),
        })
    }

    /// What the kernel is told about reads.
    pub fn advice(&self) -> Advice {
        self.advice
    }

    /// When pages are checked: [`Verify::Never`] also where there were no checksums to check with.
    pub fn verify(&self) -> Verify {
        match self.check {
            Some(_) => Verify::FirstTouch,
            None => Verify::Never,
        }
    }

    /// Has the whole file read into the page cache: in the background as far as the kernel likes, or
    /// before this returns. Nothing keeps the kernel from dropping pages of it again.
    ///
    /// # Errors
    /// What the system answers.
    pub fn read_ahead(&self, waits: bool) -> Result<()> {
        let advised = match waits {
            // Before Linux 5.14 there is no such advice, and the other does as well as it can.
            true => platform::populate(&self.map),
            false => Err(std::io::ErrorKind::InvalidInput.into()),
        };
        match advised {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                platform::will_need(&self.map, 0..self.map.len())
            }
            advised => advised,
        }
        .map_err(|e| Error::io(&self.file, "read the mapping ahead", e))
    }

    /// Unmaps every page that was touched, so that the kernel may drop it: for a source that was
    /// read once for something else. What is wanted again faults again.
    ///
    /// # Errors
    /// What the system answers.
    pub fn let_go(&self) -> Result<()> {
        let advised = platform::let_go(&self.map);
        advised.map_err(|e| Error::io(&self.file, "let go of the mapping", e))
    }

    /// The bytes of `page`, checked if they have to be.
    pub(crate) fn page(&self, page: PageNo) -> Result<&[u8]> {
        if page.0 >= self.page_count() {
            return Err(self.no_such(page));
        }
        let start = page.0 as usize * self.page_size.bytes();
        let bytes = &self.map[start..start + self.page_size.bytes()];
        if let Some((checksums, verified)) = &self.check
            && !verified.contains(page)
        {
            checksums.verify(&self.file, page, bytes)?;
            verified.insert(page);
        }
        Ok(bytes)
    }

    /// Starts the reads of all `pages` that there are, and waits for none.
    pub(crate) fn will_need(&self, pages: &[PageNo]) {
        let gap = (GAP_BYTES / self.page_size.bytes()) as u64;
        for (first, last) in runs(pages, gap).map(RangeInclusive::into_inner) {
            let end = self.page_count().min(last.saturating_add(1));
            if first >= end {
                continue;
            }
            let bytes = run_bytes(self.page_size, first..end, self.map.len(), self.system_page);
            // A hint that is refused, for want of memory, costs the overlap and no more: the
            // fault reads the page. A kernel without madvise was found out at open.
            let _ = platform::will_need(&self.map, bytes);
        }
    }

    /// Whether there are all these pages.
    pub(crate) fn check_numbers(&self, pages: &[PageNo]) -> Result<()> {
        let wrong = pages.iter().find(|page| page.0 >= self.page_count());
        wrong.map_or(Ok(()), |&page| Err(self.no_such(page)))
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.file
    }

    fn no_such(&self, page: PageNo) -> Error {
        Error::NoSuchPage { file: self.file.clone(), page, pages: self.page_count() }
    }
}

impl PageSource for MmapSource {
    fn page_size(&self) -> PageSize {
        self.page_size
    }

    fn page_count(&self) -> u64 {
        (self.map.len() / self.page_size.bytes()) as u64
    }

    /// Visits the pages in the order of the list: a mapping does not tell which has arrived.
    ///
    /// With [`Advice::WillNeed`] the batch should be ascending, so that adjacent pages are asked
    /// for together. Allocates nothing unless it fails.
    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (nth, slice) in pages.chunks(AHEAD_PAGES).enumerate() {
            // For a page on its own the fault that follows is as good.
            if self.advice == Advice::WillNeed && slice.len() > 1 {
                self.will_need(slice);
            }
            for (i, &page) in slice.iter().enumerate() {
                each(nth * AHEAD_PAGES + i, self.page(page)?);
            }
        }
        Ok(())
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        Some(Box::new(MmapGather::new(self)))
    }
}

/// The bytes of a mapping of `len_bytes` that a run of pages is in, out to the pages of the system's
/// that they touch: several of ours may be in one of those, or one of ours in several.
fn run_bytes(
    page_size: PageSize,
    pages: Range<u64>,
    len_bytes: usize,
    system_page: SystemPage,
) -> Range<usize> {
    let start = pages.start as usize * page_size.bytes();
    let bytes = system_page.around(start..pages.end as usize * page_size.bytes());
    // The last page of the system's goes on where the file ends.
    bytes.start..bytes.end.min(len_bytes)
}

/// Opens a regular file of whole pages; its length in bytes comes with it.
fn open_pages(path: &Path, name: &Arc<str>, page_size: PageSize) -> Result<(File, usize)> {
    let opened = open_no_link(path).map_err(|e| Error::io(name, "open", e))?;
    let file = opened.ok_or_else(|| {
        Error::not_pages(name, "is a link, a socket or a device; name a file of pages itself")
    })?;
    let stat = file.metadata().map_err(|e| Error::io(name, "stat", e))?;
    if !stat.is_file() {
        return Err(Error::not_pages(
            name,
            "is no regular file; name the file that holds the pages",
        ));
    }
    if !stat.len().is_multiple_of(page_size.bytes() as u64) {
        let reason = format!(
            "{} bytes are no whole number of pages of {page_size}: the file was cut or has another \
             page size; restore it from a copy",
            stat.len()
        );
        return Err(Error::not_pages(name, reason));
    }
    match usize::try_from(stat.len()) {
        Ok(len) => Ok((file, len)),
        Err(_) => {
            Err(Error::not_pages(name, "is larger than the address space; use the buffer pool"))
        }
    }
}

#[allow(unsafe_code)]
fn map_read_only(file: &File, len: usize) -> std::io::Result<Mmap> {
    // SAFETY: the promise is that nobody changes or cuts the file while it is mapped, and no code
    // can keep it: any process with the permission may. Whoever opens a source promises it. What
    // this workspace maps are files of finished segments, which nothing of its own writes to again,
    // so that the promise is broken only from outside. A cut is then a SIGBUS, and a write shows
    // through a slice that Rust takes for constant, as with every mapped file. The pages are looked
    // at as plain bytes, and no value of them is relied on for memory safety.
    unsafe { memmap2::MmapOptions::new().len(len).map(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_asked_for_by_the_pages_of_every_machine() {
        const KIB: usize = 1024;
        for (page_bytes, system_bytes, pages, expected) in [
            (4 * KIB, 4 * KIB, 3..5, 12 * KIB..20 * KIB),
            (4 * KIB, 16 * KIB, 3..5, 0..32 * KIB),
            (4 * KIB, 64 * KIB, 3..5, 0..64 * KIB),
            (4 * KIB, 64 * KIB, 20..21, 64 * KIB..100 * KIB),
            (512, 4 * KIB, 9..10, 4 * KIB..8 * KIB),
            (512, 64 * KIB, 127..129, 0..100 * KIB),
            (64 * KIB, 4 * KIB, 0..1, 0..64 * KIB),
            (64 * KIB, 16 * KIB, 1..2, 64 * KIB..100 * KIB),
        ] {
            let page_size = PageSize::new(page_bytes as u64).unwrap();
            let system_page = SystemPage::of_bytes(system_bytes);
            let found = run_bytes(page_size, pages.clone(), 100 * KIB, system_page);
            assert_eq!(found, expected, "{pages:?} of {page_bytes} on {system_bytes}");
        }
    }
}
