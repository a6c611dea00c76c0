//! Killed at random moments, by SIGKILL: nothing of the process runs afterwards.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::{Error, Index, OpenOptions, vectors};

use crate::child::{BEGINS, OUT, OUTPUTS, POINTS, SOURCES, Said, WRITES, Work, write_outputs};
use crate::tree::Tree;

/// How often each work is killed, unless `RINGPOOL_KILLS` says otherwise.
const KILLS: u32 = 20;
/// Moments are drawn from a little more than the time that a work took: the next may take longer.
const BEYOND: f64 = 1.1;
/// A work that is not killed takes no longer.
const PATIENCE: Duration = Duration::from_secs(120);

fn kills() -> u32 {
    let said = std::env::var("RINGPOOL_KILLS").ok();
    said.map_or(KILLS, |text| text.parse().expect("RINGPOOL_KILLS is a number"))
}

/// How long a work takes when nobody kills it.
struct Times {
    all: Duration,
    /// Until it begins to write.
    until_writes: Duration,
}

/// When to kill.
enum Moment {
    AfterBegin(Duration),
    AfterWrites(Duration),
    Never,
}

/// What a process has said, and when since it began; and how long it took, if it came to its end.
struct Run {
    said: Vec<(String, Duration)>,
    took: Option<Duration>,
}

/// Runs the work in `folder` and kills it.
fn run(work: Work, folder: &Path, moment: &Moment) -> Run {
    let mut command = work.command(folder);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut begun) = (Vec::new(), Instant::now());
    let (awaited, after) = match *moment {
        Moment::AfterBegin(after) => (BEGINS, after),
        Moment::AfterWrites(after) => (WRITES, after),
        Moment::Never => ("", PATIENCE),
    };
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(word) = line.trim().strip_prefix(':') {
            begun = if word == BEGINS { Instant::now() } else { begun };
            said.push((word.to_string(), begun.elapsed()));
            if word == awaited {
                break;
            }
        }
        line.clear();
    }
    if !awaited.is_empty() {
        thread::sleep(after);
        child.kill().unwrap();
    }
    // What it has said until then is in the pipe.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let words = rest.lines().filter_map(|line| line.trim().strip_prefix(':'));
    said.extend(words.map(|word| (word.to_string(), begun.elapsed())));
    let took = child.wait().unwrap().success().then(|| begun.elapsed());
    Run { said, took }
}

fn measure(work: Work, before: &Tree) -> (Times, Tree) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    before.plant(folder.path());
    let Run { said, took } = run(work, folder.path(), &Moment::Never);
    let all = took.unwrap_or_else(|| panic!("{work:?} fails without being killed"));
    let writes = said.iter().find(|(word, _)| word == WRITES);
    let until_writes = writes.map_or(Duration::ZERO, |(_, at)| *at);
    (Times { all, until_writes }, Tree::of(folder.path()))
}

/// What came of the kills.
#[derive(Debug, Default)]
struct Counts {
    old: u32,
    new: u32,
    between: u32,
    ended: u32,
    left_behind: u32,
}

/// What there is once the work was killed.
struct Left<'a> {
    folder: &'a Path,
    /// What was there before.
    before: &'a Tree,
    /// What is there after a work that nobody kills.
    after: &'a Tree,
    /// What the process has said.
    said: Vec<(String, Duration)>,
}

/// Kills the work as often as is asked, and has `judge` look at what is there then.
fn kill_often(work: Work, judge: &mut dyn FnMut(&Left<'_>, &mut Counts)) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    work.prepare(folder.path());
    let before = Tree::of(folder.path());
    let (times, after) = measure(work, &before);
    let mut random = SmallRng::seed_from_u64(work as u64 + 1);
    let mut counts = Counts::default();
    for number in 0..kills() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        before.plant(folder.path());
        let share: f64 = random.random();
        let writing = times.all.saturating_sub(times.until_writes);
        let moment = match number % 2 == 1 && !times.until_writes.is_zero() {
            true => Moment::AfterWrites(writing.mul_f64(BEYOND * share)),
            false => Moment::AfterBegin(times.all.mul_f64(BEYOND * share)),
        };
        let Run { said, took } = run(work, folder.path(), &moment);
        counts.ended += u32::from(took.is_some());
        let left = Left { folder: folder.path(), before: &before, after: &after, said };
        judge(&left, &mut counts);
    }
    let Times { all, until_writes } = times;
    println!(
        "{work:?}: {} kills in {all:?}, {until_writes:?} before it writes: {counts:?}",
        kills()
    );
}

#[test]
fn a_killed_build_is_old_or_new() {
    kill_often(Work::Build, &mut |&Left { folder, before, after, .. }, counts| {
        let mut now = Tree::of(folder);
        counts.left_behind += u32::from(now.sweep());
        assert!(now == *before || now == *after, "a third: {:?}", now.names());
        *if now == *after { &mut counts.new } else { &mut counts.old } += 1;
        // The same again, and nothing is left behind.
        match Work::Build.run(folder, &Said::to_nobody()) {
            Ok(()) => assert_eq!(now, *before),
            Err(error) => assert!(now == *after && error.to_string().contains("exists"), "{error}"),
        }
        assert!(Tree::of(folder) == *after, "{:?}", Tree::of(folder).names());
        assert_eq!(verified(&folder.join(OUT)), POINTS as usize);
    });
}

#[test]
fn a_killed_compaction_is_old_or_new() {
    kill_often(Work::Compact, &mut |&Left { folder, before, after, .. }, counts| {
        let mut now = Tree::of(folder);
        counts.left_behind += u32::from(now.sweep());
        if now.part(OUT).is_empty() {
            assert!(now == *before, "half of something: {:?}", now.names());
            counts.old += 1;
            Work::Compact.run(folder, &Said::to_nobody()).unwrap();
            assert!(Tree::of(folder) == *after, "{:?}", Tree::of(folder).names());
        } else {
            assert!(now.part(OUT) == after.part(OUT), "another segment");
            // Its sources are whole, or no segments any more.
            for source in SOURCES {
                let (was, is) = (before.part(source), now.part(source));
                let is_gone = !is.has(&format!("{source}/MANIFEST"));
                assert!(is == was || (is_gone && is.is_within(&was)), "{:?}", is.names());
            }
            *if now == *after { &mut counts.new } else { &mut counts.between } += 1;
        }
        assert_eq!(verified(&folder.join(OUT)), 2 * POINTS as usize);
    });
}

#[test]
fn a_killed_writer_of_tombstones_leaves_all_that_it_has_told_and_one_more_at_most() {
    kill_often(Work::Delete, &mut |Left { folder, before, said, .. }, counts| {
        let told = said.iter().filter(|(word, _)| word.parse::<u64>().is_ok()).count() as u64;
        let mut now = Tree::of(folder);
        counts.left_behind += u32::from(now.sweep());
        let dir = folder.join(SOURCES[0]);
        let index = Index::open(&dir, &OpenOptions::default()).unwrap();
        let dead = index.segment().deleted().map_or(0, |dead| dead.len() as u64);
        assert!(dead == told || dead == told + 1, "{dead} are deleted, and it has told of {told}");
        let is_first = |id: u64| {
            index.segment().place_of(id).is_none_or(|place| {
                index.segment().deleted().is_some_and(|dead| dead.contains(place))
            })
        };
        assert!((0..POINTS).all(|id| is_first(id) == (id < dead)), "these, and no others");
        *if dead == told { &mut counts.old } else { &mut counts.new } += 1;
        // The next writer is not held up, and leaves nothing of the last.
        ringpool::delete(&dir, &[dead.min(POINTS - 1), 0]).unwrap();
        let now = Tree::of(folder);
        assert!(!now.clone().sweep() && before.is_within(&now), "{:?}", now.names());
        drop(index);
    });
}

#[test]
fn a_killed_writer_of_outputs_leaves_each_whole() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    Work::Outputs.prepare(folder.path());
    let last = Tree::of(folder.path());
    kill_often(Work::Outputs, &mut |&Left { folder, before, after, .. }, counts| {
        assert!(*before == last && *after == last, "an even number of turns ends as it began");
        let mut now = Tree::of(folder);
        counts.left_behind += u32::from(now.sweep());
        let mut is_old = true;
        for name in OUTPUTS {
            let is_last = now.part(name) == last.part(name);
            is_old &= is_last;
            assert!(is_last || now.part(name) == first_outputs().part(name), "{name} is half");
        }
        *if is_old { &mut counts.old } else { &mut counts.new } += 1;
        // What reads them reads them.
        assert_eq!(vectors::read_ids(&folder.join(OUTPUTS[3])).unwrap().len(), 2000);
        assert_eq!(vectors::read(&folder.join(OUTPUTS[1])).unwrap().len() as u64, POINTS);
        fs::remove_dir_all(folder).unwrap();
        fs::create_dir(folder).unwrap();
    });
}

/// The outputs of the first turn, which the second replaces.
fn first_outputs() -> &'static Tree {
    static FIRST: std::sync::OnceLock<Tree> = std::sync::OnceLock::new();
    FIRST.get_or_init(|| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        write_outputs(folder.path(), 0).unwrap();
        Tree::of(folder.path())
    })
}

/// How many points a segment has, each page of which is as it was written.
fn verified(dir: &Path) -> usize {
    let mut bad =
        |name: &str, page, error: &ringpool::storage::Error| panic!("{name}, page {page}: {error}");
    let go_on = &mut |_, _| std::ops::ControlFlow::Continue(());
    let verified: Result<(), Error> =
        ringpool::verify(dir, ringpool::EngineChoice::Auto, go_on, &mut bad);
    verified.unwrap();
    Index::open(dir, &OpenOptions::default()).unwrap().segment().live_points()
}
