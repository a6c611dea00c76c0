//! What is closed says what was not over by then: searches, pages that are held, hot sets that could
//! not be saved, an engine that somebody still reads from; and every call that takes long ends at a
//! deadline, or when it is cancelled.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use ringpool::config::HotSetAtClose;
use ringpool::{
    Attached, BuildError, BuildOptions, Compaction, Error, GivenIds, Index, Indexes, NoProgress,
    OpenOptions, Patience, SearchError, SearchParams, Vectors, Warm, WarmUp, build_with,
};

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(60);
const DIM: usize = 8;

fn vectors(first: u64) -> Vectors {
    let value = |i: u64| ((i * i * 31 + i * 7) % 1009) as f32;
    Vectors::from_f32(DIM, (0..400 * DIM as u64).map(|i| value(first * 8 + i)).collect()).unwrap()
}

fn build(folder: &Path, name: &str, first: u64) -> PathBuf {
    let (out, ids) = (folder.join(name), Attached::from(GivenIds::From(first)));
    let options = BuildOptions { m: 6, ..BuildOptions::default() };
    build_with(&vectors(first), &ids, &out, &options, &NoProgress).unwrap();
    out
}

fn options() -> OpenOptions {
    OpenOptions { memory: Some("1MiB".parse().unwrap()), ..OpenOptions::default() }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[track_caller]
fn unfinished(closed: Result<(), Error>) -> ringpool::Unfinished {
    match closed {
        Err(Error::Unfinished(left)) => *left,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_at_rest_is_closed_with_its_engine() {
    let folder = folder();
    let dirs = [build(folder.path(), "a", 0), build(folder.path(), "b", 1000)];
    let index = Index::open(&dirs[0], &options()).unwrap();
    index.search(&[0.5; DIM], &SearchParams::default()).unwrap();
    index.close_within(LONG).unwrap();
    let indexes = Indexes::open(&dirs, &options()).unwrap();
    indexes.search(&[0.5; DIM], &SearchParams::default()).unwrap();
    indexes.close_within(LONG).unwrap();
}

#[test]
fn who_still_holds_a_segment_is_told_of() {
    let folder = folder();
    let dirs = [build(folder.path(), "a", 0), build(folder.path(), "b", 1000)];
    let indexes = Indexes::open(&dirs, &options()).unwrap();
    let snapshot = indexes.snapshot();
    let left = unfinished(indexes.close_within(SHORT));
    assert_eq!(left.in_use, dirs, "{left}");
    // They go on being searched.
    assert_eq!(snapshot.search(&[0.5; DIM], &SearchParams::default()).unwrap().len(), 10);

    let index = Index::open(&dirs[0], &options()).unwrap();
    let file = index.originals().unwrap();
    let left = unfinished(index.close_within(SHORT));
    assert_eq!((left.in_use.len(), left.unsaved.len()), (1, 0), "{left}");
    drop(file);

    // A page that is kept beyond its index.
    let index = Index::open(&dirs[0], &options()).unwrap();
    let page = index.originals().unwrap().pin(ringpool::storage::PageNo(0)).unwrap().into_bytes();
    let left = unfinished(index.close_within(SHORT));
    assert_eq!((left.files.len(), left.files[0].pins), (1, 1), "{left}");
    assert!(left.to_string().contains("1 pins") && !page.is_empty(), "{left}");
}

#[test]
fn who_ends_meanwhile_is_waited_for() {
    let folder = folder();
    let index = Index::open(build(folder.path(), "a", 0), &options()).unwrap();
    let segment = index.segment();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SHORT);
            drop(segment);
        });
        index.close_within(LONG).unwrap();
    });
}

#[test]
fn hot_sets_that_cannot_be_saved_are_told_and_all_is_closed() {
    let folder = folder();
    let dirs = [build(folder.path(), "a", 0), build(folder.path(), "b", 1000)];
    let saves = OpenOptions { hot_set: HotSetAtClose::Save, ..options() };
    let indexes = Indexes::open(&dirs, &saves).unwrap();
    // One folder is gone: the other is saved all the same.
    fs::remove_dir_all(&dirs[0]).unwrap();
    let left = unfinished(indexes.close_within(LONG));
    assert_eq!((left.unsaved.len(), &left.unsaved[0].dir), (1, &dirs[0]), "{left}");
    assert!(left.in_use.is_empty() && left.files.is_empty() && left.engine.is_none(), "{left}");
    assert!(dirs[1].join("vectors.hot").exists());
}

#[test]
fn warm_ups_end_with_what_they_are_for() {
    let folder = folder();
    let warm = |word: Warm| {
        let mut options = OpenOptions { memory: Some("1MiB".parse().unwrap()), ..options() };
        options.warm_up = WarmUp::default().with(ringpool::Part::Vectors, word);
        options
    };
    let dir = build(folder.path(), "a", 0);
    for word in [Warm::Background, Warm::BeforeServing] {
        Index::open(&dir, &warm(word)).unwrap().close_within(LONG).unwrap();
    }
}

/// Every call that takes patience, with none left and with a flag that is set: a typed error, and all
/// is as it was.
#[test]
fn a_deadline_and_a_flag_end_every_call() {
    let folder = folder();
    let dirs = [build(folder.path(), "a", 0), build(folder.path(), "b", 1000)];
    let gone = AtomicBool::new(true);
    let late = Patience::default().until(Instant::now());
    let left = Patience::default().unless(&gone);
    let index = Index::open(&dirs[0], &options()).unwrap();
    let indexes = Indexes::open(&dirs, &options()).unwrap();
    let (query, params) = ([0.5; DIM], SearchParams::default());
    let moved = "graph=pool".parse().unwrap();
    let none: [&Path; 0] = [];
    for (patience, deadline) in [(late, true), (left, false)] {
        let calls: Vec<(&str, Option<Error>)> = vec![
            ("open", Index::open_within(&dirs[0], &options(), patience).err()),
            ("open all", Indexes::open_within(&dirs, &options(), patience).err()),
            ("open folder", Indexes::open_folder_within(folder.path(), &options(), patience).err()),
            ("search", index.search_within(&query, &params, patience).err()),
            ("search all", indexes.search_within(&query, &params, patience).err()),
            ("place", index.place_within(&moved, patience).err()),
            ("place all", indexes.place_within(&moved, patience).err()),
            ("look at sources", Compaction::new_within(&dirs, patience).err()),
        ];
        for (call, error) in calls {
            let error = error.unwrap_or_else(|| panic!("{call} does not end"));
            let chain = format!("{error:?}");
            let word = if deadline { "DeadlinePassed" } else { "Cancelled" };
            assert!(chain.contains(word), "{call}: {chain}");
        }
        let built = folder.path().join("built");
        let of_build = build_with(
            &vectors(5),
            &Attached::default(),
            &built,
            &BuildOptions::default(),
            &patience,
        );
        assert!(matches!(of_build, Err(BuildError::Cancelled)) && !built.exists());
        // Nothing has changed.
        assert_eq!(index.search(&query, &params).unwrap().len(), 10);
        assert_eq!(indexes.snapshot().segments().len(), 2);
    }
    // Nothing to be opened, and nobody to wait for: nothing to be late for.
    indexes.exchange_within(&none, &none, late).unwrap();
    gone.store(false, Ordering::Relaxed);
    index.place_within(&moved, left).unwrap();
    let soon = Patience::default().within(LONG);
    assert_eq!(index.search_within(&query, &params, soon).unwrap().len(), 10);
    let verified = ringpool::verify(
        &dirs[0],
        ringpool::EngineChoice::Auto,
        &mut |_, _| ControlFlow::Break(()),
        &mut |_, _, _| {},
    );
    assert!(matches!(verified, Err(Error::Cancelled)));
    let exact = index.segment().exact_search(&vectors(3), 3, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(exact, Err(SearchError::Cancelled)));
}
