//! The works that are killed, each done by a process of its own in a folder that it is given.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ringpool::bufferpool::{HotSet, Pool, PoolOptions};
use ringpool::storage::{FileKey, MemoryDevice, MemorySource, PageNo, PageSize};
use ringpool::{
    Attached, BuildOptions, Compaction, Error, GivenIds, Phase, Progress, Vectors, build_with,
    vectors,
};

pub const OUT: &str = "out";
pub const SOURCES: [&str; 2] = ["a", "b"];
pub const POINTS: u64 = 400;
const DIM: usize = 8;

const WORK: &str = "RINGPOOL_TEST_CRASH_WORK";
const FOLDER: &str = "RINGPOOL_TEST_CRASH_FOLDER";

/// Said when the work begins, and when the first byte of a result is about to be written.
pub const BEGINS: &str = "begins";
pub const WRITES: &str = "writes";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Builds a segment in `out`.
    Build,
    /// Makes `out` of two segments, and removes them.
    Compact,
    /// Deletes one point after the other from `a`, and says which are deleted.
    Delete,
    /// Replaces a hot set, a file of ids and one of vectors, each by another and back again.
    Outputs,
}

impl Work {
    const ALL: [Self; 4] = [Self::Build, Self::Compact, Self::Delete, Self::Outputs];

    /// What is there before.
    pub fn prepare(self, folder: &Path) {
        let sources = match self {
            Self::Build => &[],
            Self::Compact => &SOURCES[..],
            Self::Delete => &SOURCES[..1],
            Self::Outputs => return (0..2).for_each(|turn| write_outputs(folder, turn).unwrap()),
        };
        for (number, name) in (0..).zip(sources) {
            let dir = folder.join(name);
            let ids = Attached::from(GivenIds::From(number * POINTS));
            build_with(&points(number), &ids, &dir, &options(), &ringpool::NoProgress).unwrap();
        }
    }

    /// Does it, and says how far it is.
    pub fn run(self, folder: &Path, said: &Said) -> Result<(), Error> {
        let out = folder.join(OUT);
        match self {
            Self::Build => {
                let ids = Attached::from(GivenIds::From(0));
                build_with(&points(7), &ids, &out, &options(), said)
                    .map_err(|error| Error::Compact(error.into()))?;
            }
            Self::Compact => {
                let sources = SOURCES.map(|name| folder.join(name));
                let compaction = Compaction::new(&sources)?;
                compaction.build(&out, &compaction.options(), said)?;
                compaction.remove_sources()?;
            }
            Self::Delete => {
                for id in 0..POINTS / 4 {
                    ringpool::delete(folder.join(SOURCES[0]), &[id])?;
                    said.line(&format!("{id}"));
                }
            }
            Self::Outputs => (0..20).try_for_each(|turn| write_outputs(folder, turn))?,
        }
        Ok(())
    }

    /// A process that does it in `folder`.
    pub fn command(self, folder: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::the_child", "--nocapture", "--test-threads=1"]);
        command.env(WORK, format!("{self:?}")).env(FOLDER, folder);
        command
    }
}

/// Says how far the work is, to who may kill it.
pub struct Said {
    is_heard: bool,
    writes: AtomicBool,
}

impl Said {
    pub fn to_nobody() -> Self {
        Self { is_heard: false, writes: AtomicBool::new(false) }
    }

    fn line(&self, line: &str) {
        if self.is_heard {
            let mut out = io::stdout().lock();
            // One write, so that who is killed has said all of it or nothing.
            out.write_all(format!("\n:{line}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }
}

impl Progress for Said {
    fn report(&self, phase: Phase, _: u64, _: u64) -> ControlFlow<()> {
        if phase == Phase::Write && !self.writes.swap(true, Ordering::Relaxed) {
            self.line(WRITES);
        }
        ControlFlow::Continue(())
    }
}

pub fn points(seed: u64) -> Vectors {
    let value = |i: u64| ((i * i * 31 + i * (7 + seed)) % 1009) as f32;
    let values = (0..POINTS * DIM as u64).map(|i| value(seed * 12_345 + i));
    Vectors::from_f32(DIM, values.collect()).unwrap()
}

fn options() -> BuildOptions {
    BuildOptions { m: 6, ef_construction: 40, threads: 1, ..BuildOptions::default() }
}

/// Each of these is one of two, and is replaced by the other.
pub const OUTPUTS: [&str; 4] = ["pages.hot", "rows.npy", "ids.ivecs", "ids.npy.gz"];

/// Writes all of them as they are in this turn.
pub fn write_outputs(folder: &Path, turn: u64) -> Result<(), Error> {
    OUTPUTS.iter().try_for_each(|name| {
        write_output(folder, name, turn).map_err(|error| panic!("{name}: {error}"))
    })
}

/// Writes one of them.
pub fn write_output(
    folder: &Path,
    name: &str,
    turn: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let path = folder.join(name);
    if name == OUTPUTS[0] {
        static HOT_SETS: OnceLock<[HotSet; 2]> = OnceLock::new();
        let hot_sets = HOT_SETS.get_or_init(|| [0, 1].map(hot_set));
        return Ok(hot_sets[(turn % 2) as usize].write(path)?);
    }
    if name == OUTPUTS[1] {
        let rows = points(turn % 2);
        let mut file = vectors::RowWriter::create(&path, rows.element(), DIM, POINTS)?;
        file.write(&rows)?;
        return Ok(file.publish()?);
    }
    let ids: Vec<Vec<u64>> = (0..2000).map(|row| vec![row + turn % 2; 8]).collect();
    Ok(vectors::write_ids(&path, &ids)?)
}

/// Of a pool that holds the even pages of a file, or the odd ones.
fn hot_set(odd: u64) -> HotSet {
    let pages = 3_000;
    let bytes = vec![0; pages as usize * 4096];
    let source = MemorySource::new("pages", PageSize::KIB_4, bytes).unwrap();
    let options = PoolOptions { memory_bytes: 16 << 20, ..PoolOptions::default() };
    let file =
        Pool::new(&options).unwrap().attach(Arc::new(MemoryDevice::new(source)), None).unwrap();
    for page in (odd..pages).step_by(9) {
        drop(file.pin(PageNo(page)).unwrap());
    }
    file.hot_set(FileKey(7))
}

/// In a process of its own; does nothing otherwise.
#[test]
fn the_child() {
    let (Ok(work), Some(folder)) = (std::env::var(WORK), std::env::var_os(FOLDER)) else { return };
    let work = Work::ALL.into_iter().find(|one| format!("{one:?}") == work).unwrap();
    let said = Said { is_heard: true, writes: AtomicBool::new(false) };
    said.line(BEGINS);
    work.run(&PathBuf::from(folder), &said).unwrap();
}
