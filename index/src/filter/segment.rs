//! A segment asked by a filter: columns through their sources, ids from memory.

use super::Filter;
use super::binding::IdTest;
use super::evaluation::{Matching, evaluate};
use crate::columns::Test;
use crate::{Field, Patience, SearchError, Segment, Selection};

impl Segment {
    /// The points that a filter lets pass. Columns are read through the sources that they were
    /// opened with, those alone that the filter asks for, and by their indexes where these are.
    ///
    /// ```no_run
    /// # use ringpool_index::{Patience, Segment, field};
    /// # fn choose(segment: &Segment) -> Result<(), ringpool_index::SearchError> {
    /// let filter = field("price").lt(20.5).and(!field("sold").is(true));
    /// let chosen = segment.select(&filter, &Patience::default())?;
    /// println!("{} of {} points", chosen.len(), chosen.points());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SearchError::Filter`] when the filter does not go with the segment's fields; when a page
    /// could not be had; when `patience` is at its end.
    pub fn select(
        &self,
        filter: &Filter,
        patience: &Patience<'_>,
    ) -> Result<Selection, SearchError> {
        evaluate(filter, self, patience)
    }
}

impl Matching for Segment {
    fn points(&self) -> usize {
        self.manifest().points
    }

    fn fields(&self) -> &[Field] {
        Segment::fields(self)
    }

    fn with_ids(&self, test: &IdTest) -> Selection {
        match test {
            IdTest::OneOf(ids) => self.places_of(ids),
            IdTest::Within(ids) => self.places_within(ids.clone()),
        }
    }

    fn with_values(
        &self,
        field: usize,
        test: &Test<'_>,
        patience: &Patience<'_>,
    ) -> Result<Selection, SearchError> {
        self.matching(field, test, patience)
    }
}
