//! Components change their places while they are searched.
//!
//! Promised: every answer is the one that a search in memory gives, bit by bit, and none is lost,
//! whatever moves where meanwhile; what a search has begun with it keeps; a change that fails leaves
//! everything where it was; and what has left the pool gives its frames back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use ringpool::bufferpool::{Pool, PoolOptions};
use ringpool::{
    Answer, Attached, Backend, BuildOptions, Columns, ComponentKind, Error, Field, FieldType,
    Filter, Hit, Index, Indexes, Memory, NoProgress, OpenOptions, Patience, Placement, Quantizer,
    Query, Rescore, SearchParams, Searches, Segment, SegmentError, Value, Vectors, build,
    build_with,
};

const DIM: usize = 24;
const POINTS: usize = 3000;
const QUERIES: usize = 16;
const PARAMS: SearchParams = SearchParams { k: 10, ef: 40, rescore: Rescore::Times(3.0) };

/// Where each component can be, in a segment that has the codes and the graph inlined.
const WORDS: [&str; 4] = ["resident", "pool", "mmap", "direct"];

/// Points on no lattice: distances differ.
fn point(i: usize) -> Vec<f32> {
    (0..DIM).map(|d| ((i * 7919 + d * 104_729) % 10_007) as f32 / 100.0).collect()
}

/// The fields of point `i`.
fn row(i: usize) -> [Value; 2] {
    let city = ["Oslo", "Bergen", "Tromso"][i % 3];
    [Value::F64((i * 37 % 1000) as f64 / 10.0), Value::Keyword(city.into())]
}

const FILTER: &str = r#"price < 40 and city in ("Oslo", "Bergen")"#;

/// What the queries find, every other one among what the filter lets pass, and the fields of the
/// hits of the first.
type Found = (Vec<Vec<Hit>>, Vec<Vec<Value>>);

struct Subject {
    _folder: tempfile::TempDir,
    dirs: Vec<PathBuf>,
    queries: Vec<Vec<f32>>,
}

impl Subject {
    /// So many segments, of different points.
    fn new(segments: usize) -> Self {
        // On the disk that the build is on, since temporary folders may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = BuildOptions {
            quantizers: vec![Quantizer::Sq8, Quantizer::RaBitQ { bits: 4 }],
            inlined: Some(Quantizer::Sq8),
            ..BuildOptions::default()
        };
        let each = POINTS / segments;
        let dirs = (0..segments).map(|no| {
            let dir = folder.path().join(no.to_string());
            let points = no * each..(no + 1) * each;
            let vectors = Vectors::from_f32(DIM, points.clone().flat_map(point).collect());
            let price = Field::new("price", FieldType::F64);
            let city = Field::new("city", FieldType::Keyword);
            let mut columns = Columns::new(vec![price, city]).unwrap();
            points.for_each(|i| columns.push_row(&row(i)).unwrap());
            let attached = Attached { columns: Some(&columns), ..Attached::default() };
            build_with(&vectors.unwrap(), &attached, &dir, &options, &NoProgress).unwrap();
            dir
        });
        let dirs = dirs.collect();
        let queries = (0..QUERIES).map(|i| point(i * 977 + 31)).collect();
        Self { _folder: folder, dirs, queries }
    }

    fn open(&self, memory: &str) -> Indexes {
        let memory = Some(memory.parse().unwrap());
        Indexes::open(&self.dirs, &OpenOptions { memory, ..OpenOptions::default() }).unwrap()
    }

    /// What searches in memory find.
    fn expected(&self) -> Found {
        let options = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
        let indexes = Indexes::open(&self.dirs, &options).unwrap();
        let found = self.run(&indexes, 1);
        assert!(found.0.iter().all(|hits| hits.len() == 10));
        let is_let_pass =
            |hit: &Hit| matches!(&row(hit.id as usize)[0], Value::F64(p) if *p < 40.0);
        assert!(found.0[1].iter().all(is_let_pass));
        found
    }

    /// What a search of everything finds.
    fn expected_of(&self, query: usize) -> Vec<Hit> {
        let options = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
        let indexes = Indexes::open(&self.dirs, &options).unwrap();
        indexes.search(&self.queries[query], &PARAMS).unwrap()
    }

    /// All queries through one snapshot of `indexes`, several in flight.
    fn run(&self, indexes: &Indexes, in_flight: usize) -> Found {
        let snapshot = indexes.snapshot();
        let filter: Filter = FILTER.parse().unwrap();
        let selections = snapshot.select(&filter, &Patience::default()).unwrap();
        let mut found = vec![Vec::new(); self.queries.len()];
        let mut next = (0..).zip(&self.queries).map(|(number, values)| {
            let among = (number % 2 == 1).then_some(&selections[..]);
            Query { number, values, params: PARAMS, among, patience: Patience::default() }
        });
        let mut answers = 0;
        snapshot.searches(in_flight).unwrap().run(&mut || next.next(), &mut |answer: Answer<
            '_,
        >| {
            answers += 1;
            let number = answer.number as usize;
            found[number] = snapshot.hits(answer).unwrap();
        });
        assert_eq!(answers, self.queries.len(), "none is lost");
        let ids: Vec<u64> = found[0].iter().map(|hit| hit.id).collect();
        let places = snapshot.places(&ids);
        let points: Vec<_> = ids.iter().map(|id| places[id]).collect();
        let values = snapshot.values(&points, &["price", "city"]).unwrap();
        assert!(ids.iter().zip(&values).all(|(&id, values)| **values == row(id as usize)));
        (found, values)
    }
}

fn placement(words: &str) -> Placement {
    words.parse().unwrap()
}

/// A component at a time through all words, and all at once.
fn changes() -> Vec<String> {
    let one = |part: &'static str| WORDS.map(|word| format!("{part}={word}"));
    let parts = ["graph", "codes", "vectors", "columns", "indexes.price"];
    let mut changes: Vec<String> = parts.into_iter().flat_map(one).collect();
    changes.extend(WORDS.map(|word| format!("all={word}")));
    changes.extend(
        [
            "graph=inlined,codes=inlined,vectors=pool",
            "vectors=mmap",
            "columns=pool:floor=10%,columns.price=mmap,indexes=direct",
            "vectors=direct",
            "graph=pool:floor=10%:priority=high,codes=pool:share=3,vectors=pool:ceiling=50%",
            "graph=pool,codes=pool,vectors=pool:priority=low",
            "graph=resident,codes=resident,vectors=pool",
        ]
        .map(String::from),
    );
    changes
}

#[test]
fn every_answer_is_the_same_while_everything_moves() {
    for (segments, memory) in [(1, "700KiB"), (2, "60%")] {
        let subject = Subject::new(segments);
        let (expected, indexes) = (subject.expected(), subject.open(memory));
        let (done, passes) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let threads = [1, 8].map(|in_flight| {
                let (subject, expected, indexes) = (&subject, &expected, &indexes);
                let (done, passes) = (&done, &passes);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        assert!(subject.run(indexes, in_flight) == *expected);
                        passes.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            // The threads end, whatever fails here.
            let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for change in changes() {
                    indexes.place(&placement(&change)).unwrap();
                    let now = indexes.all()[0].placement();
                    for (part, place) in now.iter() {
                        let said = placement(&change);
                        assert_eq!(said.of(part).unwrap_or(place), place, "{change}: {part}");
                    }
                    // Some searches begin in each state.
                    let seen = passes.load(Ordering::Relaxed);
                    while passes.load(Ordering::Relaxed) < seen + 2 {
                        assert!(!threads.iter().any(|thread| thread.is_finished()));
                        thread::yield_now();
                    }
                }
            }));
            done.store(true, Ordering::Relaxed);
            changed.unwrap();
        });
        indexes.place(&placement("all=resident,vectors=pool")).unwrap();
        assert!(subject.run(&indexes, 4) == expected);
        let pool = indexes.pool().unwrap();
        assert_eq!(pool.audit().unwrap().pins, 0);
        assert_eq!(pool.snapshot().files.len(), segments, "the originals alone are left in it");
    }
}

#[test]
fn a_search_keeps_what_it_has_begun_with_and_the_last_gives_the_frames_back() {
    let subject = Subject::new(1);
    let index = Index::open(
        &subject.dirs[0],
        &OpenOptions {
            memory: Some(Memory::Bytes(4 << 20)),
            place: placement("all=pool"),
            ..OpenOptions::default()
        },
    )
    .unwrap();
    let pool = index.pool().unwrap();
    let before = index.segment();
    let expected = index.search(&subject.queries[0], &PARAMS).unwrap();
    assert_eq!(expected, subject.expected_of(0));
    let held = pool.stats().resident();
    assert!(held > 0);
    index.place(&placement("all=resident")).unwrap();
    assert!(index.pool().is_none() && !index.is_read_by_page());
    assert_eq!(pool.stats().resident(), held, "somebody may be reading there");
    let found = before.search(&subject.queries[0], &PARAMS, &mut Default::default()).unwrap();
    assert_eq!(found, expected);
    drop(before);
    assert_eq!(pool.stats().resident(), 0);
    assert_eq!(pool.audit().unwrap().retired, 0, "its tables are paid back");
    assert_eq!(index.search(&subject.queries[0], &PARAMS).unwrap(), expected);
    // And back.
    index.place(&placement("vectors=pool")).unwrap();
    assert_eq!(index.search(&subject.queries[0], &PARAMS).unwrap(), expected);
    assert!(pool.stats().memory_bytes == 4 << 20, "the budget is what it was");
}

#[test]
fn what_stays_is_shared_and_not_opened_again() {
    let subject = Subject::new(1);
    let options = OpenOptions { place: placement("all=pool"), ..OpenOptions::default() };
    let index = Index::open(&subject.dirs[0], &options).unwrap();
    let file = |kind: fn(ComponentKind) -> bool| {
        let files = index.pool_files().into_iter();
        files.filter(|(one, _)| kind(*one)).map(|(_, file)| file).next()
    };
    let graph = || file(|kind| kind == ComponentKind::Graph);
    let (before, codes) = (graph().unwrap(), file(|kind| matches!(kind, ComponentKind::Codes(_))));
    index.place(&placement("codes=resident,graph=pool:floor=20%")).unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &graph().unwrap()), "other words, the same file");
    assert!(codes.is_some() && file(|kind| matches!(kind, ComponentKind::Codes(_))).is_none());
}

#[test]
fn a_change_that_cannot_be_leaves_everything_where_it_was() {
    let subject = Subject::new(2);
    let expected = subject.expected();
    let options = OpenOptions {
        memory: Some(Memory::Bytes(600 << 10)),
        total_bytes: Some(3 << 20),
        place: placement("graph=pool,codes=resident"),
        ..OpenOptions::default()
    };
    let indexes = Indexes::open(&subject.dirs, &options).unwrap();
    let before: Vec<_> = indexes.all().iter().map(|index| index.segment()).collect();
    let places = || indexes.all().iter().map(|index| index.placement()).collect::<Vec<_>>();
    let (was, floors) = (places(), indexes.pool().unwrap().stats());
    let refused = |words: &str| indexes.place(&placement(words)).unwrap_err();
    // What is longer than the memory that there is.
    let Error::DoesNotFit { takes, wanted_bytes, memory_bytes } = refused("vectors=resident")
    else {
        panic!("it fits");
    };
    assert!(memory_bytes == 3 << 20 && wanted_bytes > memory_bytes, "{takes:?}");
    assert_eq!(takes.iter().map(|(_, bytes)| bytes).sum::<u64>(), wanted_bytes);
    assert!(takes.iter().any(|(name, _)| name == "vectors (resident)"), "{takes:?}");
    // Floors of both together.
    let Error::FloorsBeyondBudget { floors: named, floors_bytes, most_bytes, .. } =
        refused("vectors=pool:floor=400KiB")
    else {
        panic!("they fit");
    };
    assert!(named.len() == 2 && floors_bytes > most_bytes, "{named:?}");
    assert!(matches!(
        refused("vectors=pool:ceiling=1KiB"),
        Error::CeilingBelowFloor { ceiling_bytes: 1024, .. }
    ));
    // Inlined codes without an inlined graph, and the other way round.
    for words in ["codes=inlined", "graph=inlined,vectors=resident"] {
        let error = refused(words);
        let is_told = matches!(error, Error::Segment(SegmentError::Placement { .. }))
            || matches!(error, Error::DoesNotFit { .. });
        assert!(is_told, "{words}: {error}");
    }
    assert_eq!(places(), was);
    for (index, before) in indexes.all().iter().zip(&before) {
        assert!(std::sync::Arc::ptr_eq(&index.segment(), before), "nothing was exchanged");
    }
    assert_eq!(indexes.pool().unwrap().stats().frames, floors.frames);
    assert!(subject.run(&indexes, 4) == expected);
    indexes.place(&placement("graph=resident")).unwrap();
    assert!(subject.run(&indexes, 4) == expected);
}

#[test]
fn a_segment_that_is_not_there_any_more_stays_as_it_is_open() {
    let subject = Subject::new(1);
    let (expected, indexes) = (subject.expected(), subject.open("50%"));
    let moved = subject.dirs[0].with_extension("moved");
    std::fs::rename(&subject.dirs[0], &moved).unwrap();
    let missing = indexes.place(&placement("graph=pool")).unwrap_err();
    assert!(matches!(missing, Error::Segment(SegmentError::Missing { .. })), "{missing}");
    // Another segment in its place is none of its own.
    let vectors = Vectors::from_f32(DIM, (5000..8000).flat_map(point).collect()).unwrap();
    build(&vectors, &subject.dirs[0], &BuildOptions::default(), &NoProgress).unwrap();
    let foreign = indexes.place(&placement("graph=pool")).unwrap_err();
    assert!(matches!(foreign, Error::Segment(_)), "{foreign}");
    assert!(subject.run(&indexes, 4) == expected);
}

#[test]
fn segments_in_a_pool_of_others_move_too() {
    let subject = Subject::new(1);
    let pool = Pool::new(&PoolOptions { memory_bytes: 2 << 20, ..PoolOptions::default() }).unwrap();
    let index = Index::open_in(&pool, &subject.dirs[0], &OpenOptions::default()).unwrap();
    for words in ["all=pool", "graph=resident,vectors=pool:ceiling=500KiB", "vectors=mmap"] {
        index.place(&placement(words)).unwrap();
        for query in 0..QUERIES {
            let found = index.search(&subject.queries[query], &PARAMS).unwrap();
            assert_eq!(found, subject.expected_of(query), "{words}");
        }
    }
}

/// Small enough to be searched many times.
fn small() -> &'static (Subject, Vec<Vec<Hit>>) {
    static SMALL: std::sync::OnceLock<(Subject, Vec<Vec<Hit>>)> = std::sync::OnceLock::new();
    SMALL.get_or_init(|| {
        let subject = Subject::new(2);
        let expected = (0..QUERIES).map(|query| subject.expected_of(query)).collect();
        (subject, expected)
    })
}

fn a_place() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(WORDS.to_vec()).prop_map(String::from),
        1 => (1..40_u32).prop_map(|floor| format!("pool:floor={floor}%")),
        1 => (1..100_u32).prop_map(|share| format!("pool:share={share}:priority=high")),
        1 => (20..90_u32).prop_map(|most| format!("pool:ceiling={most}%:priority=low")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_changes_changes_an_answer(
        changes in prop::collection::vec(
            (prop::sample::select(vec!["all", "graph", "codes", "codes.sq8", "vectors", "columns"]), a_place()),
            1..12,
        ),
        which in 0..QUERIES,
    ) {
        let (subject, expected) = small();
        let indexes = subject.open("80%");
        let mut snapshots = Vec::new();
        for (part, place) in changes {
            let was: Vec<_> = indexes.all().iter().map(|index| index.placement()).collect();
            if indexes.place(&placement(&format!("{part}={place}"))).is_err() {
                let now: Vec<_> = indexes.all().iter().map(|index| index.placement()).collect();
                prop_assert_eq!(now, was);
            }
            let found = indexes.search(&subject.queries[which], &PARAMS).unwrap();
            prop_assert_eq!(&found, &expected[which]);
            snapshots.push(indexes.snapshot());
        }
        for snapshot in snapshots {
            let found = snapshot.search(&subject.queries[which], &PARAMS).unwrap();
            prop_assert_eq!(&found, &expected[which]);
        }
        if let Some(pool) = indexes.pool() {
            drop(indexes);
            let audit = pool.audit().unwrap();
            prop_assert_eq!((audit.resident, audit.pins, audit.retired), (0, 0, 0));
        }
    }
}

#[test]
fn a_clone_of_a_segment_is_the_same_segment() {
    let subject = Subject::new(1);
    let index = Index::open(&subject.dirs[0], &OpenOptions::default()).unwrap();
    let segment: Segment = (*index.segment()).clone();
    let mut searches = Searches::new(&[&segment, &*index.segment()], 2).map(drop);
    assert!(searches.as_mut().is_ok());
    assert_eq!(
        segment.search(&subject.queries[3], &PARAMS, &mut Default::default()).unwrap(),
        index.search(&subject.queries[3], &PARAMS).unwrap()
    );
    assert!(Path::new(&subject.dirs[0]).exists());
}
