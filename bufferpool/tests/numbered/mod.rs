//! A device of any length whose pages are made up from their numbers, for files that no disk of a
//! test machine holds.

// Each test binary uses what it needs of this.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ringpool_bufferpool::{Pool, PoolFile};
use ringpool_storage::{Error, PageDevice, PageNo, PageRead, PageSize};

pub const SIZE: PageSize = PageSize::KIB_4;

pub struct Numbered {
    file: Arc<str>,
    pages: u64,
    reads: AtomicU64,
}

impl Numbered {
    pub fn new(pages: u64) -> Arc<Self> {
        Arc::new(Self { file: "numbered".into(), pages, reads: AtomicU64::new(0) })
    }
}

/// A file of the pool with so many pages, without checksums.
pub fn attach(pool: &Pool, pages: u64) -> PoolFile {
    pool.attach(Numbered::new(pages), None).unwrap()
}

/// What each eight bytes of `page` are: other than zero, and another for each page.
fn word_of(page: PageNo) -> u64 {
    // An odd factor maps no two numbers to one.
    (page.0 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Whether these are the bytes of `page`, by its first, its last and two between.
pub fn is_page(bytes: &[u8], page: PageNo) -> bool {
    let word = word_of(page).to_le_bytes();
    let places = [0, 1024, 2048, bytes.len() - 8];
    places.iter().all(|&at| bytes[at..at + 8] == word)
}

impl PageDevice for Numbered {
    fn file(&self) -> &Arc<str> {
        &self.file
    }

    fn page_size(&self) -> PageSize {
        SIZE
    }

    fn page_count(&self) -> u64 {
        self.pages
    }

    fn submit(&self, mut read: PageRead) -> Result<(), PageRead> {
        let page = read.page();
        self.reads.fetch_add(1, Ordering::Relaxed);
        let result = if page.0 < self.pages {
            let word = word_of(page).to_le_bytes();
            read.bytes_mut().chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&word));
            Ok(())
        } else {
            Err(Error::NoSuchPage { file: self.file.clone(), page, pages: self.pages })
        };
        read.complete(result);
        Ok(())
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        // All reads have landed: what is waited for may come of another thread.
        while !until() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        true
    }
}
