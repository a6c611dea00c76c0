//! A callback of the caller's that panics, wherever one is taken: the panic goes to the caller, and
//! what was open is as good as before. Visitors, wakers, devices and subscribers of a pool are in
//! `bufferpool/tests/panics.rs`.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringpool::storage::{PageNo, PageSize, PageSource};
use ringpool::{
    Attached, BuildOptions, Compaction, Hit, Index, Indexes, NoProgress, OpenOptions, Patience,
    Phase, Progress, Query, SearchParams, Vectors, build, build_with, verify,
};

const DIM: usize = 8;
const PARAMS: SearchParams = SearchParams { k: 5, ef: 40, rescore: ringpool::Rescore::Times(4.0) };

fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

#[track_caller]
fn panics<T>(does: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(does)).is_err(), "the panic goes to the caller");
}

fn vectors() -> Vectors {
    let value = |i: u64| ((i * i * 31 + i * 7) % 1009) as f32;
    Vectors::from_f32(DIM, (0..3000 * DIM as u64).map(value).collect()).unwrap()
}

fn segment(folder: &Path) -> std::path::PathBuf {
    let out = folder.join("segment");
    let options = BuildOptions { m: 6, ef_construction: 20, ..BuildOptions::default() };
    build(&vectors(), &out, &options, &NoProgress).unwrap();
    out
}

fn options() -> OpenOptions {
    OpenOptions { memory: Some("512KiB".parse().unwrap()), ..OpenOptions::default() }
}

fn queries() -> Vec<Vec<f32>> {
    (0..12).map(|i| (0..DIM).map(|d| ((i * 97 + d * 41) % 1009) as f32).collect()).collect()
}

fn answers(index: &Index) -> Vec<Vec<Hit>> {
    queries().iter().map(|query| index.search(query, &PARAMS).unwrap()).collect()
}

/// Panics at the n-th report of a phase.
struct Panicking {
    phase: Phase,
    left: AtomicU32,
}

impl Progress for Panicking {
    fn report(&self, phase: Phase, _: u64, _: u64) -> ControlFlow<()> {
        if phase == self.phase && self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            panic_quietly();
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn the_progress_of_a_build_and_of_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let dir = segment(folder.path());
    let out = folder.path().join("out");
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    let compaction = Compaction::new(&[&dir]).unwrap();
    let quick = BuildOptions { m: 6, ef_construction: 20, ..BuildOptions::default() };
    for phase in [Phase::Read, Phase::Codes, Phase::Graph, Phase::Packing, Phase::Write] {
        let panicking = || Panicking { phase, left: AtomicU32::new(0) };
        if phase != Phase::Read {
            let attached = Attached::default();
            panics(|| build_with(&vectors(), &attached, &out, &quick, &panicking()));
            assert_eq!(entries(), 1, "{phase}");
        }
        panics(|| compaction.build(&out, &quick, &panicking()));
        assert_eq!(entries(), 1, "{phase}");
    }
    compaction.build(&out, &quick, &NoProgress).unwrap();
    assert_eq!(
        answers(&Index::open(&out, &options()).unwrap()),
        answers(&Index::open(&dir, &options()).unwrap())
    );
}

#[test]
fn the_progress_of_exact_searches_and_of_a_verification() {
    let folder = tempfile::tempdir().unwrap();
    let dir = segment(folder.path());
    let index = Index::open(&dir, &options()).unwrap();
    let before = answers(&index);
    panics(|| index.segment().exact_search(&vectors(), 3, &mut |_, _| panic_quietly()));
    let engine = ringpool::EngineChoice::Auto;
    panics(|| verify(&dir, engine, &mut |_, _| panic_quietly(), &mut |_, _, _| {}));
    // A page that is bad, which its listener does not take.
    let path = dir.join("vectors.pages");
    let bytes = std::fs::read(&path).unwrap();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    std::fs::write(&path, changed).unwrap();
    let go_on = &mut |_, _| ControlFlow::Continue(());
    panics(|| verify(&dir, engine, go_on, &mut |_, _, _| panic_quietly()));
    std::fs::write(&path, bytes).unwrap();
    verify(&dir, engine, go_on, &mut |_, _, _| panic!("a page is bad")).unwrap();
    assert_eq!(answers(&index), before);
}

/// Asks for a query, or hears an answer.
#[test]
fn what_feeds_searches_and_what_hears_their_answers() {
    let folder = tempfile::tempdir().unwrap();
    let indexes = Indexes::from(Index::open(segment(folder.path()), &options()).unwrap());
    let snapshot = indexes.snapshot();
    let queries = queries();
    let query = |number: usize| Query {
        number: number as u64,
        values: &queries[number],
        params: PARAMS,
        among: None,
        patience: Patience::default(),
    };
    let expected: Vec<Vec<Hit>> =
        queries.iter().map(|query| snapshot.search(query, &PARAMS).unwrap()).collect();
    let mut searches = snapshot.searches(4).unwrap();
    for at in 0..queries.len() {
        let mut asked = 0;
        panics(|| {
            let mut next = || {
                asked += 1;
                if asked > at { panic_quietly() } else { Some(query(asked - 1)) }
            };
            searches.run(&mut next, &mut |_| {})
        });
        let (mut asked, mut heard) = (0, 0);
        panics(|| {
            let mut next = || {
                asked += 1;
                (asked <= queries.len()).then(|| query(asked - 1))
            };
            searches.run(&mut next, &mut |_| {
                heard += 1;
                if heard > at {
                    panic_quietly();
                }
            })
        });
        // The same searches, and all that they find.
        let (mut asked, mut found) = (0, vec![Vec::new(); queries.len()]);
        let mut next = || {
            asked += 1;
            (asked <= queries.len()).then(|| query(asked - 1))
        };
        searches.run(&mut next, &mut |answer| {
            let number = answer.number as usize;
            found[number] = snapshot.hits(answer).unwrap();
        });
        assert_eq!(found, expected, "after a panic at {at}");
    }
    drop(searches);
    let pool = indexes.pool().unwrap();
    assert_eq!(pool.audit().unwrap().pins, 0);
}

/// A source of the caller's own, between an index and its pool.
struct Fragile {
    source: Arc<dyn PageSource>,
    left: Arc<AtomicU32>,
}

impl Fragile {
    fn step(&self) {
        match self.left.load(Ordering::Relaxed) {
            0 => panic_quietly(),
            u32::MAX => {}
            left => self.left.store(left - 1, Ordering::Relaxed),
        }
    }
}

impl PageSource for Fragile {
    fn page_size(&self) -> PageSize {
        self.source.page_size()
    }

    fn page_count(&self) -> u64 {
        self.source.page_count()
    }

    fn visit(
        &self,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> ringpool::storage::Result<()> {
        self.step();
        self.source.visit(pages, &mut |i, page| {
            self.step();
            each(i, page);
        })
    }
}

#[test]
fn a_source_between_an_index_and_its_pool() {
    let folder = tempfile::tempdir().unwrap();
    let dir = segment(folder.path());
    let expected = answers(&Index::open(&dir, &options()).unwrap());
    panics(|| Index::open_through(&dir, &options(), Arc::new(|_| panic_quietly())));
    let left = Arc::new(AtomicU32::new(u32::MAX));
    let counter = left.clone();
    let through = Arc::new(move |source| -> Arc<dyn PageSource> {
        Arc::new(Fragile { source, left: counter.clone() })
    });
    let index = Index::open_through(&dir, &options(), through).unwrap();
    for at in 0..10 {
        left.store(at, Ordering::Relaxed);
        panics(|| answers(&index));
        left.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(answers(&index), expected, "after a panic at {at}");
    }
    assert_eq!(index.pool().unwrap().audit().unwrap().pins, 0);
    index.close().unwrap();
}
