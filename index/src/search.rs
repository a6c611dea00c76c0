//! What is asked of a search, what it gives, and a thread that searches alone.

use crate::graph::walk::WalkScratch;
use crate::originals::{Originals, PageScratch};
use crate::passing::Passing;
use crate::task::Task;
use crate::{Patience, SearchError, Segment};

/// A point that was found, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The point's id: by default the vector's number in the order in which vectors were given.
    pub id: u64,
    /// Its distance from the query under the segment's metric. Smaller is nearer.
    pub distance: f32,
}

/// What is asked of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchParams {
    /// How many hits. At least 1; where fewer points exist, all are hits.
    pub k: usize,
    /// How many candidates the walk keeps: more find more and take longer. Never fewer than the
    /// points to rescore.
    pub ef: usize,
    /// What is read of the originals. Without codes nothing is, since the walk has measured them.
    pub rescore: Rescore,
}

/// What is read of the originals after a walk by codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rescore {
    /// Nothing: hits are in the order of their codes' distances, and have these.
    Off,
    /// The best candidates by codes, so many for each hit: at least 1. Hits have exact distances.
    Times(f32),
    /// The candidates that may be among the hits as far as their codes tell, so many that the
    /// hits are expected to have at least this recall among what the walk has found: above 0 and
    /// below 1. Hits have exact distances.
    Auto {
        /// The share of the true hits among those that are found.
        recall: f32,
    },
}

impl Default for SearchParams {
    fn default() -> Self {
        Self { k: 10, ef: 100, rescore: Rescore::Times(4.0) }
    }
}

impl SearchParams {
    pub(crate) fn check(&self) -> Result<(), SearchError> {
        match self {
            Self { k: 0, .. } => Err(SearchError::ZeroK),
            Self { ef: 0, .. } => Err(SearchError::ZeroEf),
            Self { rescore: Rescore::Times(times), .. }
                if !(times.is_finite() && *times >= 1.0) =>
            {
                Err(SearchError::Oversample(*times))
            }
            Self { rescore: Rescore::Auto { recall }, .. } if !(*recall > 0.0 && *recall < 1.0) => {
                Err(SearchError::Recall(*recall))
            }
            _ => Ok(()),
        }
    }

    /// How many of the best by codes are of use.
    pub(crate) fn shortlist(&self, points: usize) -> usize {
        let wanted = match self.rescore {
            Rescore::Off | Rescore::Auto { .. } => self.k,
            // In f32, where 10 times 1.1 is 11 and not a little more. The cast saturates, and no
            // more points exist.
            Rescore::Times(times) => (self.k as f32 * times).ceil() as usize,
        };
        wanted.max(self.k).min(points)
    }
}

pub(crate) fn check_query(query: &[f32], expected: usize) -> Result<(), SearchError> {
    let found = query.len();
    if found != expected {
        return Err(SearchError::Dimension { expected, found });
    }
    match query.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(dimension) => Err(SearchError::NotFinite { dimension, value: query[dimension] }),
    }
}

/// What searches need, kept from one to the next: one for each thread. Fits any segment.
#[derive(Default)]
pub struct Scratch {
    walk: WalkScratch,
    pages: PageScratch,
    task: Task,
    originals: usize,
}

impl Scratch {
    /// How many originals the last search read to rescore; 0 where it walked by them.
    pub fn originals(&self) -> usize {
        self.originals
    }

    /// Searches a segment whose graph is in memory, and codes too where it has any: walks, then
    /// visits the pages of each wave.
    pub(crate) fn search(
        &mut self,
        segment: &Segment,
        query: &[f32],
        params: &SearchParams,
        passing: &Passing<'_>,
        patience: &Patience<'_>,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        let Self { walk, pages, task, originals } = self;
        hits.clear();
        *originals = 0;
        task.begin(std::iter::once(segment), query, params)?;
        task.walk(segment, 0, passing, walk, pages, patience)?;
        task.end_walks();
        while task.next_wave() {
            patience.check()?;
            while task.next_part(segment, 0) {
                let Originals::Paged(rows) = segment.originals() else { break };
                task.visiting(rows, 0, |pages, take| {
                    rows.source.visit_until(pages, patience.deadline(), take)
                })?;
                task.end_part(rows, 0);
            }
        }
        *originals = task.originals();
        hits.extend(task.nearest().iter().map(|scored| scored.hit(segment)));
        Ok(())
    }

    /// Notes what another has read on behalf of it.
    pub(crate) fn note_originals(&mut self, originals: usize) {
        self.originals = originals;
    }
}
