//! Records of one length that begin on a cache line.

/// The bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Records put end to end, the first at the begin of a cache line: a record of a line's length is
/// one line, and not the end of one and the begin of the next.
pub(crate) struct Lines {
    memory: Vec<u8>,
    first: usize,
    record_bytes: usize,
}

impl Lines {
    pub(crate) fn new(records: Vec<u8>, record_bytes: usize) -> Self {
        let mut memory: Vec<u8> = Vec::with_capacity(records.len() + LINE_BYTES);
        // Where a pointer cannot be aligned at all, nothing is lost but time.
        let first = memory.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        memory.resize(first, 0);
        memory.extend_from_slice(&records);
        Self { memory, first, record_bytes }
    }

    /// All records put end to end.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.first..]
    }

    #[inline]
    pub(crate) fn get(&self, record: u32) -> &[u8] {
        &self.memory[self.first + record as usize * self.record_bytes..][..self.record_bytes]
    }
}
