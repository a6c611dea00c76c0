//! The free list: a stack of frame numbers that any number of threads push to and pop from.
//!
//! After R. K. Treiber, "Systems programming: coping with parallelism" (1986). Each frame has a
//! link, which names the frame below it while it is on the stack. The head carries a count of its
//! changes beside the top frame's number, so that who has looked at the top and its link notices
//! when the stack has changed in between, also if the same frame is on top again. The count is as
//! wide as the number: it would have to go around, four billion changes, within one pop.
//!
//! Last in, first out: the frame that was freed last is the one most likely in a cache.

use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::word::Frame;
use crate::zeroed::Zeroed;

/// There is no frame below.
const BOTTOM: Frame = Frame::MAX;
/// What the link of a frame says that is not on the stack, and was marked.
const MARK: Frame = Frame::MAX - 1;

pub(crate) struct FreeList {
    /// The count of changes, and the frame on top.
    head: AtomicU64,
    len: AtomicUsize,
    links: Zeroed<AtomicU32>,
}

impl FreeList {
    /// What a frame costs here, in bytes.
    pub(crate) const BYTES_PER_FRAME: u64 = 4;
    /// Frames have numbers below this.
    pub(crate) const MOST: u32 = MARK;

    /// An empty list for frames below `capacity`.
    pub(crate) fn new(capacity: u32) -> std::io::Result<Self> {
        debug_assert!(capacity <= Self::MOST);
        let links = Zeroed::new(capacity as usize, false)?;
        Ok(Self { head: AtomicU64::new(u64::from(BOTTOM)), len: AtomicUsize::new(0), links })
    }

    /// How many there are, at about this moment.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Relaxed: a count. Who pops may be counted before who pushed.
        (self.len.load(Ordering::Relaxed) as isize).max(0) as usize
    }

    /// Puts `frame` on top. It is the caller's, and from here on nobody's.
    #[inline]
    pub(crate) fn push(&self, frame: Frame) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Relaxed: who follows the link has acquired the head that was released after it.
            self.links[frame as usize].store(head as Frame, Ordering::Relaxed);
            // Release: pairs with the acquire in `pop`. What was done to the frame is over.
            match self.swap_head(head, frame, Ordering::Release) {
                Ok(()) => break,
                Err(now) => head = now,
            }
        }
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the frame on top, which is the caller's then.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Frame> {
        // Acquire: pairs with the release in `push`, whose link is read. All changes of the head
        // are read-modify-writes, so that those below stay visible when others come and go.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let top = head as Frame;
            if top == BOTTOM {
                return None;
            }
            // Out of date when somebody else has popped it meanwhile: then the head has changed.
            let below = self.links[top as usize].load(Ordering::Relaxed);
            match self.swap_head(head, below, Ordering::Acquire) {
                Ok(()) => {
                    self.len.fetch_sub(1, Ordering::Relaxed);
                    return Some(top);
                }
                Err(now) => head = now,
            }
        }
    }

    #[inline]
    fn swap_head(&self, seen: u64, top: Frame, success: Ordering) -> Result<(), u64> {
        let changes = (seen >> 32).wrapping_add(1);
        let next = changes << 32 | u64::from(top);
        // Acquire on failure: the head that is found is followed next.
        let swapped = self.head.compare_exchange_weak(seen, next, success, Ordering::Acquire);
        swapped.map(|_| ())
    }

    /// Takes all of them at once.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = Frame> {
        let mut head = self.head.load(Ordering::Acquire);
        // Acquire: as in `pop`.
        while let Err(now) = self.swap_head(head, BOTTOM, Ordering::Acquire) {
            head = now;
        }
        let mut top = head as Frame;
        std::iter::from_fn(move || {
            let taken = (top != BOTTOM).then_some(top)?;
            top = self.links[taken as usize].load(Ordering::Relaxed);
            self.len.fetch_sub(1, Ordering::Relaxed);
            Some(taken)
        })
    }

    /// Marks a frame that is the caller's, or takes the mark away.
    pub(crate) fn mark(&self, frame: Frame, marked: bool) {
        // Relaxed: read under the lock under which it is written.
        self.links[frame as usize].store(if marked { MARK } else { 0 }, Ordering::Relaxed);
    }

    /// Whether `frame` was marked since it was pushed or popped last.
    pub(crate) fn is_marked(&self, frame: Frame) -> bool {
        self.links[frame as usize].load(Ordering::Relaxed) == MARK
    }

    /// Gives back the memory of the links of `frames`, which are neither on the list nor will be
    /// pushed while this runs, and takes their marks away.
    pub(crate) fn release(&self, frames: std::ops::Range<Frame>) {
        self.links.release(frames.start as usize..frames.end as usize);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out() {
        let free = FreeList::new(5).unwrap();
        assert_eq!(free.pop(), None);
        (0..5).for_each(|frame| free.push(frame));
        assert_eq!((free.pop(), free.pop(), free.len()), (Some(4), Some(3), 3));
        free.push(4);
        assert_eq!(free.take_all().collect::<Vec<_>>(), [4, 2, 1, 0]);
        assert_eq!((free.pop(), free.len()), (None, 0));
    }

    #[test]
    fn a_mark_lasts_until_the_frame_is_pushed() {
        let free = FreeList::new(2).unwrap();
        free.mark(0, true);
        assert!(free.is_marked(0) && !free.is_marked(1));
        free.push(0);
        assert!(!free.is_marked(0));
    }

    #[test]
    fn threads_lose_nothing_and_get_nothing_twice() {
        let free = FreeList::new(64).unwrap();
        (0..64).for_each(|frame| free.push(frame));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000 {
                        let mine: Vec<Frame> =
                            std::iter::from_fn(|| free.pop()).take(1 + round % 7).collect();
                        mine.into_iter().for_each(|frame| free.push(frame));
                    }
                });
            }
        });
        let mut all: Vec<Frame> = free.take_all().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..64));
    }
}

/// Every interleaving of a few threads:
/// `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.
#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A list, and what the frames hold: plain cells, so that two owners who meet are an error.
    struct Model {
        free: FreeList,
        frames: Vec<UnsafeCell<u32>>,
    }

    impl Model {
        fn new(count: u32) -> Arc<Self> {
            let free = FreeList::new(count).unwrap();
            (0..count).for_each(|frame| free.push(frame));
            Arc::new(Self { free, frames: (0..count).map(UnsafeCell::new).collect() })
        }

        fn pop(&self) -> Option<Frame> {
            let frame = self.free.pop()?;
            // SAFETY: loom reports it if anybody else is in the cell.
            self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes += 1 });
            Some(frame)
        }

        fn rest(&self) -> Vec<Frame> {
            let mut rest: Vec<Frame> = self.free.take_all().collect();
            rest.sort_unstable();
            rest
        }
    }

    /// The top is popped, the next too, and the first put back, while somebody else pops: a list
    /// without a count of changes would have the second one twice.
    #[test]
    fn loom_the_same_frame_on_top_again() {
        loom::model(|| {
            let model = Model::new(3);
            let other = {
                let model = model.clone();
                thread::spawn(move || {
                    let (first, second) = (model.pop(), model.pop());
                    first.into_iter().for_each(|frame| model.free.push(frame));
                    second
                })
            };
            let mine = model.pop();
            let theirs = other.join().unwrap();
            let mut all = model.rest();
            all.extend(mine.into_iter().chain(theirs));
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2]);
        });
    }

    #[test]
    fn loom_two_who_take_and_give_and_one_who_takes_all() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = Model::new(2);
            let others = [(); 2].map(|()| {
                let model = model.clone();
                thread::spawn(move || {
                    if let Some(frame) = model.pop() {
                        model.free.push(frame);
                    }
                })
            });
            let all: Vec<Frame> = model.free.take_all().collect();
            all.into_iter().for_each(|frame| model.free.push(frame));
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(model.rest(), [0, 1]);
        });
    }
}
