//! The frames: which are free, and which page each of the others holds.

use std::collections::VecDeque;

use crossbeam_queue::ArrayQueue;
use ringpool_storage::PageNo;

use crate::arena::Arena;
use crate::epochs::Epochs;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::table::{FileNo, Owner};
use crate::word::Frame;

/// One frame of so many may be in limbo.
const LIMBO_SHARE: usize = 16;
/// More may be there when several threads evict at once.
const LIMBO_EXCESS: usize = 256;

pub(crate) struct Frames {
    pub(crate) arena: Arena,
    owners: Box<[Owner]>,
    /// Frames that hold no page, the last one evicted last.
    free: ArrayQueue<Frame>,
    /// Frames whose pages were unlinked while readers were inside, each with the epoch that ended
    /// with that.
    limbo: Mutex<VecDeque<(u64, Frame)>>,
    /// How many those are.
    waiting: AtomicUsize,
    pub(crate) epochs: Epochs,
    /// Frames out of use: their memory pays for the tables of attached files.
    retired: Mutex<Vec<Frame>>,
    usable: AtomicUsize,
}

impl Frames {
    /// What a frame costs beside its page, in bytes: its owner, its place in the free list, and a
    /// sixteenth of a place in limbo.
    pub(crate) const OVERHEAD_BYTES: u64 = 8 + 16 + 1;

    pub(crate) fn new(arena: Arena, count: u32) -> Self {
        let free = ArrayQueue::new(count as usize);
        for frame in 0..count {
            free.push(frame).expect("room for each frame");
        }
        let owners = (0..count).map(|_| Owner::nobody()).collect();
        let usable = AtomicUsize::new(count as usize);
        let limbo =
            Mutex::new(VecDeque::with_capacity(Self::limbo_room(count as usize) + LIMBO_EXCESS));
        let waiting = AtomicUsize::new(0);
        let epochs = Epochs::new();
        Self { arena, owners, free, limbo, waiting, epochs, retired: Mutex::default(), usable }
    }

    /// How many frames there are, whatever they are used for.
    pub(crate) fn count(&self) -> usize {
        self.owners.len()
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn retired_count(&self) -> usize {
        self.count() - self.usable_count()
    }

    /// How many frames may hold pages.
    #[inline]
    pub(crate) fn usable_count(&self) -> usize {
        // Relaxed: a count. It bounds how much a batch asks for, not what it gets.
        self.usable.load(Ordering::Relaxed)
    }

    /// Takes a frame that is free already.
    #[inline]
    pub(crate) fn take(&self) -> Option<Frame> {
        self.free.pop()
    }

    /// Takes over frames whose pages were just unlinked. Returns one that is free at once.
    pub(crate) fn unlinked(&self, frames: &[Frame]) -> Option<Frame> {
        frames.iter().for_each(|&frame| self.owner(frame).clear());
        let ended = self.epochs.close();
        if self.epochs.oldest() > ended {
            let (&last, rest) = frames.split_last()?;
            rest.iter().for_each(|&frame| self.give(frame));
            return Some(last);
        }
        let mut limbo = self.limbo.lock();
        limbo.extend(frames.iter().map(|&frame| (ended, frame)));
        // Relaxed, here and below: a count. The lock guards what it counts.
        self.waiting.store(limbo.len(), Ordering::Relaxed);
        None
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
            match kept {
                None => kept = Some(frame),
                Some(_) => self.give(frame),
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
        self.limbo_count() >= Self::limbo_room(self.count())
    }

    /// Whether there are few free frames, and room in limbo.
    pub(crate) fn are_scarce(&self) -> bool {
        self.free.len() < Self::limbo_room(self.count()) / 2 && !self.limbo_is_full()
    }

    /// How many frames may be in limbo before no further page is evicted.
    fn limbo_room(frames: usize) -> usize {
        frames.div_ceil(LIMBO_SHARE)
    }

    /// Gives back a frame that holds no page any more, and that nobody can look at.
    #[inline]
    pub(crate) fn give(&self, frame: Frame) {
        self.owner(frame).clear();
        let given = self.free.push(frame);
        debug_assert!(given.is_ok(), "frame {frame} was given back twice");
    }

    #[inline]
    pub(crate) fn owner(&self, frame: Frame) -> &Owner {
        &self.owners[frame as usize]
    }

    /// Each frame that holds a page, or is about to, with the page. A hint: its word decides.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (Frame, FileNo, PageNo)> {
        let owned = (0..).zip(&self.owners);
        owned.filter_map(|(frame, owner)| owner.get().map(|(file, page)| (frame, file, page)))
    }

    /// Takes a frame, which the caller has taken, out of use.
    pub(crate) fn retire(&self, frame: Frame) {
        self.arena.release(frame);
        self.usable.fetch_sub(1, Ordering::Relaxed);
        self.retired.lock().push(frame);
    }

    /// Puts up to `count` retired frames back to use.
    pub(crate) fn reinstate(&self, count: usize) {
        let mut retired = self.retired.lock();
        let kept = retired.len().saturating_sub(count);
        for frame in retired.drain(kept..) {
            self.usable.fetch_add(1, Ordering::Relaxed);
            self.give(frame);
        }
    }

    /// The frames that are free, in limbo or retired at this moment: for an audit of a pool at rest.
    pub(crate) fn idle(&self) -> Vec<Frame> {
        let mut idle = self.retired.lock().clone();
        idle.extend(self.limbo.lock().iter().map(|&(_, frame)| frame));
        // Each free frame once around the queue.
        for _ in 0..self.free.len() {
            let Some(frame) = self.free.pop() else { break };
            idle.push(frame);
            self.give(frame);
        }
        idle
    }
}
