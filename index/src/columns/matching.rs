//! Which points pass a test of a field: by its index where it has one, else by reading all values.

use super::open::OpenColumn;
use super::{FieldType, Test};
use crate::{Patience, SearchError, Segment, Selection};

impl Segment {
    /// The points whose value in a field, by its number among [`fields`](Self::fields), passes
    /// `test`. The same points come of an index and of the values themselves.
    ///
    /// # Errors
    /// When there is no such field, it was not opened or cannot be tested so, a page could not be
    /// had or holds what no build writes, or patience is at its end.
    pub(crate) fn matching(
        &self,
        field: usize,
        test: &Test<'_>,
        patience: &Patience<'_>,
    ) -> Result<Selection, SearchError> {
        let column = self.column(field)?;
        let mut found = Selection::none(self.manifest().points);
        match (test, column.field.field_type) {
            (Test::IsNull, _) => column.scan_nulls(&mut found, patience)?,
            (_, FieldType::Text) => column.scan_texts(test, &mut found, patience)?,
            _ => column.select(test, &mut found, patience)?,
        }
        Ok(found)
    }
}

impl OpenColumn {
    fn select(
        &self,
        test: &Test<'_>,
        found: &mut Selection,
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        let ranges = self.key_ranges(test, patience)?;
        match &self.index {
            Some(index) => index.select(&self.column, &ranges, found, patience),
            None => self.scan(&ranges, found, patience),
        }
    }
}
