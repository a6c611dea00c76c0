//! A segment asked by a filter: columns through their sources, ids from memory.

use super::Filter;
use super::binding::IdTest;
use super::evaluation::{Matching, evaluate};
use crate::columns::Test;
use crate::{Field, Patience, SearchError, Segment, Selection};

impl Segment {
    /// The points that a filter lets pass, without those that are deleted. Columns are read through
    /// the sources that they were opened with, those alone that the filter asks for, and by their
    /// indexes where these are.
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
        self.select_from(filter, 0, patience)
    }

    /// [`select`](Self::select) where the ids of the segment are told from `first_id` on, as those
    /// of one that follows others: the filter's `id` is what is told.
    ///
    /// # Errors
    /// As those of `select`.
    pub fn select_from(
        &self,
        filter: &Filter,
        first_id: u64,
        patience: &Patience<'_>,
    ) -> Result<Selection, SearchError> {
        let mut selection = evaluate(filter, &Told { segment: self, first_id }, patience)?;
        if let Some(deleted) = self.deleted() {
            selection.subtract(&deleted);
        }
        Ok(selection)
    }
}

/// A segment with the number that is added to its ids.
struct Told<'a> {
    segment: &'a Segment,
    first_id: u64,
}

impl Matching for Told<'_> {
    fn points(&self) -> usize {
        self.segment.manifest().points
    }

    fn fields(&self) -> &[Field] {
        self.segment.fields()
    }

    fn with_ids(&self, test: &IdTest) -> Selection {
        let own = |id: u64| id.checked_sub(self.first_id);
        match test {
            IdTest::OneOf(ids) => {
                let ids: Vec<u64> = ids.iter().copied().filter_map(own).collect();
                self.segment.places_of(&ids)
            }
            IdTest::Within(ids) => match own(*ids.end()) {
                Some(end) => self.segment.places_within(own(*ids.start()).unwrap_or(0)..=end),
                None => Selection::none(self.points()),
            },
        }
    }

    fn with_values(
        &self,
        field: usize,
        test: &Test<'_>,
        patience: &Patience<'_>,
    ) -> Result<Selection, SearchError> {
        self.segment.matching(field, test, patience)
    }
}
