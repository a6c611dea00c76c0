//! The clock of a file with a ceiling: which of its own pages goes when another one comes in.
//!
//! The pool's clock in small, over the frames of one file: a queue of pages on probation and a
//! ring of those past it, under one lock, since only those take it who miss a page of this file.
//! The frames' numbers are claims that nobody relies on, as in [`probation`](crate::probation):
//! the word of the page decides. To the pool's own hands all these pages are past probation.

use std::collections::VecDeque;

use ringpool_storage::PageNo;

use crate::clock::MAX_LAPS;
use crate::frames::Frames;
use crate::ghost::Ghost;
use crate::probation::{FRAMES_PER_PLACE, Probation};
use crate::table::{FileNo, Table};
use crate::word::{Frame, Sweep, Verdict, Word};

/// Numbers of frames that have left the file are thrown out when there are so many beside those
/// of the ceiling.
const SLACK: usize = 64;

pub(crate) struct Own {
    /// On probation, the oldest first.
    young: VecDeque<Frame>,
    /// Past it: who stands first is looked at next.
    old: VecDeque<Frame>,
    /// A bit for each frame that is in one of the two.
    listed: Vec<u64>,
    evictions: u64,
    steps: u64,
    /// Whether a page had to go since the ceiling was set.
    is_full: bool,
    paid_bytes: u64,
}

impl Own {
    /// What the books take, in bytes, for a ceiling of so many frames of `count`.
    pub(crate) fn memory_bytes(ceiling: usize, count: usize) -> u64 {
        let numbers = 2 * Self::room(ceiling) * size_of::<Frame>();
        (numbers + count.div_ceil(64) * size_of::<u64>()) as u64
    }

    /// Books that list nothing yet, and that were paid for with `paid_bytes`.
    pub(crate) fn new(ceiling: usize, count: usize, paid_bytes: u64) -> Self {
        let queue = || VecDeque::with_capacity(Self::room(ceiling));
        let listed = vec![0; count.div_ceil(64)];
        let (evictions, steps, is_full) = Default::default();
        Self { young: queue(), old: queue(), listed, evictions, steps, is_full, paid_bytes }
    }

    fn room(ceiling: usize) -> usize {
        ceiling + ceiling / 4 + SLACK
    }

    pub(crate) fn paid_bytes(&self) -> u64 {
        self.paid_bytes
    }

    /// Lists what the file has in memory, past probation.
    pub(crate) fn list_all(&mut self, frames: &Frames, table: &Table, file: FileNo) {
        for frame in 0..frames.span() as Frame {
            if let Some(word) = word_of(frames, table, file, frame)
                && self.enlist(frame)
            {
                word.promote(frame);
                self.old.push_back(frame);
            }
        }
    }

    /// Lists the frame of a page that was claimed just now, and of which `ghost` was remembered.
    pub(crate) fn list(
        &mut self,
        frames: &Frames,
        table: &Table,
        file: FileNo,
        frame: Frame,
        ghost: Ghost,
        ceiling: usize,
    ) {
        if self.young.len() + self.old.len() >= Self::room(ceiling) {
            self.throw_out(frames, table, file);
        }
        if self.enlist(frame) {
            // As in the pool: what comes while there is room, or comes again soon, is past it.
            let past = !self.is_full || ghost.is_fresher_than(ceiling as u64, self.evictions);
            if past { &mut self.old } else { &mut self.young }.push_back(frame);
        }
    }

    /// Evicts a page of the file. Returns which, and its frame, for the caller to take over; `None`
    /// when all are pinned or loading.
    pub(crate) fn evict(
        &mut self,
        frames: &Frames,
        table: &Table,
        file: FileNo,
        ceiling: usize,
    ) -> Option<(PageNo, Frame)> {
        self.is_full = true;
        let victim = self.victim(frames, table, file, ceiling).or_else(|| {
            // Pages that were on their way when the ceiling was set are not listed.
            self.list_all(frames, table, file);
            self.victim(frames, table, file, ceiling)
        })?;
        self.evictions += 1;
        // Its owner is still set: the frame is ours.
        frames.owner(victim).get().map(|(_, page)| (page, victim))
    }

    fn victim(
        &mut self,
        frames: &Frames,
        table: &Table,
        file: FileNo,
        ceiling: usize,
    ) -> Option<Frame> {
        let lap = (self.young.len() + self.old.len()) as u64;
        for step in 0..MAX_LAPS * lap {
            self.steps += 1;
            let due = self.young.len() > (ceiling / FRAMES_PER_PLACE).max(1);
            // A lap in vain leaves the next one to the other.
            let in_vain = step / lap % 2 == 1;
            let young = (due != in_vain && !self.young.is_empty()) || self.old.is_empty();
            let frame = if young { &mut self.young } else { &mut self.old }.pop_front()?;
            match word_of(frames, table, file, frame) {
                Some(word) if young => match word.judge_own(frame, Probation::USES, self.ghost()) {
                    Verdict::Evicted => return Some(self.delist(frame)),
                    Verdict::Promoted => self.old.push_back(frame),
                    Verdict::Pinned => self.young.push_back(frame),
                    Verdict::Gone => self.keep_if_in(frame, word, young),
                },
                Some(word) => match word.sweep(frame, 1) {
                    Sweep::Evicted => return Some(self.delist(frame)),
                    Sweep::Spared => self.old.push_back(frame),
                    Sweep::Passed => self.keep_if_in(frame, word, young),
                },
                None => _ = self.delist(frame),
            }
        }
        None
    }

    /// The steps taken in search of pages to evict since this was last asked.
    pub(crate) fn take_steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    fn ghost(&self) -> Ghost {
        Ghost::at(self.evictions)
    }

    /// Puts a frame back whose page is pinned or loading, and leaves out one of another page.
    fn keep_if_in(&mut self, frame: Frame, word: &Word, young: bool) {
        let content = word.content();
        if content.is_absent() || content.frame() != frame {
            self.delist(frame);
        } else if young {
            self.young.push_back(frame);
        } else {
            word.promote(frame); // It may have come in before there was a ceiling.
            self.old.push_back(frame);
        }
    }

    /// Throws out the numbers of frames that are not the file's any more. The file holds no more
    /// than its ceiling, so that a fifth of them are.
    fn throw_out(&mut self, frames: &Frames, table: &Table, file: FileNo) {
        let listed = &mut self.listed;
        for queue in [&mut self.young, &mut self.old] {
            queue.retain(|&frame| {
                let stays = word_of(frames, table, file, frame).is_some();
                if !stays {
                    listed[frame as usize / 64] &= !(1 << (frame % 64));
                }
                stays
            });
        }
    }

    /// Notes that a frame is listed. Returns false where it is already.
    fn enlist(&mut self, frame: Frame) -> bool {
        let place = frame as usize / 64;
        if place >= self.listed.len() {
            self.listed.resize(place + 1, 0); // The pool has grown.
        }
        let bit = 1 << (frame % 64);
        let is_new = self.listed[place] & bit == 0;
        self.listed[place] |= bit;
        is_new
    }

    fn delist(&mut self, frame: Frame) -> Frame {
        self.listed[frame as usize / 64] &= !(1 << (frame % 64));
        frame
    }
}

/// The word of the page in `frame`, if it is one of this file.
fn word_of<'a>(frames: &Frames, table: &'a Table, file: FileNo, frame: Frame) -> Option<&'a Word> {
    let (owner, page) = frames.owner(frame).get()?;
    if owner == file { table.word(page) } else { None }
}
