//! Memory and files that the kernel was told of once, so that it need not look them up and pin
//! them for each read.
//!
//! A region of memory is named by its slot, the same in each ring; a ring that refused it (locked
//! memory is short) reads into it unregistered. Which slot an address lies in is looked up
//! without a lock: each slot is a tiny sequence lock that changes when a region comes or goes.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::sync::{AtomicUsize, fence};

/// Files that one ring can have registered.
pub(crate) const FILES: usize = if cfg!(loom) { 2 } else { 64 };
/// Regions of memory that an engine can have registered.
pub(crate) const REGIONS: usize = if cfg!(loom) { 2 } else { 64 };
/// The kernel registers no more in one piece.
pub(crate) const REGION_BYTES: usize = 1 << 30;

pub(crate) struct Regions {
    slots: [Region; REGIONS],
    /// Slots that were ever used: only these are looked at.
    used: AtomicUsize,
    bytes: AtomicU64,
    /// Held by who adds or removes one: a bit for each slot that is taken.
    pub(crate) taken: Mutex<u64>,
}

#[derive(Default)]
struct Region {
    /// Odd while the bounds change.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
}

impl Regions {
    pub(crate) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Region::default()),
            used: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            taken: Mutex::new(0),
        }
    }

    /// The slot of the region that these bytes lie in.
    ///
    /// Whoever asks keeps the region registered meanwhile, if it is. Other slots may change.
    #[inline]
    pub(crate) fn slot_of(&self, start: usize, len_bytes: usize) -> Option<u16> {
        // Acquire: pairs with the release in `set`, so that the slot's bounds are visible.
        let used = self.used.load(Ordering::Acquire);
        let inside = |region: &Region| {
            region.bounds().is_some_and(|(from, to)| from <= start && start + len_bytes <= to)
        };
        self.slots[..used].iter().position(inside).map(|slot| slot as u16)
    }

    /// The bytes that are registered.
    pub(crate) fn bytes(&self) -> u64 {
        // Relaxed: a number, read for its value alone.
        self.bytes.load(Ordering::Relaxed)
    }

    /// Where the region of a slot lies, if there is one.
    pub(crate) fn bounds(&self, slot: usize) -> Option<(usize, usize)> {
        self.slots[slot].bounds().filter(|(start, end)| end > start)
    }

    /// Sets or clears (0, 0) the bounds of a slot. By the holder of `taken` alone.
    pub(crate) fn set(&self, slot: usize, start: usize, end: usize) {
        let region = &self.slots[slot];
        let (old_start, old_end) =
            (region.start.load(Ordering::Relaxed), region.end.load(Ordering::Relaxed));
        // A sequence lock with one writer: odd, bounds, even. The fence keeps the bounds after
        // the odd version; the release keeps them before the even one. See `Region::bounds`.
        region.version.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        region.start.store(start, Ordering::Relaxed);
        region.end.store(end, Ordering::Relaxed);
        region.version.fetch_add(1, Ordering::Release);
        // Relaxed: a number, read for its value alone.
        self.bytes.fetch_sub((old_end - old_start) as u64, Ordering::Relaxed);
        self.bytes.fetch_add((end - start) as u64, Ordering::Relaxed);
        // Release: pairs with the acquire in `slot_of`.
        self.used.fetch_max(slot + 1, Ordering::Release);
    }
}

impl Region {
    /// The bounds, unless they are changing at this moment (then it is not the asker's region).
    #[inline]
    fn bounds(&self) -> Option<(usize, usize)> {
        // Acquire: pairs with the release of the even version in `set`.
        let before = self.version.load(Ordering::Acquire);
        let bounds = (self.start.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        // Pairs with the release fence in `set`: who saw a new bound sees the odd version too.
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then_some(bounds)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_address_finds_its_region() {
        let regions = Regions::new();
        assert_eq!(regions.slot_of(4096, 4096), None);
        regions.set(0, 4096, 3 * 4096);
        regions.set(3, 8 * 4096, 9 * 4096);
        assert_eq!(regions.slot_of(4096, 4096), Some(0));
        assert_eq!(regions.slot_of(2 * 4096, 4096), Some(0));
        assert_eq!(regions.slot_of(2 * 4096, 4097), None, "over its end");
        assert_eq!(regions.slot_of(0, 4096), None);
        assert_eq!(regions.slot_of(8 * 4096, 4096), Some(3));
        assert_eq!(regions.bytes(), 3 * 4096);
        regions.set(0, 0, 0);
        assert_eq!(regions.slot_of(4096, 4096), None);
        assert_eq!((regions.bytes(), regions.bounds(0)), (4096, None));
    }
}
