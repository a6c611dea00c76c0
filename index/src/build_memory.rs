//! What a build needs of memory, told before it begins.
//!
//! A build has four phases: codes are trained and made, the graph is built, points are packed, all
//! is written.
//! Vectors and codes are there in each; the most that the others add at a time is counted on top.
//! Lengths are exact where they follow from the options, and bounds where chance decides: the
//! upper layers of a graph have about one point in M.

use std::num::NonZero;
use std::thread::available_parallelism;

use crate::codes;
use crate::write::CHUNK_BYTES;
use crate::{BuildOptions, Element, Metric, Order, Quantizer, packing};

/// The bytes that a build needs, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildMemory {
    /// The vectors as they are given.
    pub vectors_bytes: u64,
    /// The codes of all quantizers.
    pub codes_bytes: u64,
    /// The graph, and what is kept of each point while it grows.
    pub graph_bytes: u64,
    /// What else a phase needs, of the phase that needs most: what all threads walk and
    /// choose with, samples that codes are trained on, pages on their way out.
    pub scratch_bytes: u64,
}

/// The program itself, and what its threads and its allocator keep and round up to huge pages:
/// 28 MiB with 500,000 vectors of 128 floats on two threads.
const PROCESS_BYTES: u64 = 48 << 20;
/// Codes are trained on at most so many rows, widened.
const TRAINING_ROWS: u64 = 1 << 15;
/// The largest round of insertions, and the bytes that one link takes until it is made.
const ROUND_POINTS: u64 = 4096;
const LINK_BYTES: u64 = 48;

impl BuildMemory {
    /// All of it together: the most that the process needs at a time.
    pub fn peak_bytes(&self) -> u64 {
        let parts = [self.vectors_bytes, self.codes_bytes, self.graph_bytes, self.scratch_bytes];
        parts.into_iter().fold(PROCESS_BYTES, u64::saturating_add)
    }
}

impl BuildOptions {
    /// What a build with these options needs for `points` vectors of `dim` values of type
    /// `element`.
    ///
    /// ```
    /// # use ringpool_index::{BuildOptions, Element};
    /// let memory = BuildOptions::default().memory(768, 1_000_000, Element::F32);
    /// // A million vectors of 768 floats: these, a quarter of that for codes, as much again for
    /// // the case that all are whole numbers, which are walked as bytes, and a graph.
    /// assert!((4.6e9..5.0e9).contains(&(memory.peak_bytes() as f64)));
    /// ```
    pub fn memory(&self, dim: usize, points: usize, element: Element) -> BuildMemory {
        let (count, dim_count, m) = (points as u64, dim as u64, self.m.max(2) as u64);
        let row_bytes = dim_count * element.bytes() as u64;
        let wide_bytes = dim_count * size_of::<f32>() as u64;
        let sets: Vec<u64> = self.codes().map(|codes| resident_bytes(codes, dim, points)).collect();
        let largest = sets.iter().copied().max().unwrap_or(0);
        let pages_bytes = |bytes: u64| bytes / self.page_size.bytes() as u64 * 8;
        let upper_bytes = count / (m - 1) * 4 * (m + 1);
        // Level, place in the order of insertion, parent and place in the tree of the repair.
        let graph_bytes = count * (4 * 2 * m + 1 + 4 + 4 + 4) + upper_bytes;
        let cores = || available_parallelism().map_or(1, NonZero::get);
        let threads = if self.threads == 0 { cores() } else { self.threads } as u64;
        let ef_bytes = 8 * self.ef_construction as u64;
        let per_thread = 2 * count + 16 * ef_bytes + 8 * m * wide_bytes;
        let round = (count / 2).min(ROUND_POINTS) * m * LINK_BYTES;
        let norms = if self.metric == Metric::Cosine { 4 * count } else { 0 };
        let walked_as_bytes = self.metric == Metric::L2 && element != Element::U8;
        let bytes = if walked_as_bytes { count * dim_count } else { 0 };
        let node = |codes| row_bytes + 2 * m * (4 + codes::record_bytes(codes, dim) as u64);
        let nodes_bytes = self.inlined.map_or(0, |codes| count.saturating_mul(node(codes)));
        let packing_bytes = match self.order {
            Order::Given => 0,
            Order::Packed => {
                let group = packing::group_of(self.per_page(dim, element));
                // Nearest neighbours are found as the graph was built; then the graph is laid out anew.
                let near = bytes + norms + count * packing::NEAR_BYTES + threads * per_thread;
                let laid_out = count * (4 * 2 * m + 8) + upper_bytes;
                near.max(count * packing::bytes_per_point(group)).max(laid_out)
            }
        };
        let phases = [
            // A set of codes is laid out anew once when it is whole.
            largest + TRAINING_ROWS.min(count) * wide_bytes,
            // Whole numbers are walked as bytes; the repair walks as a thread does.
            bytes + norms + (threads + 1) * per_thread + round,
            packing_bytes,
            CHUNK_BYTES as u64
                + upper_bytes
                + largest / (m - 1)
                + nodes_bytes
                + pages_bytes(count * row_bytes + nodes_bytes + graph_bytes),
        ];
        BuildMemory {
            vectors_bytes: count * row_bytes,
            codes_bytes: sets.iter().sum(),
            graph_bytes,
            scratch_bytes: phases.into_iter().max().unwrap_or(0),
        }
    }

    /// How many of `points` vectors could be built within `bound_bytes`, were there fewer of them.
    pub fn points_within(
        &self,
        dim: usize,
        points: usize,
        element: Element,
        bound_bytes: u64,
    ) -> usize {
        let (mut fits, mut too_many) = (0, points + 1);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if self.memory(dim, middle, element).peak_bytes() <= bound_bytes {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        fits
    }
}

/// One set of codes in memory: its sections, and what is computed of them once.
fn resident_bytes(quantizer: Quantizer, dim: usize, points: usize) -> u64 {
    let sections = codes::sections(quantizer, dim, points, 0).into_iter();
    let stored: u64 = sections.map(|(bytes, count)| bytes as u64 * count as u64).sum();
    let norms = if quantizer == Quantizer::Sq8 { 8 * points as u64 } else { 0 };
    stored + norms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_of_anything_needs_more() {
        let plain = BuildOptions { threads: 2, ..BuildOptions::default() };
        let peak = |options: &BuildOptions, dim, points, element| {
            options.memory(dim, points, element).peak_bytes()
        };
        let base = peak(&plain, 100, 50_000, Element::F32);
        assert!(base > 50_000 * (400 + 100 + 128));
        assert!(base < peak(&plain, 101, 50_000, Element::F32));
        assert!(base < peak(&plain, 100, 50_001, Element::F32));
        assert!(base > peak(&plain, 100, 50_000, Element::U8));
        let with = |options: BuildOptions| peak(&options, 100, 50_000, Element::F32);
        assert!(base < with(BuildOptions { m: 17, ..plain.clone() }));
        assert!(base < with(BuildOptions { threads: 300, ..plain.clone() }));
        assert!(base > with(BuildOptions { quantizers: Vec::new(), ..plain.clone() }));
        let both = vec![Quantizer::Sq8, Quantizer::Sq4];
        assert!(base < with(BuildOptions { quantizers: both, ..plain }));
    }

    #[test]
    fn as_many_points_as_fit_and_not_one_more() {
        let options = BuildOptions { threads: 2, ..BuildOptions::default() };
        for bound in [60 << 20, 100 << 20, 1 << 30] {
            let fits = options.points_within(64, 10_000_000, Element::F32, bound);
            let peak = |points| options.memory(64, points, Element::F32).peak_bytes();
            assert!(fits > 0 && peak(fits) <= bound && peak(fits + 1) > bound, "{fits} in {bound}");
        }
        assert_eq!(options.points_within(64, 1000, Element::F32, 1 << 40), 1000);
        assert_eq!(options.points_within(64, 1000, Element::F32, 1 << 20), 0);
    }

    /// Numbers that no segment has give a number all the same.
    #[test]
    fn the_largest_build_is_counted() {
        let options = BuildOptions { m: 1024, ef_construction: 1 << 20, ..Default::default() };
        let memory = options.memory(crate::MAX_DIM, crate::MAX_POINTS, Element::F16);
        assert!(memory.peak_bytes() > 1 << 49);
    }
}
