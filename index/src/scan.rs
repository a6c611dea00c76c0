//! Measuring all points that pass, one after the other: what a search does where few pass.
//!
//! A walk measures about so many points for each candidate that it keeps, however many there are,
//! and hops through more that do not pass the fewer do. Where all that pass are no more than that,
//! going over them costs less, and nothing is missed: of those that pass the best are found as
//! far as codes tell. The choice depends on counts alone, so that it is the same wherever the
//! components lie, and at the point where it turns both take the same time: speed has no step.

use crate::graph::walk::{Scorer, WalkScratch};
use crate::ids::Ids;
use crate::passing::Passing;

/// Points that are measured at once, and between two looks at the clock.
const AT_ONCE: usize = 256;
/// Where no more points pass than these and so many for each candidate, all of them are measured:
/// by sq8 a walk for 100 candidates takes as long as a scan of 3,800 points of Fashion-MNIST, and of
/// 7,500 of text-minilm, whose codes are half as long (docs/filtered.md).
const POINTS: usize = 1500;
const POINTS_PER_CANDIDATE: usize = 35;

/// How the points nearest to a query are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through the graph, where all points pass.
    Walk,
    /// Through the graph, among those that pass.
    WalkAmong,
    /// By measuring all that pass.
    Scan,
}

impl Way {
    /// The one that is expected to cost the least, for `ef` candidates.
    pub(crate) fn of(passing: &Passing<'_>, ef: usize) -> Self {
        if passing.are_all() {
            return Self::Walk;
        }
        match passing.expected() <= ef.saturating_mul(POINTS_PER_CANDIDATE).saturating_add(POINTS) {
            true => Self::Scan,
            false => Self::WalkAmong,
        }
    }
}

/// Whether a walk that has found so few of `ef` candidates has missed some: those that pass are
/// then not all linked with each other.
pub(crate) fn are_missed(found: usize, ef: usize, passing: &Passing<'_>) -> bool {
    found < ef && found < passing.count()
}

impl WalkScratch {
    /// Leaves in `found` the `ef` best of all that pass.
    pub(crate) fn scan<S: Scorer>(
        &mut self,
        passing: &Passing<'_>,
        ids: &Ids,
        ef: usize,
        scorer: &mut S,
    ) -> Result<(), S::Error> {
        let Self { found, reach, distances, .. } = self;
        found.begin(ef);
        let mut next = Some(0);
        while let Some(from) = next {
            let mut room = AT_ONCE;
            reach.fresh.clear();
            next = passing.take_while(from, &mut reach.fresh, |_| {
                let fits = room > 0;
                room = room.saturating_sub(1);
                fits
            });
            scorer.score(&reach.fresh, found.bound(), distances)?;
            for (&distance, &point) in distances.iter().zip(&reach.fresh) {
                found.offer(distance, point, ids);
            }
        }
        Ok(())
    }
}
