//! What goes into a segment beside the vectors.

use crate::{Columns, ColumnsError};

/// What a segment's points have besides their vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attached<'a> {
    /// The values of their fields.
    pub columns: Option<&'a Columns>,
}

impl Attached<'_> {
    /// What a build needs for these beyond what [`BuildOptions::memory`](crate::BuildOptions::memory)
    /// tells, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.columns.map_or(0, Columns::build_bytes)
    }

    /// Passes where there are fields for so many vectors, or none at all.
    pub(crate) fn check(&self, points: usize) -> Result<(), ColumnsError> {
        match self.columns.map(Columns::rows).filter(|&rows| rows != points) {
            Some(rows) => Err(ColumnsError::Rows { rows, points }),
            None => Ok(()),
        }
    }
}
