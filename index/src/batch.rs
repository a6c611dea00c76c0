//! Many queries over threads.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::{Hit, Patience, Scratch, SearchError, SearchParams, Segment, Vectors};

/// More threads than this are a slip of the hand.
const MAX_THREADS: usize = 4096;

/// A query with what it found.
type Answered = (usize, Vec<Hit>);

impl Segment {
    /// Searches for each of `queries`, over `threads` threads; 0 means one a core. Hits are in the
    /// order of the queries, and the same as those of [`search`](Self::search) one after the
    /// other. `patience` is for all of them together.
    ///
    /// # Errors
    /// [`SearchError::Query`] names a query that has no answer, and why; the others are then not
    /// searched to the end. [`SearchError::Threads`] when no thread could be started.
    pub fn search_batch(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        patience: Patience<'_>,
        threads: usize,
    ) -> Result<Vec<Vec<Hit>>, SearchError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = if threads == 0 { cores } else { threads };
        let batch = Batch {
            segment: self,
            queries,
            params,
            patience,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        };
        // The caller's own thread is one of them.
        let beside = threads.min(queries.len()).clamp(1, MAX_THREADS) - 1;
        let parts = thread::scope(|scope| {
            let start = |_| {
                let started = thread::Builder::new().spawn_scoped(scope, || batch.take());
                started.map_err(|e| {
                    batch.failed.store(true, Ordering::Relaxed);
                    SearchError::Threads { threads, reason: e.to_string() }
                })
            };
            let started = (0..beside).map(start).collect::<Result<Vec<_>, _>>()?;
            let own = batch.take();
            let others = started.into_iter().map(|thread| match thread.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            Ok::<_, SearchError>(others.chain([own]).collect::<Vec<_>>())
        })?;
        let mut rows = vec![Vec::new(); queries.len()];
        let mut failure: Option<(usize, SearchError)> = None;
        for (answered, failed) in parts {
            answered.into_iter().for_each(|(query, hits)| rows[query] = hits);
            // Of several the first, so that it matters less which thread was where.
            failure = failure.into_iter().chain(failed).min_by_key(|&(query, _)| query);
        }
        match failure {
            None => Ok(rows),
            Some((query, source)) => Err(SearchError::Query { query, source: Box::new(source) }),
        }
    }
}

/// What the threads share.
struct Batch<'a> {
    segment: &'a Segment,
    queries: &'a Vectors,
    params: &'a SearchParams,
    patience: Patience<'a>,
    /// The next query that nobody has taken.
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Batch<'_> {
    /// Takes queries until none is left or one has failed.
    fn take(&self) -> (Vec<Answered>, Option<(usize, SearchError)>) {
        let mut scratch = Scratch::default();
        let mut values = vec![0.0; self.queries.dim()];
        let mut answered = Vec::new();
        // Relaxed, both: only the number matters, and the flag publishes nothing.
        while !self.failed.load(Ordering::Relaxed) {
            let query = self.next.fetch_add(1, Ordering::Relaxed);
            if query >= self.queries.len() {
                break;
            }
            self.queries.row_f32(query, &mut values);
            let (mut hits, scratch) = (Vec::new(), &mut scratch);
            let segment = self.segment;
            match segment.search_within(&values, self.params, self.patience, scratch, &mut hits) {
                Ok(()) => answered.push((query, hits)),
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return (answered, Some((query, error)));
                }
            }
        }
        (answered, None)
    }
}
