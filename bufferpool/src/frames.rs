//! The frames: which are free, and which page each of the others holds.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use ringpool_storage::PageNo;

use crate::arena::Arena;
use crate::epochs::Epochs;
use crate::error::PoolError;
use crate::room::Room;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::table::{FileNo, Owner};
use crate::word::Frame;
use crate::zeroed::Zeroed;

/// One frame of so many may be in limbo.
const LIMBO_SHARE: usize = 16;
/// More may be there when several threads evict at once.
const LIMBO_EXCESS: usize = 256;
/// Frames that are retired together, at most: what is next to each other goes in one piece.
const TOGETHER: usize = 512;

pub(crate) struct Frames {
    pub(crate) arena: Arena,
    owners: Zeroed<Owner>,
    pub(crate) room: Room,
    /// Frames whose pages were unlinked while readers were inside, each with the epoch that ended
    /// with that.
    limbo: Mutex<VecDeque<(u64, Frame)>>,
    /// How many those are.
    waiting: AtomicUsize,
    pub(crate) epochs: Epochs,
}

/// The frames that hold no page, at rest.
pub(crate) struct Idle {
    pub(crate) free: Vec<Frame>,
    pub(crate) limbo: Vec<Frame>,
    pub(crate) retired: Vec<Frame>,
}

impl Frames {
    /// What a frame costs beside its page, in bytes: its owner, its place in the free list, and a
    /// sixteenth of a place in limbo.
    pub(crate) const OVERHEAD_BYTES: u64 = size_of::<Owner>() as u64
        + Room::BYTES_PER_FRAME
        + (size_of::<(u64, Frame)>() / LIMBO_SHARE) as u64;

    /// The frames of `arena`, `count` of them in use.
    pub(crate) fn new(arena: Arena, count: u32) -> io::Result<Self> {
        let capacity = arena.frames();
        let limbo_room = Self::limbo_room(capacity as usize) + LIMBO_EXCESS;
        Ok(Self {
            owners: Zeroed::new(capacity as usize, false)?,
            room: Room::new(count, capacity)?,
            limbo: Mutex::new(VecDeque::with_capacity(limbo_room)),
            waiting: AtomicUsize::new(0),
            epochs: Epochs::new(),
            arena,
        })
    }

    /// How many frames there can be.
    pub(crate) fn count(&self) -> usize {
        self.room.capacity() as usize
    }

    /// All frames that hold pages have numbers below this.
    pub(crate) fn span(&self) -> usize {
        self.room.span() as usize
    }

    pub(crate) fn free_count(&self) -> usize {
        self.room.free_count()
    }

    /// How many frames may hold pages.
    #[inline]
    pub(crate) fn usable_count(&self) -> usize {
        self.room.usable() as usize
    }

    /// Takes a frame that is free already.
    #[inline]
    pub(crate) fn take(&self) -> Option<Frame> {
        loop {
            match self.room.pop() {
                None => return self.room.take_fresh(),
                Some(frame) if self.room.holds(frame) => return Some(frame),
                Some(frame) => self.retire(&mut [frame]),
            }
        }
    }

    /// Takes over frames whose pages were just unlinked. Returns one that is free at once.
    pub(crate) fn unlinked(&self, frames: &[Frame]) -> Option<Frame> {
        if !self.are_unseen(frames) {
            return None;
        }
        let kept = frames.iter().copied().rfind(|&frame| self.room.holds(frame));
        frames.iter().filter(|&&frame| Some(frame) != kept).for_each(|&frame| self.give(frame));
        kept
    }

    /// Takes over frames whose pages were just unlinked in order to take them out of use.
    pub(crate) fn vacated(&self, frames: &mut [Frame]) {
        if self.are_unseen(frames) {
            self.retire(frames);
        }
    }

    /// Whether nobody can look any more at `frames`, whose pages were just unlinked. Otherwise they
    /// are in limbo now.
    fn are_unseen(&self, frames: &[Frame]) -> bool {
        frames.iter().for_each(|&frame| self.owner(frame).clear());
        let ended = self.epochs.close();
        if self.epochs.oldest() > ended {
            return true;
        }
        let mut limbo = self.limbo.lock();
        limbo.extend(frames.iter().map(|&frame| (ended, frame)));
        // Relaxed, here and below: a count. The lock guards what it counts.
        self.waiting.store(limbo.len(), Ordering::Relaxed);
        false
    }

    /// Frees what no reader can have seen any more, of that which is in limbo. Returns one of it.
    pub(crate) fn reclaim(&self) -> Option<Frame> {
        if self.limbo_count() == 0 {
            return None;
        }
        let mut limbo = self.limbo.lock();
        let oldest = self.epochs.oldest();
        let mut kept = None;
        while let Some(&(ended, frame)) = limbo.front()
            && ended < oldest
        {
            limbo.pop_front();
            if kept.is_none() && self.room.holds(frame) {
                kept = Some(frame);
            } else {
                self.give(frame);
            }
        }
        self.waiting.store(limbo.len(), Ordering::Relaxed);
        kept
    }

    pub(crate) fn limbo_count(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether as many frames wait for readers to leave as may.
    pub(crate) fn limbo_is_full(&self) -> bool {
        self.limbo_count() >= Self::limbo_room(self.usable_count())
    }

    /// Whether there are few free frames, and room in limbo.
    pub(crate) fn are_scarce(&self) -> bool {
        self.free_count() < Self::limbo_room(self.usable_count()) / 2 && !self.limbo_is_full()
    }

    /// How many frames may be in limbo before no further page is evicted.
    fn limbo_room(frames: usize) -> usize {
        frames.div_ceil(LIMBO_SHARE)
    }

    /// Gives back a frame that holds no page any more, and that nobody can look at.
    #[inline]
    pub(crate) fn give(&self, frame: Frame) {
        self.owner(frame).clear();
        if self.room.holds(frame) {
            self.room.push(frame);
        } else {
            self.retire(&mut [frame]);
        }
    }

    #[inline]
    pub(crate) fn owner(&self, frame: Frame) -> &Owner {
        &self.owners[frame as usize]
    }

    /// Each frame that holds a page, or is about to, with the page. A hint: its word decides.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (Frame, FileNo, PageNo)> {
        let owned = (0..).zip(&self.owners[..self.span()]);
        owned.filter_map(|(frame, owner)| owner.get().map(|(file, page)| (frame, file, page)))
    }

    /// Takes frames that are the caller's, and empty, out of use.
    fn retire(&self, frames: &mut [Frame]) {
        frames.sort_unstable();
        for run in frames.chunk_by(|&frame, &next| frame + 1 == next) {
            self.arena.release(run[0]..run[0] + run.len() as Frame);
        }
        self.room.retire(frames);
        if self.arena.is_locked() {
            // Others may be used for them now. What is refused stays unlocked until the next change.
            let _ = self.follow_limit();
        }
    }

    /// Retires what is free, or comes out of limbo, above the limit.
    pub(crate) fn retire_idle(&self) {
        self.reclaim().into_iter().for_each(|frame| self.give(frame));
        let mut above = Vec::with_capacity(TOGETHER);
        for frame in self.room.pop_all() {
            if self.room.holds(frame) {
                self.room.push(frame);
                continue;
            }
            above.push(frame);
            if above.len() == TOGETHER {
                self.retire(&mut above);
                above.clear();
            }
        }
        self.retire(&mut above);
    }

    /// Gives back what is kept for the frames above the limit, once all of them are retired.
    /// One thread at a time, which lets none of them be used meanwhile.
    pub(crate) fn retreat(&self) {
        if let Some(Range { start, end }) = self.room.retreat() {
            self.owners.release(start as usize..end as usize);
        }
    }

    /// Gives back the memory that frames above the limit were given in advance and never used.
    pub(crate) fn give_back_unused(&self) {
        self.room.never_used_above(|first| self.arena.give_back(first));
    }

    /// Tells the arena which frames are in use.
    pub(crate) fn follow_limit(&self) -> Result<(), PoolError> {
        self.arena.use_below(|| self.room.limit())
    }

    /// The frames that hold no page at this moment: for an audit of a pool at rest.
    pub(crate) fn idle(&self) -> Idle {
        let (fresh, retired) = self.room.unlisted();
        let mut free: Vec<Frame> = self.room.pop_all().collect();
        free.iter().rev().for_each(|&frame| self.room.push(frame));
        free.extend(fresh);
        let limbo = self.limbo.lock().iter().map(|&(_, frame)| frame).collect();
        Idle { free, limbo, retired }
    }
}
