//! The file under the contestants that read by themselves: opened, measured, and its batches as
//! reads of adjacent pages.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use ringpool::storage::{Checksums, Error, PageNo, PageSize, Result};
use ringpool_cli::failure::Failure;
use rustix::fs::OFlags;

use super::Subject;

/// Pages in one read at most: 128 KiB of them, as much as a disk takes in one request.
pub const READ_PAGES_MAX: usize = 32;

/// How often a read that was interrupted or came back short is tried again.
pub const TRIES_MAX: u32 = 64;

/// Whether reads go through the page cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Buffered,
    Direct,
}

pub struct PagedFile {
    file: File,
    pub name: Arc<str>,
    pub page_size: PageSize,
    pub page_count: u64,
    checksums: Option<Checksums>,
}

impl PagedFile {
    pub fn open(subject: &Subject, way: Way) -> std::result::Result<Self, Failure> {
        let Subject { path, page_size, checksums, .. } = subject;
        let flags = if way == Way::Direct { OFlags::DIRECT } else { OFlags::empty() };
        let opened = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
        let doing = match way {
            Way::Direct => "open it with O_DIRECT (keep it on ext4 or xfs)",
            Way::Buffered => "open it",
        };
        let refused = |error: io::Error| Failure::at(path, doing, &error);
        let file = opened.map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        let page_bytes = page_size.bytes() as u64;
        if !metadata.is_file() || !metadata.len().is_multiple_of(page_bytes) {
            let path = path.display();
            return Err(Failure::new(format!("{path}: is no file of whole pages of {page_size}")));
        }
        Ok(Self {
            file,
            name: path.to_string_lossy().into(),
            page_size: *page_size,
            page_count: metadata.len() / page_bytes,
            checksums: checksums.clone(),
        })
    }

    pub fn as_file(&self) -> &File {
        &self.file
    }

    pub fn check_numbers(&self, pages: &[PageNo]) -> Result<()> {
        let wrong = pages.iter().find(|page| page.0 >= self.page_count);
        wrong.map_or(Ok(()), |&page| {
            Err(Error::NoSuchPage { file: self.name.clone(), page, pages: self.page_count })
        })
    }

    pub fn verify(&self, page: PageNo, bytes: &[u8]) -> Result<()> {
        let check = |sums: &Checksums| sums.verify(&self.name, page, bytes);
        self.checksums.as_ref().map_or(Ok(()), check)
    }

    /// Hands over the pages of a read that has ended, `places` of the batch.
    pub fn hand_over(
        &self,
        pages: &[PageNo],
        places: Range<usize>,
        bytes: &[u8],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        for (place, bytes) in places.zip(bytes.chunks_exact(self.page_size.bytes())) {
            self.verify(pages[place], bytes)?;
            each(place, bytes);
        }
        Ok(())
    }

    /// The reads that a batch takes: places whose pages follow each other in the file are one.
    pub fn reads(pages: &[PageNo]) -> impl Iterator<Item = Range<usize>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let begin = next;
            let first = pages.get(begin)?;
            let follow = pages[begin..].iter().zip(first.0..=u64::MAX).take(READ_PAGES_MAX);
            next += follow.take_while(|&(page, number)| page.0 == number).count();
            Some(begin..next)
        })
    }

    /// Where the read of these places begins in the file, and how long it is, in bytes.
    pub fn extent(&self, pages: &[PageNo], places: &Range<usize>) -> (u64, usize) {
        let page_bytes = self.page_size.bytes();
        (pages[places.start].0 * page_bytes as u64, places.len() * page_bytes)
    }

    /// The error for a read that the system refused, or that the file's end cut short.
    pub fn error(&self, page: PageNo, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated {
                file: self.name.clone(),
                page,
                expected_bytes: self.page_size.bytes(),
                found_bytes: 0,
            },
            _ => Error::io(&self.name, format!("reading page {page}"), source),
        }
    }
}
