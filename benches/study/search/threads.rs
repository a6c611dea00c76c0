//! All queries once, over a number of threads that begin together.

use std::cell::RefCell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringpool::{Answer, Hit, Patience, Query, Searches, Segment};
use ringpool_cli::failure::Failure;

use super::{Queries, Task};

/// What became of a query.
pub struct Found {
    pub query: usize,
    latency: Duration,
    /// The nearest first, or why there are none, in one line.
    pub hits: Result<Vec<Hit>, String>,
}

/// What became of all.
pub struct Searched {
    /// By query.
    pub found: Vec<Found>,
    pub wall: Duration,
}

/// A query that a thread has taken.
struct Taken {
    query: usize,
    since: Instant,
}

/// Runs each of `queries` once, as the task says.
///
/// # Errors
/// When searches cannot begin. A query that fails is told in its place.
pub fn search(segment: &Segment, queries: &Queries, task: &Task) -> Result<Searched, Failure> {
    let next = AtomicUsize::new(0);
    let entrance = Barrier::new(task.threads + 1);
    let one = || -> Result<Vec<Found>, Failure> {
        let searches = Searches::new(&[segment], task.in_flight);
        entrance.wait();
        Ok(take(searches.map_err(|error| Failure::of(&error))?, queries, task, &next))
    };
    let (found, wall) = thread::scope(|scope| {
        let threads: Vec<_> = (0..task.threads).map(|_| scope.spawn(one)).collect();
        entrance.wait();
        let started = Instant::now();
        let ended = threads.into_iter().map(|thread| {
            thread.join().map_err(|_| Failure::new("a thread of the run panicked"))?
        });
        let found = ended.collect::<Result<Vec<_>, Failure>>();
        found.map(|found| (found, started.elapsed()))
    })?;
    let mut found: Vec<Found> = found.into_iter().flatten().collect();
    found.sort_by_key(|found| found.query);
    Ok(Searched { found, wall })
}

/// One thread: takes queries until none is left.
fn take<'a>(
    mut searches: Searches<'a>,
    queries: &'a Queries,
    task: &Task,
    next: &AtomicUsize,
) -> Vec<Found> {
    let (params, mut found) = (task.params(), Vec::new());
    let taken = RefCell::new(Vec::<Taken>::new());
    let mut take_one = || {
        // Only the number matters.
        let query = next.fetch_add(1, Ordering::Relaxed);
        let values = (query < queries.len()).then(|| queries.row(query))?;
        let mut taken = taken.borrow_mut();
        let number = taken.len() as u64;
        taken.push(Taken { query, since: Instant::now() });
        Some(Query { number, values, params, among: None, patience: Patience::default() })
    };
    searches.run(&mut take_one, &mut |answer: Answer<'_>| {
        let Taken { query, since } = &taken.borrow()[answer.number as usize];
        let hits = answer.hits.map(<[Hit]>::to_vec);
        let hits = hits.map_err(|error| Failure::of(&error).to_string());
        found.push(Found { query: *query, latency: since.elapsed(), hits });
    });
    found
}

impl Searched {
    /// The latency that this share of the queries did not exceed.
    pub fn latency_ms(&self, share: f64) -> f64 {
        let mut all: Vec<Duration> = self.found.iter().map(|found| found.latency).collect();
        all.sort();
        let at = (all.len() as f64 * share).ceil() as usize;
        all.get(at.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }

    /// One number for all answers: equal numbers, equal ids and distances.
    pub fn answers_crc32c(&self) -> u32 {
        let hits = self.found.iter().filter_map(|found| found.hits.as_ref().ok());
        hits.fold(0, |crc, hits| of_hits(crc, hits))
    }
}

impl Found {
    /// The same of this query alone.
    pub fn crc32c(&self) -> Option<u32> {
        self.hits.as_ref().ok().map(|hits| of_hits(0, hits))
    }
}

fn of_hits(crc: u32, hits: &[Hit]) -> u32 {
    hits.iter().fold(crc, |crc, hit| {
        let crc = crc32c::crc32c_append(crc, &hit.id.to_le_bytes());
        crc32c::crc32c_append(crc, &hit.distance.to_le_bytes())
    })
}
