//! A thread that carries many queries allocates nothing from page to page: not for what is in memory,
//! not for what is read, not for what others read at that moment. Nor does a search, however many
//! pages its walk comes through.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringpool::bufferpool::{Pool, PoolOptions};
use ringpool::storage::conformance::{Specimen, skipped};
use ringpool::storage::{DeviceGather, Gather, PageNo, PageSize, PageSource};
use ringpool::uring::Engine;
use ringpool::{
    BuildOptions, EngineChoice, Index, NoProgress, OpenOptions, Patience, Query, Rescore,
    SearchParams, Searches, Vectors, build,
};

/// Counts the allocations of a thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator. The counter is a plain cell of the thread,
// without a destructor, so that touching it never allocates.
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

const PAGES: u64 = 2000;
const QUERIES: u32 = 16;
/// As many as a query asks for at once, and each in turn.
const ASKED: usize = 10;

/// Carries queries until each has asked so often. Pages are far apart, so that no two are read as
/// one run, and some are asked for by several queries at once. Returns how often was allocated.
fn allocations(gather: &mut dyn Gather, asks: u64) -> usize {
    let before = ALLOCATIONS.get();
    let mut sum = 0;
    for ask in 0..asks {
        for query in 0..QUERIES {
            let first = ask * 97 + u64::from(query / 2) * 131;
            let pages: [PageNo; ASKED] =
                std::array::from_fn(|i| PageNo((first + i as u64 * 387) % PAGES));
            gather.ask(query, &pages, &mut |_, bytes| sum += u64::from(bytes[0])).unwrap();
            if query == 5 {
                gather.leave(query);
            }
        }
        while gather.outstanding() > 0 {
            gather.wait(&|| gather.has_arrivals(), None).unwrap();
            gather.collect(&mut |_, _, bytes| sum += u64::from(bytes.unwrap()[0]));
        }
    }
    assert_ne!(sum, 0);
    ALLOCATIONS.get() - before
}

#[test]
fn many_batches_at_once_allocate_nothing_once_warm() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, PAGES);
    let engine = match Engine::start(EngineChoice::Uring) {
        Ok(engine) => engine,
        Err(why) => return skipped(why),
    };
    let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;

    let mut direct = DeviceGather::new(&*device, Some(&specimen.checksums), 128);
    allocations(&mut direct, 20);
    assert_eq!(allocations(&mut direct, 200), 0);

    let memory_bytes = 500 * Pool::frame_bytes(PageSize::KIB_4);
    let pool = Pool::new(&PoolOptions { memory_bytes, ..PoolOptions::default() }).unwrap();
    let file = pool.attach(device.clone(), Some(specimen.checksums.clone())).unwrap();
    let mut gather = file.gather().unwrap();
    // All pages several times, so that each list of those who wait for one has been used.
    allocations(&mut *gather, 400);
    let misses = pool.stats().misses;
    assert_eq!(allocations(&mut *gather, 400), 0);
    let stats = pool.stats();
    assert!(stats.misses - misses > 10_000 && stats.hits > 1_000, "{stats:?}");
}

const DIM: usize = 48;

#[test]
fn a_walk_through_pages_allocates_nothing_from_hop_to_hop_once_warm() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let segment = dir.path().join("segment");
    let values = |i: usize| ((i * 7919) % 1009) as f32;
    let base = Vectors::from_f32(DIM, (0..3000 * DIM).map(values).collect()).unwrap();
    build(&base, &segment, &BuildOptions::default(), &NoProgress).unwrap();
    let queries: Vec<Vec<f32>> =
        (0..64).map(|i| (0..DIM).map(|d| values(i * 977 + d * 31)).collect()).collect();
    for (memory, in_flight) in [("150%", 1), ("150%", 8), ("40%", 8)] {
        let place = "graph=pool,codes=pool,vectors=pool".parse().unwrap();
        let memory = Some(memory.parse().unwrap());
        let options = OpenOptions { memory, place, ..OpenOptions::default() };
        let index = Index::open(&segment, &options).unwrap();
        let segment = index.segment();
        let mut searches = Searches::new(&[&*segment], in_flight).unwrap();
        let mut pass = |ef| {
            let params = SearchParams { k: 10, ef, rescore: Rescore::Times(4.0) };
            let before = ALLOCATIONS.get();
            let mut next = queries.iter().zip(0..).map(|(values, number)| Query {
                number,
                values,
                params,
                among: None,
                patience: Patience::default(),
            });
            searches.run(&mut || next.next(), &mut |answer| {
                assert_eq!(answer.hits.unwrap().len(), 10);
            });
            ALLOCATIONS.get() - before
        };
        assert!(pass(300) > 0, "the counter counts");
        for _ in 0..10 {
            pass(300);
        }
        for ef in [40, 300] {
            let allocations = pass(ef);
            // What arrives late decides which slot a query has, and how much that holds at once: it
            // grows now and then. Hops are ten times as many at least.
            let few = if in_flight == 1 { 0 } else { 4 * queries.len() };
            assert!(allocations <= few, "{allocations}, {memory:?}, ef {ef}");
        }
    }
}
