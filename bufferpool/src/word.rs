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
    #[cfg(any(loom, shuttle))]
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NEVER: Ghost = Ghost::NEVER;
    const LATER: Ghost = Ghost::at(7);

    fn resident(frame: Frame, start: Start) -> Word {
        let word = Word::default();
        assert!(word.claim(NEVER, frame, start) && word.publish_unwaited(frame));
        word
    }

    fn used(word: &Word, frame: Frame, uses: u64) {
        for _ in 0..uses {
            assert_eq!(word.pin(), Look::Pinned(frame));
            word.unpin();
        }
    }

    #[test]
    fn an_absent_page_can_only_be_claimed() {
        let word = Word::default();
        assert_eq!(word.pin(), Look::Absent(NEVER));
        assert!(!word.wait() && !word.publish_unwaited(0) && !word.fail_unwaited(0));
        assert_eq!(word.sweep(0, 1), Sweep::Passed);
        assert_eq!(word.judge(0, 1, LATER), Verdict::Gone);
        word.promote(0);
        assert_eq!(word.evict(), None);
        assert!(word.content().is_absent());
        assert!(word.claim(NEVER, u32::MAX, Start::Probation));
        assert_eq!(word.content().frame(), u32::MAX);
    }

    #[test]
    fn a_loading_page_is_claimed_once_and_neither_pinned_nor_evicted() {
        for start in [Start::Probation, Start::Main, Start::MainWithChance, Start::MainWithAll] {
            let word = Word::default();
            assert!(word.claim(NEVER, 5, start));
            assert!(!word.claim(NEVER, 6, start));
            assert_eq!((word.pin(), word.look()), (Look::Loading, None));
            assert_eq!(word.sweep(5, 1), Sweep::Passed);
            assert_eq!(word.judge(5, 1, LATER), Verdict::Gone);
            word.promote(5);
            assert_eq!(word.evict(), None);
            assert!(word.content().is_loading());
            assert!(!word.fail_unwaited(6) && word.fail_unwaited(5));
            assert_eq!(word.pin(), Look::Absent(NEVER));
        }
    }

    #[test]
    fn a_waited_page_is_published_with_a_pin_for_each() {
        for start in [Start::Probation, Start::Main, Start::MainWithChance] {
            let word = Word::default();
            assert!(word.claim(NEVER, 5, start) && word.wait() && word.wait());
            assert!(!word.publish_unwaited(5) && !word.fail_unwaited(5), "somebody waits");
            word.publish(5, 3);
            assert_eq!(word.content().pins(), 3);
            (0..3).for_each(|_| word.unpin());
            assert_eq!(word.content().is_on_probation(), start == Start::Probation);
            let spared = word.sweep(5, 1) == Sweep::Spared;
            assert_eq!(spared, start == Start::MainWithChance, "a new page has no chance to lose");
        }
    }

    #[test]
    fn a_pinned_page_stays() {
        for start in [Start::Probation, Start::Main] {
            let word = resident(5, start);
            assert_eq!(word.sweep(5, 1), Sweep::Passed);
            assert!(matches!(word.judge(5, 1, LATER), Verdict::Pinned | Verdict::Gone));
            assert_eq!(word.evict(), None);
            word.unpin();
            assert_eq!(word.sweep(4, 1), Sweep::Passed, "in another frame");
            assert_eq!(word.judge(4, 1, LATER), Verdict::Gone, "in another frame");
            assert_eq!(word.evict(), Some(5));
        }
    }

    #[test]
    fn each_use_gives_a_chance_up_to_the_most() {
        for uses in 0..6 {
            let word = resident(9, Start::Main);
            word.unpin();
            used(&word, 9, uses);
            for _ in 0..uses.min(MAX_CHANCES) {
                assert_eq!(word.sweep(9, 1), Sweep::Spared);
            }
            assert_eq!(word.sweep(9, 1), Sweep::Evicted);
            assert_eq!(word.pin(), Look::Absent(NEVER), "the hand leaves no ghost");
        }
    }

    #[test]
    fn the_hand_may_take_all_chances_at_once() {
        let word = resident(9, Start::MainWithChance);
        word.unpin();
        used(&word, 9, 2);
        assert_eq!(word.sweep(9, MAX_CHANCES), Sweep::Spared);
        assert_eq!(word.sweep(9, MAX_CHANCES), Sweep::Evicted);
    }

    #[test]
    fn probation_ends_by_promotion_or_as_a_ghost() {
        for uses in 0..4 {
            let word = resident(9, Start::Probation);
            assert_eq!(word.judge(9, 2, LATER), Verdict::Pinned);
            word.unpin();
            assert_eq!(word.sweep(9, 1), Sweep::Passed, "it is not the hand's yet");
            used(&word, 9, uses);
            if uses < 2 {
                assert_eq!(word.judge(9, 2, LATER), Verdict::Evicted);
                assert_eq!(word.pin(), Look::Absent(LATER));
                assert!(!word.claim(NEVER, 3, Start::Main), "the caller has seen another ghost");
                assert!(word.claim(LATER, 3, Start::Main) && word.publish_unwaited(3));
                word.unpin();
                assert_eq!(word.judge(3, 2, LATER), Verdict::Gone);
                assert_eq!(word.sweep(3, 1), Sweep::Evicted);
            } else {
                assert_eq!(word.judge(9, 2, LATER), Verdict::Promoted);
                assert_eq!(word.judge(9, 2, LATER), Verdict::Gone);
                assert_eq!(word.sweep(9, 1), Sweep::Evicted, "its chances are spent");
            }
        }
    }

    #[test]
    fn a_page_may_be_promoted_while_it_is_pinned() {
        let word = resident(9, Start::Probation);
        word.promote(8);
        assert!(word.content().is_on_probation(), "in another frame");
        word.promote(9);
        assert!(!word.content().is_on_probation());
        assert_eq!(word.content().pins(), 1);
    }

    #[test]
    fn a_use_gives_as_many_chances_as_it_says() {
        for (given, chances) in [(0, 0), (1, 1), (2, 2), (MAX_CHANCES, 3), (MAX_CHANCES + 2, 3)] {
            let word = resident(9, Start::Main);
            assert_eq!(word.pin_giving(given), Look::Pinned(9));
            (0..2).for_each(|_| word.unpin());
            let spared = (0..).take_while(|_| word.sweep(9, 1) == Sweep::Spared).count();
            assert_eq!(spared, chances, "{given} given");
        }
        for start in [Start::Probation, Start::MainWithAll] {
            let word = resident(9, start);
            if start == Start::Probation {
                word.favour();
            }
            word.unpin();
            assert!(!word.content().is_on_probation());
            let spared = (0..).take_while(|_| word.sweep(9, 1) == Sweep::Spared).count();
            assert_eq!(spared as u64, MAX_CHANCES);
        }
    }

    #[test]
    fn only_what_nobody_else_wants_goes_with_its_last_pin() {
        for start in [Start::Probation, Start::Main] {
            let word = resident(9, start);
            assert!(!word.unpin_unwanted(8), "in another frame");
            assert_eq!(word.pin_giving(0), Look::Pinned(9));
            assert!(!word.unpin_unwanted(9), "somebody else has pinned it");
            word.unpin();
            assert!(word.unpin_unwanted(9), "and wants it no more");
            assert_eq!(word.pin(), Look::Absent(NEVER));
            let word = resident(9, start);
            used(&word, 9, 1);
            assert!(!word.unpin_unwanted(9), "somebody has used it");
            assert_eq!(word.content().pins(), 1);
            let word = resident(9, start);
            assert_eq!(word.look(), Some(9));
            assert!(!word.unpin_unwanted(9), "a reader has looked at it");
        }
    }

    #[test]
    fn a_file_may_keep_a_probation_of_its_own() {
        let word = resident(9, Start::Main);
        assert_eq!(word.judge_own(9, 2, LATER), Verdict::Pinned);
        word.unpin();
        assert_eq!(word.judge_own(8, 2, LATER), Verdict::Gone, "in another frame");
        used(&word, 9, 2);
        assert_eq!(word.judge_own(9, 2, LATER), Verdict::Promoted);
        assert_eq!(word.judge_own(9, 2, LATER), Verdict::Evicted, "its uses are spent");
        assert_eq!(word.pin(), Look::Absent(LATER));
        let word = resident(9, Start::Probation);
        word.unpin();
        assert_eq!(word.judge_own(9, 2, LATER), Verdict::Gone, "it is on the pool's");
    }

    #[test]
    fn pins_do_not_overflow() {
        let word = Word::default();
        assert!(word.claim(NEVER, 1, Start::Probation) && word.wait());
        word.publish(1, MAX_PINS);
        assert_eq!(word.pin(), Look::Full);
        assert_eq!(word.pin_again(), None);
        word.unpin();
        assert_eq!(word.pin_again(), Some(1));
        word.unpin();
        assert_eq!(word.pin(), Look::Pinned(1));
    }
}

/// Every interleaving of a few threads, by the model checker:
/// `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.
#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// One page over two frames. A frame's content is a plain cell: a reader and a writer that
    /// meet there are an error that the checker reports.
    struct Model {
        word: Word,
        frames: [UnsafeCell<u64>; 2],
    }

    impl Model {
        fn new() -> Arc<Self> {
            let frames = [UnsafeCell::new(0), UnsafeCell::new(0)];
            Arc::new(Self { word: Word::default(), frames })
        }

        /// Reads the page into `frame`, which is ours, and keeps it unpinned.
        fn load(&self, frame: Frame, start: Start) -> bool {
            let Look::Absent(ghost) = self.word.pin() else { return false };
            if !self.word.claim(ghost, frame, start) {
                return false;
            }
            // SAFETY: loom reports it if anybody else is in the cell.
            self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes = 42 });
            assert!(self.word.publish_unwaited(frame));
            self.word.unpin();
            true
        }

        fn look(&self) {
            self.look_giving(1);
        }

        fn look_giving(&self, chances: u64) {
            if let Look::Pinned(frame) = self.word.pin_giving(chances) {
                // SAFETY: loom reports it if anybody writes to the cell.
                self.frames[frame as usize].with(|bytes| assert_eq!(unsafe { *bytes }, 42));
                self.word.unpin();
            }
        }

        /// The hand: what it evicts it may write to.
        fn sweep(&self, frame: Frame) -> bool {
            self.scribble_if(frame, self.word.sweep(frame, 1) == Sweep::Evicted)
        }

        /// The end of a probation: as the hand.
        fn judge(&self, frame: Frame) -> Verdict {
            let verdict = self.word.judge(frame, 1, Ghost::at(7));
            self.scribble_if(frame, verdict == Verdict::Evicted);
            verdict
        }

        fn scribble_if(&self, frame: Frame, ours: bool) -> bool {
            if ours {
                // SAFETY: as in `load`.
                self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes = 13 });
            }
            ours
        }
    }

    #[test]
    fn loom_two_readers_and_the_hand() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Main));
            let readers = [(); 2].map(|()| {
                let model = model.clone();
                thread::spawn(move || model.look())
            });
            model.sweep(0);
            model.sweep(0);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn loom_a_page_that_was_waited_for_and_a_reader() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.word.claim(Ghost::NEVER, 0, Start::Main) && model.word.wait());
            let reader = {
                let model = model.clone();
                thread::spawn(move || model.look())
            };
            // SAFETY: as in `load`.
            model.frames[0].with_mut(|bytes| unsafe { *bytes = 42 });
            model.word.publish(0, 2);
            model.word.unpin();
            model.word.unpin();
            reader.join().unwrap();
        });
    }

    #[test]
    fn loom_two_readers_and_who_forgets() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Main));
            let readers = [(); 2].map(|()| {
                let model = model.clone();
                thread::spawn(move || model.look())
            });
            let forgotten = model.word.evict() == Some(0);
            model.scribble_if(0, forgotten);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn loom_a_scan_lets_go_while_others_want_the_page() {
        loom::model(|| {
            let model = Model::new();
            // Read for a scan, which has it pinned.
            assert!(model.word.claim(Ghost::NEVER, 0, Start::Probation));
            // SAFETY: as in `load`.
            model.frames[0].with_mut(|bytes| unsafe { *bytes = 42 });
            assert!(model.word.publish_unwaited(0));
            // One look of the others counts, one does not: a scan's own.
            let others = [1, 0].map(|chances| {
                let model = model.clone();
                thread::spawn(move || model.look_giving(chances))
            });
            // It takes the page with it, and the frame is its own; or the page stays.
            let gone = model.word.unpin_unwanted(0);
            if !model.scribble_if(0, gone) {
                model.word.unpin();
            }
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(model.word.content().is_absent(), gone);
            assert_eq!(model.word.content().pins(), 0);
        });
    }

    #[test]
    fn loom_two_readers_and_the_end_of_probation() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Probation));
            let readers = [(); 2].map(|()| {
                let model = model.clone();
                thread::spawn(move || model.look())
            });
            if model.judge(0) == Verdict::Promoted {
                model.sweep(0);
            }
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    /// A look that counts as no use does not keep the page, but its last look comes before what is
    /// written there next.
    #[test]
    fn loom_two_looks_that_count_as_nothing_and_the_end_of_probation() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Probation));
            let readers = [(); 2].map(|()| {
                let model = model.clone();
                thread::spawn(move || model.look_giving(0))
            });
            model.judge(0);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn loom_the_hand_a_verdict_and_a_reader() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Probation));
            model.look(); // Used once: to be promoted.
            let hand = {
                let model = model.clone();
                thread::spawn(move || model.sweep(0))
            };
            let reader = {
                let model = model.clone();
                thread::spawn(move || model.look())
            };
            let verdict = model.judge(0);
            let swept = hand.join().unwrap();
            assert!(!(swept && verdict == Verdict::Evicted), "a frame is evicted once");
            reader.join().unwrap();
        });
    }

    #[test]
    fn loom_two_claimants_and_a_reader() {
        loom::model(|| {
            let model = Model::new();
            let claimants = [0, 1].map(|frame| {
                let model = model.clone();
                thread::spawn(move || model.load(frame, Start::Probation))
            });
            model.look();
            let won = claimants.map(|claimant| claimant.join().unwrap());
            assert!(won[0] != won[1], "a page is in one frame");
        });
    }

    #[test]
    fn loom_two_claimants_of_a_ghost() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Probation));
            assert_eq!(model.judge(0), Verdict::Evicted);
            let claimants = [0, 1].map(|frame| {
                let model = model.clone();
                thread::spawn(move || model.load(frame, Start::Main))
            });
            let won = claimants.map(|claimant| claimant.join().unwrap());
            assert!(won[0] != won[1], "a ghost returns once");
        });
    }

    #[test]
    fn loom_evicted_and_loaded_again_elsewhere() {
        loom::model(|| {
            let model = Model::new();
            assert!(model.load(0, Start::Probation));
            let reader = {
                let model = model.clone();
                thread::spawn(move || model.look())
            };
            if model.judge(0) == Verdict::Evicted {
                assert!(model.load(1, Start::Main));
                model.look();
            }
            reader.join().unwrap();
        });
    }
}
