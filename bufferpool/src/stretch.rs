//! Stretches: a page table that takes no more memory than what is asked for of it.
//!
//! A stretch is as many words as fit a page of the system's. One that nothing was asked of is not
//! in memory. A stretch is paid for when a page of it is claimed first, and given back when all of
//! its pages have left, which makes all of its words zero: nothing but ghosts is forgotten by that.
//! Its state says how far it is, with the number of pages of it that are loading or resident:
//!
//! ```text
//!              open: paid for,                close: none left, to be
//!              with one page                  given back
//!     Empty ───────────────────▶ Live(pages) ──────────────────────▶ Closing
//!       ▲                          │  ▲ enter, leave                    │
//!       │                          └──┘                                 │
//!       └──────────────────────── closed: given back ───────────────────┘
//! ```
//!
//! Who is about to claim a page *enters* its stretch before, and who has evicted it, or failed to
//! read it, *leaves* after. So while a word says loading or resident, its stretch is live, with that
//! page counted; and who closes a stretch of no pages finds absent words alone, which nobody may
//! change before the stretch was opened again.
//!
//! Who merely looks takes no notice of states: a word that was given back is zero, an absent page.
//! Who has looked before and comes too late with a compare-and-swap finds another word, and fails;
//! that touches the memory all the same, so that at worst a page of zeros is in memory until the
//! stretch is closed the next time.
//!
//! A stretch that has become empty of pages is put on a list, once, by the thread that emptied it:
//! `tables` keeps that and decides which of them go.

use ringpool_storage::PageNo;

use crate::sync::{AtomicU32, Ordering};
use crate::zeroed::{self, Zeroed};

/// The state of a stretch that takes no memory.
const EMPTY: u32 = 0;
/// The state of one that is being given back.
const CLOSING: u32 = 1;
const LIVE: u32 = 1 << 31;
/// It is on the list of those without pages, or was, and nobody has looked since.
const LISTED: u32 = 1 << 30;
/// A page has come back to it since it was listed.
const RETURNED: u32 = 1 << 29;
/// Pages, and threads that are about to claim one.
const PAGES: u32 = (1 << 24) - 1;

pub(crate) struct Stretches {
    states: Zeroed<AtomicU32>,
    words_per_stretch: u64,
}

/// What becomes of who wants to enter a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Entered,
    /// It has to be paid for and opened.
    Empty,
    /// It is being given back: soon it is empty.
    Closing,
}

/// What becomes of who wants to close a stretch that is on the list, and takes it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The words are the caller's, to be given back. Then it is [closed](Stretches::closed).
    Closing,
    /// It has pages. It will be listed again when they have left.
    HasPages,
    /// Pages have come and gone since it was listed: it belongs at the end of the list.
    Returned,
}

impl Stretches {
    /// Empty stretches for a table of `words` words.
    ///
    /// # Errors
    /// The system's, when there is no memory.
    pub(crate) fn new(words: u64, words_per_stretch: u64) -> std::io::Result<Self> {
        let count = usize::try_from(words.div_ceil(words_per_stretch))
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::OutOfMemory))?;
        Ok(Self { states: Zeroed::new(count, false)?, words_per_stretch })
    }

    /// The words of a stretch: as many as a page of the system's holds.
    pub(crate) fn words_per_system_page() -> u64 {
        if cfg!(loom) { 2 } else { (zeroed::table_page_bytes() / size_of::<u64>()) as u64 }
    }

    pub(crate) fn count(&self) -> usize {
        self.states.len()
    }

    /// The stretch that `page` is in.
    pub(crate) fn of(&self, page: PageNo) -> usize {
        (page.0 / self.words_per_stretch) as usize
    }

    /// The words of `stretch`, of `words` in all.
    pub(crate) fn words(&self, stretch: usize, words: usize) -> std::ops::Range<usize> {
        let len = self.words_per_stretch as usize;
        stretch * len..words.min((stretch + 1) * len)
    }

    /// Counts a page that is about to be claimed.
    #[inline]
    pub(crate) fn enter(&self, stretch: usize) -> Entry {
        let state = &self.states[stretch];
        let mut seen = state.load(Ordering::Relaxed);
        loop {
            match seen {
                EMPTY => return Entry::Empty,
                CLOSING => return Entry::Closing,
                _ => {}
            }
            debug_assert!(seen & PAGES < PAGES, "pages without end");
            let returned = if seen & LISTED != 0 { RETURNED } else { 0 };
            // Acquire: pairs with the release in `closed`, through who opened it: the words are
            // zero before they are claimed.
            match state.compare_exchange_weak(
                seen,
                (seen + 1) | returned,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Entry::Entered,
                Err(now) => seen = now,
            }
        }
    }

    /// Opens a stretch that the caller has paid for, and enters it. Returns false when it is not
    /// empty any more.
    pub(crate) fn open(&self, stretch: usize) -> bool {
        // Acquire: pairs with the release in `closed`. Release: hands that on to who enters.
        self.states[stretch]
            .compare_exchange(EMPTY, LIVE | 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Counts a page out that was evicted, or not claimed after all. Returns whether the caller has
    /// to list the stretch: it is empty of pages now, and not on the list.
    #[inline]
    pub(crate) fn leave(&self, stretch: usize) -> bool {
        let state = &self.states[stretch];
        let mut seen = state.load(Ordering::Relaxed);
        loop {
            debug_assert!(seen & LIVE != 0 && seen & PAGES > 0, "left {seen:#x}");
            let lists = seen & PAGES == 1 && seen & LISTED == 0;
            let next = (seen - 1) | if lists { LISTED } else { 0 };
            // Release: pairs with the acquire in `close`. What we did to the word is over.
            match state.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return lists,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a stretch off the list, to give it back if it has no pages; with `mind_returned`, and
    /// if none has come and gone meanwhile.
    pub(crate) fn close(&self, stretch: usize, mind_returned: bool) -> Close {
        let state = &self.states[stretch];
        let mut seen = state.load(Ordering::Relaxed);
        loop {
            debug_assert!(seen & LIVE != 0 && seen & LISTED != 0, "on the list as {seen:#x}");
            let (next, close) = if seen & PAGES > 0 {
                (seen & !(LISTED | RETURNED), Close::HasPages)
            } else if seen & RETURNED != 0 && mind_returned {
                (seen & !RETURNED, Close::Returned)
            } else {
                (CLOSING, Close::Closing)
            };
            // Acquire: pairs with the releases in `leave`: all that was done to the words is over.
            match state.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return close,
                Err(now) => seen = now,
            }
        }
    }

    /// The words of a closing stretch are zero now.
    pub(crate) fn closed(&self, stretch: usize) {
        // Release: pairs with the acquire in `open`.
        self.states[stretch].store(EMPTY, Ordering::Release);
    }

    /// How many pages a stretch counts; `None` where it takes no memory.
    pub(crate) fn pages(&self, stretch: usize) -> Option<u32> {
        let state = self.states[stretch].load(Ordering::Relaxed);
        (state & LIVE != 0).then_some(state & PAGES)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_lives_from_its_first_page_until_it_is_closed() {
        let stretches = Stretches::new(1000, 512).unwrap();
        assert_eq!((stretches.count(), stretches.of(PageNo(512))), (2, 1));
        assert_eq!(stretches.words(1, 1000), 512..1000);
        assert_eq!((stretches.enter(1), stretches.pages(1)), (Entry::Empty, None));
        assert!(stretches.open(1) && !stretches.open(1));
        assert_eq!((stretches.enter(1), stretches.pages(1)), (Entry::Entered, Some(2)));
        assert!(!stretches.leave(1), "one is still there");
        assert!(stretches.leave(1), "to be listed");
        assert_eq!(stretches.close(1, true), Close::Closing);
        assert_eq!((stretches.enter(1), stretches.open(1)), (Entry::Closing, false));
        stretches.closed(1);
        assert_eq!(stretches.enter(1), Entry::Empty);
    }

    #[test]
    fn a_stretch_is_listed_once_and_minded_when_pages_return() {
        let stretches = Stretches::new(512, 512).unwrap();
        assert!(stretches.open(0) && stretches.leave(0));
        assert_eq!(stretches.enter(0), Entry::Entered);
        assert!(!stretches.leave(0), "it is on the list");
        assert_eq!(stretches.close(0, true), Close::Returned);
        assert_eq!(stretches.enter(0), Entry::Entered);
        assert_eq!(stretches.close(0, true), Close::HasPages);
        assert!(stretches.leave(0), "it is off the list");
        assert_eq!(stretches.enter(0), Entry::Entered);
        assert!(!stretches.leave(0));
        assert_eq!(stretches.close(0, false), Close::Closing, "whatever came and went");
    }
}

/// Every interleaving of a few threads:
/// `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.
#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::ghost::Ghost;
    use crate::word::{Frame, Look, Start, Verdict, Word};

    /// One stretch of two pages, and a frame for each thread: plain cells, so that two who meet
    /// there are an error that the checker reports. Giving memory back is a store of zero.
    struct Model {
        stretches: Stretches,
        words: Zeroed<Word>,
        frames: [UnsafeCell<u64>; 3],
    }

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                stretches: Stretches::new(2, 2).unwrap(),
                words: Zeroed::new(2, false).unwrap(),
                frames: [UnsafeCell::new(0), UnsafeCell::new(0), UnsafeCell::new(0)],
            })
        }

        /// Enters, opening the stretch if need be. Gives up where it is closing.
        fn enter(&self) -> bool {
            match self.stretches.enter(0) {
                Entry::Entered => true,
                Entry::Closing => false,
                Entry::Empty => self.stretches.open(0),
            }
        }

        /// Reads `page` into `frame`, which is ours. Returns whether it did.
        fn load(&self, page: usize, frame: Frame) -> bool {
            let Look::Absent(ghost) = self.words[page].pin() else { return false };
            if !self.enter() {
                return false;
            }
            if !self.words[page].claim(ghost, frame, Start::Probation) {
                let _ = self.stretches.leave(0);
                return false;
            }
            // SAFETY: loom reports it if anybody else is in the cell.
            self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes = page as u64 });
            assert!(self.words[page].publish_unwaited(frame), "the word was given back under it");
            self.words[page].unpin();
            true
        }

        /// Evicts `page` from `frame`, leaving a ghost. Returns whether the stretch is to be listed.
        fn evict(&self, page: usize, frame: Frame) -> bool {
            let verdict = self.words[page].judge(frame, 4, Ghost::at(7));
            assert_eq!(verdict, Verdict::Evicted, "nobody else evicts it");
            // SAFETY: as in `load`.
            self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes = 13 });
            self.stretches.leave(0)
        }

        /// Closes the stretch, which is on the list.
        fn close(&self) {
            if self.stretches.close(0, false) == Close::Closing {
                self.words.release(0..2);
                self.stretches.closed(0);
            }
        }

        fn look(&self, page: usize) {
            if let Look::Pinned(frame) = self.words[page].pin() {
                // SAFETY: as in `load`.
                self.frames[frame as usize]
                    .with(|bytes| unsafe { assert_eq!(*bytes, page as u64) });
                self.words[page].unpin();
            }
        }
    }

    /// Page 0 was there and is a ghost; the stretch is on the list.
    fn with_a_ghost() -> Arc<Model> {
        let model = Model::new();
        assert!(model.load(0, 0) && model.evict(0, 0));
        model
    }

    #[test]
    fn loom_closing_against_two_who_claim() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = with_a_ghost();
            let claimants = [(0, 1), (1, 2)].map(|(page, frame)| {
                let model = model.clone();
                thread::spawn(move || model.load(page, frame))
            });
            model.close();
            let loaded = claimants.map(|claimant| claimant.join().unwrap());
            for (page, loaded) in loaded.into_iter().enumerate() {
                assert_eq!(model.words[page].content().is_resident(), loaded);
            }
            let pages = loaded.into_iter().filter(|&loaded| loaded).count() as u32;
            assert_eq!(model.stretches.pages(0).unwrap_or(0), pages);
        });
    }

    #[test]
    fn loom_closing_against_claim_evict_and_a_look() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = with_a_ghost();
            let claimant = {
                let model = model.clone();
                thread::spawn(move || {
                    // As the pool does, whoever is to list a stretch closes it later.
                    if model.load(0, 1) && model.words[0].evict().is_some() {
                        // SAFETY: as in `load`.
                        model.frames[1].with_mut(|bytes| unsafe { *bytes = 13 });
                        if model.stretches.leave(0) {
                            model.close();
                        }
                    }
                })
            };
            let looker = {
                let model = model.clone();
                thread::spawn(move || model.look(0))
            };
            model.close();
            claimant.join().unwrap();
            looker.join().unwrap();
        });
    }
}
