//! Probation: the frames of new pages, in the order in which the pages came.
//!
//! A ring of frame numbers beside the clock. Each page stands in it once, from when it was read
//! until its turn comes. A number in the ring is a claim that nobody relies on: when its turn
//! comes, the word of the page in that frame says whether it is on probation at all. A frame that
//! was given back out of turn leaves its number behind, and should the frame hold another new
//! page by then, that page is judged early.
//!
//! The ring is D. Vyukov's bounded queue: each place says whose turn it is, to be filled or to be
//! emptied, and in which lap. It is zeros at first, so that it costs nothing until it is used.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, thread};
use crate::word::Frame;
use crate::zeroed::Zeroed;

/// Probation has one frame in so many: enough for a second use to come in time, and as little as
/// can be of a pool that a scan passes through. A third less or more changes little.
pub(crate) const FRAMES_PER_PLACE: usize = 14;
/// The ring has room for one frame in so many: for those on probation, and for numbers left behind.
const FRAMES_PER_SLOT: usize = 4;
/// And for so many at least.
const LEAST_SLOTS: usize = if cfg!(loom) { 1 } else { 64 };
/// How often one who wants the next lets others run, if the next is not quite there.
const PATIENCE: usize = if cfg!(loom) { 1 } else { 64 };

pub(crate) struct Probation {
    slots: Zeroed<AtomicU64>,
    /// Where the next one enters, counted from the first one ever.
    tail: CachePadded<AtomicU64>,
    /// Who is next.
    head: CachePadded<AtomicU64>,
}

impl Probation {
    /// How many uses beside the first promote a page.
    pub(crate) const USES: u64 = 2;
    /// What the ring takes for each frame that the pool can have, in bytes.
    pub(crate) const BYTES_PER_FRAME: u64 = 8 / FRAMES_PER_SLOT as u64;

    /// A ring for the pages of up to `capacity` frames.
    ///
    /// # Errors
    /// The system's, when there is no memory.
    pub(crate) fn new(capacity: usize) -> std::io::Result<Self> {
        let slots = Zeroed::new(capacity.div_ceil(FRAMES_PER_SLOT).max(LEAST_SLOTS), false)?;
        Ok(Self { slots, tail: CachePadded::default(), head: CachePadded::default() })
    }

    /// Whether more are on probation than are due of `usable` frames.
    pub(crate) fn is_overfull(&self, usable: usize) -> bool {
        self.len() > (usable / FRAMES_PER_PLACE).max(1)
    }

    /// Puts `frame` behind all others. Returns false where numbers left behind take up the room.
    pub(crate) fn enter(&self, frame: Frame) -> bool {
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            let (slot, empty) = self.place(tail);
            match turn_of(slot.load(Ordering::Acquire)).wrapping_sub(empty) as i32 {
                // Relaxed: the place itself is what is handed over.
                0 => match self.tail.compare_exchange_weak(
                    tail,
                    tail + 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        let full = u64::from(empty.wrapping_add(1)) << 32;
                        // Release: pairs with the acquire in `next`.
                        slot.store(full | u64::from(frame), Ordering::Release);
                        return true;
                    }
                    Err(now) => tail = now,
                },
                ..0 => return false, // Who entered a lap ago is still there.
                _ => tail = self.tail.load(Ordering::Relaxed),
            }
        }
    }

    /// The frame whose turn it is, which is out of the ring now.
    pub(crate) fn next(&self) -> Option<Frame> {
        let (mut head, mut waits) = (self.head.load(Ordering::Relaxed), 0);
        loop {
            let (slot, empty) = self.place(head);
            let (full, content) = (empty.wrapping_add(1), slot.load(Ordering::Acquire));
            match turn_of(content).wrapping_sub(full) as i32 {
                0 => match self.head.compare_exchange_weak(
                    head,
                    head + 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        // Release: pairs with the acquire in `enter`, a lap later.
                        slot.store(u64::from(full.wrapping_add(1)) << 32, Ordering::Release);
                        return Some(content as Frame);
                    }
                    Err(now) => head = now,
                },
                // Who has entered there may have been put aside before he could say who he is.
                ..0 if self.len() > 0 && waits < PATIENCE => {
                    waits += 1;
                    thread::yield_now();
                    head = self.head.load(Ordering::Relaxed);
                }
                ..0 => return None, // Nobody has, or the others do without him.
                _ => head = self.head.load(Ordering::Relaxed),
            }
        }
    }

    /// How many are in the ring, numbers left behind included.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).saturating_sub(head) as usize
    }

    /// The place of the one who enters as number `position`, and the turn that says it is empty
    /// for him.
    fn place(&self, position: u64) -> (&AtomicU64, u32) {
        let len = self.slots.len() as u64;
        (&self.slots[(position % len) as usize], (2 * (position / len)) as u32)
    }
}

/// The turn that a place's content says it is.
fn turn_of(content: u64) -> u32 {
    (content >> 32) as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_no_more_than_there_is_room_for() {
        let ring = Probation::new(256).unwrap();
        for lap in 0..5 {
            assert!((0..64).all(|frame| ring.enter(frame)), "in lap {lap}");
            assert!(!ring.enter(64) && ring.len() == 64);
            assert!(std::iter::from_fn(|| ring.next()).eq(0..64));
            assert!(ring.enter(7) && ring.next() == Some(7) && ring.next().is_none());
        }
    }

    #[test]
    fn one_frame_in_fourteen_is_due() {
        let ring = Probation::new(256).unwrap();
        let overfull_at = (0..64).find(|&frame| {
            assert!(ring.enter(frame));
            ring.is_overfull(140)
        });
        assert_eq!(overfull_at, Some(10));
    }
}

/// Every interleaving of a few threads:
/// `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn loom_who_enters_comes_out_once() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let ring = Arc::new(Probation::new(8).unwrap()); // Two places.
            let others = [1, 2].map(|frame| {
                let ring = ring.clone();
                thread::spawn(move || {
                    let entered = ring.enter(frame);
                    (entered.then_some(frame), ring.next())
                })
            });
            let entered = ring.enter(3).then_some(3);
            let (mut went_in, mut came_out): (Vec<Frame>, Vec<Frame>) =
                (entered.into_iter().collect(), Vec::new());
            for other in others {
                let (entered, next) = other.join().unwrap();
                went_in.extend(entered);
                came_out.extend(next);
            }
            came_out.extend(std::iter::from_fn(|| ring.next()));
            went_in.sort_unstable();
            came_out.sort_unstable();
            assert_eq!(went_in, came_out);
        });
    }
}
