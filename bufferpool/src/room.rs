//! Room for pages: which frames may be used, and which of them are free.
//!
//! Frames are in use from the bottom up to a *limit*. To take some out of use the limit is lowered,
//! so that what goes back to the system is one piece and not holes. A frame above the limit is
//! *leaving* while it still holds a page or a read, and *retired* once it was given back: whoever
//! has it, and gives it back or finds it on the free list, retires it, having released its memory
//! before. A leaving frame that does not come (its page is pinned, say) is made up for by lowering
//! the limit further; when it comes at last, the limit rises again by as much.
//!
//! ```text
//!   0             limit             fresh          capacity
//!   ┌──────────────┬─────────────────┬───────────────┐
//!   │ free or used │leaving │ retired│  never used   │       limit + leaving = wanted, at rest
//!   └──────────────┴─────────────────┴───────────────┘
//! ```
//!
//! Frames that were never used are not on the free list: they are handed out in order, a few at a
//! time, when it is empty. So frames in reserve cost nothing.
//!
//! Looking at the limit needs no lock, and what is seen may be out of date. That is harmless on
//! both sides: a frame above it that was pushed or used all the same is still counted as leaving,
//! and is retired when it turns up next; one below it that is brought to be retired is pushed.

use std::ops::Range;

use crate::free::FreeList;
use crate::sync::{AtomicU32, Mutex, Ordering};
use crate::word::Frame;

/// Frames that are taken out of use at a time: the lock is held for so many.
const STEP: u32 = if cfg!(loom) { 1 } else { 1024 };
/// The limit is not lowered below this, so that there always is a frame to look at.
const LOWEST: Frame = 1;
/// Frames never used that are put on the free list at a time.
const STRIDE: u32 = if cfg!(loom) { 2 } else { 64 };

pub(crate) struct Room {
    free: FreeList,
    capacity: u32,
    // These are written under the lock and read by anybody.
    limit: AtomicU32,
    fresh: AtomicU32,
    usable: AtomicU32,
    span: AtomicU32,
    books: Mutex<Books>,
}

struct Books {
    /// How many frames may hold pages.
    wanted: u32,
    /// Frames at and above the limit, below `fresh`, that are not retired.
    leaving: u32,
}

impl Room {
    /// What a frame costs here, in bytes.
    pub(crate) const BYTES_PER_FRAME: u64 = FreeList::BYTES_PER_FRAME;

    /// Room for `count` pages, and for up to `capacity` later.
    pub(crate) fn new(count: u32, capacity: u32) -> std::io::Result<Self> {
        debug_assert!(count <= capacity);
        Ok(Self {
            free: FreeList::new(capacity)?,
            capacity,
            limit: AtomicU32::new(count),
            fresh: AtomicU32::new(0),
            usable: AtomicU32::new(count),
            span: AtomicU32::new(count),
            books: Mutex::new(Books { wanted: count, leaving: 0 }),
        })
    }

    /// The frames there can be at most.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many frames may hold pages; while some are leaving, with those.
    #[inline]
    pub(crate) fn usable(&self) -> u32 {
        // Relaxed, here and wherever these four are read without the lock: see above.
        self.usable.load(Ordering::Relaxed)
    }

    /// All frames that hold pages are below this.
    pub(crate) fn span(&self) -> u32 {
        self.span.load(Ordering::Relaxed)
    }

    /// The frames that are in use have numbers below this.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many frames are free, at about this moment.
    #[inline]
    pub(crate) fn free_count(&self) -> usize {
        let fresh = self.fresh.load(Ordering::Relaxed);
        self.free.len() + self.limit().saturating_sub(fresh) as usize
    }

    /// Whether `frame` is in use, rather than to be retired when it comes free.
    #[inline]
    pub(crate) fn holds(&self, frame: Frame) -> bool {
        frame < self.limit()
    }

    /// Takes a frame from the free list. Whether the room holds it is for the caller to ask.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Frame> {
        self.free.pop()
    }

    /// Gives back a frame of the caller's that the room holds.
    #[inline]
    pub(crate) fn push(&self, frame: Frame) {
        self.free.push(frame);
    }

    /// Takes all frames from the free list.
    pub(crate) fn pop_all(&self) -> impl Iterator<Item = Frame> {
        self.free.take_all()
    }

    /// Takes a frame that was never used, if there are such, and puts some more on the free list.
    #[inline]
    pub(crate) fn take_fresh(&self) -> Option<Frame> {
        if self.fresh.load(Ordering::Relaxed) >= self.limit() {
            return None;
        }
        let books = self.books.lock();
        let (first, limit) = (self.fresh.load(Ordering::Relaxed), self.limit());
        let end = limit.min(first.saturating_add(STRIDE));
        if first >= end {
            return None;
        }
        self.fresh.store(end, Ordering::Relaxed);
        self.free.mark(first, false);
        // The lowest on top.
        (first + 1..end).rev().for_each(|frame| self.free.push(frame));
        drop(books);
        Some(first)
    }

    /// Takes frames of the caller's out of use, whose memory was released. Those that the room
    /// holds, after all, are free instead.
    pub(crate) fn retire(&self, frames: &[Frame]) {
        let mut books = self.books.lock();
        for &frame in frames {
            if self.holds(frame) {
                self.free.push(frame);
            } else {
                self.free.mark(frame, true);
                books.leaving -= 1;
            }
        }
        self.raise_to_wanted(&mut books);
    }

    /// Goes a step towards `wanted` usable frames, fewer than there are: lowers the limit. Returns
    /// the frames that have to leave for it; `None` when it cannot be lowered, or need not.
    pub(crate) fn lower(&self, wanted: u32) -> Option<Range<Frame>> {
        let mut books = self.books.lock();
        books.wanted = wanted;
        let (before, fresh) = (self.limit(), self.fresh.load(Ordering::Relaxed));
        let excess = (before + books.leaving).saturating_sub(wanted);
        let limit = before - excess.min(STEP).min(before - LOWEST);
        if limit == before {
            return None;
        }
        let leaving = limit.min(fresh)..before.min(fresh);
        books.leaving += leaving.end - leaving.start;
        self.show(&books, limit);
        Some(leaving)
    }

    /// Lets `wanted` frames be used, more than there are.
    pub(crate) fn raise(&self, wanted: u32) {
        let mut books = self.books.lock();
        books.wanted = wanted.min(self.capacity);
        self.raise_to_wanted(&mut books);
    }

    fn raise_to_wanted(&self, books: &mut Books) {
        let (mut limit, fresh) = (self.limit(), self.fresh.load(Ordering::Relaxed));
        while limit + books.leaving < books.wanted {
            if limit >= fresh {
                limit = books.wanted - books.leaving; // What is above was never used.
            } else {
                match self.free.is_marked(limit) {
                    true => self.free.push(limit),
                    false => books.leaving -= 1,
                }
                limit += 1;
            }
        }
        self.show(books, limit);
    }

    /// Forgets the frames above the limit, if none of them is still to come, as if they had never
    /// been used, and gives back what was kept for them. Returns which they are.
    pub(crate) fn retreat(&self) -> Option<Range<Frame>> {
        let books = self.books.lock();
        let retired = self.limit()..self.fresh.load(Ordering::Relaxed);
        if books.leaving > 0 || retired.is_empty() {
            return None;
        }
        self.fresh.store(retired.start, Ordering::Relaxed);
        self.free.release(retired.clone());
        Some(retired)
    }

    /// Tells `look` the first of the frames above the limit that were never used. None of them is
    /// until it returns.
    pub(crate) fn never_used_above(&self, look: impl FnOnce(Frame)) {
        let _books = self.books.lock();
        look(self.limit().max(self.fresh.load(Ordering::Relaxed)));
    }

    /// How many frames are leaving.
    pub(crate) fn leaving(&self) -> u32 {
        self.books.lock().leaving
    }

    /// Shows to those without the lock what the books say.
    fn show(&self, books: &Books, limit: u32) {
        let fresh = self.fresh.load(Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.usable.store(limit + books.leaving, Ordering::Relaxed);
        let span = if books.leaving > 0 { fresh } else { limit };
        self.span.store(span, Ordering::Relaxed);
    }

    /// The frames that are neither used nor on the free list: those never used below the limit,
    /// and those retired above it. For an audit at rest.
    pub(crate) fn unlisted(&self) -> (Range<Frame>, Vec<Frame>) {
        let _books = self.books.lock();
        let (limit, fresh) = (self.limit(), self.fresh.load(Ordering::Relaxed));
        let retired = (limit..fresh).filter(|&frame| self.free.is_marked(frame)).collect();
        (fresh..limit.max(fresh), retired)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn take(room: &Room) -> Option<Frame> {
        room.pop().or_else(|| room.take_fresh())
    }

    fn give(room: &Room, frame: Frame) {
        if room.holds(frame) { room.push(frame) } else { room.retire(&[frame]) }
    }

    #[test]
    fn frames_are_used_from_the_bottom() {
        let room = Room::new(100, 1000).unwrap();
        assert_eq!((room.usable(), room.free_count()), (100, 100));
        let taken: Vec<Frame> = std::iter::from_fn(|| take(&room)).collect();
        assert!(taken.iter().copied().eq(0..100));
        assert_eq!(room.free_count(), 0);
        taken.into_iter().for_each(|frame| give(&room, frame));
        assert_eq!(room.free_count(), 100);
    }

    #[test]
    fn a_frame_that_does_not_come_is_made_up_for_and_comes_later() {
        let room = Room::new(100, 100).unwrap();
        let taken: Vec<Frame> = std::iter::from_fn(|| take(&room)).collect();
        assert_eq!(room.lower(90), Some(90..100));
        assert_eq!((room.usable(), room.span()), (100, 100), "they are still out");
        // All but one come back: one more has to go for it.
        taken[90..99].iter().for_each(|&frame| give(&room, frame));
        assert_eq!(room.lower(90), Some(89..90));
        give(&room, 89);
        assert_eq!((room.usable(), room.limit(), room.leaving()), (90, 89, 1));
        assert_eq!((room.lower(90), room.span(), room.retreat()), (None, 100, None));
        // It comes: 89 is free again for it.
        give(&room, 99);
        assert_eq!((room.usable(), room.limit(), room.leaving()), (90, 90, 0));
        assert_eq!((room.pop(), room.span()), (Some(89), 90));
        assert_eq!(room.retreat(), Some(90..100));
        room.raise(95);
        let again: Vec<Frame> = std::iter::from_fn(|| take(&room)).collect();
        assert!(again.iter().copied().eq(90..95), "{again:?}");
    }

    #[test]
    fn raising_takes_back_who_has_not_left() {
        let room = Room::new(10, 20).unwrap();
        let taken: Vec<Frame> = std::iter::from_fn(|| take(&room)).collect();
        assert_eq!(room.lower(5), Some(5..10));
        assert_eq!(room.lower(5), Some(1..5), "the others do not come");
        assert_eq!(room.lower(5), None, "no lower than that");
        give(&room, taken[7]);
        room.raise(12);
        assert_eq!((room.usable(), room.limit(), room.leaving()), (12, 12, 0));
        let again: Vec<Frame> = std::iter::from_fn(|| take(&room)).collect();
        assert_eq!(again, [7, 10, 11]);
    }

    #[test]
    fn a_frame_that_was_pushed_above_the_limit_is_retired_when_it_is_found() {
        let room = Room::new(10, 10).unwrap();
        let taken: Vec<Frame> = std::iter::from_fn(|| take(&room)).collect();
        assert_eq!(room.lower(9), Some(9..10));
        room.push(taken[9]); // By a thread that has looked at the limit before.
        let found = room.pop().unwrap();
        assert!(!room.holds(found));
        room.retire(&[found]);
        assert_eq!((room.usable(), room.leaving()), (9, 0));
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

    /// Room, and what the frames hold: plain cells, so that two owners who meet are an error.
    struct Model {
        room: Room,
        frames: Vec<UnsafeCell<u32>>,
    }

    impl Model {
        fn new(count: u32, capacity: u32) -> Arc<Self> {
            let room = Room::new(count, capacity).unwrap();
            Arc::new(Self { room, frames: (0..capacity).map(UnsafeCell::new).collect() })
        }

        /// The same, with all frames used before: the highest, which leaves first, is taken first.
        fn used(count: u32, capacity: u32) -> Arc<Self> {
            let model = Self::new(count, capacity);
            let frames: Vec<Frame> = std::iter::from_fn(|| model.take()).collect();
            frames.into_iter().for_each(|frame| model.give(frame));
            model
        }

        /// As `Frames::take`.
        fn take(&self) -> Option<Frame> {
            let frame = loop {
                match self.room.pop() {
                    None => break self.room.take_fresh()?,
                    Some(frame) if self.room.holds(frame) => break frame,
                    Some(frame) => self.retire(frame),
                }
            };
            self.scribble(frame);
            Some(frame)
        }

        /// As `Frames::give`.
        fn give(&self, frame: Frame) {
            self.scribble(frame);
            if self.room.holds(frame) {
                self.room.push(frame);
            } else {
                self.retire(frame);
            }
        }

        /// Releases the memory, which is a write, and retires the frame.
        fn retire(&self, frame: Frame) {
            self.scribble(frame);
            self.room.retire(&[frame]);
        }

        fn scribble(&self, frame: Frame) {
            // SAFETY: loom reports it if anybody else is in the cell.
            self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes += 1 });
        }

        /// As the pool does: lowers, and retires what is free.
        fn shrink(&self, wanted: u32) {
            while self.room.lower(wanted).is_some() {
                for frame in self.room.pop_all() {
                    match self.room.holds(frame) {
                        true => self.room.push(frame),
                        false => self.retire(frame),
                    }
                }
            }
            let _ = self.room.retreat();
        }

        /// At rest, with nothing taken: so many are free, each once.
        fn assert_free(&self, count: u32) {
            let free: Vec<Frame> = std::iter::from_fn(|| self.take()).collect();
            let mut distinct = free.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!((free.len(), distinct.len()), (count as usize, count as usize), "{free:?}");
            assert_eq!((self.room.usable(), self.room.leaving()), (count, 0));
        }
    }

    /// Takes a frame, uses it and gives it back, `rounds` times.
    fn user(model: &Arc<Model>, rounds: usize) -> thread::JoinHandle<()> {
        let model = model.clone();
        thread::spawn(move || {
            for _ in 0..rounds {
                model.take().into_iter().for_each(|frame| model.give(frame));
            }
        })
    }

    #[test]
    fn loom_shrinking_against_who_takes_and_gives() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = Model::used(2, 2);
            let user = user(&model, 2);
            model.shrink(1);
            user.join().unwrap();
            model.shrink(1);
            model.assert_free(1);
        });
    }

    #[test]
    fn loom_shrinking_and_growing_against_who_takes_and_gives() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = Model::used(2, 3);
            let user = user(&model, 2);
            model.shrink(1);
            model.room.raise(3);
            user.join().unwrap();
            model.assert_free(3);
        });
    }

    #[test]
    fn loom_growing_against_two_who_take() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = Model::new(1, 3);
            let users = [(); 2].map(|()| user(&model, 1));
            model.room.raise(3);
            users.into_iter().for_each(|user| user.join().unwrap());
            model.assert_free(3);
        });
    }
}
