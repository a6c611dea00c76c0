//! What is deleted stays deleted, is found by nobody, and is deleted whole or not at all, whatever
//! happens to the writer.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::points::Points;
use crate::step::Side;
use crate::{
    DeleteError, DeleteReport, GivenIds, Metric, Patience, SegmentError, build_with, exact_search,
};

const POINTS: u64 = 400;

/// A segment of points with ids 1000, 1003 and so on.
fn dir() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let base = as_element(4, &clustered(POINTS as usize, 4, 5, false, 71), Element::F32);
    let ids: Vec<u64> = (0..POINTS).map(|row| 1000 + 3 * row).collect();
    let attached = GivenIds::Each(&ids).into();
    let options = BuildOptions { m: 4, ef_construction: 20, ..Default::default() };
    build_with(&base, &attached, &out, &options, &NoProgress).unwrap();
    (parent, out)
}

fn ids(of: impl IntoIterator<Item = u64>) -> Vec<u64> {
    of.into_iter().map(|row| 1000 + 3 * row).collect()
}

fn dead(segment: &Segment) -> BTreeSet<u64> {
    let dead = segment.deleted();
    dead.iter().flat_map(|dead| dead.iter()).map(|place| segment.id_of(place).unwrap()).collect()
}

fn counts(report: DeleteReport) -> [u64; 4] {
    [report.deleted, report.already, report.missing, report.live]
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_deleted_is_deleted_for_all_who_open_it_later() {
    let (_parent, dir) = dir();
    let files = names(&dir);
    let [segment, other] = [open(&dir).unwrap(), open(&dir).unwrap()];
    assert!(segment.deleted().is_none());
    let before = segment.resident_bytes();
    assert_eq!(counts(segment.delete(&ids([5, 7, 7])).unwrap()), [2, 0, 0, POINTS - 2]);
    let held = segment.deleted().unwrap();
    assert_eq!(
        counts(segment.delete(&[1001, 1015, 1018, 1015, 0]).unwrap()),
        [1, 1, 2, POINTS - 3]
    );
    assert_eq!(counts(segment.delete(&[]).unwrap()), [0, 0, 0, POINTS - 3]);
    assert_eq!(held.len(), 2, "what was asked for stays as it is");
    let expected: BTreeSet<u64> = ids([5, 6, 7]).into_iter().collect();
    assert_eq!((dead(&segment), segment.live_points()), (expected.clone(), POINTS as usize - 3));
    assert!(segment.resident_bytes() > before);
    assert_eq!(dead(&open(&dir).unwrap()), expected);
    assert!(dead(&other).is_empty());
    other.reload_deletes().unwrap();
    assert_eq!(dead(&other), expected);
    // Without the segment open, and all of it.
    let all = ids(0..POINTS);
    let report = crate::delete(&dir, &mut in_memory, &all).unwrap();
    assert_eq!(counts(report), [POINTS - 3, 3, 0, 0]);
    assert_eq!(open(&dir).unwrap().live_points(), 0);
    let mut with_file = files;
    with_file.insert("TOMBSTONES".into());
    assert_eq!(names(&dir), with_file, "nothing else is left");
}

/// Walks, scans and exact search, with one query in flight or several, through memory or pages.
#[test]
fn what_is_deleted_is_found_by_nobody() {
    let (_parent, dir) = dir();
    let base = as_element(4, &clustered(POINTS as usize, 4, 5, false, 71), Element::F32);
    let queries = as_element(4, &clustered(12, 4, 5, false, 73), Element::F32);
    let all = exact_search(&base, &queries, Metric::L2, POINTS as usize).unwrap();
    // The nearest of each query, a third of all, and then all but seven.
    let nearest: Vec<u64> = all.iter().map(|hits| hits[0].id).collect();
    let third: Vec<u64> = (0..POINTS).step_by(3).collect();
    let most: Vec<u64> = (0..POINTS - 7).collect();
    let [paged, resident] = [open(&dir).unwrap(), open_resident(&dir).unwrap()];
    let mut gone = BTreeSet::new();
    for rows in [nearest, third, most, (0..POINTS).collect()] {
        gone.extend(rows.iter().copied());
        resident.delete(&ids(rows)).unwrap();
        paged.reload_deletes().unwrap();
        let live = |hits: &Vec<Hit>| -> Vec<Hit> {
            let hits = hits.iter().filter(|hit| !gone.contains(&hit.id)).take(10);
            hits.map(|hit| Hit { id: 1000 + 3 * hit.id, ..*hit }).collect()
        };
        let expected: Vec<Vec<Hit>> = all.iter().map(live).collect();
        let params = SearchParams { ef: POINTS as usize, ..SearchParams::default() };
        for segment in [&paged, &resident] {
            assert_eq!(search_all(segment, &queries, &params), expected);
            let exact = segment.exact_search(&queries, 10, &mut |_, _| ControlFlow::Continue(()));
            assert_eq!(exact.unwrap(), expected);
        }
    }
}

/// Two who have opened the segment, and delete from several threads each: nothing is lost.
#[test]
fn writers_do_not_lose_what_others_delete() {
    let (_parent, dir) = dir();
    let segments = [open(&dir).unwrap(), open(&dir).unwrap()];
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let segment = &segments[writer as usize % 2];
            scope.spawn(move || {
                for row in (writer..100).step_by(4) {
                    assert_eq!(segment.delete(&ids([row])).unwrap().deleted, 1);
                }
            });
        }
    });
    assert_eq!(dead(&open(&dir).unwrap()), ids(0..100).into_iter().collect());
}

/// Refusals at every step: an error that says so, the segment as it was, and no trace.
#[test]
fn the_nth_refusal_deletes_nothing() {
    let (_parent, dir) = dir();
    let segment = open(&dir).unwrap();
    segment.delete(&ids([1])).unwrap();
    let files = names(&dir);
    for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::IO, rustix::io::Errno::ROFS] {
        let steps = ["open the folder", "lock the folder", "create", "write", "sync", "rename"];
        // After the rename they are deleted, whatever the caller is told.
        let befores = steps.map(|step| (step, Side::Before));
        let afters = steps[..5].iter().map(|&step| (step, Side::After));
        for (refused, refused_side) in befores.into_iter().chain(afters) {
            let gate =
                |step: &'static str, side: Side| match (step, side) == (refused, refused_side) {
                    true => Err(errno.into()),
                    false => Ok(()),
                };
            let points = Points::open(&dir, &mut in_memory, Patience::default()).unwrap();
            let error = points
                .deletes
                .delete(&points.ids, &ids([1, 2]), Patience::default(), &gate)
                .unwrap_err();
            let named = match errno {
                rustix::io::Errno::NOSPC => matches!(error, DeleteError::DiskFull { .. }),
                rustix::io::Errno::ROFS => matches!(error, DeleteError::ReadOnly { .. }),
                _ => matches!(error, DeleteError::Io { .. }),
            };
            assert!(named, "{refused}: {error}");
            assert_eq!(names(&dir), files, "{refused}");
            for segment in [&segment, &open(&dir).unwrap()] {
                segment.reload_deletes().unwrap();
                assert_eq!(dead(segment), ids([1]).into_iter().collect(), "{refused}");
            }
        }
    }
}

/// It has happened, and its answer was lost: the caller is told of a failure, and all are deleted.
#[test]
fn a_rename_whose_answer_is_lost_deletes_all_the_same() {
    let (_parent, dir) = dir();
    let segment = open(&dir).unwrap();
    let gate = |step: &'static str, side: Side| match (step, side) {
        ("rename", Side::After) => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    };
    let refused = segment.deletes.delete(segment.ids(), &ids([1, 2]), Patience::default(), &gate);
    assert!(matches!(refused, Err(DeleteError::Io { doing: "rename into place", .. })));
    segment.reload_deletes().unwrap();
    for segment in [&segment, &open(&dir).unwrap()] {
        assert_eq!(dead(segment), ids([1, 2]).into_iter().collect());
    }
    assert_eq!(counts(segment.delete(&ids([1, 2])).unwrap()), [0, 2, 0, POINTS - 2]);
}

/// The new file is there, but might not outlive a crash: the caller is told, and another call
/// makes sure.
#[test]
fn a_folder_that_cannot_be_synced_is_synced_by_the_next_call() {
    let (_parent, dir) = dir();
    let segment = open(&dir).unwrap();
    let synced = Cell::new(0);
    let gate = |step: &'static str, side: Side| match (step, side) {
        ("sync the folder", Side::After) => {
            synced.set(synced.get() + 1);
            if synced.get() == 1 { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
        _ => Ok(()),
    };
    let delete = || segment.deletes.delete(segment.ids(), &ids([9]), Patience::default(), &gate);
    assert!(matches!(delete(), Err(DeleteError::Io { doing: "sync the folder", .. })));
    assert_eq!(counts(delete().unwrap()), [0, 1, 0, POINTS - 1]);
    assert_eq!(synced.get(), 2);
    assert_eq!(dead(&segment), ids([9]).into_iter().collect());
}

const KILLED_IN: &str = "RINGPOOL_TEST_KILLED_IN";
const KILLED_AT: &str = "RINGPOOL_TEST_KILLED_AT";

/// A process that ends without a word at each step leaves what was deleted before, or that and
/// what it was deleting; and the next writer is not held up.
#[test]
fn a_killed_writer_leaves_old_or_new() {
    let (_parent, dir) = dir();
    crate::delete(&dir, &mut in_memory, &ids([1])).unwrap();
    let mut seen = BTreeSet::new();
    for step in 0.. {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "tests::deletes::the_writer_that_is_killed"]);
        child.env(KILLED_IN, &dir).env(KILLED_AT, step.to_string());
        let output = child.output().unwrap();
        let survived = output.status.success();
        let segment = open(&dir).unwrap();
        seen.insert(dead(&segment));
        assert!(segment.delete(&ids([1])).unwrap().already == 1, "the lock went with its holder");
        if survived {
            break;
        }
        assert!(step < 40, "{output:?}");
    }
    let [old, new] = [vec![1], vec![1, 2]].map(|rows| ids(rows).into_iter().collect());
    assert_eq!(seen, BTreeSet::from([old, new]));
}

/// Of the test above, in a process of its own; does nothing otherwise.
#[test]
fn the_writer_that_is_killed() {
    let Some(dir) = std::env::var_os(KILLED_IN) else { return };
    let left: Cell<u32> = Cell::new(std::env::var(KILLED_AT).unwrap().parse().unwrap());
    let gate = |_: &'static str, _: Side| {
        if left.replace(left.get().wrapping_sub(1)) == 0 {
            std::process::abort();
        }
        Ok(())
    };
    let points = Points::open(Path::new(&dir), &mut in_memory, Patience::default()).unwrap();
    points.deletes.delete(&points.ids, &ids([2]), Patience::default(), &gate).unwrap();
}

/// Another has the lock and keeps it, as long as this test's thread runs.
#[test]
fn a_lock_that_is_taken_is_waited_for() {
    let (_parent, dir) = dir();
    let held = std::fs::File::open(&dir).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let looks = Cell::new(0);
    let held = Cell::new(Some(held));
    // Let go at the third look.
    let gate = |step: &'static str, side: Side| {
        if (step, side) == ("lock the folder", Side::Before) {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                drop(held.take());
            }
        }
        Ok(())
    };
    let segment = open(&dir).unwrap();
    let report =
        segment.deletes.delete(segment.ids(), &ids([9]), Patience::default(), &gate).unwrap();
    assert_eq!((report.deleted, looks.get()), (1, 3));
}

/// The lock stays with another: a deadline and a cancel end the wait, and nothing is deleted.
#[test]
fn a_lock_is_waited_for_as_long_as_there_is_patience() {
    let (_parent, dir) = dir();
    let held = std::fs::File::open(&dir).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let segment = open(&dir).unwrap();
    let soon = Patience::default().within(std::time::Duration::from_millis(20));
    let refused = segment.delete_within(&ids([9]), soon).unwrap_err();
    assert!(matches!(refused, DeleteError::Busy { .. }), "{refused}");
    let gone = std::sync::atomic::AtomicBool::new(true);
    let refused = segment.delete_within(&ids([9]), Patience::default().unless(&gone)).unwrap_err();
    assert!(matches!(refused, DeleteError::Cancelled { .. }), "{refused}");
    drop(held);
    let late = Patience::default().until(std::time::Instant::now());
    // Nobody is to be waited for.
    assert_eq!(segment.delete_within(&ids([9]), late).unwrap().deleted, 1);
}

#[test]
fn tombstones_that_are_damaged_foreign_or_no_file_do_not_open() {
    let (_parent, sound) = dir();
    let path = sound.join("TOMBSTONES");
    open(&sound).unwrap().delete(&ids([3])).unwrap();
    let bytes = fs::read(&path).unwrap();
    let refused = || open(&sound).unwrap_err();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(refused(), SegmentError::Tombstones { .. }));
    fs::write(&path, b"").unwrap();
    assert!(matches!(refused(), SegmentError::Tombstones { .. }));
    fs::write(&path, vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(refused(), SegmentError::Tombstones { .. }));
    let (_other, other) = {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("segment");
        let base = as_element(4, &clustered(POINTS as usize, 4, 5, false, 72), Element::F32);
        build(&base, &out, &BuildOptions::default(), &NoProgress).unwrap();
        (parent, out)
    };
    open(&other).unwrap().delete(&[1]).unwrap();
    fs::copy(other.join("TOMBSTONES"), &path).unwrap();
    let error = refused().to_string();
    assert!(error.contains("TOMBSTONES") && error.contains("found again"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(refused(), SegmentError::NotRegular { .. }));
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(other.join("TOMBSTONES"), &path).unwrap();
    assert!(matches!(refused(), SegmentError::NotRegular { .. }));
    fs::remove_file(&path).unwrap();

    // What is open already says so as well, and keeps what it knows.
    let segment = open(&sound).unwrap();
    segment.delete(&ids([3])).unwrap();
    fs::write(&path, &bytes[..20]).unwrap();
    assert!(segment.reload_deletes().is_err());
    assert!(matches!(segment.delete(&ids([4])), Err(DeleteError::Segment(_))));
    assert_eq!(dead(&segment), ids([3]).into_iter().collect());
}

/// Another segment is where this one was: nothing is deleted from it by mistake.
#[test]
fn a_folder_with_another_segment_is_not_written_to() {
    let (_parent, dir) = dir();
    let segment = open(&dir).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(matches!(segment.delete(&ids([1])), Err(DeleteError::Io { .. })));
    let base = as_element(4, &clustered(POINTS as usize, 4, 5, false, 72), Element::F32);
    build(&base, &dir, &BuildOptions::default(), &NoProgress).unwrap();
    assert!(matches!(segment.delete(&ids([1])), Err(DeleteError::Replaced { .. })));
    assert!(!dir.join("TOMBSTONES").exists());
}
