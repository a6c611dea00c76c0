//! A search of a segment in memory allocates nothing once its scratch is warm.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::Arc;

use ringpool_index::{
    BuildOptions, Metric, NoProgress, Placed, Quantizer, Rescore, Scratch, SearchParams, Segment,
    Vectors, build,
};
use ringpool_storage::MemorySource;

/// Counts the allocations of a thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const DIM: usize = 40;

#[test]
fn a_search_allocates_nothing_once_its_scratch_is_warm() {
    let values = |i: usize| ((i * 7919) % 1009) as f32;
    let vectors = Vectors::from_f32(DIM, (0..3000 * DIM).map(values).collect()).unwrap();
    let queries: Vec<Vec<f32>> =
        (0..50).map(|i| (0..DIM).map(|d| values(i * 977 + d * 31)).collect()).collect();
    let parent = tempfile::tempdir().unwrap();
    for metric in Metric::ALL {
        for quantizers in [vec![], vec![Quantizer::Sq8]] {
            let out = parent.path().join(format!("{metric}-{}", quantizers.len()));
            let options = BuildOptions { metric, quantizers, ..Default::default() };
            build(&vectors, &out, &options, &NoProgress).unwrap();
            let segment = Segment::open(&out, &mut |file| {
                let bytes = fs::read(&file.path).unwrap();
                let source = MemorySource::new("a component", file.page_size, bytes)?;
                Ok(Placed::Resident(Arc::new(source)))
            });
            check(&segment.unwrap(), &queries);
        }
    }
}

fn check(segment: &Segment, queries: &[Vec<f32>]) {
    for rescore in [Rescore::Off, Rescore::Times(4.0)] {
        let params = SearchParams { k: 10, ef: 100, rescore };
        let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
        let mut pass = || {
            let before = ALLOCATIONS.get();
            for query in queries {
                segment.search_into(query, &params, &mut scratch, &mut hits).unwrap();
                assert_eq!(hits.len(), 10);
            }
            ALLOCATIONS.get() - before
        };
        assert!(pass() > 0, "the counter counts");
        assert_eq!(pass(), 0, "{rescore:?}");
    }
}
