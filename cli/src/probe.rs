//! `ringpool probe`: what a disk gives at each queue depth, read by the very engine that a pool
//! reads with, and which way that engine has found to read it.
//!
//! `subject` is the file, `load` keeps a number of random reads of it going, `ladder` does so at
//! each depth and then lets the engine choose, `lone` compares single reads with pread, `limits`
//! says what the kernel allows, `advice` what follows from all that, and `text` prints it.

mod advice;
mod ladder;
mod limits;
mod load;
mod lone;
mod pages;
mod stopwatch;
mod subject;
mod text;
mod watch;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Args;
use ringpool::EngineChoice;
use ringpool::storage::PageSize;
use ringpool::uring::{DirectIo, EngineOptions, OpenedFile, Rung};
use serde::{Serialize, Serializer};

use crate::console::Console;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::options;

use advice::Advice;
use ladder::Adapted;
pub use ladder::Step;
use limits::Limits;
use load::Load;
use lone::LoneRead;
use pages::RandomPages;
use subject::Subject;
use watch::Watch;

/// Measure what a disk gives at each queue depth, and how it is read
#[derive(Args)]
pub struct ProbeArgs {
    /// A file of whole pages, or a folder to make a temporary file in
    path: PathBuf,

    /// How long each depth is measured
    #[arg(long, default_value_t = 2.0, value_name = "N", value_parser = seconds)]
    seconds: f64,

    /// What pages are read with: auto, uring or blocking
    #[arg(long, default_value = "auto")]
    engine: EngineChoice,

    /// Size of a page: a power of two from 4KiB to 64KiB
    #[arg(long, default_value = "4KiB", value_name = "BYTES", value_parser = page_size)]
    page_size: PageSize,

    /// The deepest step of the ladder: a power of two
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = max_depth)]
    max_depth: u32,

    /// Size of the temporary file, where PATH is a folder
    #[arg(long, default_value = "1GiB", value_name = "BYTES", value_parser = options::byte_count)]
    file_size: u64,
}

/// Longer is a slip of the hand.
const MAX_SECONDS: f64 = 3600.0;

/// What was found: the JSON object, whose first seven keys are a contract.
#[derive(Serialize, Debug)]
struct Findings {
    #[serde(flatten)]
    access: Access,
    knee_depth: u32,
    ladder: Vec<Step>,
    /// What the engine does by itself; null for the blocking one, which has nothing to adapt.
    adapted: Option<Adapted>,
    lone_read: LoneRead,
    advice: String,
    /// What would get it a better rung; null at the best one, and where nothing is known to.
    lift: Option<String>,
    path: PathBuf,
    /// Whether the file was made in the folder `path`, and removed.
    temporary_file: bool,
    file_bytes: u64,
    page_size_bytes: u64,
    seconds: f64,
    #[serde(flatten)]
    limits: Limits,
    #[serde(flatten)]
    machine: Machine,
}

/// How the file is read, by what the engine says of it.
#[derive(Serialize, Debug)]
struct Access {
    #[serde(serialize_with = "in_words")]
    rung: Rung,
    reason: String,
    /// Of the engine's; that of all findings is among the advice.
    #[serde(skip)]
    lift: Option<String>,
    direct_io: bool,
    /// Null where the filesystem does not say.
    dio_mem_align: Option<u32>,
    dio_offset_align: Option<u32>,
}

impl Access {
    fn of(opened: &OpenedFile) -> Self {
        Self {
            rung: opened.rung,
            reason: opened.reason.clone(),
            lift: opened.lift.clone(),
            direct_io: opened.direct_io == DirectIo::Yes,
            dio_mem_align: opened.dio_align.map(|align| align.memory_bytes),
            dio_offset_align: opened.dio_align.map(|align| align.offset_bytes),
        }
    }
}

/// Runs the command.
pub fn execute(args: &ProbeArgs, console: &Console) -> Result<(), Failure> {
    let subject = Subject::at(&args.path, args.page_size, args.file_size, console)?;
    let findings = probe(args, &subject, console)?;
    console.show(&findings, text::of)
}

fn probe(args: &ProbeArgs, subject: &Subject, console: &Console) -> Result<Findings, Failure> {
    let mut options = EngineOptions::default();
    (options.choice, options.max_in_flight) = (args.engine, args.max_depth);
    let mut watch = Watch::new(console, ladder::seconds(args.max_depth, args.seconds));

    watch.begins("seconds, lone reads");
    let mut load = Load::start(subject, options)?;
    let (access, page_count) = (Access::of(&load.opened), load.opened.device.page_count());
    let mut pages = RandomPages::of(page_count);
    let lone_read = lone::compare(subject, &mut load, &mut pages, args.seconds, &watch)?;
    drop(load); // With its ring and memory: each depth has its own.

    let mut ladder = Vec::new();
    for depth in ladder::depths(args.max_depth) {
        watch.begins(&format!("seconds, depth {depth}"));
        let mut fixed = options;
        (fixed.max_in_flight, fixed.adapts) = (depth, false);
        ladder.push(Step::measure(subject, fixed, &mut pages, args.seconds, &watch)?);
    }
    watch.begins("seconds, adapting");
    let adapted = match access.rung.is_ring() {
        true => Some(Adapted::measure(subject, options, &mut pages, args.seconds, &watch)?),
        false => None,
    };
    let page_size_bytes = args.page_size.bytes() as u64;
    let file_bytes = page_count * page_size_bytes;
    let limits = Limits::now();
    let advice = Advice { access: &access, ladder: &ladder, choice: args.engine, lone_read };
    Ok(Findings {
        knee_depth: ladder::knee(&ladder).queue_depth,
        advice: advice.text(file_bytes),
        lift: advice.lift(),
        access,
        ladder,
        adapted,
        lone_read,
        path: args.path.clone(),
        temporary_file: subject.is_temporary(),
        file_bytes,
        page_size_bytes,
        seconds: args.seconds,
        limits,
        machine: Machine::with_files_at(&args.path),
    })
}

/// How long a depth is measured where the ladder is not what somebody asked for.
const SHORT_SECONDS: f64 = 0.25;

/// The deepest step of that ladder.
const SHORT_DEPTH: u32 = 128;

/// What the disk under a file of pages gives at each depth, in a few seconds.
pub fn ladder_of(
    file: &Path,
    page_size: PageSize,
    console: &Console,
) -> Result<Vec<Step>, Failure> {
    let subject = Subject::at(file, page_size, 0, console)?;
    let mut options = EngineOptions::default();
    options.max_in_flight = SHORT_DEPTH;
    let page_count = Load::start(&subject, options)?.opened.device.page_count();
    let mut pages = RandomPages::of(page_count);
    let watch = Watch::new(console, ladder::seconds(SHORT_DEPTH, SHORT_SECONDS));
    let mut ladder = Vec::new();
    for depth in ladder::depths(SHORT_DEPTH) {
        (options.max_in_flight, options.adapts) = (depth, false);
        ladder.push(Step::measure(&subject, options, &mut pages, SHORT_SECONDS, &watch)?);
    }
    Ok(ladder)
}

/// Serializes what has a name for scripts.
fn in_words<S: Serializer>(word: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(word)
}

fn seconds(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_SECONDS => Ok(seconds),
        _ => Err(format!("use a decimal above 0, and at most {MAX_SECONDS}")),
    }
}

/// Smaller pages are possible, and direct reads of them on few disks.
fn page_size(word: &str) -> Result<PageSize, String> {
    let size = options::page_size(word)?;
    match size.bytes() >= PageSize::KIB_4.bytes() {
        true => Ok(size),
        false => Err("use a power of two from 4KiB to 64KiB".into()),
    }
}

fn max_depth(word: &str) -> Result<u32, String> {
    match word.parse::<u32>() {
        Ok(depth) if depth.is_power_of_two() && depth <= EngineOptions::MAX_IN_FLIGHT => Ok(depth),
        _ => Err(format!("use a power of two, and at most {}", EngineOptions::MAX_IN_FLIGHT)),
    }
}
