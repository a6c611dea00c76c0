//! Probation: the frames of new pages, in the order in which the pages came.
//!
//! A ring of frame numbers beside the clock. Each page stands in it once, from when it was read
//! until its turn comes. A number in the ring is a claim that nobody relies on: when its turn
//! comes, the word of the page in that frame says whether it is on probation at all. A frame that
//! was given back out of turn leaves its number behind, and should the frame hold another new
//! page by then, that page is judged early.

use crossbeam_queue::ArrayQueue;

use crate::word::Frame;

/// Probation has one frame in so many: enough for a second use to come in time, and as little as
/// can be of a pool that a scan passes through. A third less or more changes little.
pub(crate) const FRAMES_PER_PLACE: usize = 14;

pub(crate) struct Probation {
    ring: ArrayQueue<Frame>,
}

impl Probation {
    /// How many uses beside the first promote a page.
    pub(crate) const USES: u64 = 2;
    /// What the ring takes for each frame, in bytes.
    pub(crate) const BYTES_PER_FRAME: u64 = 16;

    /// A ring for the pages of `frames` frames.
    pub(crate) fn new(frames: usize) -> Self {
        Self { ring: ArrayQueue::new(frames) }
    }

    /// Whether more are on probation than are due of `usable` frames.
    pub(crate) fn is_overfull(&self, usable: usize) -> bool {
        self.ring.len() > (usable / FRAMES_PER_PLACE).max(1)
    }

    /// Puts `frame` behind all others. Returns false where numbers left behind take up the room.
    pub(crate) fn enter(&self, frame: Frame) -> bool {
        self.ring.push(frame).is_ok()
    }

    /// The frame whose turn it is, which is out of the ring now.
    pub(crate) fn next(&self) -> Option<Frame> {
        self.ring.pop()
    }

    /// How many are in the ring, numbers left behind included.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }
}
