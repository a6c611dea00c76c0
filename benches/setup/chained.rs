//! Pages each of which names the next: all of them on one round trip, in random order.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::storage::PageSize;

pub const PAGE: PageSize = PageSize::KIB_4;
pub const PAGE_BYTES: usize = PAGE.bytes();

const SEED: u64 = 0x0063_6861_696e;

/// `count` pages. The first word of each is the number of the next.
pub fn pages(count: usize) -> Vec<u8> {
    // Sattolo: a random permutation of one cycle, so that a chain never closes early.
    let mut next: Vec<u64> = (0..count as u64).collect();
    let mut rng = SmallRng::seed_from_u64(SEED);
    for last in (1..count).rev() {
        next.swap(last, rng.random_range(0..last));
    }
    let mut bytes = vec![0x5A; count * PAGE_BYTES];
    for (page, next) in bytes.chunks_exact_mut(PAGE_BYTES).zip(next) {
        page[..8].copy_from_slice(&next.to_le_bytes());
    }
    bytes
}

/// The first word of a page.
#[inline(always)]
pub fn word(page: &[u8]) -> u64 {
    page.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}
