//! Ids and distances are the same wherever the components are, whatever is in flight beside, and
//! whatever goes wrong with the searches next to it.
//!
//! One segment of the shipped vectors, small enough to be placed in every way: through the pool,
//! the mapping, straight from the disk and in memory, over a ring and over blocking reads.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringpool::storage::conformance;
use ringpool::storage::{Error as PageError, PageSize};
use ringpool::uring::Engine;
use ringpool::{
    Answer, Backend, BuildOptions, EngineChoice, Error, Hit, Index, Memory, NoProgress,
    OpenOptions, Patience, Place, Placement, Quantizer, Query, SearchError, SearchParams, Searches,
    Vectors, build, vectors,
};

const DIM: usize = 784;
const QUERIES: usize = 30;
const PARAMS: SearchParams = SearchParams { k: 10, ef: 40, rescore: ringpool::Rescore::Times(3.0) };

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
        self.run_for(index, in_flight, |_| Patience::default())
    }

    fn run_for<'p>(
        &'p self,
        index: &'p Index,
        in_flight: usize,
        patience: impl Fn(usize) -> Patience<'p>,
    ) -> Vec<Result<Vec<Hit>, SearchError>> {
        let mut found: Vec<_> = self.queries.iter().map(|_| Ok(Vec::new())).collect();
        let mut next = self.queries.iter().enumerate().map(|(number, values)| {
            let patience = patience(number);
            Query { number: number as u64, values, params: PARAMS, patience }
        });
        let answered = &mut |answer: Answer<'_>| {
            found[answer.number as usize] = answer.hits.map(<[Hit]>::to_vec);
        };
        let mut searches = Searches::new(&[index.segment()], in_flight).unwrap();
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

fn inlined() -> BuildOptions {
    BuildOptions { inlined: Some(Quantizer::Sq8), ..BuildOptions::default() }
}

#[test]
fn ids_and_distances_depend_on_no_place() {
    let subject = Subject::new(&inlined());
    let expected = subject.expected();
    let places = [
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
    for engine in engines() {
        for (nth, words) in places.into_iter().enumerate() {
            let budgets =
                if words.contains("=pool") { &["600KiB", "20%", "100%"][..] } else { &["20%"] };
            for memory in budgets {
                let memory = Some(memory.parse::<Memory>().unwrap());
                let place = placement(words);
                let index =
                    subject.open(&OpenOptions { engine, memory, place, ..OpenOptions::default() });
                // Everything is said of an open index.
                let said = index.placement();
                assert_eq!(
                    placement(words),
                    Placement {
                        graph: place.graph.and(said.graph),
                        codes: place.codes.and(said.codes),
                        vectors: place.vectors.and(said.vectors),
                    }
                );
                let in_flight = [1, 3, 16, 64][(nth + memory.map_or(0, |_| 1)) % 4];
                for threads in [1, 3] {
                    thread::scope(|scope| {
                        for _ in 0..threads {
                            scope.spawn(|| {
                                let found = subject.run(&index, in_flight);
                                let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
                                assert!(
                                    found == expected,
                                    "{engine} {words} {in_flight} in flight"
                                );
                            });
                        }
                    });
                }
                // And alone, by the other way through the same pages.
                let alone = index.search(&subject.queries[0], &PARAMS).unwrap();
                assert_eq!(alone, expected[0], "{engine} {words}");
            }
        }
    }
}

#[test]
fn one_pool_is_for_all_that_is_in_it_and_its_share_is_of_that() {
    let subject = Subject::new(&BuildOptions::default());
    let memory = Some(Memory::Percent(50.0));
    let place = placement("graph=pool,codes=pool");
    let index = subject.open(&OpenOptions { memory, place, ..OpenOptions::default() });
    let bytes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    assert_eq!(index.paged_files().len(), 3);
    assert_eq!(index.memory_budget_bytes(), index.paged_files().iter().map(bytes).sum::<u64>() / 2);
    let in_pool: Vec<String> = index.pool_files().map(|(kind, _)| kind.name()).collect();
    assert_eq!(in_pool.iter().collect::<HashSet<_>>().len(), 3, "{in_pool:?}");
    let all = subject.open(&OpenOptions { memory, ..OpenOptions::default() });
    assert!(index.segment().resident_bytes() < all.segment().resident_bytes() / 10);
    // What is only mapped, or read straight, is not the pool's.
    let place = Placement { vectors: Some(Place::Direct), ..place };
    let part = subject.open(&OpenOptions { memory, place, ..OpenOptions::default() });
    assert!(part.memory_budget_bytes() < index.memory_budget_bytes());
    assert!(part.originals().is_none() && part.pool_files().count() == 2);
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
        let mut files = index.pool_files();
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
    let files = subject.open(&options).paged_files().to_vec();
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
        let found = subject.run_for(&index, in_flight, patience);
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
