//! The pool beside what one would use instead: a mapping, a published concurrent cache, and the
//! pool that one would write first, with one lock and with sixteen. All hold the same pages.
//!
//! ```sh
//! cargo bench --bench contestants                        # criterion, one contestant after the other
//! cargo bench --bench contestants -- --interleaved       # taking turns: the ratios to quote
//! ```
//!
//! `hit`, `batch` and `chain` are over pages that are all in memory, by one thread; `two threads`
//! has two of them on 64 hot pages and on all; `eviction` has room for a tenth of the pages, so that
//! nine looks of ten miss, and reads from memory, so that no disk is in the figures. The mapping is
//! not in that one: it has nothing that it could evict from.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use ringpool::bufferpool::PoolFile;
use ringpool::storage::{MemorySource, PageNo};

use setup::chained::{self, PAGE};
use setup::contestants::{
    Contestant, Mapping, PoolGuard, PoolReader, PoolVisit, QuickCache, Task, pooled,
};
use setup::locked_pool::LockedPool;
use setup::{choices, interleaved, run};

mod setup {
    pub mod chained;
    pub mod choices;
    pub mod contestants;
    pub mod interleaved;
    pub mod locked_pool;
    pub mod run;
}

/// 256 MiB: far past every cache, and past what a TLB covers in small pages.
const PAGES: usize = 65_536;
/// 8 MiB, to see that it works.
const FEW_PAGES: usize = 2_048;
/// Pages that two threads fight for.
const HOT_PAGES: u64 = 64;
/// Pages of the file for each frame, where there is eviction.
const PAGES_PER_FRAME: usize = 10;
/// Pages in a pass.
const PASS: usize = 4_096;
/// Passes drawn: more pages than any predictor remembers.
const PASSES: usize = 64;
/// Passes in one turn of a contestant, when they take turns.
const PASSES_A_TURN: usize = 16;
const THREADS: usize = 2;
const SHARDS: usize = 16;

/// One table of contestants, and what they have to do.
struct Contest {
    name: String,
    task: Task,
    threads: usize,
    drawn: Vec<PageNo>,
    contestants: Arc<Vec<Box<dyn Contestant>>>,
}

fn main() {
    let contests = contests(if run::is_measured() { PAGES } else { FEW_PAGES });
    if std::env::args().any(|argument| argument == "--interleaved") {
        println!("| contest | contestant | ns a page | to mmap or the first | least to most |");
        println!("|---|---|---:|---:|---:|");
        contests.iter().for_each(Contest::interleave);
        return;
    }
    let mut criterion = run::criterion(20, Duration::from_secs(1)).configure_from_args();
    contests.iter().for_each(|contest| contest.bench(&mut criterion));
    criterion.final_summary();
}

fn contests(pages: usize) -> Vec<Contest> {
    let bytes = chained::pages(pages);
    let source = MemorySource::new("memory", PAGE, bytes.clone()).expect("whole pages");
    let bytes: Arc<[u8]> = bytes.into();
    let resident = resident(&bytes, &source);
    let evicting = evicting(&bytes, &source);
    let all = choices::uniform(pages as u64, PASSES * PASS);
    let hot = choices::uniform(HOT_PAGES, PASSES * PASS);
    let contest = |name: &str, task, threads, drawn: &[PageNo], contestants: &Arc<_>| Contest {
        name: name.into(),
        task,
        threads,
        drawn: drawn.to_vec(),
        contestants: Arc::clone(contestants),
    };
    vec![
        contest("hit", Task::Single, 1, &all, &resident),
        contest("batch of 16", Task::Batch, 1, &all, &resident),
        contest("chain", Task::Chain, 1, &all, &resident),
        contest("one thread, 64 hot", Task::Single, 1, &hot, &resident),
        contest("two threads, 64 hot", Task::Single, THREADS, &hot, &resident),
        contest("two threads, all", Task::Single, THREADS, &all, &resident),
        contest("eviction", Task::Single, 1, &all, &evicting),
        contest("eviction, batch of 16", Task::Batch, 1, &all, &evicting),
    ]
}

/// Everything in memory, once for each way to hold it. The mapping first: ratios are to it.
fn resident(bytes: &Arc<[u8]>, source: &MemorySource) -> Arc<Vec<Box<dyn Contestant>>> {
    let pages = bytes.len() / PAGE.bytes();
    let pool = pooled(source, pages as u64);
    let contestants: Vec<Box<dyn Contestant>> = vec![
        Box::new(Mapping::of(bytes)),
        Box::new(PoolReader(pool.clone())),
        Box::new(PoolGuard(pool.clone())),
        Box::new(PoolVisit(pool)),
        // Twice the room: none of its shards is to run full.
        Box::new(QuickCache::new(bytes, 2 * pages)),
        Box::new(LockedPool::new(bytes, pages, 1)),
        Box::new(LockedPool::new(bytes, pages, SHARDS)),
    ];
    let all: Vec<PageNo> = (0..pages as u64).map(PageNo).collect();
    let sums: Vec<u64> = contestants.iter().map(|one| one.pass(Task::Single, &all)).collect();
    assert!(sums.iter().all(|&sum| sum == sums[0]), "all see the same pages");
    Arc::new(contestants)
}

/// Room for a tenth of the pages, each contestant with a pool of its own.
fn evicting(bytes: &Arc<[u8]>, source: &MemorySource) -> Arc<Vec<Box<dyn Contestant>>> {
    let room = bytes.len() / PAGE.bytes() / PAGES_PER_FRAME;
    let pool = || -> Arc<PoolFile> { pooled(source, room as u64) };
    Arc::new(vec![
        Box::new(PoolVisit(pool())) as Box<dyn Contestant>,
        Box::new(PoolGuard(pool())),
        Box::new(PoolReader(pool())),
        Box::new(QuickCache::new(bytes, room)),
        Box::new(LockedPool::new(bytes, room, 1)),
        Box::new(LockedPool::new(bytes, room, SHARDS)),
    ])
}

impl Contest {
    fn bench(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(&self.name);
        group.throughput(Throughput::Elements((PASS * self.threads) as u64));
        for contestant in &*self.contestants {
            let id = BenchmarkId::from_parameter(contestant.name());
            group.bench_function(id, |b| {
                b.iter_custom(|passes| self.time(&**contestant, passes as usize));
            });
        }
        group.finish();
    }

    fn interleave(&self) {
        let turns: Vec<_> = self
            .contestants
            .iter()
            .map(|contestant| (contestant.name(), || self.time(&**contestant, PASSES_A_TURN)))
            .collect();
        let turns: Vec<(&str, &dyn Fn() -> Duration)> =
            turns.iter().map(|(name, turn)| (*name, turn as &dyn Fn() -> Duration)).collect();
        let looks = PASSES_A_TURN * PASS * self.threads;
        interleaved::compare(&self.name, &turns, looks as u64);
    }

    /// How long `passes` passes take on each thread: all begin together, the last one counts.
    fn time(&self, contestant: &dyn Contestant, passes: usize) -> Duration {
        let run = |thread: usize| {
            let chunks = self.drawn.chunks(PASS).cycle().skip(thread * PASSES / self.threads);
            let mut last = 0;
            for pass in chunks.take(passes) {
                last = contestant.pass(self.task, black_box(pass));
            }
            black_box(last);
        };
        if self.threads == 1 {
            let begun = Instant::now();
            run(0);
            return begun.elapsed();
        }
        let (start, end) = (Barrier::new(self.threads + 1), Barrier::new(self.threads + 1));
        thread::scope(|scope| {
            for thread in 0..self.threads {
                let (run, start, end) = (&run, &start, &end);
                scope.spawn(move || {
                    start.wait();
                    run(thread);
                    end.wait();
                });
            }
            start.wait();
            let begun = Instant::now();
            end.wait();
            begun.elapsed()
        })
    }
}
