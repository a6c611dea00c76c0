//! Which pages a bench looks at, drawn before anything is timed, from a fixed seed.

use rand::distr::{Distribution, Uniform};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::Zipf;
use ringpool::storage::PageNo;

const SEED: u64 = 0x0072_696e_6770_6f6f;

/// The exponent that key-value benchmarks (YCSB) have made customary.
#[allow(dead_code, reason = "not every bench draws so")]
const EXPONENT: f64 = 0.99;

/// `count` of `pages` pages, each as likely as any other.
pub fn uniform(pages: u64, count: usize) -> Vec<PageNo> {
    let distribution = Uniform::new(0, pages).expect("at least one page");
    drawn(count, distribution, PageNo)
}

/// `count` of `pages` pages, where the r-th most wanted is wanted as often as 1 / r^0.99 says.
/// The most wanted ones are scattered over the file.
#[allow(dead_code, reason = "as above")]
pub fn zipf(pages: u64, count: usize) -> Vec<PageNo> {
    let by_rank = shuffled(pages);
    let distribution = Zipf::new(pages as f64, EXPONENT).expect("at least one page");
    drawn(count, distribution, |rank: f64| by_rank[rank as usize - 1])
}

/// All pages, each once, in random order.
pub fn shuffled(pages: u64) -> Vec<PageNo> {
    let mut all: Vec<PageNo> = (0..pages).map(PageNo).collect();
    all.shuffle(&mut SmallRng::seed_from_u64(SEED));
    all
}

fn drawn<T>(
    count: usize,
    distribution: impl Distribution<T>,
    page: impl Fn(T) -> PageNo,
) -> Vec<PageNo> {
    let rng = SmallRng::seed_from_u64(SEED);
    rng.sample_iter(distribution).take(count).map(page).collect()
}
