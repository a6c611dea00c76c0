//! Ids and distances are the same wherever the components are, whatever is in flight beside, and
//! whatever goes wrong with the searches next to it.
//!
//! One segment of the shipped vectors, small enough to be placed in every way: through the pool,
//! the mapping, straight from the disk and in memory, over a ring and over blocking reads.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringpool::bufferpool::{Pool, PoolOptions};
use ringpool::storage::conformance;
use ringpool::storage::{Checksums, Error as PageError, MemoryDevice, MemorySource, PageSize};
use ringpool::uring::Engine;
use ringpool::{
    Answer, Backend, BuildOptions, ComponentKind, EngineChoice, Error, Hit, Index, Indexes, Memory,
    NoProgress, OpenOptions, Part, Patience, Place, Placed, Placement, Quantizer, Query, Rescore,
    SearchError, SearchParams, Searches, Segment, Vectors, build, vectors,
};

const DIM: usize = 784;
const QUERIES: usize = 30;
const PARAMS: SearchParams = SearchParams { k: 10, ef: 40, rescore: Rescore::Times(3.0) };

/// A segment of 2,000 of the shipped vectors, and some queries.
struct Subject {
    folder: tempfile::TempDir,
    queries: Vec<Vec<f32>>,
}

fn shipped(file: &str, rows: usize) -> Vec<Vec<f32>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let all = vectors::read(&folder.join(file)).unwrap();
    let row = |no| {
        let mut row = vec![0.0; DIM];
        all.row_f32(no, &mut row);
        row
    };
    (0..rows).map(row).collect()
}

impl Subject {
    fn new(options: &BuildOptions) -> Self {
        // On the disk that the build is on, since temporary folders may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let base = Vectors::from_f32(DIM, shipped("base.bvecs.gz", 2000).concat()).unwrap();
        build(&base, &folder.path().join("segment"), options, &NoProgress).unwrap();
        Self { folder, queries: shipped("query.bvecs.gz", QUERIES) }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("segment")
    }

    fn open(&self, options: &OpenOptions) -> Index {
        Index::open(self.dir(), options).unwrap()
    }

    /// What a search in memory finds.
    fn expected(&self) -> Vec<Vec<Hit>> {
        let index = self.open(&OpenOptions { backend: Backend::Memory, ..OpenOptions::default() });
        self.queries.iter().map(|query| index.search(query, &PARAMS).unwrap()).collect()
    }

    /// All queries through `index`, on each thread `in_flight` at a time.
    fn run(&self, index: &Index, in_flight: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        self.run_on(&index.segment(), in_flight)
    }

    fn run_on(&self, segment: &Segment, in_flight: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        self.run_for(segment, in_flight, |_| Patience::default())
    }

    fn run_for<'p>(
        &'p self,
        segment: &'p Segment,
        in_flight: usize,
        patience: impl Fn(usize) -> Patience<'p>,
    ) -> Vec<Result<Vec<Hit>, SearchError>> {
        let mut found: Vec<_> = self.queries.iter().map(|_| Ok(Vec::new())).collect();
        let mut next = self.queries.iter().enumerate().map(|(number, values)| {
            let patience = patience(number);
            Query { number: number as u64, values, params: PARAMS, among: None, patience }
        });
        let answered = &mut |answer: Answer<'_>| {
            found[answer.number as usize] = answer.hits.map(<[Hit]>::to_vec);
        };
        let mut searches = Searches::new(&[segment], in_flight).unwrap();
        searches.run(&mut || next.next(), answered);
        found
    }
}

fn engines() -> Vec<EngineChoice> {
    let ring = Engine::start(EngineChoice::Uring);
    if let Err(why) = &ring {
        conformance::skipped(format!("the ring: {why}"));
    }
    let ring = ring.is_ok().then_some(EngineChoice::Uring);
    ring.into_iter().chain([EngineChoice::Blocking]).collect()
}

fn placement(words: &str) -> Placement {
    words.parse().unwrap()
}

/// In every way: alike, and each component elsewhere.
const PLACES: [&str; 11] = [
    "",
    "graph=pool,codes=pool,vectors=pool",
    "graph=pool",
    "codes=pool,vectors=resident",
    "graph=mmap,codes=mmap,vectors=mmap",
    "graph=direct,codes=direct,vectors=direct",
    "graph=direct,codes=pool,vectors=mmap",
    "graph=mmap,codes=direct,vectors=pool",
    "graph=inlined,codes=inlined,vectors=pool",
    "graph=inlined,codes=inlined,vectors=direct",
    "graph=inlined,codes=inlined,vectors=mmap",
];

#[test]
fn ids_and_distances_depend_on_no_place() {
    let inlined = BuildOptions { inlined: Some(Quantizer::Sq8), ..BuildOptions::default() };
    let subject = Subject::new(&inlined);
    let expected = subject.expected();
    let mut in_flight = [1, 3, 16, 64].into_iter().cycle();
    for engine in engines() {
        for words in PLACES {
            let place = placement(words);
            let has_pool = place.get(&Part::Vectors).is_none() || words.contains("pool");
            for memory in if has_pool { &["600KiB", "20%", "100%"][..] } else { &["20%"] } {
                let memory = Some(memory.parse().unwrap());
                let place = place.clone();
                let options = OpenOptions { engine, memory, place, ..OpenOptions::default() };
                let (index, in_flight) = (subject.open(&options), in_flight.next().unwrap());
                assert_eq!(index.pool().is_some(), has_pool);
                let check = || {
                    let found = subject.run(&index, in_flight).into_iter();
                    let found: Vec<_> = found.map(Result::unwrap).collect();
                    assert!(found == expected, "{engine} {words} {memory:?} {in_flight} in flight");
                };
                thread::scope(|scope| {
                    let threads = [scope.spawn(check), scope.spawn(check)];
                    threads.into_iter().for_each(|thread| thread.join().unwrap());
                });
                // And alone, where nothing is in flight beside.
                let alone = index.search(&subject.queries[0], &PARAMS).unwrap();
                assert_eq!(alone, expected[0], "{engine} {words}");
            }
        }
    }
}

#[test]
fn what_is_not_said_is_where_it_always_was() {
    let subject = Subject::new(&BuildOptions::default());
    for (backend, words, all) in [
        (Backend::Pool, "", "graph=resident,codes=resident,vectors=pool"),
        (Backend::Memory, "", "graph=resident,codes=resident,vectors=resident"),
        (Backend::Direct, "graph=pool", "graph=pool,codes=resident,vectors=direct"),
        (Backend::Mmap, "codes=mmap,vectors=pool", "graph=resident,codes=mmap,vectors=pool"),
    ] {
        let place = placement(words);
        let index = subject.open(&OpenOptions { backend, place, ..OpenOptions::default() });
        assert_eq!(index.placement().to_string(), all);
    }
    let originals = OpenOptions { codes: Some(Quantizer::None), ..OpenOptions::default() };
    assert_eq!(subject.open(&originals).placement().to_string(), "graph=resident,vectors=pool");
}

#[test]
fn one_pool_is_for_all_that_is_in_it_and_its_share_is_of_that() {
    let subject = Subject::new(&BuildOptions::default());
    let memory = Some(Memory::Percent(50.0));
    let place = placement("graph=pool,codes=pool");
    let place_of_all = place.clone();
    let index =
        subject.open(&OpenOptions { memory, place: place_of_all, ..OpenOptions::default() });
    let bytes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    assert_eq!(index.paged_files().len(), 3);
    assert_eq!(index.memory_budget_bytes(), index.paged_files().iter().map(bytes).sum::<u64>() / 2);
    let in_pool: Vec<String> = index.pool_files().iter().map(|(kind, _)| kind.name()).collect();
    assert_eq!(in_pool.iter().collect::<HashSet<_>>().len(), 3, "{in_pool:?}");
    let all = subject.open(&OpenOptions { memory, ..OpenOptions::default() });
    assert!(index.segment().resident_bytes() < all.segment().resident_bytes() / 10);
    // What is only mapped, or read straight, is not the pool's.
    let place = place.with(Part::Vectors, Place::Direct);
    let part = subject.open(&OpenOptions { memory, place, ..OpenOptions::default() });
    assert!(part.memory_budget_bytes() < index.memory_budget_bytes());
    assert!(part.originals().is_none() && part.pool_files().len() == 2);
}

#[test]
fn a_budget_below_the_minimum_is_told_what_it_takes() {
    let subject = Subject::new(&BuildOptions::default());
    for words in ["vectors=pool", "graph=pool,codes=pool,vectors=pool"] {
        let open = |bytes| {
            let (memory, place) = (Some(Memory::Bytes(bytes)), placement(words));
            Index::open(subject.dir(), &OpenOptions { memory, place, ..OpenOptions::default() })
        };
        let Err(Error::TooLittleMemory { memory_bytes: 100_000, minimum_bytes }) = open(100_000)
        else {
            panic!("{words}: it is too little");
        };
        let index = open(minimum_bytes).unwrap();
        for (found, expected) in subject.run(&index, 16).into_iter().zip(subject.expected()) {
            assert_eq!(found.unwrap(), expected, "{words}");
        }
    }
}

#[test]
fn in_the_fight_for_frames_the_graph_stays() {
    let subject = Subject::new(&BuildOptions::default());
    let (memory, place) = (Some("10%".parse().unwrap()), placement("graph=pool,codes=pool"));
    let index = subject.open(&OpenOptions { memory, place, ..OpenOptions::default() });
    for _ in 0..3 {
        subject.run(&index, 8).into_iter().for_each(|found| assert_eq!(found.unwrap().len(), 10));
    }
    let stats = |name: &str| {
        let mut files = index.pool_files().into_iter();
        files.find(|(kind, _)| kind.name().starts_with(name)).unwrap().1.stats()
    };
    let (graph, originals) = (stats("graph"), stats("vectors"));
    assert!(originals.evictions > 0, "there is a fight");
    assert_eq!(graph.evictions, 0, "{graph:?}");
}

/// Flips a bit of a page and returns what it was, to be put back.
fn flip(path: &Path, page: u64) -> Vec<u8> {
    let sound = fs::read(path).unwrap();
    let mut bytes = sound.clone();
    bytes[page as usize * PageSize::KIB_4.bytes() + 50] ^= 4;
    fs::write(path, bytes).unwrap();
    sound
}

#[test]
fn a_bad_page_fails_the_queries_that_meet_it_and_no_others() {
    let subject = Subject::new(&BuildOptions::default());
    let expected = subject.expected();
    let place = placement("graph=pool,codes=pool");
    let options = OpenOptions { place, ..OpenOptions::default() };
    let files = subject.open(&options).paged_files();
    for path in files {
        let pages = fs::metadata(&path).unwrap().len() / PageSize::KIB_4.bytes() as u64;
        let mut told_apart = false;
        // Among these are pages that some of the queries meet and others do not.
        for page in (0..pages).step_by(pages.div_ceil(40) as usize) {
            let sound = flip(&path, page);
            // What is loaded at once, parameters and upper layers, is refused at once.
            if let Ok(index) = Index::open(subject.dir(), &options) {
                let mut failed = 0;
                for (found, expected) in subject.run(&index, 8).iter().zip(&expected) {
                    match found {
                        Ok(found) => assert_eq!(found, expected),
                        Err(SearchError::Pages(PageError::Checksum {
                            file, page: bad, ..
                        })) => {
                            assert_eq!((&**file, bad.0), (path.to_str().unwrap(), page));
                            failed += 1;
                        }
                        Err(other) => panic!("{}: {other}", path.display()),
                    }
                }
                told_apart |= (1..QUERIES).contains(&failed);
            }
            fs::write(&path, sound).unwrap();
        }
        assert!(told_apart, "{}: no page failed some queries", path.display());
    }
}

/// Somebody has written a graph that leads to points which there are not, and its checksums, too.
#[test]
fn a_page_of_neighbours_that_cannot_be_is_told_and_fails_no_others() {
    let subject = Subject::new(&BuildOptions::default());
    let expected = subject.expected();
    let page_bytes = PageSize::KIB_4.bytes();
    let mut told_apart = false;
    for page in 0..40 {
        let opened = Segment::open(&subject.dir(), &mut |file| {
            let mut bytes = fs::read(&file.path).unwrap();
            let name = file.path.display().to_string();
            if file.kind != ComponentKind::Graph {
                let source = MemorySource::new(name, file.page_size, bytes)?;
                return Ok(Placed::Resident(Arc::new(source)));
            }
            // A neighbour of each point on the page. Slots that are empty are all ones.
            for slot in bytes[page * page_bytes..][..page_bytes].chunks_mut(4).step_by(32) {
                slot.copy_from_slice(&2000_u32.to_le_bytes());
            }
            let sums = Checksums::of_pages(file.checksums.key(), file.page_size, &bytes);
            let device = MemoryDevice::new(MemorySource::new(name, file.page_size, bytes)?);
            let pool = Pool::new(&PoolOptions { memory_bytes: 1 << 20, ..PoolOptions::default() });
            Ok(Placed::Paged(Arc::new(pool.unwrap().attach(Arc::new(device), Some(sums)).unwrap())))
        });
        let segment = opened.unwrap();
        let mut failed = 0;
        for (found, expected) in subject.run_on(&segment, 8).iter().zip(&expected) {
            match found {
                Ok(found) => assert_eq!(found, expected),
                Err(SearchError::Component { path, reason }) => {
                    assert!(path.ends_with("graph.pages") && reason.contains("2000"), "{reason}");
                    failed += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        told_apart |= (1..QUERIES).contains(&failed);
    }
    assert!(told_apart, "no page failed some queries");
}

#[test]
fn segments_are_searched_as_one() {
    let options = BuildOptions::default();
    let subject = Subject::new(&options);
    let rows = shipped("base.bvecs.gz", 2000);
    let mut dirs = Vec::new();
    for (rows, name) in rows.chunks(700).zip(["one", "two", "three"]) {
        let vectors = Vectors::from_f32(DIM, rows.concat()).unwrap();
        dirs.push(subject.folder.path().join(name));
        build(&vectors, dirs.last().unwrap(), &options, &NoProgress).unwrap();
    }
    let queries = Vectors::from_f32(DIM, subject.queries.concat()).unwrap();
    // So many candidates that each walk comes through its whole segment.
    let params = SearchParams { k: 10, ef: 2000, rescore: Rescore::Times(200.0) };
    let whole = subject.open(&OpenOptions::default());
    let exact = whole.segment().exact_search(&queries, 10, &mut |_, _| ControlFlow::Continue(()));
    let exact = exact.unwrap();
    for words in ["", "graph=pool,codes=pool", "graph=mmap,vectors=direct"] {
        let options = OpenOptions { place: placement(words), ..OpenOptions::default() };
        let indexes = Indexes::open(&dirs, &options).unwrap();
        assert_eq!(indexes.points(), 2000);
        for (query, expected) in subject.queries.iter().zip(&exact) {
            assert_eq!(&indexes.search(query, &params).unwrap(), expected, "{words}");
        }
        let all = indexes.exact_search(&queries, 10, &mut |_, _| ControlFlow::Continue(()));
        assert!(all.unwrap() == exact, "{words}");
        // One pool for all, and one budget.
        let pages = |path| fs::metadata(path).unwrap().len();
        let quarter = indexes.paged_files().iter().map(pages).sum::<u64>() / 4;
        if words.ends_with("codes=pool") {
            assert_eq!(indexes.pool().unwrap().stats().memory_bytes, quarter);
            assert_eq!(indexes.stats().reads, indexes.pool().map(|pool| pool.stats().reads));
        }
    }
    let other = subject.folder.path().join("other");
    let narrow = Vectors::from_f32(2, vec![1.0; 20]).unwrap();
    build(&narrow, &other, &options, &NoProgress).unwrap();
    let unlike = Indexes::open(&[&dirs[0], &other], &OpenOptions::default()).map(drop);
    assert!(matches!(unlike, Err(Error::Search(SearchError::Unlike { segment: 1 }))), "{unlike:?}");
}

#[test]
fn deadlines_and_cancellation_end_what_is_in_flight_and_nothing_else() {
    let subject = Subject::new(&BuildOptions::default());
    let expected = subject.expected();
    let (memory, place) = (Some("10%".parse().unwrap()), placement("graph=pool,codes=pool"));
    let index = subject.open(&OpenOptions { memory, place, ..OpenOptions::default() });
    let gone = AtomicBool::new(true);
    let past = std::time::Instant::now();
    for in_flight in [1, 7, 64] {
        let patience = |number: usize| match number % 3 {
            0 => Patience::default().until(past),
            1 => Patience::default().unless(&gone),
            _ => Patience::default(),
        };
        let found = subject.run_for(&index.segment(), in_flight, patience);
        for (number, found) in found.into_iter().enumerate() {
            match (number % 3, found) {
                (0, Err(SearchError::DeadlinePassed)) | (1, Err(SearchError::Cancelled)) => {}
                (2, Ok(hits)) => assert_eq!(hits, expected[number]),
                (_, found) => panic!("query {number}, {in_flight} in flight: {found:?}"),
            }
        }
    }
    gone.store(false, Ordering::Relaxed);
    for (found, expected) in subject.run(&index, 7).into_iter().zip(expected) {
        assert_eq!(found.unwrap(), expected);
    }
    assert_eq!(index.pool().unwrap().audit().unwrap().pins, 0);
}
