//! The frames: which are free, and which page each of the others holds.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;

use crate::arena::Arena;
use crate::table::Owner;
use crate::word::Frame;

pub(crate) struct Frames {
    pub(crate) arena: Arena,
    owners: Box<[Owner]>,
    /// Frames that hold no page, the last one evicted last.
    free: ArrayQueue<Frame>,
    /// Frames out of use: their memory pays for the tables of attached files.
    retired: Mutex<Vec<Frame>>,
    usable: AtomicUsize,
}

impl Frames {
    /// What a frame costs beside its page: its owner and its place in the free list, in bytes.
    pub(crate) const OVERHEAD_BYTES: u64 = 8 + 16;

    pub(crate) fn new(arena: Arena, count: u32) -> Self {
        let free = ArrayQueue::new(count as usize);
        for frame in 0..count {
            free.push(frame).expect("room for each frame");
        }
        let owners = (0..count).map(|_| Owner::nobody()).collect();
        let usable = AtomicUsize::new(count as usize);
        Self { arena, owners, free, retired: Mutex::default(), usable }
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

    /// Gives back a frame that holds no page any more.
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

    /// The frames that are free or retired at this moment: for an audit of a pool at rest.
    pub(crate) fn idle(&self) -> Vec<Frame> {
        let mut idle = self.retired.lock().clone();
        // Each free frame once around the queue.
        for _ in 0..self.free.len() {
            let Some(frame) = self.free.pop() else { break };
            idle.push(frame);
            self.give(frame);
        }
        idle
    }
}
