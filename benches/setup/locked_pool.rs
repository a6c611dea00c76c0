//! The pool that one would write first: a map under a mutex, a clock, pages behind an `Arc`.
//!
//! Not a straw man: the lock is held for a look-up and no longer, never while a page is read; the
//! hash is one multiplication; and with 16 shards, threads rarely meet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chained::PAGE_BYTES;

/// A pool of pages of `bytes`.
pub struct LockedPool {
    shards: Box<[Mutex<Shard>]>,
    bytes: Arc<[u8]>,
}

struct Shard {
    places: HashMap<u64, usize, BuildHasherDefault<OneWord>>,
    frames: Vec<Frame>,
    room: usize,
    hand: usize,
}

struct Frame {
    page: u64,
    is_used: bool,
    bytes: Arc<[u8]>,
}

impl LockedPool {
    /// Room for `room` pages in `shards` shards, a power of two.
    pub fn new(bytes: &Arc<[u8]>, room: usize, shards: usize) -> Self {
        assert!(shards.is_power_of_two());
        let room = room.div_ceil(shards);
        let shard = |_| {
            let places = HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default());
            Mutex::new(Shard { places, frames: Vec::with_capacity(room), room, hand: 0 })
        };
        Self { shards: (0..shards).map(shard).collect(), bytes: bytes.clone() }
    }

    pub fn is_sharded(&self) -> bool {
        self.shards.len() > 1
    }

    /// The page, read if it is not there. It stays for as long as somebody has it.
    #[inline]
    pub fn get(&self, page: u64) -> Arc<[u8]> {
        let shard = &self.shards[page as usize & (self.shards.len() - 1)];
        if let Some(bytes) = shard.lock().find(page) {
            return bytes;
        }
        let bytes: Arc<[u8]> = self.bytes[page as usize * PAGE_BYTES..][..PAGE_BYTES].into();
        let mut shard = shard.lock();
        // Somebody else may have read it meanwhile.
        shard.find(page).unwrap_or_else(|| shard.put(page, bytes))
    }
}

impl Shard {
    #[inline]
    fn find(&mut self, page: u64) -> Option<Arc<[u8]>> {
        let frame = &mut self.frames[*self.places.get(&page)?];
        frame.is_used = true;
        Some(frame.bytes.clone())
    }

    fn put(&mut self, page: u64, bytes: Arc<[u8]>) -> Arc<[u8]> {
        let frame = Frame { page, is_used: false, bytes: bytes.clone() };
        let place = if self.frames.len() < self.room {
            self.frames.push(frame);
            self.frames.len() - 1
        } else {
            let victim = self.victim();
            self.places.remove(&self.frames[victim].page);
            self.frames[victim] = frame;
            victim
        };
        self.places.insert(page, place);
        bytes
    }

    fn victim(&mut self) -> usize {
        loop {
            self.hand = (self.hand + 1) % self.frames.len();
            if !std::mem::take(&mut self.frames[self.hand].is_used) {
                return self.hand;
            }
        }
    }
}

/// The hash of one word: a multiplication, with the good bits brought where a map looks first.
#[derive(Default)]
struct OneWord(u64);

impl Hasher for OneWord {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words");
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
