//! Inlined layout: all that a hop needs in one record.
//!
//! A record of the originals goes on with the point's neighbours in layer 0 and with their codes,
//! in the order of the neighbours:
//!
//! ```text
//!   vector | 2M slots of 4 bytes | 2M codes
//! ```
//!
//! Whoever reads it to look at the neighbours has them measured without a further read, and the
//! exact distance of the point itself for nothing. (DiskANN, NeurIPS 2019, keeps vector and
//! neighbours together in this way; the codes beside them are what spares it the memory for all.)
//! The price is disk: a code is written once for each point that it is a neighbour of.

/// The parts of a record, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) row_bytes: usize,
    pub(crate) max_neighbours: usize,
    pub(crate) code_bytes: usize,
}

impl Node {
    /// The length of a record.
    pub(crate) fn record_bytes(&self) -> usize {
        self.row_bytes + self.max_neighbours * (4 + self.code_bytes)
    }

    /// The vector, the slots and the codes of a record.
    pub(crate) fn parts<'r>(&self, record: &'r [u8]) -> (&'r [u8], &'r [u8], &'r [u8]) {
        let (row, rest) = record.split_at(self.row_bytes);
        let (slots, codes) = rest.split_at(4 * self.max_neighbours);
        (row, slots, codes)
    }

    /// The same, to be written.
    pub(crate) fn parts_mut<'r>(
        &self,
        record: &'r mut [u8],
    ) -> (&'r mut [u8], &'r mut [u8], &'r mut [u8]) {
        let (row, rest) = record.split_at_mut(self.row_bytes);
        let (slots, codes) = rest.split_at_mut(4 * self.max_neighbours);
        (row, slots, codes)
    }
}
