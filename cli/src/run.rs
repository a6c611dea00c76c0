//! The measured run: all queries once, over a number of threads, with nothing else on the clock.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ringpool::{
    Answer, BackendStats, Error, Hit, Indexes, Patience, Query, SearchError, SearchParams,
    Searches, Selection, Snapshot, Vectors,
};

use crate::answers::Answers;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::json::LatencyUs;
use crate::process::{Counters, Undroppable};
use crate::progress::Bar;
use crate::truth;

/// How often the bar hears how far a pass is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Latencies are told apart from 100 ns on, up to an hour, to three digits.
const LATENCY_NS: (u64, u64) = (100, 3_600_000_000_000);
const LATENCY_DIGITS: u8 = 3;

/// The queries as rows of floats, read before the clock starts.
pub struct Queries {
    dim: usize,
    values: Vec<f32>,
}

/// What a pass runs.
pub struct Workload<'a> {
    pub indexes: &'a Indexes,
    pub queries: &'a Queries,
    pub params: SearchParams,
    /// The points that may be hits, of each segment; without, all.
    pub among: Option<&'a [Selection]>,
    /// Queries that each thread has in flight.
    pub in_flight: usize,
    pub interrupt: &'a Interrupt,
    /// How many were answered, in all passes.
    pub answered: AtomicU64,
}

/// What one thread keeps from pass to pass.
pub struct Worker {
    taken: Vec<Taken>,
}

/// A query that a thread has taken, and what became of it.
struct Taken {
    query: usize,
    since: Instant,
    hits: Vec<Hit>,
    /// That were read to rescore.
    originals: usize,
    latency_ns: u64,
}

/// What a pass found and what it took.
pub struct Pass {
    pub answers: Answers,
    pub latency_us: LatencyUs,
    /// Originals that were read to rescore, for all queries.
    pub originals: usize,
    pub wall: Duration,
    /// What the process's counters grew by.
    pub counters: Counters,
    /// What the backend's counters grew by.
    pub stats: BackendStats,
    /// When all queries were answered and no thread had ended yet.
    pub undroppable: Option<Undroppable>,
}

impl Queries {
    /// The rows of `vectors` as floats.
    pub fn new(vectors: &ringpool::Vectors) -> Self {
        let dim = vectors.dim();
        let mut values = vec![0.0; vectors.len() * dim];
        for (row, out) in values.chunks_exact_mut(dim).enumerate() {
            vectors.row_f32(row, out);
        }
        Self { dim, values }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    fn row(&self, query: usize) -> &[f32] {
        &self.values[query * self.dim..][..self.dim]
    }
}

impl Worker {
    /// Workers for `threads` threads and `queries` queries.
    pub fn team(threads: usize, queries: usize) -> Vec<Self> {
        let worker = |_| Self { taken: Vec::with_capacity(queries.div_ceil(threads)) };
        (0..threads).map(worker).collect()
    }
}

/// What the threads of a pass share.
struct Shared<'a> {
    work: &'a Workload<'a>,
    /// The next query that nobody has taken.
    next: AtomicUsize,
    stop: AtomicBool,
    /// Held while the threads start, so that all of them begin together.
    entrance: RwLock<()>,
    /// Held until all of them are done, so that their memory is seen.
    exit: RwLock<()>,
}

impl Workload<'_> {
    /// Runs every query once, on one thread for each worker.
    ///
    /// # Errors
    /// The first query that has no answer, by its number; or Ctrl-C.
    pub fn pass(&self, workers: &mut [Worker], bar: &Bar, what: &str) -> Result<Pass, Failure> {
        let shared = Shared {
            work: self,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            entrance: RwLock::new(()),
            exit: RwLock::new(()),
        };
        workers.iter_mut().for_each(|worker| worker.taken.clear());
        let (ended, ends) = channel();
        let before = (Counters::now(), self.indexes.stats());
        let (started, last, undroppable) = thread::scope(|scope| {
            // Whichever way this block is left, both open, and no thread waits for ever.
            let _exit = shared.exit.write().unwrap_or_else(PoisonError::into_inner);
            let entrance = shared.entrance.write().unwrap_or_else(PoisonError::into_inner);
            let threads = workers.len();
            for worker in workers.iter_mut() {
                let (shared, ended) = (&shared, ended.clone());
                let spawned =
                    thread::Builder::new().spawn_scoped(scope, move || shared.run(worker, &ended));
                if let Err(error) = spawned {
                    shared.stop.store(true, Ordering::Relaxed);
                    return Err(Failure::new(format!(
                        "cannot start a thread: {error}; ask for fewer --threads"
                    )));
                }
            }
            drop(ended);
            let started = Instant::now();
            drop(entrance);
            let last = shared.wait(&ends, threads, bar, what)?;
            Ok((started, last, Undroppable::now()))
        })?;
        let after = (Counters::now(), self.indexes.stats());
        Ok(Pass {
            // First what borrows the answers, then what takes them.
            latency_us: latency_us(workers)?,
            originals: workers.iter().flat_map(|w| &w.taken).map(|one| one.originals).sum(),
            answers: collect(workers, self.queries.len()),
            wall: last.duration_since(started),
            counters: after.0.since(&before.0),
            stats: growth(after.1, &before.1),
            undroppable,
        })
    }
}

impl Workload<'_> {
    /// Measures every vector for all queries at once, on `threads` threads. No query is answered
    /// before all are: each took as long as the pass.
    ///
    /// # Errors
    /// As those of [`pass`](Self::pass).
    pub fn exact_pass(&self, threads: usize, bar: &Bar) -> Result<Pass, Failure> {
        let refused = |error: &dyn std::error::Error| Failure::of(error);
        let rows = Vectors::from_f32(self.queries.dim, self.queries.values.clone());
        let rows = rows.map_err(|error| refused(&error))?;
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let threads = threads.map_err(|error| refused(&error))?;
        let before = (Counters::now(), self.indexes.stats());
        let started = Instant::now();
        let (indexes, k) = (self.indexes, self.params.k);
        let progress = &mut truth::progress(bar, self.interrupt);
        let found = threads
            .install(|| indexes.snapshot().exact_search_among(&rows, k, self.among, progress));
        let wall = started.elapsed();
        let after = (Counters::now(), self.indexes.stats());
        let found = found.map_err(|error| match error {
            Error::Search(SearchError::Cancelled) => Interrupt::failure(),
            other => refused(&other),
        })?;
        let us = wall.as_secs_f64() * 1e6;
        Ok(Pass {
            originals: 0, // None to rescore: all are compared.
            latency_us: LatencyUs { p50: us, p95: us, p99: us, p999: us, max: us },
            answers: Answers(found),
            wall,
            counters: after.0.since(&before.0),
            stats: growth(after.1, &before.1),
            undroppable: Undroppable::now(),
        })
    }
}

impl Shared<'_> {
    /// Waits until all `threads` are done and returns when the last one was.
    fn wait(
        &self,
        ends: &Receiver<Result<Instant, Failure>>,
        threads: usize,
        bar: &Bar,
        what: &str,
    ) -> Result<Instant, Failure> {
        let total = self.work.queries.len() as u64;
        let (mut done, mut last, mut failure) = (0, None, None);
        while done < threads {
            match ends.recv_timeout(PROGRESS_EVERY) {
                Ok(end) => {
                    done += 1;
                    match end {
                        Ok(end) => last = last.max(Some(end)),
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let next = self.next.load(Ordering::Relaxed) as u64;
                    bar.update(what, next.min(total), total);
                }
                // A thread panicked; the scope passes the panic on.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        match (failure, last) {
            (Some(failure), _) => Err(failure),
            (None, Some(last)) => Ok(last),
            (None, None) => Err(Failure::new("the threads of the run ended without a word")),
        }
    }

    /// One thread: takes queries until none is left.
    fn run(&self, worker: &mut Worker, ended: &Sender<Result<Instant, Failure>>) {
        // Made before the clock starts, and dropped after the memory is looked at.
        let snapshot = self.work.indexes.snapshot();
        let searches = snapshot.searches(self.work.in_flight).map_err(|error| Failure::of(&error));
        drop(self.entrance.read().unwrap_or_else(PoisonError::into_inner));
        let result =
            searches.and_then(|mut searches| self.take_queries(worker, &snapshot, &mut searches));
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        // Nobody is left to hear it only when the pass has failed already.
        let _ = ended.send(result.map(|()| Instant::now()));
        drop(self.exit.read().unwrap_or_else(PoisonError::into_inner));
    }

    fn take_queries<'a>(
        &'a self,
        worker: &mut Worker,
        snapshot: &Snapshot,
        searches: &mut Searches<'a>,
    ) -> Result<(), Failure> {
        let work = self.work;
        let patience = Patience::default().unless(work.interrupt.flag());
        let taken = RefCell::new(&mut worker.taken);
        let mut next = || {
            if self.stop.load(Ordering::Relaxed) || work.interrupt.asked() {
                return None;
            }
            // Only the number matters; what it counts was there before the entrance opened.
            let query = self.next.fetch_add(1, Ordering::Relaxed);
            if query >= work.queries.len() {
                return None;
            }
            let (mut taken, values) = (taken.borrow_mut(), work.queries.row(query));
            let number = taken.len() as u64;
            taken.push(Taken::now(query));
            Some(Query { number, values, params: work.params, among: work.among, patience })
        };
        let mut failure = None;
        let mut answered = |answer: Answer<'_>| {
            work.answered.fetch_add(1, Ordering::Relaxed);
            let one = &mut taken.borrow_mut()[answer.number as usize];
            if let Err(error) = one.take(answer, snapshot) {
                self.stop.store(true, Ordering::Relaxed);
                failure = failure.take().or(Some(error));
            }
        };
        searches.run(&mut next, &mut answered);
        work.interrupt.check()?;
        failure.map_or(Ok(()), Err)
    }
}

impl Taken {
    fn now(query: usize) -> Self {
        Self { query, since: Instant::now(), hits: Vec::new(), originals: 0, latency_ns: 0 }
    }

    fn take(&mut self, answer: Answer<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
        let originals = answer.originals;
        let hits = snapshot.hits(answer).map_err(|error| {
            Failure::new(format!("query {}: {}", self.query, Failure::of(&error)))
        })?;
        self.latency_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.hits = hits;
        self.originals = originals;
        Ok(())
    }
}

fn latency_us(workers: &[Worker]) -> Result<LatencyUs, Failure> {
    let (least, most) = LATENCY_NS;
    let histogram = Histogram::<u64>::new_with_bounds(least, most, LATENCY_DIGITS);
    let mut histogram = histogram.map_err(|error| Failure::of(&error))?;
    for taken in workers.iter().flat_map(|worker| &worker.taken) {
        histogram.saturating_record(taken.latency_ns);
    }
    let us = |ns: u64| ns as f64 / 1e3;
    let at = |quantile| us(histogram.value_at_quantile(quantile));
    let (p50, p95, p99, p999) = (at(0.5), at(0.95), at(0.99), at(0.999));
    Ok(LatencyUs { p50, p95, p99, p999, max: us(histogram.max()) })
}

/// The answers of all threads in the order of the queries.
fn collect(workers: &mut [Worker], queries: usize) -> Answers {
    let mut rows: Vec<Vec<Hit>> = vec![Vec::new(); queries];
    for taken in workers.iter_mut().flat_map(|worker| worker.taken.drain(..)) {
        rows[taken.query] = taken.hits;
    }
    Answers(rows)
}

/// What the backend's counters grew by; a word about the engine stays as it is.
fn growth(after: BackendStats, before: &BackendStats) -> BackendStats {
    let grown =
        |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before.unwrap_or(0)));
    BackendStats {
        reads: grown(after.reads, before.reads),
        hits: grown(after.hits, before.hits),
        misses: grown(after.misses, before.misses),
        evictions: grown(after.evictions, before.evictions),
        ..after
    }
}
