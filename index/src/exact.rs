//! Exact search by brute force: the truth that recall is measured against.

use rayon::prelude::*;

use crate::candidates::Candidates;
use crate::distance::RowQuery;
use crate::search::check_query;
use crate::{Hit, Metric, SearchError, Vectors};

/// Queries that one task compares with each vector while that is in the processor's cache.
const QUERIES_PER_TASK: usize = 8;

/// For each query the `k` nearest of all `base` vectors, nearest first, ties by lower id: fewer
/// only where fewer exist. Distances are those that a search reports, bit by bit. Runs on all
/// cores.
///
/// # Errors
/// When `k` is 0, dimensions differ, or a query has a value that is no number.
pub fn exact_search(
    base: &Vectors,
    queries: &Vectors,
    metric: Metric,
    k: usize,
) -> Result<Vec<Vec<Hit>>, SearchError> {
    if k == 0 {
        return Err(SearchError::ZeroK);
    }
    let (expected, found) = (base.dim(), queries.dim());
    if expected != found {
        return Err(SearchError::Dimension { expected, found });
    }
    let numbers: Vec<usize> = (0..queries.len()).collect();
    let tasks = numbers.par_chunks(QUERIES_PER_TASK).map(|task| {
        let mut prepared = Vec::with_capacity(task.len());
        let mut values = vec![0.0; queries.dim()];
        for &query in task {
            queries.row_f32(query, &mut values);
            check_query(&values, base.dim())?;
            let (mut query, mut best) = (RowQuery::default(), Candidates::default());
            query.set(metric, base.element(), &values);
            best.begin(k);
            prepared.push((query, best));
        }
        Ok(nearest(base, prepared))
    });
    let tasks: Result<Vec<_>, SearchError> = tasks.collect();
    Ok(tasks?.into_iter().flatten().collect())
}

fn nearest(base: &Vectors, mut queries: Vec<(RowQuery, Candidates)>) -> Vec<Vec<Hit>> {
    for row in 0..base.len() {
        let bytes = base.row_bytes(row);
        for (query, best) in &mut queries {
            best.offer(query.distance(bytes), row as u32);
        }
    }
    let hits = |(_, best): (RowQuery, Candidates)| {
        let hits = best.iter().map(|(distance, id)| Hit { id, distance });
        hits.collect()
    };
    queries.into_iter().map(hits).collect()
}
