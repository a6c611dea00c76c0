//! The clock: one hand over all frames, with a second chance (up to three) for what was used.
//!
//! A page comes in without a chance, so that what is read once is the first to go; each use gives
//! it one more, and each pass of the hand takes one. The hand is a counter that threads advance
//! in strides: each takes a stretch of frames for itself, so that no two look at the same ones
//! and nobody waits.
//!
//! Several victims are taken at a time and laid in store, so that most misses find a free frame.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::frames::Frames;
use crate::table::{FileNo, Table};
use crate::word::{Frame, MAX_CHANCES, Sweep};

/// Frames that a thread takes of the clock at a time, at most.
const STRIDE: u64 = 64;
/// Victims that one miss looks for at most, to spare the next ones the search.
const IN_STORE: usize = 32;
/// After so many laps each unpinned page has lost all its chances, even if each was used once
/// more meanwhile: what is left is pinned.
const MAX_LAPS: u64 = 2 * (MAX_CHANCES + 1);

#[derive(Default)]
pub(crate) struct Clock {
    hand: AtomicU64,
    pub(crate) steps: AtomicU64,
    pub(crate) evictions: AtomicU64,
}

/// The tables of the attached files, by their numbers.
pub(crate) type Tables = RwLock<Vec<Option<std::sync::Arc<Table>>>>;

impl Clock {
    /// Evicts at least one page and returns its frame, and lays some more in store; `None` when
    /// everything is pinned or loading, or readers may still look at what was evicted.
    ///
    /// A table is not freed while the hand looks at it: the lock is held for reading.
    pub(crate) fn victim(&self, frames: &Frames, tables: &Tables) -> Option<Frame> {
        let tables = tables.read();
        let count = frames.count() as u64;
        let stride = (count / 8).clamp(1, STRIDE);
        let wanted = (frames.count() / 32).clamp(1, IN_STORE);
        let (mut steps, mut found, mut victims) = (0, 0, [0; IN_STORE + STRIDE as usize]);
        while found < wanted && steps < MAX_LAPS * count {
            // Relaxed: only distinct numbers are wanted.
            let start = self.hand.fetch_add(stride, Ordering::Relaxed);
            for step in start..start.wrapping_add(stride) {
                let frame = (step % count) as Frame;
                if self.sweep(frames, &tables, frame) {
                    victims[found] = frame;
                    found += 1;
                }
            }
            steps += stride;
            // Where victims are rare, one is enough.
            if found > 0 && steps >= count {
                break;
            }
        }
        // Relaxed: counts, read for their values alone.
        self.steps.fetch_add(steps, Ordering::Relaxed);
        self.evictions.fetch_add(found as u64, Ordering::Relaxed);
        if found == 0 { None } else { frames.unlinked(&victims[..found]) }
    }

    /// One step: takes a chance from the page in `frame`, or evicts it.
    fn sweep(
        &self,
        frames: &Frames,
        tables: &[Option<std::sync::Arc<Table>>],
        frame: Frame,
    ) -> bool {
        let Some((file, page)) = frames.owner(frame).get() else {
            return false;
        };
        let table = tables.get(usize::from(file)).and_then(Option::as_ref);
        let Some(word) = table.and_then(|table| table.word(page)) else {
            return false;
        };
        word.sweep(frame) == Sweep::Evicted
    }

    /// Evicts every page of `file`, which nobody pins or reads any more.
    pub(crate) fn clear(&self, frames: &Frames, table: &Table, file: FileNo) {
        for frame in 0..frames.count() as Frame {
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
    }
}
