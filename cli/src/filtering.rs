//! `--filter`: read, held against the fields of the segments, and evaluated once for each.
//!
//! A wrong one is wrong usage, told in one line with its position, and on a terminal with two more
//! that point at it.

use std::path::Path;
use std::time::{Duration, Instant};

use ringpool::{Error, Filter, FilterError, Indexes, Patience, SearchError, Selection};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::table;

/// What `--filter` is.
pub const FILTER_HELP: &str = "Points that may be hits, as 'label = 3 and price < 20.5 and city in \
                               (\"Oslo\", \"Bergen\") and not sold'; id is a field, too. The \
                               language is described in docs/filters.md";

/// What a filter has selected, of each segment.
pub struct Chosen {
    pub filter: Filter,
    pub selections: Vec<Selection>,
    /// How long that took.
    pub took: Duration,
}

/// Reads a filter.
pub fn read(text: &str) -> Result<Filter, Failure> {
    text.parse().map_err(|error| refused(&error))
}

/// Why a filter cannot be meant.
pub fn refused(error: &FilterError) -> Failure {
    Failure::Pointed { line: format!("--{error}"), carets: error.carets() }
}

impl Chosen {
    /// Evaluates a filter over all segments.
    pub fn by(filter: Filter, indexes: &Indexes, interrupt: &Interrupt) -> Result<Self, Failure> {
        let begun = Instant::now();
        let patience = Patience::default().unless(interrupt.flag());
        let selections = indexes.snapshot().select(&filter, &patience);
        let selections = selections.map_err(|error| match error {
            Error::Search(SearchError::Filter(error)) => refused(&error),
            Error::Search(SearchError::Cancelled) => Interrupt::failure(),
            other => Failure::of(&other),
        })?;
        Ok(Self { filter, selections, took: begun.elapsed() })
    }

    /// How many points passed.
    pub fn selected(&self) -> usize {
        self.selections.iter().map(Selection::len).sum()
    }

    /// Passes when each of these ids, of a truth, is that of a point that passed.
    pub fn expect_all<'a>(
        &self,
        path: &Path,
        rows: impl Iterator<Item = &'a [u64]>,
        indexes: &Indexes,
    ) -> Result<(), Failure> {
        let snapshot = indexes.snapshot();
        let rows: Vec<&[u64]> = rows.collect();
        let places = snapshot.places(&rows.concat());
        let passes = |id: &u64| {
            let place = places.get(id);
            place.is_some_and(|&(segment, place)| self.selections[segment as usize].contains(place))
        };
        let mut each = (0..).zip(rows);
        match each.find_map(|(query, row)| Some((query, row.iter().find(|id| !passes(id))?))) {
            None => Ok(()),
            Some((query, id)) => Err(Failure::new(format!(
                "{}: query {query} names point {id}, which the filter does not let pass: make the \
                 truth with ringpool truth --filter, or leave --truth out",
                path.display()
            ))),
        }
    }

    /// How many of how many, for people.
    pub fn text(selected: u64, selectivity: f64) -> String {
        format!("{} ({} %)", table::count(selected), table::figure(selectivity * 100.0))
    }
}
