//! A section of a column or of its index while the segment is open: in memory, or read by page.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use super::key::word_of;
use super::stored::EXTENT_BYTES;
use crate::SearchError;
use crate::component::load_records;
use crate::layout::Records;

/// Records of one length.
pub(crate) struct Part {
    pub(crate) records: Records,
    pub(crate) bytes: PartBytes,
    /// The file, for errors.
    path: Arc<Path>,
}

/// Where the bytes of a section are.
pub(crate) enum PartBytes {
    /// All of them, without pages.
    Loaded(Vec<u8>),
    /// On pages of this source.
    Paged(Arc<dyn PageSource>),
}

impl Part {
    /// A section that is loaded now.
    pub(crate) fn load(
        source: &dyn PageSource,
        records: Records,
        path: &Arc<Path>,
    ) -> Result<Self, ringpool_storage::Error> {
        let bytes = PartBytes::Loaded(load_records(source, &records)?);
        Ok(Self { records, bytes, path: path.clone() })
    }

    /// A section that is read by page.
    pub(crate) fn paged(source: Arc<dyn PageSource>, records: Records, path: &Arc<Path>) -> Self {
        Self { records, bytes: PartBytes::Paged(source), path: path.clone() }
    }

    /// How many records it has.
    pub(crate) fn count(&self) -> usize {
        self.records.count as usize
    }

    /// Which of its bytes, put end to end, these records are.
    pub(crate) fn range(&self, records: Range<usize>) -> Range<usize> {
        let record_bytes = self.records.record_bytes;
        records.start * record_bytes..records.end * record_bytes
    }

    /// Which bytes of `heap` a record of this section says that something has, at most `most` of
    /// them.
    pub(crate) fn extent(
        &self,
        record: &[u8],
        heap: &Self,
        most: u64,
    ) -> Result<Range<usize>, SearchError> {
        debug_assert_eq!(record.len(), EXTENT_BYTES);
        let (start, length) = record.split_at(8);
        let (start, length) = (word_of(start), word_of(length));
        let end = start.checked_add(length).filter(|&end| end <= heap.records.bytes());
        match end.filter(|_| length <= most) {
            Some(end) => Ok(start as usize..end as usize),
            None => Err(self.damaged(format!(
                "it says that {length} bytes begin at {start}: expected at most {most} of {}",
                heap.records.bytes()
            ))),
        }
    }

    /// The memory that it takes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        match &self.bytes {
            PartBytes::Loaded(bytes) => bytes.len() as u64,
            PartBytes::Paged(_) => 0,
        }
    }

    /// An error that says what is wrong with its bytes.
    pub(crate) fn damaged(&self, reason: String) -> SearchError {
        SearchError::Component { path: self.path.to_path_buf(), reason }
    }
}
