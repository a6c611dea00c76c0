//! Whatever happens to who writes a segment, and at whichever step: afterwards there is the old one
//! or the new one, whole.
//!
//! Two works are done: a build, and a compaction that removes its sources. At each step on disk, one
//! after the other, the system refuses it; does it and says that it has failed, as fsync may;
//! refuses everything from there on, as a broken disk does; or the process is gone without a word.
//! At random moments a process is killed from outside: `tests/crash` of the facade.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;

use super::*;
use crate::build::build_gated;
use crate::step::{Gate, OPEN, Side};
use crate::{
    Attached, BuildError, Columns, CompactError, Compaction, Field, FieldType, GivenIds, Value,
    build_with,
};

/// Everything below a folder: files with their bytes, and folders.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn tree(below: &Path) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![below.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = (!path.is_dir()).then(|| fs::read(&path).unwrap());
            if bytes.is_none() {
                folders.push(path.clone());
            }
            found.insert(path.strip_prefix(below).unwrap().into(), bytes);
        }
    }
    found
}

/// The part of it that is below `name`, this included.
fn part(tree: &Tree, name: &str) -> Tree {
    let below = tree.iter().filter(|(path, _)| path.starts_with(name));
    below.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

const OUT: &str = "out";
const SOURCES: [&str; 2] = ["a", "b"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Build,
    Compact,
}

fn quick() -> BuildOptions {
    BuildOptions { m: 4, ef_construction: 10, ..Default::default() }
}

/// Few points with a field.
fn points(seed: u64) -> (Vectors, Columns) {
    let base = as_element(2, &clustered(100, 2, 5, false, seed), Element::U8);
    let mut columns = Columns::new(vec![Field::new("number", FieldType::I64)]).unwrap();
    (0..100).for_each(|number| columns.push_row(&[Value::I64(number)]).unwrap());
    (base, columns)
}

impl Work {
    /// What is there before.
    fn prepare(self, parent: &Path) {
        if self == Self::Build {
            return;
        }
        for (number, name) in (0..).zip(SOURCES) {
            let (base, _) = points(number);
            let ids: Vec<u64> = (0..100).map(|row| row * 2 + number).collect();
            let dir = parent.join(name);
            build_with(&base, &GivenIds::Each(&ids).into(), &dir, &quick(), &NoProgress).unwrap();
            crate::delete(&dir, &mut in_memory, &ids[3..7]).unwrap();
        }
    }

    fn run(self, parent: &Path, gate: &Gate<'_>) -> Result<(), CompactError> {
        let out = parent.join(OUT);
        if self == Self::Build {
            let (base, columns) = points(3);
            let attached = Attached { columns: Some(&columns), ..Attached::default() };
            build_gated(&base, &attached, &out, &quick(), &NoProgress, gate)?;
            return Ok(());
        }
        let sources = SOURCES.map(|name| parent.join(name));
        let dirs = [&*sources[0], &*sources[1]];
        let compaction = Compaction::new(&dirs, &mut in_memory)?;
        compaction.build_gated(&mut in_memory, &out, &quick(), &NoProgress, gate)?;
        compaction.remove_sources_gated(gate)
    }

    /// Passes for the old state and for the new one; returns whether it is the new one. Sources may
    /// be on their way out when the new one is there: without a manifest they are no segments.
    #[track_caller]
    fn expect_old_or_new(self, now: &Tree, before: &Tree, new: &Tree, when: &str) -> bool {
        if part(now, OUT).is_empty() {
            assert!(now == before, "{when}: half of something: {:?}", now.keys());
            return false;
        }
        assert!(part(now, OUT) == part(new, OUT), "{when}: it is another segment");
        for source in SOURCES {
            let (was, is) = (part(before, source), part(now, source));
            let is_whole = is == was;
            let has_manifest = is.contains_key(&Path::new(source).join("MANIFEST"));
            assert!(is_whole || !has_manifest, "{when}: half of {source}: {:?}", is.keys());
            assert!(is.iter().all(|(path, bytes)| was.get(path) == Some(bytes)), "{when}");
        }
        true
    }
}

/// A folder with this in it: in memory where there is such a place, since a thousand works are done,
/// and a process that is killed leaves the same there.
fn plant(tree: &Tree) -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    let parent = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
    for (path, bytes) in tree {
        let path = parent.path().join(path);
        match bytes {
            None => fs::create_dir(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
    }
    parent
}

/// What there is before the work, and after it.
fn ends(work: Work) -> (Tree, Tree) {
    let parent = plant(&Tree::new());
    work.prepare(parent.path());
    let before = tree(parent.path());
    work.run(parent.path(), OPEN).unwrap();
    (before, tree(parent.path()))
}

/// How a disk behaves from the n-th step on.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Refuses this step alone.
    Before,
    /// Takes this step, and says that it has failed.
    After,
    /// Refuses this and all that follow.
    ForGood,
}

fn refuse_each_step(work: Work, fault: Fault, errno: Errno) -> (u32, u32) {
    let (before, after) = ends(work);
    let mut new = 0;
    for at in 0.. {
        let parent = plant(&before);
        let (reached, doing) = (Cell::new(0), RefCell::new(""));
        let gate = |step: &'static str, side: Side| {
            let counted = if matches!(fault, Fault::After) { Side::After } else { Side::Before };
            if side != counted {
                return Ok(());
            }
            let number = reached.replace(reached.get() + 1);
            if number == at {
                doing.replace(step);
            }
            let is_refused =
                if matches!(fault, Fault::ForGood) { number >= at } else { number == at };
            if is_refused { Err(errno.into()) } else { Ok(()) }
        };
        let verdict = work.run(parent.path(), &gate);
        let when = format!("{work:?}, {fault:?}, {errno}: step {at}, {}", doing.borrow());
        let is_new = work.expect_old_or_new(&tree(parent.path()), &before, &after, &when);
        match verdict {
            Ok(()) => {
                assert!(reached.get() <= at && is_new, "{when}: refused, and nobody was told");
                return (at, new);
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&*parent.path().to_string_lossy()), "{when}: {text}");
                let said =
                    std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
                let is_full = text.contains("full");
                assert!(
                    (errno == Errno::NOSPC && is_full)
                        || said.filter_map(|e| e.downcast_ref::<std::io::Error>()).next().is_some(),
                    "{when}: {text}"
                );
            }
        }
        new += u32::from(is_new);
    }
    unreachable!("at some time there are no more steps")
}

#[test]
fn a_build_that_is_refused_at_any_step_is_old_or_new() {
    // A folder; files created, written and synced, two of them for each component and the manifest;
    // two folders synced; a rename.
    let components = ["vectors", "codes-sq8", "graph", "ids", "column-0", "column-0-index"];
    let steps = 1 + (2 * components.len() as u32 + 1) * 3 + 2 + 1;
    for errno in [Errno::NOSPC, Errno::IO] {
        assert_eq!(refuse_each_step(Work::Build, Fault::Before, errno), (steps, 0));
        // The rename itself, which has happened.
        assert_eq!(refuse_each_step(Work::Build, Fault::After, errno), (steps, 1));
        // A rename that can neither be synced nor taken back.
        assert_eq!(refuse_each_step(Work::Build, Fault::ForGood, errno), (steps, 1));
    }
}

#[test]
fn a_compaction_that_is_refused_at_any_step_is_old_or_new() {
    let faults = [
        (Fault::Before, Errno::NOSPC),
        (Fault::Before, Errno::IO),
        (Fault::After, Errno::IO),
        (Fault::ForGood, Errno::IO),
    ];
    for (fault, errno) in faults {
        let (steps, new) = refuse_each_step(Work::Compact, fault, errno);
        assert!(steps > 60 && new > 25 && new < steps, "{fault:?}: {new} of {steps}");
    }
}

const KILLED_IN: &str = "RINGPOOL_TEST_KILLED_IN";
const KILLED_AT: &str = "RINGPOOL_TEST_KILLED_AT";
const WORK: &str = "RINGPOOL_TEST_WORK";

/// Removes from the tree what is documented to be left behind.
fn without_left_behind(tree: &mut Tree) -> bool {
    let before = tree.len();
    tree.retain(|path, _| !path.to_string_lossy().starts_with(".out.building-"));
    tree.len() < before
}

fn kill_at_each_step(work: Work) -> [u32; 3] {
    let (before, after) = ends(work);
    let (mut old, mut new, mut left) = (0, 0, 0);
    for at in 0_u32.. {
        let parent = plant(&before);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "tests::crash::the_work_that_is_killed"]);
        child.env(KILLED_IN, parent.path()).env(KILLED_AT, at.to_string());
        let output = child.env(WORK, format!("{work:?}")).output().unwrap();
        let mut now = tree(parent.path());
        left += u32::from(without_left_behind(&mut now));
        let when = format!("{work:?}: killed at step {at}");
        let is_new = work.expect_old_or_new(&now, &before, &after, &when);
        if output.status.success() {
            assert!(now == after, "{output:?}");
            return [old, new, left];
        }
        assert!(at < 200, "{output:?}");
        *if is_new { &mut new } else { &mut old } += 1;
        // The same again: it succeeds, or says that it was done; and nothing is left behind.
        match work.run(parent.path(), OPEN) {
            Ok(()) => assert!(!is_new && tree(parent.path()) == after, "{when}"),
            Err(CompactError::Build(BuildError::Exists { .. })) => assert!(is_new, "{when}"),
            // A source that was on its way out.
            Err(CompactError::Segment(_)) => assert!(is_new && work == Work::Compact, "{when}"),
            Err(error) => panic!("{when}: {error}"),
        }
    }
    unreachable!("at some time it survives")
}

#[test]
fn a_build_that_is_killed_at_any_step_is_old_or_new() {
    let [old, new, left] = kill_at_each_step(Work::Build);
    assert!(old > 40 && left > 38 && new == 1, "{old} old, {new} new, {left} left something");
}

#[test]
fn a_compaction_that_is_killed_at_any_step_is_old_or_new() {
    let [old, new, left] = kill_at_each_step(Work::Compact);
    assert!(old > 30 && left > 28 && new > 25, "{old} old, {new} new, {left} left something");
}

/// Of the tests above, in a process of its own; does nothing otherwise.
#[test]
fn the_work_that_is_killed() {
    let Some(dir) = std::env::var_os(KILLED_IN) else { return };
    let Ok(work) = std::env::var(WORK) else { return };
    let work = if work == "Build" { Work::Build } else { Work::Compact };
    let left: Cell<u32> = Cell::new(std::env::var(KILLED_AT).unwrap().parse().unwrap());
    let gate = |_: &'static str, side: Side| {
        if side == Side::Before && left.replace(left.get().wrapping_sub(1)) == 0 {
            std::process::abort();
        }
        Ok(())
    };
    work.run(Path::new(&dir), &gate).unwrap();
}
