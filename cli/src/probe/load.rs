//! Random reads of one file, so many at once, and what they take.
//!
//! The ring is offered more reads than it may have in flight, so that its depth is always used to
//! the full. The blocking engine has no depth of its own: there the buffer holds just so many
//! reads. Reads go on from one visit to the next, also from the ramp to what is measured: nothing
//! is drained, as that would be time with fewer reads.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ringpool::storage::{Error, PageDevice, PageNo, ReadBuffer};
use ringpool::uring::{Counters, Engine, EngineOptions, Latencies, OpenedFile};
use serde::Serialize;

use crate::failure::Failure;
use crate::process;

use super::pages::RandomPages;
use super::stopwatch::Stopwatch;
use super::subject::Subject;
use super::watch::Watch;

/// Between two looks at Ctrl-C and the bar.
const STRETCH: Duration = Duration::from_millis(250);

/// Reads offered beyond twice the depth, so that a shallow ring never runs dry either.
const SPARE_READS: u32 = 64;

/// Between two looks at the engine's depth, in reads.
const DEPTH_READS: usize = 64;

/// What reads took, of those that landed in a time.
#[derive(Serialize, Clone, Copy, Debug, Default)]
pub struct Figures {
    pub iops: f64,
    /// From the submission to the kernel to the look at the completion; for the blocking engine
    /// from the submission to the engine to the arrival.
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Of all threads of this process.
    pub cpu_us_per_read: f64,
    /// 1 for the blocking engine. Null where no system call was counted.
    pub reads_per_syscall: Option<f64>,
}

/// An engine of its own, the file, and memory for the reads.
pub struct Load<'a> {
    subject: &'a Subject,
    engine: Engine,
    pub opened: OpenedFile,
    buffer: ReadBuffer,
    slots: u32,
    depth: u32,
    pub registered_memory: bool,
    /// Where the engine keeps no latencies.
    stopwatch: Option<Stopwatch>,
}

impl<'a> Load<'a> {
    /// Starts an engine and opens the file with it.
    pub fn start(subject: &'a Subject, options: EngineOptions) -> Result<Self, Failure> {
        let engine = Engine::start(options).map_err(|error| Failure::of(&error))?;
        let opened = subject.open(&engine)?;
        let (depth, is_ring) = (options.max_in_flight, opened.rung.is_ring());
        let slots = if is_ring { 2 * depth + SPARE_READS } else { depth };
        let buffer = ReadBuffer::new(slots, subject.page_size);
        let registered_memory = buffer.register(&*opened.device);
        let stopwatch = (!is_ring).then(|| Stopwatch::new(opened.device.clone())).transpose()?;
        Ok(Self { subject, engine, opened, buffer, slots, depth, registered_memory, stopwatch })
    }

    /// Reads one page and waits for it.
    pub fn read(&mut self, page: PageNo) -> Result<(), Failure> {
        let each = |_, page: &[u8]| _ = black_box(page);
        let read = self.buffer.visit(&*self.opened.device, &[page], each);
        read.map_err(|error| self.subject.failed(&error))
    }

    /// Keeps the engine busy for `ramp_seconds`, and then for as long as is measured. Returns with
    /// the figures the depth that was in force, at the median over the reads.
    ///
    /// A disk that needs longer than that for a round of reads gets the time that it needs.
    pub fn run(
        &mut self,
        pages: &mut RandomPages,
        ramp_seconds: f64,
        seconds: f64,
        watch: &Watch,
    ) -> Result<(Figures, u32), Failure> {
        let began = Instant::now();
        let round = &pages.ahead()[..self.depth as usize];
        let read = self.buffer.visit(&*self.opened.device, round, |_, _| {});
        read.map_err(|error| self.subject.failed(&error))?;
        pages.skip(self.depth as usize);
        let round = began.elapsed();
        let time = |seconds| Duration::from_secs_f64(seconds).max(round);

        self.keep_busy(pages, time(ramp_seconds), watch)?;
        self.stopwatch.as_ref().map(Stopwatch::take_latencies);
        let before = Tally::of(&self.engine);
        let mut depths = self.keep_busy(pages, time(seconds), watch)?;
        let after = Tally::of(&self.engine);
        let figures = self.figures(&before, &after)?;
        Ok((figures, median(&mut depths).unwrap_or(self.depth)))
    }

    /// Reads for a time, and leaves the last reads in flight. Returns the engine's depth now and
    /// then.
    fn keep_busy(
        &mut self,
        pages: &mut RandomPages,
        time: Duration,
        watch: &Watch,
    ) -> Result<Vec<u32>, Failure> {
        let Self { engine, opened, buffer, stopwatch, .. } = self;
        let stopwatch = stopwatch.as_ref();
        let device: &dyn PageDevice = match stopwatch {
            Some(stopwatch) => stopwatch,
            None => &*opened.device,
        };
        let (mut depths, end) = (Vec::new(), Instant::now() + time);
        while Instant::now() < end {
            watch.look()?;
            stopwatch.inspect(|stopwatch| stopwatch.begin_visit());
            let mut arrived = 0;
            let each = |i, _: &[u8]| {
                stopwatch.inspect(|stopwatch| stopwatch.arrived(i));
                arrived += 1;
                if arrived % DEPTH_READS == 0 {
                    depths.push(engine.counters().depth);
                }
            };
            let deadline = end.min(Instant::now() + STRETCH);
            match buffer.visit_until(device, pages.ahead(), deadline, each) {
                // What is still in flight was offered as well.
                Ok(()) | Err(Error::TimedOut { .. }) => pages.skip(arrived + self.slots as usize),
                Err(error) => return Err(self.subject.failed(&error)),
            }
        }
        Ok(depths)
    }

    /// What has happened between two tallies.
    fn figures(&self, before: &Tally, after: &Tally) -> Result<Figures, Failure> {
        let elapsed = after.at - before.at;
        let reads = (after.counters.reads - before.counters.reads) as f64;
        if reads == 0.0 {
            return Err(self.subject.silent(elapsed));
        }
        let enters = (after.counters.enters - before.counters.enters) as f64;
        let per_enter = (enters > 0.0).then(|| reads / enters);
        let ([mean_us, p50_us, p99_us], reads_per_syscall) = match &self.stopwatch {
            Some(stopwatch) => {
                let latency_ns = stopwatch.take_latencies();
                let at = |share| latency_ns.value_at_quantile(share) as f64;
                ([latency_ns.mean(), at(0.5), at(0.99)].map(|ns| ns / 1e3), Some(1.0))
            }
            None => (after.latency_us_since(before), per_enter),
        };
        let cpu_us_per_read = (after.cpu_seconds - before.cpu_seconds) * 1e6 / reads;
        let iops = reads / elapsed.as_secs_f64();
        Ok(Figures { iops, mean_us, p50_us, p99_us, cpu_us_per_read, reads_per_syscall })
    }
}

/// What was counted until a moment.
struct Tally {
    at: Instant,
    cpu_seconds: f64,
    counters: Counters,
    latencies: Option<Latencies>,
}

impl Tally {
    fn of(engine: &Engine) -> Self {
        let (latencies, counters) = (engine.latencies(), engine.counters());
        Self { at: Instant::now(), cpu_seconds: process::cpu_seconds(), counters, latencies }
    }

    /// Mean, median and 99th percentile; zeros of an engine that keeps none.
    fn latency_us_since(&self, earlier: &Self) -> [f64; 3] {
        let (Some(earlier), Some(now)) = (&earlier.latencies, &self.latencies) else {
            return [0.0; 3];
        };
        let those = now.since(earlier);
        [those.mean_us(), those.quantile_us(0.5), those.quantile_us(0.99)]
    }
}

/// The middle one, if there is one.
pub fn median<T: Ord + Copy>(values: &mut [T]) -> Option<T> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}
