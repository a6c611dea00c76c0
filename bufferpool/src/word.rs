//! The law: one 64-bit word a page, and every transition it may make.
//!
//! ```text
//!   63  62 61   60   59 58   57 56    55          32 31           0
//!   ┌─────┬──────┬───────┬───────┬───────┬─────────────┬─────────────┐
//!   │  -  │ main │ state │ chances│waited│    pins     │    frame    │  loading, resident
//!   ├─────┴──────┼───────┼───────┴───────┼─────────────┴─────────────┤
//!   │     -      │   0   │       -       │           ghost           │  absent
//!   └────────────┴───────┴───────────────┴───────────────────────────┘
//!
//!              claim(frame)              publish(pins)
//!    Absent ──────────────────▶ Loading ───────────────▶ Resident ◀─┐ pin, unpin,
//!      ▲ ▲                        │  ▲│ wait                 │  └───┘ spare, promote
//!      │ └────────── fail ────────┘  └┘                      │
//!      └───────────────────────── evict ────────────────────┘
//! ```
//!
//! A word of zero is an absent page, so that a table of them costs nothing until it is touched.
//! An absent page may instead be a [`Ghost`]: its word says when it was evicted. A ghost is only
//! a recollection. Whoever zeroes it loses no page.
//!
//! Who may do what: anybody may claim an absent page and pin a resident one; the claimant alone,
//! or whoever lands its read, publishes or fails; the hand evicts a resident page that nobody
//! pins. No transition waits for anybody.
//!
//! Orderings. Publishing releases the bytes of the frame and pinning acquires them. Unpinning
//! releases a reader's last look and evicting acquires it, so that the next read into the frame
//! comes after. All transitions of one word are read-modify-writes of one location, so that a
//! chain of them stays one release sequence.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::ghost::Ghost;
use crate::sync::AtomicU64;

/// The number of a frame.
pub(crate) type Frame = u32;

/// How often the hand passes a page by that is used all the time.
pub(crate) const MAX_CHANCES: u64 = 3;
/// How many guards of one page there may be.
pub(crate) const MAX_PINS: u64 = (1 << 24) - 1;

const FRAME: u64 = 0xFFFF_FFFF;
const ONE_PIN: u64 = 1 << 32;
const PINS: u64 = MAX_PINS << 32;
const WAITED: u64 = 1 << 56;
const ONE_CHANCE: u64 = 1 << 57;
const CHANCES: u64 = MAX_CHANCES << 57;
const LOADING: u64 = 1 << 59;
const RESIDENT: u64 = 2 << 59;
const STATE: u64 = 3 << 59;
const MAIN: u64 = 1 << 61;

const _: () = assert!(FRAME & PINS == 0 && PINS & WAITED == 0 && WAITED & CHANCES == 0);
const _: () = assert!(CHANCES & STATE == 0 && STATE & MAIN == 0);
const _: () = assert!(FRAME + PINS + WAITED + CHANCES + STATE + MAIN == (1 << 62) - 1);
const _: () = assert!(Ghost::BITS & (WAITED | CHANCES | STATE | MAIN) == 0);

/// The state of one page.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Word(AtomicU64);

/// What a look at a page finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// In this frame, and now pinned once more.
    Pinned(Frame),
    /// On its way.
    Loading,
    /// Not in memory, and this is what is remembered of it.
    Absent(Ghost),
    /// In memory, but with as many pins as a word can count.
    Full,
}

/// What a page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// On probation.
    Probation,
    /// Past it.
    Main,
    /// Past it, and as if it had been used once already.
    MainWithChance,
    /// Past it, and as if it had been used all the time.
    MainWithAll,
}

impl Start {
    fn bits(self) -> u64 {
        match self {
            Self::Probation => 0,
            Self::Main => MAIN,
            Self::MainWithChance => MAIN | ONE_CHANCE,
            Self::MainWithAll => MAIN | CHANCES,
        }
    }
}

/// What the hand did to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// It is absent now, and its frame the caller's.
    Evicted,
    /// It has lost some of its chances.
    Spared,
    /// It is pinned, loading, on probation, or not in this frame any more.
    Passed,
}

/// How a page's probation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Too few uses: it is a ghost now, and its frame the caller's.
    Evicted,
    /// Used enough: it is the hand's from now on.
    Promoted,
    /// It is pinned: no verdict yet.
    Pinned,
    /// It is not on probation in this frame any more.
    Gone,
}

/// A word's content at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content(u64);

impl Content {
    pub(crate) fn is_absent(self) -> bool {
        self.0 & STATE == 0
    }

    /// What is remembered of an absent page.
    pub(crate) fn ghost(self) -> Option<Ghost> {
        self.is_absent().then(|| Ghost::of_bits(self.0))
    }

    pub(crate) fn is_loading(self) -> bool {
        self.0 & STATE == LOADING
    }

    pub(crate) fn is_resident(self) -> bool {
        self.0 & STATE == RESIDENT
    }

    pub(crate) fn is_on_probation(self) -> bool {
        self.0 & (STATE | MAIN) == RESIDENT
    }

    pub(crate) fn frame(self) -> Frame {
        (self.0 & FRAME) as Frame
    }

    pub(crate) fn pins(self) -> u64 {
        (self.0 & PINS) >> 32
    }

    pub(crate) fn chances(self) -> u64 {
        (self.0 & CHANCES) / ONE_CHANCE
    }
}

impl Word {
    /// The content now. For looking only: it may have changed when this returns.
    pub(crate) fn content(&self) -> Content {
        Content(self.0.load(Relaxed))
    }

    /// Pins the page if it is resident, and gives it one more chance.
    #[inline]
    pub(crate) fn pin(&self) -> Look {
        self.pin_giving(1)
    }

    /// Pins the page if it is resident, and gives it so many more chances, up to the most.
    #[inline]
    pub(crate) fn pin_giving(&self, chances: u64) -> Look {
        let mut word = self.0.load(Relaxed);
        loop {
            match word & STATE {
                RESIDENT if word & PINS == PINS => return Look::Full,
                RESIDENT => {}
                LOADING => return Look::Loading,
                _ => return Look::Absent(Ghost::of_bits(word)),
            }
            // A branch, since what it guesses right need not be waited for.
            let next = if word & CHANCES == CHANCES { word } else { with_chances(word, chances) };
            // Acquire: pairs with the release in `publish`; the frame's bytes are visible.
            match self.0.compare_exchange_weak(word, next + ONE_PIN, Acquire, Relaxed) {
                Ok(_) => return Look::Pinned((word & FRAME) as Frame),
                Err(now) => word = now,
            }
        }
    }

    /// The frame of the page, if it is resident, for a reader, which does not pin. Writes only to
    /// give the page a chance more, up to the most.
    #[inline]
    pub(crate) fn look(&self) -> Option<Frame> {
        // Acquire: pairs with the release in `publish`; the frame's bytes are visible.
        let word = self.0.load(Acquire);
        // One test for a page that is used all the time: the fewer instructions a look takes, the
        // more looks the processor has under way at once.
        if word & (STATE | CHANCES) == RESIDENT | CHANCES || self.spare(word) {
            Some((word & FRAME) as Frame)
        } else {
            None
        }
    }

    /// Gives the page a chance more, if it is resident, which is returned.
    #[cold]
    fn spare(&self, word: u64) -> bool {
        let resident = word & STATE == RESIDENT;
        if resident && word & CHANCES != CHANCES {
            // Relaxed: nothing hangs on it. Where the word has changed meanwhile, it is not worth
            // a second try.
            let _ = self.0.compare_exchange(word, word + ONE_CHANCE, Relaxed, Relaxed);
        }
        resident
    }

    /// Pins once more a page that the caller sees pinned; no further use, hence no chance.
    /// `None` when there are as many pins as a word can count.
    pub(crate) fn pin_again(&self) -> Option<Frame> {
        let mut word = self.0.load(Relaxed);
        while word & PINS != PINS {
            debug_assert!(word & STATE == RESIDENT && word & PINS != 0, "not pinned {word:#x}");
            // Relaxed: the pin that is there already has made the bytes visible and keeps them.
            match self.0.compare_exchange_weak(word, word + ONE_PIN, Relaxed, Relaxed) {
                Ok(_) => return Some((word & FRAME) as Frame),
                Err(now) => word = now,
            }
        }
        None
    }

    /// Takes back one pin.
    #[inline]
    pub(crate) fn unpin(&self) {
        // Release: pairs with the acquire in `evict`; our last look comes before the next read.
        let before = self.0.fetch_sub(ONE_PIN, Release);
        debug_assert!(before & STATE == RESIDENT && before & PINS != 0, "unpinned {before:#x}");
    }

    /// Takes back the only pin of a page that nobody has used since it came, and the page with
    /// it. Returns false, with the pin still there, when somebody else has pinned or used it.
    pub(crate) fn unpin_unwanted(&self, frame: Frame) -> bool {
        let word = self.0.load(Relaxed);
        let unwanted = RESIDENT | ONE_PIN | u64::from(frame);
        // Acquire: as in `sweep`. Others may have pinned and unpinned it with the same hint.
        word & !MAIN == unwanted && self.0.compare_exchange(word, 0, AcqRel, Relaxed).is_ok()
    }

    /// Gives a page that the caller has pinned all the chances there are, past probation.
    pub(crate) fn favour(&self) {
        // Relaxed: who may touch the frame does not change.
        let before = self.0.fetch_or(MAIN | CHANCES, Relaxed);
        debug_assert!(before & STATE == RESIDENT && before & PINS != 0, "not pinned {before:#x}");
    }

    /// Gives a page that the caller has pinned `chances` chances, if it has fewer.
    pub(crate) fn warm(&self, chances: u64) {
        let wanted = chances.min(MAX_CHANCES) * ONE_CHANCE;
        let mut word = self.0.load(Relaxed);
        while word & CHANCES < wanted {
            debug_assert!(word & STATE == RESIDENT && word & PINS != 0, "not pinned {word:#x}");
            let warm = word & !CHANCES | wanted;
            // Relaxed: who may touch the frame does not change.
            match self.0.compare_exchange_weak(word, warm, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Makes an absent page loading, into `frame`. Returns false when it is not absent any more, or
    /// another ghost than the one that the caller has seen.
    #[inline]
    pub(crate) fn claim(&self, seen: Ghost, frame: Frame, start: Start) -> bool {
        let loading = LOADING | start.bits() | u64::from(frame);
        // Relaxed: nothing is read on the strength of it. The frame came from the free list or
        // from `evict`, which order what was done to it before.
        self.0.compare_exchange(seen.bits(), loading, Relaxed, Relaxed).is_ok()
    }

    /// Notes that somebody waits for a loading page. Returns false when it is not loading any
    /// more. Called under the lock of the page's waiters.
    pub(crate) fn wait(&self) -> bool {
        let mut word = self.0.load(Relaxed);
        while word & STATE == LOADING {
            // Relaxed: the waiters are handed over under their lock.
            match self.0.compare_exchange_weak(word, word | WAITED, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Makes a loading page resident with one pin, if nobody waits for it. Only its claimant, or
    /// whoever lands its read, may.
    #[inline]
    pub(crate) fn publish_unwaited(&self, frame: Frame) -> bool {
        let Some(loading) = self.loading_unwaited(frame) else { return false };
        let resident = loading - LOADING + RESIDENT + ONE_PIN;
        // Release: pairs with the acquire in `pin`.
        self.0.compare_exchange(loading, resident, Release, Relaxed).is_ok()
    }

    /// Makes a loading page resident with `pins` pins. Called under the lock of its waiters, of
    /// whom there is at least one, so that nobody else changes the word.
    pub(crate) fn publish(&self, frame: Frame, pins: u64) {
        debug_assert!(0 < pins && pins <= MAX_PINS);
        let start = self.0.load(Relaxed) & (MAIN | CHANCES);
        let resident = RESIDENT | start | (pins * ONE_PIN) | u64::from(frame);
        // Release: pairs with the acquire in `pin`, and with the waiters' own lock.
        let before = self.0.swap(resident, Release);
        debug_assert!(before == LOADING | WAITED | start | u64::from(frame), "{before:#x}");
    }

    /// Makes a loading page absent again, if nobody waits for it.
    pub(crate) fn fail_unwaited(&self, frame: Frame) -> bool {
        let Some(loading) = self.loading_unwaited(frame) else { return false };
        // Relaxed: the frame's bytes are nobody's. Its next use is ordered by the free list.
        self.0.compare_exchange(loading, 0, Relaxed, Relaxed).is_ok()
    }

    /// The word, if the page is loading into `frame` and nobody waits for it.
    fn loading_unwaited(&self, frame: Frame) -> Option<u64> {
        let word = self.0.load(Relaxed);
        (word & (STATE | WAITED | FRAME) == LOADING | u64::from(frame)).then_some(word)
    }

    /// Makes a loading page absent again. Called under the lock of its waiters, as `publish` is.
    pub(crate) fn fail(&self, frame: Frame) {
        // Relaxed: as in `fail_unwaited`.
        let before = self.0.swap(0, Relaxed);
        debug_assert!(
            before & !(MAIN | CHANCES) == LOADING | WAITED | u64::from(frame),
            "failed {before:#x}"
        );
    }

    /// The hand, at a page that is past probation: takes up to `taken` chances from the page in
    /// `frame`, or, where it has none left, the frame.
    #[inline]
    pub(crate) fn sweep(&self, frame: Frame, taken: u64) -> Sweep {
        let mut word = self.0.load(Relaxed);
        loop {
            let unpinned = RESIDENT | MAIN | u64::from(frame);
            if word & !CHANCES != unpinned {
                return Sweep::Passed;
            }
            let chances = word & CHANCES;
            let next = if chances != 0 { word - chances.min(taken * ONE_CHANCE) } else { 0 };
            // Acquire: pairs with the release in `unpin`; the last reader's look is over.
            match self.0.compare_exchange_weak(word, next, AcqRel, Relaxed) {
                Ok(_) if chances != 0 => return Sweep::Spared,
                Ok(_) => return Sweep::Evicted,
                Err(now) => word = now,
            }
        }
    }

    /// The end of a page's probation in `frame`: past it after `uses` uses, otherwise `ghost`.
    #[inline]
    pub(crate) fn judge(&self, frame: Frame, uses: u64, ghost: Ghost) -> Verdict {
        self.judge_if(RESIDENT | u64::from(frame), uses, ghost)
    }

    /// The same for a page that is past the pool's probation, and on one that its file keeps.
    pub(crate) fn judge_own(&self, frame: Frame, uses: u64, ghost: Ghost) -> Verdict {
        self.judge_if(RESIDENT | MAIN | u64::from(frame), uses, ghost)
    }

    #[inline]
    fn judge_if(&self, on_probation: u64, uses: u64, ghost: Ghost) -> Verdict {
        let mut word = self.0.load(Relaxed);
        loop {
            if word & !(CHANCES | PINS) != on_probation {
                return Verdict::Gone;
            }
            if word & PINS != 0 {
                return Verdict::Pinned;
            }
            let promoted = word & CHANCES >= uses * ONE_CHANCE;
            let next = if promoted { on_probation | MAIN } else { ghost.bits() };
            // Acquire: as in `sweep`.
            match self.0.compare_exchange_weak(word, next, AcqRel, Relaxed) {
                Ok(_) if promoted => return Verdict::Promoted,
                Ok(_) => return Verdict::Evicted,
                Err(now) => word = now,
            }
        }
    }

    /// Ends the probation of the page in `frame` in its favour, pinned or not.
    pub(crate) fn promote(&self, frame: Frame) {
        let mut word = self.0.load(Relaxed);
        while word & (STATE | MAIN | FRAME) == RESIDENT | u64::from(frame) {
            // Relaxed: who may touch the frame does not change.
            match self.0.compare_exchange_weak(word, word | MAIN, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// What giving back the memory of an absent word comes to.
    pub(crate) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// Evicts the page at once, chances or not, if it is resident and unpinned. Returns its frame.
    pub(crate) fn evict(&self) -> Option<Frame> {
        let mut word = self.0.load(Relaxed);
        while word & STATE == RESIDENT && word & PINS == 0 {
            // Acquire: as in `sweep`.
            match self.0.compare_exchange_weak(word, 0, AcqRel, Relaxed) {
                Ok(_) => return Some((word & FRAME) as Frame),
                Err(now) => word = now,
            }
        }
        None
    }
}

#[cold]
fn with_chances(word: u64, more: u64) -> u64 {
    word + (more * ONE_CHANCE).min(CHANCES - (word & CHANCES))
}

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;
