//! The page table of one file: a flat array of words, one a page.
//!
//! Pages of a file are dense, so that no hash is needed: finding a page is one index. The array is
//! zeroed memory fresh from the system, which costs nothing until a page of it is touched.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;
use ringpool_storage::PageNo;

use crate::share::Holdings;
use crate::sync::AtomicU64;
use crate::word::Word;

pub(crate) struct Table {
    words: Box<[Word]>,
    /// What the file holds; apart from the words, which hits look at.
    pub(crate) holdings: CachePadded<Holdings>,
}

impl Table {
    /// A table of `pages` absent pages; `None` when the memory cannot be had.
    #[cfg(not(loom))]
    pub(crate) fn new(pages: u64) -> Option<Self> {
        let pages = usize::try_from(pages).ok()?;
        let mut zeros: Vec<u64> = Vec::new();
        zeros.try_reserve_exact(pages).ok()?;
        drop(zeros); // Asked for only to learn that it can be had; the next comes zeroed.
        let zeros = vec![0_u64; pages].into_boxed_slice();
        const { assert!(size_of::<Word>() == size_of::<u64>()) };
        const { assert!(align_of::<Word>() == align_of::<u64>()) };
        // SAFETY: a word is a transparent atomic, which has the size, alignment and bit patterns
        // of its integer (asserted above); the box is ours alone.
        let words = unsafe { Box::from_raw(Box::into_raw(zeros) as *mut [Word]) };
        Some(Self { words, holdings: CachePadded::default() })
    }

    #[cfg(loom)]
    pub(crate) fn new(pages: u64) -> Option<Self> {
        let words = (0..pages).map(|_| Word::default()).collect();
        Some(Self { words, holdings: CachePadded::default() })
    }

    /// The bytes that a table of `pages` pages takes.
    pub(crate) fn memory_bytes(pages: u64) -> u64 {
        pages.saturating_mul(size_of::<Word>() as u64)
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.words.len() as u64
    }

    /// The words of all pages, by their numbers.
    #[inline]
    pub(crate) fn all(&self) -> &[Word] {
        &self.words
    }

    /// The word of `page`; `None` past the end.
    #[inline]
    pub(crate) fn word(&self, page: PageNo) -> Option<&Word> {
        self.words.get(usize::try_from(page.0).ok()?)
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = (PageNo, &Word)> {
        self.words.iter().enumerate().map(|(no, word)| (PageNo(no as u64), word))
    }
}

/// Which page a frame holds, as the clock finds it: the file's number and the page's.
pub(crate) struct Owner(AtomicU64);

const NOBODY: u64 = u64::MAX;
const PAGE_BITS: u32 = 48;

/// The number under which a pool knows a file.
pub(crate) type FileNo = u16;

impl Owner {
    pub(crate) fn nobody() -> Self {
        Self(AtomicU64::new(NOBODY))
    }

    pub(crate) fn set(&self, file: FileNo, page: PageNo) {
        debug_assert!(page.0 < 1 << PAGE_BITS);
        // Relaxed: a hint. The hand believes it only after the page's word has confirmed it.
        self.0.store(u64::from(file) << PAGE_BITS | page.0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<(FileNo, PageNo)> {
        // Relaxed: as in `set`.
        let owner = self.0.load(Ordering::Relaxed);
        let (file, page) = ((owner >> PAGE_BITS) as FileNo, owner & ((1 << PAGE_BITS) - 1));
        (owner != NOBODY).then_some((file, PageNo(page)))
    }

    pub(crate) fn clear(&self) {
        // Relaxed: as in `set`.
        self.0.store(NOBODY, Ordering::Relaxed);
    }
}
