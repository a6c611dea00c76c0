//! `ringpool replay`: how well a pool would have done for a trace of page numbers that somebody
//! recorded, beside what LRU and the best possible choice would have.
//!
//! The requests go through the real pool, with its threads, hits and misses. Only the disk is not
//! there: each page is made up from its number, and checked when the pool hands it over.

mod reference;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use ringpool::bufferpool::{PageGuard, Policy, Pool, PoolFile, PoolOptions, Stats};
use ringpool::storage::{NumberedPages, PageNo, PageSize, PageSource};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::table;
use crate::trace::Trace;

/// Replay a trace of page numbers through the pool, beside LRU and the optimum
#[derive(Args)]
pub struct ReplayArgs {
    /// The trace: little-endian u32 page numbers, gzipped if the name ends in .gz
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,

    /// Frames of the pool, or their share of the pages that the trace names
    #[arg(long, value_name = "N|P%")]
    frames: FrameCount,

    /// Which pages are evicted: probation or clock
    #[arg(long, default_value_t, value_name = "NAME")]
    policy: Policy,

    /// Threads that the requests are dealt out to, one after another
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

/// How many frames: a number, or a share of the distinct pages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FrameCount {
    Frames(u32),
    Percent(f64),
}

impl FromStr for FrameCount {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.strip_suffix('%').map(str::parse::<f64>) {
            Some(Ok(percent)) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percent(percent)),
            Some(_) => Err("use a share above 0% and up to 100%".into()),
            None => match word.parse::<u32>() {
                Ok(frames) if frames > 0 => Ok(Self::Frames(frames)),
                _ => Err("use a number from 1, or a share as 10%".into()),
            },
        }
    }
}

impl FrameCount {
    /// How many of `distinct` pages there are frames for.
    fn of(self, distinct: u32) -> Result<u32, Failure> {
        match self {
            Self::Frames(frames) if frames > distinct => Err(Failure::new(format!(
                "{frames} frames hold all {distinct} pages of the trace, so that nothing is ever \
                 evicted; use --frames {distinct} or fewer"
            ))),
            Self::Frames(frames) => Ok(frames),
            Self::Percent(percent) => {
                Ok(((f64::from(distinct) * percent / 100.0).round() as u32).max(1))
            }
        }
    }
}

/// The JSON of a replay: its keys are a contract, in this order.
#[derive(Serialize)]
struct ReplayReport {
    requests: u64,
    /// Pages that the trace names.
    distinct: u64,
    frames: u64,
    policy: String,
    hits: u64,
    misses: u64,
    miss_ratio: f64,
    lru_miss_ratio: f64,
    opt_miss_ratio: f64,
    /// `None` where nothing was evicted.
    sweep_steps_per_eviction: Option<f64>,
}

/// As small as pages can be: only their numbers matter.
const PAGE_BYTES: u64 = 512;
/// After so many requests a thread looks up: at the bar, and whether it is to stop.
const LOOK_UP: usize = 1 << 14;

/// Runs the command.
pub fn execute(args: &ReplayArgs, console: &Console) -> Result<(), Failure> {
    let trace = Trace::read(&args.trace)?;
    let frames = args.frames.of(trace.distinct())?;
    let bar = console.bar();
    let stage = Stage { console, bar: &bar };
    let replayed =
        Rehearsal::new(&trace, frames, args.policy)?.replay(&trace, args.threads, &stage)?;
    let lru =
        reference::lru_misses(&trace, frames, &mut |done| stage.look_up("LRU", done, &trace))?;
    let opt =
        reference::opt_misses(&trace, frames, &mut |done| stage.look_up("OPT", done, &trace))?;
    drop(bar);
    let requests = trace.requests().len() as u64;
    let ratio = |misses: u64| misses as f64 / requests as f64;
    let (steps, evictions) = (replayed.sweep_steps, replayed.evictions);
    let report = ReplayReport {
        requests,
        distinct: trace.distinct().into(),
        frames: frames.into(),
        policy: args.policy.to_string(),
        hits: replayed.hits,
        misses: replayed.misses,
        miss_ratio: ratio(replayed.misses),
        lru_miss_ratio: ratio(lru),
        opt_miss_ratio: ratio(opt),
        sweep_steps_per_eviction: (evictions > 0).then(|| steps as f64 / evictions as f64),
    };
    console.show(&report, text)
}

/// Where the work shows how far it is, and learns that it is to stop.
struct Stage<'a> {
    console: &'a Console,
    bar: &'a Bar,
}

impl Stage<'_> {
    fn look_up(&self, what: &str, done: usize, trace: &Trace) -> Result<(), Failure> {
        self.bar.update(what, done as u64, trace.requests().len() as u64);
        self.console.interrupt.check()
    }
}

/// A pool with as many frames as asked for, and the pages of a trace to fill them with.
struct Rehearsal {
    file: PoolFile,
    frames: u32,
}

/// What the pool did.
struct Replayed {
    hits: u64,
    misses: u64,
    evictions: u64,
    sweep_steps: u64,
}

impl Rehearsal {
    fn new(trace: &Trace, frames: u32, policy: Policy) -> Result<Self, Failure> {
        let page_size = PageSize::new(PAGE_BYTES).map_err(|error| Failure::of(&error))?;
        // Behind the pages of the trace are those that hold the frames which nobody asked for.
        let pages = u64::from(trace.distinct()) + u64::from(Pool::MIN_FRAMES);
        let table_frames = (pages * size_of::<u64>() as u64).div_ceil(Pool::frame_bytes(page_size));
        let all_frames = u64::from(frames.max(Pool::MIN_FRAMES)) + table_frames;
        let memory_bytes = all_frames * Pool::frame_bytes(page_size);
        // The number of frames is what is asked for, all the time.
        let rest = PoolOptions { whole_tables: true, ..PoolOptions::default() };
        let options = PoolOptions { memory_bytes, page_size, policy, ..rest };
        let pool = Pool::new(&options).map_err(|error| Failure::of(&error))?;
        let device = Arc::new(NumberedPages::new("the trace", page_size, pages));
        let file = pool.attach(device, None).map_err(|error| Failure::of(&error))?;
        Ok(Self { file, frames })
    }

    /// Pins the frames that the pool has beyond those asked for: it has a least number.
    fn pin_the_rest(&self, trace: &Trace) -> Result<Vec<PageGuard<'_>>, Failure> {
        let stats = self.file.pool().stats();
        let usable = (stats.frames - stats.retired) as u64;
        let rest = usable.checked_sub(self.frames.into()).ok_or_else(|| {
            Failure::new(format!("a pool of {usable} frames was made for {}", self.frames))
        })?;
        let first = u64::from(trace.distinct());
        let pinned = (first..first + rest).map(|page| self.file.pin(PageNo(page)));
        pinned.collect::<Result<_, _>>().map_err(|error| Failure::of(&error))
    }

    /// Deals the requests out to `threads` threads, in order: each takes the next.
    fn replay(&self, trace: &Trace, threads: u16, stage: &Stage<'_>) -> Result<Replayed, Failure> {
        let _pinned = self.pin_the_rest(trace)?;
        let before = self.file.pool().stats();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let work = || requests(&self.file, trace, &next, stage);
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let ours = work();
            let ended = others.into_iter().map(|other| match other.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.fold(ours, Result::and)
        })?;
        Ok(Replayed::between(&before, &self.file.pool().stats()))
    }
}

/// Makes the next request, and the next, until there is none left.
fn requests(
    file: &PoolFile,
    trace: &Trace,
    next: &AtomicUsize,
    stage: &Stage<'_>,
) -> Result<(), Failure> {
    let all = trace.requests();
    let mut done = 0_usize;
    loop {
        // Relaxed: only distinct numbers are wanted.
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(&page) = all.get(index) else {
            return Ok(());
        };
        let result = ask(file, PageNo(page.into())).and_then(|()| {
            done += 1;
            if done.is_multiple_of(LOOK_UP) { stage.look_up("pool", index, trace) } else { Ok(()) }
        });
        if result.is_err() {
            next.store(all.len(), Ordering::Relaxed); // The others need not go on.
            return result;
        }
    }
}

/// Asks the pool for `page`, and looks whether it is that one.
fn ask(file: &PoolFile, page: PageNo) -> Result<(), Failure> {
    let mut is_right = false;
    file.visit(&[page], &mut |_, bytes| is_right = NumberedPages::is_page(bytes, page))
        .map_err(|error| Failure::of(&error))?;
    if is_right {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the pool handed over other bytes than those of page {page}; this is a fault of the pool: \
         please report it with the trace"
    )))
}

impl Replayed {
    fn between(before: &Stats, after: &Stats) -> Self {
        Self {
            hits: after.hits - before.hits,
            misses: after.misses - before.misses,
            evictions: after.evictions - before.evictions,
            sweep_steps: after.sweep_steps - before.sweep_steps,
        }
    }
}

fn text(report: &ReplayReport) -> String {
    let percent = |ratio: f64| format!("{:.2} %", 100.0 * ratio);
    let row = |name: &str, ratio: f64, steps: Option<f64>| {
        let misses = table::count((ratio * report.requests as f64).round() as u64);
        let steps = table::or_dash(steps.map(|steps| format!("{steps:.2}")));
        vec![name.to_owned(), percent(ratio), misses, steps]
    };
    let rows = [
        row(&report.policy, report.miss_ratio, report.sweep_steps_per_eviction),
        row("LRU", report.lru_miss_ratio, None),
        row("OPT", report.opt_miss_ratio, None),
    ];
    format!(
        "{} requests for {} pages, {} frames\n{}",
        table::count(report.requests),
        table::count(report.distinct),
        table::count(report.frames),
        table::columns(&["policy", "miss ratio", "misses", "steps an eviction"], 1..4, &rows)
    )
}

#[cfg(test)]
mod tests {
    use ringpool::storage::{Fault, FaultyDevice};

    use super::*;

    #[test]
    fn frames_are_a_number_or_a_share() {
        for (word, frames) in [("1", 1), ("200", 200), ("10%", 20), ("100%", 200), ("0.1%", 1)] {
            assert_eq!(word.parse::<FrameCount>().unwrap().of(200).unwrap(), frames, "{word}");
        }
        for word in ["", "0", "-1", "1.5", "many", "0%", "-1%", "100.1%", "NaN%", "inf%", "%"] {
            assert!(word.parse::<FrameCount>().is_err(), "{word}");
        }
        assert!(FrameCount::Frames(201).of(200).is_err());
    }

    #[test]
    fn another_page_than_the_one_asked_for_is_a_failure() {
        let size = PageSize::new(PAGE_BYTES).unwrap();
        let pages = Arc::new(NumberedPages::new("pages", size, 100));
        let wrong = |_, page: PageNo| (page.0 == 7).then_some(Fault::Misdirected(PageNo(8)));
        let options = PoolOptions { memory_bytes: 1 << 20, page_size: size, ..Default::default() };
        let pool = Pool::new(&options).unwrap();
        let file = pool.attach(Arc::new(FaultyDevice::new(pages, wrong)), None).unwrap();
        for page in (0..100).map(PageNo) {
            assert_eq!(ask(&file, page).is_err(), page.0 == 7, "page {page}");
        }
    }
}
