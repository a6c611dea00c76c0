//! The page table of one file: a flat array of words, one a page.
//!
//! Pages of a file are dense, so that no hash is needed: finding a page is one index. The array is
//! zeroed memory fresh from the system, which costs nothing until a page of it is touched. A small
//! one is paid for whole, and may be on huge pages; of a large one, [stretches](crate::stretch)
//! come and go.

#![allow(unsafe_code)]

use std::io;

use crossbeam_utils::CachePadded;
use ringpool_storage::{PageNo, SystemPage};

use crate::share::Holdings;
use crate::stretch::Stretches;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::word::Word;
use crate::zeroed::{Zeroable, Zeroed};

pub(crate) struct Table {
    words: Zeroed<Word>,
    /// Which words are in memory; `None` where all are paid for.
    stretches: Option<Stretches>,
    /// Which parts of the stretches' states are paid for.
    states_paid: Box<[AtomicBool]>,
    /// How many states each of them has.
    states_together: usize,
    /// What was spent on stretches of this table, in bytes.
    pub(crate) paid_bytes: std::sync::atomic::AtomicU64,
    /// What the file holds; apart from the words, which hits look at.
    pub(crate) holdings: CachePadded<Holdings>,
}

// SAFETY: transparent around an atomic.
unsafe impl Zeroable for Word {
    fn zero(&self) {
        self.clear();
    }
}

impl Table {
    /// The states of so many stretches are in one page of the system's.
    pub(crate) fn states_together() -> usize {
        SystemPage::of_machine().bytes() / size_of::<u32>()
    }

    /// A table of `pages` absent pages, all of it paid for, or none of it.
    ///
    /// # Errors
    /// The system's, when the memory cannot be had.
    pub(crate) fn new(pages: u64, whole: bool) -> io::Result<Self> {
        let len = usize::try_from(pages).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let in_page = Stretches::words_per_system_page();
        let stretches = if whole { None } else { Some(Stretches::new(pages, in_page)?) };
        let states_together = Self::states_together();
        let states_paid = match &stretches {
            Some(stretches) => stretches.count().div_ceil(states_together),
            None => 0,
        };
        Ok(Self {
            words: Zeroed::new(len, whole)?,
            stretches,
            states_paid: (0..states_paid).map(|_| AtomicBool::new(false)).collect(),
            states_together,
            paid_bytes: Default::default(),
            holdings: CachePadded::default(),
        })
    }

    /// The bytes that a table of `pages` pages takes, whole.
    pub(crate) fn memory_bytes(pages: u64) -> u64 {
        pages.saturating_mul(size_of::<Word>() as u64)
    }

    /// The bytes that were paid for when the file was attached.
    pub(crate) fn whole_bytes(&self) -> u64 {
        if self.stretches.is_none() { Self::memory_bytes(self.page_count()) } else { 0 }
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

    #[inline]
    pub(crate) fn stretches(&self) -> Option<&Stretches> {
        self.stretches.as_ref()
    }

    /// Whether the memory of the state of `stretch` is paid for; `None` where there is none.
    pub(crate) fn states_paid(&self, stretch: usize) -> Option<&AtomicBool> {
        self.states_paid.get(stretch / self.states_together)
    }

    /// Gives back the words of a stretch that the caller is closing.
    pub(crate) fn give_back(&self, stretch: usize) {
        if let Some(stretches) = &self.stretches {
            self.words.release(stretches.words(stretch, self.words.len()));
            stretches.closed(stretch);
        }
    }

    /// The words that are in memory, with their pages.
    pub(crate) fn words(&self) -> impl Iterator<Item = (PageNo, &Word)> {
        let all = self.stretches.is_none().then_some(0..self.words.len());
        let live = self.stretches.iter().flat_map(|stretches| {
            let live = (0..stretches.count()).filter(|&no| stretches.pages(no).is_some());
            live.map(|no| stretches.words(no, self.words.len()))
        });
        let pages = all.into_iter().chain(live).flatten();
        pages.map(|no| (PageNo(no as u64), &self.words[no]))
    }

    /// The first stretch that counts other than the pages it has, at rest: with what it counts and
    /// what it has.
    pub(crate) fn miscount(&self) -> Option<(usize, u32, u32)> {
        let stretches = self.stretches.as_ref()?;
        (0..stretches.count()).find_map(|no| {
            let counted = stretches.pages(no)?;
            let words = &self.words[stretches.words(no, self.words.len())];
            let pages = words.iter().filter(|word| !word.content().is_absent()).count() as u32;
            (counted != pages).then_some((no, counted, pages))
        })
    }
}

/// Which page a frame holds, as the clock finds it: the file's number and the page's. Zero is
/// nobody, so that frames that were never used cost nothing.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Owner(AtomicU64);

// SAFETY: transparent around an atomic.
unsafe impl Zeroable for Owner {
    fn zero(&self) {
        self.clear();
    }
}

const NOBODY: u64 = 0;
const PAGE_BITS: u32 = 48;

/// The number under which a pool knows a file. The highest one is no file's.
pub(crate) type FileNo = u16;

impl Owner {
    pub(crate) fn set(&self, file: FileNo, page: PageNo) {
        debug_assert!(page.0 < 1 << PAGE_BITS && file < FileNo::MAX);
        // Relaxed: a hint. The hand believes it only after the page's word has confirmed it.
        self.0.store((u64::from(file) + 1) << PAGE_BITS | page.0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<(FileNo, PageNo)> {
        // Relaxed: as in `set`.
        let owner = self.0.load(Ordering::Relaxed);
        let file = ((owner >> PAGE_BITS) as FileNo).checked_sub(1)?;
        Some((file, PageNo(owner & ((1 << PAGE_BITS) - 1))))
    }

    pub(crate) fn clear(&self) {
        // Relaxed: as in `set`.
        self.0.store(NOBODY, Ordering::Relaxed);
    }
}
