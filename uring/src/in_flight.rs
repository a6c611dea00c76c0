//! The in-flight table: owns every read between its SQE and its CQE.
//!
//! The kernel writes to a read's memory until its completion arrives, whoever has lost interest
//! meanwhile, so the memory and the file belong to this table and to nobody else. There is no
//! system call in here: each strange order of completions is a unit test.
//!
//! A completion names its read by slot and generation (`user_data`: generation in the upper half,
//! slot in the lower). The generation changes each time a slot is used, so that a completion that
//! arrives twice, late or for nothing finds no read.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use crate::sync::{ArrayQueue, AtomicU32, AtomicUsize, UnsafeCell};

/// A fixed number of slots for things that are in flight.
pub(crate) struct InFlight<T> {
    slots: Box<[Slot<T>]>,
    free: ArrayQueue<u32>,
    count: AtomicUsize,
}

struct Slot<T> {
    /// Odd while the slot is occupied; its value then is the generation of the read in it.
    generation: AtomicU32,
    content: UnsafeCell<Option<T>>,
}

// SAFETY: a slot's content is touched only by the thread that took its number from `free`, until
// it publishes the generation, and after that only by the thread that won the exchange of that
// generation in `land`, until it puts the number back.
unsafe impl<T: Send> Sync for InFlight<T> {}

/// A slot that was taken and not yet filled. Goes back when dropped.
pub(crate) struct Vacant<'a, T> {
    table: &'a InFlight<T>,
    slot: u32,
}

impl<T> InFlight<T> {
    /// A table with room for `depth` reads.
    pub(crate) fn new(depth: u32) -> Self {
        let free = ArrayQueue::new(depth as usize);
        for slot in 0..depth {
            free.push(slot).expect("room for each slot");
        }
        let empty = || Slot { generation: AtomicU32::new(0), content: UnsafeCell::new(None) };
        Self { slots: (0..depth).map(|_| empty()).collect(), free, count: AtomicUsize::new(0) }
    }

    /// How many slots are occupied.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        // SeqCst: ordered against the count of followers, see `Followers`.
        self.count.load(Ordering::SeqCst)
    }

    /// A free slot, if there is one.
    #[inline]
    pub(crate) fn vacant(&self) -> Option<Vacant<'_, T>> {
        self.free.pop().map(|slot| Vacant { table: self, slot })
    }

    /// Takes out the read that `user_data` names, and says whether it was the last one in flight;
    /// `None` for a completion of nothing.
    #[inline]
    pub(crate) fn land(&self, user_data: u64) -> Option<(T, bool)> {
        let (slot, generation) = (user_data as u32, (user_data >> 32) as u32);
        let place = self.slots.get(slot as usize)?;
        if generation.is_multiple_of(2) {
            return None; // No read ever had it.
        }
        let next = generation.wrapping_add(1);
        // Acquire: pairs with the release in `fill`, so that the content is visible. Only one
        // thread wins the exchange, so that only one takes the content.
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        place.generation.compare_exchange(generation, next, acquire, relaxed).ok()?;
        // SAFETY: the exchange was won: this thread alone may touch the content until the slot's
        // number is back among the free ones, below.
        let content = place.content.with_mut(|content| unsafe { (*content).take() });
        debug_assert!(content.is_some(), "an occupied slot has a content");
        let was_last = self.count.fetch_sub(1, Ordering::SeqCst) == 1;
        let returned = self.free.push(slot);
        debug_assert!(returned.is_ok(), "a slot came back twice");
        content.map(|content| (content, was_last))
    }
}

impl<T> Vacant<'_, T> {
    /// Puts `content` into the slot. Returns the `user_data` of its SQE, and whether it is the
    /// first one in flight.
    #[inline]
    pub(crate) fn fill(self, content: T) -> (u64, bool) {
        let (table, slot) = (self.table, self.slot);
        std::mem::forget(self);
        let place = &table.slots[slot as usize];
        // SAFETY: the slot's number was taken from the free ones and its generation is even, so
        // that this thread alone may touch the content until the generation is published.
        place.content.with_mut(|place| unsafe { *place = Some(content) });
        let is_first = table.count.fetch_add(1, Ordering::SeqCst) == 0;
        // Relaxed load: only the holder of the slot's number changes an even generation.
        let generation = place.generation.load(Ordering::Relaxed).wrapping_add(1);
        debug_assert!(generation % 2 == 1, "a free slot has an even generation");
        // Release: pairs with the acquire in `land`.
        place.generation.store(generation, Ordering::Release);
        (u64::from(generation) << 32 | u64::from(slot), is_first)
    }
}

impl<T> Drop for Vacant<'_, T> {
    fn drop(&mut self) {
        let returned = self.table.free.push(self.slot);
        debug_assert!(returned.is_ok(), "a slot came back twice");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_completion_finds_its_read_once() {
        let table = InFlight::new(2);
        let (first, is_first) = table.vacant().unwrap().fill("first");
        let (second, is_second) = table.vacant().unwrap().fill("second");
        assert!(is_first && !is_second);
        assert!(table.vacant().is_none());
        assert_eq!(table.count(), 2);
        assert_eq!(table.land(second), Some(("second", false)));
        assert_eq!(table.land(second), None, "twice");
        assert_eq!(table.land(first), Some(("first", true)));
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn an_old_or_unknown_completion_finds_nothing() {
        let table = InFlight::new(1);
        let (old, _) = table.vacant().unwrap().fill(1);
        assert_eq!(table.land(old), Some((1, true)));
        let (new, _) = table.vacant().unwrap().fill(2);
        assert_ne!(old, new, "the generation differs");
        for strange in [old, 0, u64::MAX, new + 1, new + (1 << 32), new - (1 << 32)] {
            assert_eq!(table.land(strange), None, "{strange:#x}");
        }
        assert_eq!(table.land(new), Some((2, true)));
    }

    #[test]
    fn a_vacant_slot_that_is_not_filled_goes_back() {
        let table = InFlight::<()>::new(1);
        drop(table.vacant().unwrap());
        assert!(table.vacant().is_some());
    }

    #[test]
    fn threads_fill_and_land_without_loss() {
        let table = InFlight::new(8);
        let filled = ArrayQueue::new(8);
        let sum = AtomicUsize::new(0);
        let each = 20_000;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut left = 1..=each;
                    let mut next = left.next();
                    while let Some(value) = next {
                        if let Some(vacant) = table.vacant() {
                            filled.push(vacant.fill(value).0).unwrap();
                            next = left.next();
                        }
                    }
                });
                scope.spawn(|| {
                    let mut landed = 0;
                    while landed < each {
                        if let Some(user_data) = filled.pop() {
                            sum.fetch_add(table.land(user_data).unwrap().0, Ordering::Relaxed);
                            landed += 1;
                        }
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), each * (each + 1));
    }
}
