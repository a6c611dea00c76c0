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
use setup::holders::{Holder, Mapping, PoolGuard, PoolReader, PoolVisit, QuickCache, Task, pooled};
use setup::locked_pool::LockedPool;
use setup::rounds::{Contestant, table};
use setup::{choices, run};

mod setup {
    pub mod chained;
    pub mod choices;
    pub mod holders;
    pub mod locked_pool;
    pub mod mapping;
    pub mod rounds;
    pub mod run;
    pub mod spread;
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
const ROUNDS: usize = 11;
const THREADS: usize = 2;
const SHARDS: usize = 16;

/// Those who hold the pages, and what they have to do.
struct Contest {
    name: String,
    task: Task,
    threads: usize,
    drawn: Vec<PageNo>,
    holders: Arc<Vec<Box<dyn Holder>>>,
}

fn main() {
    let contests = contests(if run::is_measured() { PAGES } else { FEW_PAGES });
    if std::env::args().any(|argument| argument == "--interleaved") {
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
    let contest = |name: &str, task, threads, drawn: &[PageNo], holders: &Arc<_>| Contest {
        name: name.into(),
        task,
        threads,
        drawn: drawn.to_vec(),
        holders: Arc::clone(holders),
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
fn resident(bytes: &Arc<[u8]>, source: &MemorySource) -> Arc<Vec<Box<dyn Holder>>> {
    let pages = bytes.len() / PAGE.bytes();
    let pool = pooled(source, pages as u64);
    let holders: Vec<Box<dyn Holder>> = vec![
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
    let sums: Vec<u64> = holders.iter().map(|one| one.pass(Task::Single, &all)).collect();
    assert!(sums.iter().all(|&sum| sum == sums[0]), "all see the same pages");
    Arc::new(holders)
}

/// Room for a tenth of the pages, each contestant with a pool of its own.
fn evicting(bytes: &Arc<[u8]>, source: &MemorySource) -> Arc<Vec<Box<dyn Holder>>> {
    let room = bytes.len() / PAGE.bytes() / PAGES_PER_FRAME;
    let pool = || -> Arc<PoolFile> { pooled(source, room as u64) };
    Arc::new(vec![
        Box::new(PoolVisit(pool())) as Box<dyn Holder>,
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
        for holder in &*self.holders {
            group.bench_function(BenchmarkId::from_parameter(holder.name()), |b| {
                b.iter_custom(|passes| self.time(&**holder, passes as usize));
            });
        }
        group.finish();
    }

    fn interleave(&self) {
        let turn = |holder| move || self.time(holder, PASSES_A_TURN);
        let mut turns: Vec<Contestant<'_>> = self
            .holders
            .iter()
            .map(|holder| Contestant::new(holder.name(), turn(&**holder)))
            .collect();
        table(&self.name, PASSES_A_TURN * PASS * self.threads, ROUNDS, &mut turns);
    }

    /// How long `passes` passes take on each thread, from when the first begins to when the last
    /// ends.
    fn time(&self, holder: &dyn Holder, passes: usize) -> Duration {
        let run = |thread: usize| {
            let begun = Instant::now();
            let drawn = self.drawn.chunks(PASS).cycle().skip(thread * PASSES / self.threads);
            for pass in drawn.take(passes) {
                black_box(holder.pass(self.task, black_box(pass)));
            }
            (begun, Instant::now())
        };
        let start = Barrier::new(self.threads);
        let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
            let wait = || start.wait();
            let others: Vec<_> = (1..self.threads)
                .map(|thread| scope.spawn(move || (wait(), run(thread)).1))
                .collect();
            let ours = (wait(), run(0)).1;
            let others = others.into_iter().map(|other| other.join().expect("no panic"));
            others.chain([ours]).collect()
        });
        let begun = times.iter().map(|(begun, _)| *begun).min().expect("a thread");
        let ended = times.iter().map(|(_, ended)| *ended).max().expect("a thread");
        ended - begun
    }
}
