//! The codes of the points above layer 0, kept in memory where the others are paged.
//!
//! Every walk comes through them, and where they lie among the others a descent would read dozens
//! of pages. They are an M-th of all codes.

use crate::graph::Graph;

/// Codes by point, of some points.
pub(crate) struct UpperCodes {
    /// For each 64 points which of them are among these, and how many of those before are.
    words: Vec<(u64, u32)>,
    codes: Vec<u8>,
    code_bytes: usize,
}

impl UpperCodes {
    /// How many points a graph with these layers has above layer 0; the entry point alone where
    /// there is no other layer.
    pub(crate) fn count(layers: &[usize]) -> usize {
        layers.get(1).copied().unwrap_or(1)
    }

    /// These points, ascending.
    pub(crate) fn points(graph: &Graph) -> &[u32] {
        match graph.layers.get(1) {
            Some(layer) => &layer.points,
            None => std::slice::from_ref(&graph.entry_point),
        }
    }

    /// `codes` put end to end, of the [points](Self::points) of `graph`, which has been checked.
    pub(crate) fn new(graph: &Graph, points: usize, codes: Vec<u8>, code_bytes: usize) -> Self {
        let mut words = vec![(0_u64, 0_u32); points.div_ceil(64)];
        for &point in Self::points(graph) {
            words[point as usize / 64].0 |= 1 << (point % 64);
        }
        let mut before = 0;
        for word in &mut words {
            word.1 = before;
            before += word.0.count_ones();
        }
        Self { words, codes, code_bytes }
    }

    /// The code of `point`, if it is one of these.
    #[inline]
    pub(crate) fn code(&self, point: u32) -> Option<&[u8]> {
        let (bits, before) = self.words[point as usize / 64];
        let bit = 1 << (point % 64);
        if bits & bit == 0 {
            return None;
        }
        let at = before + (bits & (bit - 1)).count_ones();
        Some(&self.codes[at as usize * self.code_bytes..][..self.code_bytes])
    }

    /// All codes, to be checked.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.codes.chunks_exact(self.code_bytes)
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        (size_of_val(&*self.words) + self.codes.len()) as u64
    }
}
