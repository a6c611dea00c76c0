//! A folder of segments while it is searched: segments come, go and take each other's place, points
//! are deleted, and every answer is that of one moment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use ringpool::{
    Attached, BuildOptions, Compaction, Error, GivenIds, Hit, Indexes, NoProgress, OpenOptions,
    Refreshed, Rescore, SearchParams, Snapshot, Vectors, build_with, segments_in,
};

const DIM: usize = 8;
const POINTS: u64 = 300;
const PARAMS: SearchParams = SearchParams { k: 10, ef: 60, rescore: Rescore::Times(4.0) };

/// Vectors that differ from those of another `first`.
fn vectors(first: u64) -> Vectors {
    let value = |i: u64| ((i * i * 31 + i * 7) % 1009) as f32;
    let values = (0..POINTS * DIM as u64).map(|i| value(first * DIM as u64 + i));
    Vectors::from_f32(DIM, values.collect()).unwrap()
}

/// A segment of the points from `first` on.
fn build(folder: &Path, name: &str, first: u64) -> PathBuf {
    let (out, ids) = (folder.join(name), Attached::from(GivenIds::From(first)));
    let options = BuildOptions { m: 6, ..BuildOptions::default() };
    build_with(&vectors(first), &ids, &out, &options, &NoProgress).unwrap();
    out
}

fn compact(sources: &[&PathBuf], out: &Path) {
    let compaction = Compaction::new(sources).unwrap();
    compaction.build(out, &compaction.options(), &NoProgress).unwrap();
}

fn queries() -> Vec<Vec<f32>> {
    let query = |i: u64| (0..DIM as u64).map(move |d| ((i * 97 + d * 41) % 1009) as f32);
    (0..20).map(|i| query(i).collect()).collect()
}

fn answers(snapshot: &Snapshot) -> Vec<Vec<Hit>> {
    queries().iter().map(|query| snapshot.search(query, &PARAMS).unwrap()).collect()
}

fn options() -> OpenOptions {
    OpenOptions { memory: Some("1MiB".parse().unwrap()), ..OpenOptions::default() }
}

/// Which segments a snapshot has.
fn names(snapshot: &Snapshot) -> Vec<String> {
    let name = |dir: &Path| dir.file_name().unwrap().to_string_lossy().into_owned();
    snapshot.segments().iter().map(|segment| name(segment.dir())).collect()
}

#[test]
fn segments_come_and_go_while_they_are_searched() {
    let (folder, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let [a, b] = [("a", 0), ("b", POINTS)].map(|(name, first)| build(folder, name, first));
    let c = build(apart.path(), "c", 2 * POINTS);
    let merged = apart.path().join("merged");
    compact(&[&b, &c], &merged);
    // What each set of segments answers, opened by itself.
    let sets: [&[&PathBuf]; 5] = [&[&a, &b], &[&a, &b, &c], &[&b, &c], &[&merged], &[&merged, &a]];
    let alone = |set: &[&PathBuf]| {
        let snapshot = Indexes::open(set, &options()).unwrap().snapshot();
        (names(&snapshot), answers(&snapshot))
    };
    let expected: HashMap<Vec<String>, _> = sets.into_iter().map(alone).collect();

    let collection = Indexes::open_folder(folder, &options()).unwrap();
    let stop = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let search = || {
            let mut seen = Vec::new();
            // Relaxed: a word to end, which brings nothing with it.
            while !stop.load(Ordering::Relaxed) {
                let snapshot = collection.snapshot();
                let names = names(&snapshot);
                assert_eq!(answers(&snapshot), expected[&names], "{names:?}");
                seen.push(names);
            }
            seen
        };
        let threads = [scope.spawn(search), scope.spawn(search)];
        for _ in 0..20 {
            collection.add(&c).unwrap();
            collection.drop_segment(&a).unwrap();
            collection.exchange(&[&b, &c], &[&merged]).unwrap();
            collection.add(&a).unwrap();
            collection.exchange(&[&merged, &a], &[&a, &b]).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(seen.iter().all(|seen| !seen.is_empty()));
    // Nothing is left of those that have gone: the pool has what it began with.
    let pool = collection.pool().unwrap();
    assert_eq!(pool.snapshot().files.len(), 2);
}

#[test]
fn what_cannot_change_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [a, b] = [("a", 0), ("b", POINTS)].map(|(name, first)| build(folder, name, first));
    let other = folder.join(".other");
    let unlike = Vectors::from_f32(3, vec![1.0; 30]).unwrap();
    ringpool::build(&unlike, &other, &BuildOptions::default(), &NoProgress).unwrap();
    let collection = Indexes::open_folder(folder, &options()).unwrap();
    let before = answers(&collection.snapshot());

    assert!(matches!(collection.add(&a), Err(Error::OpenAlready { .. })));
    assert!(matches!(collection.drop_segment(&other), Err(Error::NotOpen { .. })));
    assert!(matches!(collection.add(folder.join("nothing")), Err(Error::Segment(_))));
    assert!(matches!(collection.add(&other), Err(Error::Search(_))));
    let missing = folder.join("nothing");
    assert!(collection.exchange(&[&b], &[&missing]).is_err());
    assert_eq!(names(&collection.snapshot()), ["a", "b"]);
    assert_eq!(answers(&collection.snapshot()), before);
    assert_eq!(collection.pool().unwrap().snapshot().files.len(), 2);
}

#[test]
fn a_folder_says_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let a = build(folder, "a", 0);
    fs::create_dir(folder.join("no segment")).unwrap();
    fs::write(folder.join("notes.txt"), "none either").unwrap();
    assert_eq!(segments_in(folder).unwrap(), std::slice::from_ref(&a));
    assert!(matches!(segments_in(folder.join("notes.txt")), Err(Error::Folder { .. })));

    let collection = Indexes::open_folder(folder, &options()).unwrap();
    assert_eq!(collection.refresh(folder).unwrap(), Refreshed::default());
    let b = build(folder, "b", POINTS);
    fs::remove_dir_all(&a).unwrap();
    let refreshed = Refreshed { added: vec![b], dropped: vec![a] };
    assert_eq!(collection.refresh(folder).unwrap(), refreshed);
    assert_eq!(names(&collection.snapshot()), ["b"]);
}

#[test]
fn ids_are_deleted_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, first) in [("a", 0), ("b", POINTS)] {
        build(folder, name, first);
    }
    let collection = Indexes::open_folder(folder, &options()).unwrap();
    let nearest = |query: &[f32]| collection.search(query, &PARAMS).unwrap()[0].id;
    let ids: Vec<u64> = queries().iter().map(|query| nearest(query)).collect();
    let report = collection.delete(&ids).unwrap();
    assert!(report.deleted > 1 && report.already == 0 && report.missing == 0, "{report:?}");
    assert_eq!(report.live, 2 * POINTS - report.deleted);
    for hits in answers(&collection.snapshot()) {
        assert_eq!(hits.len(), PARAMS.k);
        assert!(hits.iter().all(|hit| !ids.contains(&hit.id)), "{hits:?}");
    }
    let again = collection.delete(&[ids[0], u64::MAX - 1]).unwrap();
    assert_eq!((again.deleted, again.already, again.missing), (0, 1, 1));
}
