//! Original vectors that are kept in memory: rows, one behind the other, without pages.

use ringpool_storage::{Error, PageSource};

use crate::aligned::{Aligned, LINE_BYTES};
use crate::component::load_rows;
use crate::distance::RowQuery;
use crate::layout::Records;
use crate::prefetch::{prefetch_many, rows_ahead};

/// The original vectors of a segment, in memory.
pub(crate) struct Rows {
    bytes: Aligned<u8>,
    row_bytes: usize,
    /// From the begin of a row to that of the next.
    stride_bytes: usize,
}

impl Rows {
    /// Reads all vectors through `source`.
    pub(crate) fn load(
        source: &dyn PageSource,
        records: &Records,
        row_bytes: usize,
    ) -> Result<Self, Error> {
        let stride_bytes = stride_bytes(row_bytes);
        let mut bytes = Aligned::zeroed(records.count as usize * stride_bytes);
        load_rows(source, records, row_bytes, &mut bytes, stride_bytes)?;
        Ok(Self { bytes, row_bytes, stride_bytes })
    }

    /// One vector's bytes.
    #[inline]
    pub(crate) fn row(&self, point: u32) -> &[u8] {
        &self.bytes[point as usize * self.stride_bytes..][..self.row_bytes]
    }

    /// Replaces `distances` by those of `points`, in their order; past `bound`, by any that are.
    #[inline]
    pub(crate) fn score(
        &self,
        query: &RowQuery,
        points: &[u32],
        bound: f32,
        distances: &mut Vec<f32>,
    ) {
        distances.clear();
        let ahead = rows_ahead(self.row_bytes);
        for &point in points.iter().take(ahead) {
            prefetch_many(self.row(point));
        }
        for (i, &point) in points.iter().enumerate() {
            if let Some(&next) = points.get(i + ahead) {
                prefetch_many(self.row(next));
            }
            distances.push(query.distance_within(self.row(point), bound));
        }
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.bytes.resident_bytes()
    }
}

/// Rows begin on a cache line where that makes them longer by an eighth at most: a row then touches
/// no line more than it must.
fn stride_bytes(row_bytes: usize) -> usize {
    let whole_lines = row_bytes.next_multiple_of(LINE_BYTES);
    if whole_lines - row_bytes <= row_bytes / 8 { whole_lines } else { row_bytes }
}
