//! The clock: who goes when a frame is needed.
//!
//! Two hands take turns. New pages are on [probation](crate::probation): while more are than are
//! due, the one whose turn it is either goes, as a [ghost](crate::ghost), or is promoted. The main
//! hand goes around all frames and looks at the pages past probation: each use has given a page a
//! chance, up to three, and each pass takes one; a page that has none left goes. The plain clock
//! has the main hand alone, which takes all chances in one pass.
//!
//! While the pool fills, nobody has to go, and pages come in past probation. So a loop over more
//! pages than there are frames hits those that came first; with a short probation alone it would
//! hit none.
//!
//! Nobody waits. The main hand is a counter that threads advance in strides: each takes a stretch
//! of frames for itself, so that no two look at the same ones; and of the ring of probation each
//! takes the next. Several victims are taken at a time and laid in store, so that most misses find
//! a free frame.

use std::ops::Range;
use std::sync::Arc;

use crate::counters::{Count, Counters};
use crate::frames::Frames;
use crate::ghost::Ghost;
use crate::hint::Hint;
use crate::policy::Policy;
use crate::priority::Priority;
use crate::probation::Probation;
use crate::share::Holdings;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::table::{FileNo, Table};
use crate::tables::Tables;
use crate::word::{Frame, MAX_CHANCES, Start, Sweep, Verdict, Word};

/// Victims that one miss looks for at most, to spare the next ones the search; and frames that it
/// takes of the main hand at a time.
const IN_STORE: u64 = 8;
/// Victims that one search finds at most: a stride is looked at to its end.
const MOST_FOUND: usize = 2 * IN_STORE as usize;
/// Frames for each victim in store: in a small pool an idle frame is dear.
const FRAMES_PER_STORED: u64 = 32;
/// After so many laps each unpinned page has lost all its chances, even if each was used once
/// more meanwhile and every other lap was the other hand's: what is left is pinned.
pub(crate) const MAX_LAPS: u64 = 4 * (MAX_CHANCES + 1);

/// Frames that leave together: their memory goes back in few pieces.
const VACATED: usize = 64;

pub(crate) struct Clock {
    policy: Policy,
    /// Whether a frame was searched for since there were plenty.
    is_full: AtomicBool,
    hand: AtomicU64,
    probation: Probation,
    pub(crate) steps: AtomicU64,
    pub(crate) evictions: AtomicU64,
}

impl Clock {
    /// What a frame costs in the ring of probation, in bytes.
    pub(crate) const BYTES_PER_FRAME: u64 = Probation::BYTES_PER_FRAME;

    /// A clock for up to `capacity` frames.
    pub(crate) fn new(policy: Policy, capacity: u32) -> std::io::Result<Self> {
        let probation = Probation::new(capacity as usize)?;
        let (is_full, hand, steps, evictions) = Default::default();
        Ok(Self { policy, is_full, hand, probation, steps, evictions })
    }

    /// Takes note that there are many free frames: nobody has to go for a while.
    pub(crate) fn has_grown(&self) {
        self.is_full.store(false, Ordering::Relaxed);
    }

    /// What an absent page begins with that is read now.
    pub(crate) fn start(&self, ghost: Ghost, frames: &Frames, hint: Hint) -> Start {
        match (self.policy, hint) {
            (Policy::Clock, Hint::ScanOnce) => return Start::Main,
            (Policy::Clock, _) => return Start::MainWithChance,
            (Policy::Probation, Hint::ScanOnce) => return Start::Probation,
            (Policy::Probation, Hint::Hot) => return Start::MainWithAll,
            (Policy::Probation, Hint::Random) => {}
        }
        // Relaxed: nothing follows from it but how long the page stays.
        let evictions = self.evictions.load(Ordering::Relaxed);
        let span = frames.usable_count() as u64;
        if self.is_full() && !ghost.is_fresher_than(span, evictions) {
            Start::Probation
        } else {
            Start::Main
        }
    }

    /// Whether a frame was searched for since there were plenty.
    pub(crate) fn is_full(&self) -> bool {
        // Relaxed: as in `start`.
        self.is_full.load(Ordering::Relaxed)
    }

    /// Takes note of a page that has come into `frame`, and that the caller has pinned.
    pub(crate) fn arrived(&self, word: &Word, frame: Frame) {
        if word.content().is_on_probation() && !self.probation.enter(frame) {
            word.promote(frame); // No place is left: the main hand looks after it.
        }
    }

    /// Evicts at least one page and returns its frame, and lays some more in store; `None` when
    /// everything is pinned or loading, or readers may still look at what was evicted.
    ///
    /// The floors of all files are kept, unless nothing is left but pages of `own`, the file that
    /// it is for: that may give up a page of its own for another. A table is not freed while a
    /// hand looks at it: the lock is held for reading.
    pub(crate) fn victim(
        &self,
        frames: &Frames,
        tables: &Tables,
        counters: &Counters,
        own: Option<FileNo>,
    ) -> Option<Frame> {
        self.is_full.store(true, Ordering::Relaxed);
        let files = tables.read();
        let wanted = (frames.span() as u64 / FRAMES_PER_STORED).clamp(1, IN_STORE);
        let search = |own, wanted| self.search(frames, tables, &files, counters, own, wanted);
        search(None, wanted).unwrap_or_else(|| {
            let has_floor = own
                .is_some_and(|own| table_of(&files, own).is_some_and(|t| t.holdings.floor() > 0));
            has_floor.then(|| search(own, 1)).flatten().flatten()
        })
    }

    /// Looks for `wanted` victims, also below the floor of `own`. `None` when there are none;
    /// otherwise a frame of theirs, if one is free at once.
    fn search(
        &self,
        frames: &Frames,
        tables: &Tables,
        files: &[Option<Arc<Table>>],
        counters: &Counters,
        own: Option<FileNo>,
        wanted: u64,
    ) -> Option<Option<Frame>> {
        let count = frames.span() as u64;
        let mut search = Search {
            clock: self,
            frames,
            tables,
            files,
            counters,
            own,
            // Relaxed: a count.
            evicted_before: self.evictions.load(Ordering::Relaxed),
            stride: wanted,
            steps: 0,
            found: 0,
            last_found: 0,
            victims: [0; MOST_FOUND],
        };
        while search.found < wanted && search.steps < MAX_LAPS * count {
            search.advance();
            // Where victims are rare, one is enough.
            if search.found > 0 && search.steps >= count {
                break;
            }
        }
        // Relaxed: counts, read for their values alone.
        self.steps.fetch_add(search.steps, Ordering::Relaxed);
        self.evictions.fetch_add(search.found, Ordering::Relaxed);
        match search.found {
            0 => None,
            found => Some(frames.unlinked(&search.victims[..found as usize])),
        }
    }

    /// Evicts the pages in `range` that nobody pins, whatever their chances, down to the floors of
    /// their files: the frames leave.
    pub(crate) fn vacate(
        &self,
        frames: &Frames,
        tables: &Tables,
        counters: &Counters,
        range: Range<Frame>,
    ) {
        let files = tables.read();
        let mut vacated = Vec::with_capacity(VACATED);
        for frame in range {
            if let Some((file, page)) = frames.owner(frame).get()
                && let Some(table) = table_of(&files, file)
                && let Some(word) = table.word(page)
                && word.content().frame() == frame
                && !frames.limbo_is_full()
                && table.holdings.lose(false, || evicts(word, &mut vacated)) == Some(true)
            {
                counters.add(file, Count::Evicted, 1);
                // Relaxed: a count.
                let evictions = self.evictions.fetch_add(1, Ordering::Relaxed);
                tables.left(file, table, page, evictions);
            }
            if vacated.len() == VACATED {
                frames.vacated(&mut vacated);
                vacated.clear();
            }
        }
        frames.vacated(&mut vacated);
    }

    /// Evicts every page of `file`, which nobody pins or reads any more.
    pub(crate) fn clear(
        &self,
        frames: &Frames,
        tables: &[Option<Arc<Table>>],
        table: &Table,
        file: FileNo,
    ) {
        for frame in 0..frames.span() as Frame {
            let Some((owner, page)) = frames.owner(frame).get() else {
                continue;
            };
            if owner != file {
                continue;
            }
            // The frame's owner is a hint; the word decides.
            let Some(word) = table.word(page) else {
                continue;
            };
            if word.content().frame() == frame
                && let Some(evicted) = word.evict()
            {
                frames.give(evicted);
            }
        }
        self.has_grown();
        // Once around the ring, so that no places are taken by who has left.
        for _ in 0..self.probation.len() {
            let Some(frame) = self.probation.next() else { return };
            if let Some(word) = word_of(frames, tables, frame) {
                self.arrived(word, frame);
            }
        }
    }
}

/// Evicts a page that nobody pins, and adds its frame to `vacated`. Returns whether it did.
fn evicts(word: &Word, vacated: &mut Vec<Frame>) -> bool {
    let evicted = word.evict();
    vacated.extend(evicted);
    evicted.is_some()
}

/// The word of the page that is in `frame`, unless the frame's owner is out of date.
fn word_of<'a>(
    frames: &Frames,
    tables: &'a [Option<Arc<Table>>],
    frame: Frame,
) -> Option<&'a Word> {
    let (file, page) = frames.owner(frame).get()?;
    table_of(tables, file)?.word(page)
}

fn table_of(tables: &[Option<Arc<Table>>], file: FileNo) -> Option<&Table> {
    tables.get(usize::from(file))?.as_deref()
}

/// One thread's search for victims.
struct Search<'a> {
    clock: &'a Clock,
    frames: &'a Frames,
    tables: &'a Tables,
    files: &'a [Option<Arc<Table>>],
    counters: &'a Counters,
    /// The file whose floor does not count, since the search is for a page of its own.
    own: Option<FileNo>,
    /// The evictions of the pool before this search.
    evicted_before: u64,
    /// The frames that are taken of the main hand at a time.
    stride: u64,
    steps: u64,
    found: u64,
    /// The step at which the last victim was found.
    last_found: u64,
    victims: [Frame; MOST_FOUND],
}

impl Search<'_> {
    /// Moves the hand whose turn it is.
    ///
    /// That is for probation to say, by whether more are in it than are due; but a hand that has
    /// gone a lap in vain leaves the next one to the other.
    fn advance(&mut self) {
        let count = self.frames.span() as u64;
        let due = self.clock.probation.is_overfull(self.frames.usable_count());
        let in_vain = (self.steps - self.last_found) / count % 2 == 1;
        if due != in_vain
            && let Some(frame) = self.clock.probation.next()
        {
            self.steps += 1;
            if self.judge(frame) {
                self.found(frame);
            }
            return;
        }
        // Relaxed: only distinct numbers are wanted.
        let start = self.clock.hand.fetch_add(self.stride, Ordering::Relaxed);
        for step in start..start.wrapping_add(self.stride) {
            let frame = (step % count) as Frame;
            self.steps += 1;
            if self.sweep(frame) {
                self.found(frame);
            }
        }
    }

    /// The end of probation for the page in `frame`. Returns whether it was evicted.
    fn judge(&self, frame: Frame) -> bool {
        let Some((holdings, is_its_own, word)) = self.page_in(frame) else {
            return false;
        };
        let ghost = Ghost::at(self.evicted_before + self.found);
        let evicted = holdings.lose(is_its_own, || {
            let verdict = word.judge(frame, Probation::USES, ghost);
            if verdict == Verdict::Pinned {
                self.clock.arrived(word, frame);
            }
            verdict == Verdict::Evicted
        });
        if evicted.is_none() {
            word.promote(frame); // Where it cannot be pushed out, it need not prove itself.
        }
        evicted == Some(true)
    }

    /// One step of the main hand. Returns whether the page in `frame` was evicted.
    fn sweep(&self, frame: Frame) -> bool {
        self.page_in(frame).is_some_and(|(holdings, is_its_own, word)| {
            let taken = match self.clock.policy {
                Policy::Probation if holdings.priority() == Priority::Low => MAX_CHANCES,
                Policy::Probation if self.frames.room.holds(frame) => 1,
                _ => MAX_CHANCES,
            };
            let sweep = || word.sweep(frame, taken) == Sweep::Evicted;
            holdings.lose(is_its_own, sweep) == Some(true)
        })
    }

    /// The page that is in `frame`, unless the frame's owner is out of date: what its file holds,
    /// whether the search is for that file, and the page's word.
    fn page_in(&self, frame: Frame) -> Option<(&Holdings, bool, &Word)> {
        let (file, page) = self.frames.owner(frame).get()?;
        let table = table_of(self.files, file)?;
        Some((&table.holdings, self.own == Some(file), table.word(page)?))
    }

    fn found(&mut self, frame: Frame) {
        let owner = self.frames.owner(frame);
        if let Some((file, page)) = owner.get() {
            self.counters.add(file, Count::Evicted, 1);
            if let Some(table) = table_of(self.files, file) {
                self.tables.left(file, table, page, self.evicted_before + self.found);
            }
        }
        owner.clear();
        self.victims[self.found as usize] = frame;
        self.found += 1;
        self.last_found = self.steps;
    }
}
