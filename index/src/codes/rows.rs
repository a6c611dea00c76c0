//! The vectors that codes are made of, as they are encoded.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::Step;
use crate::distance::inverse_norm;
use crate::graph::mix;
use crate::isa::Isa;
use crate::{Element, Metric, Vectors};

/// Rows that one task trains on or encodes at a time.
pub(crate) const ROWS_PER_TASK: usize = 1024;

/// The rows to be encoded: normalised for cosine, themselves otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) vectors: &'a Vectors,
    pub(crate) metric: Metric,
    /// Decides all that is drawn.
    pub(crate) seed: u64,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(vectors: &'a Vectors, metric: Metric, seed: u64) -> Self {
        Self { vectors, metric, seed }
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.len()
    }

    pub(crate) fn dim(&self) -> usize {
        self.vectors.dim()
    }

    /// Replaces `out` by a row.
    pub(crate) fn copy(&self, row: usize, out: &mut [f32]) {
        self.vectors.row_f32(row, out);
        if self.metric == Metric::Cosine {
            normalise(out);
        }
    }

    /// At most `count` different rows, drawn by the seed, ascending.
    pub(crate) fn sample(&self, count: usize) -> Vec<usize> {
        if count >= self.len() {
            return (0..self.len()).collect();
        }
        // One from each of `count` stretches of equal length: as good as any draw for rows in
        // random order, and it misses no part of rows that are sorted.
        let draw = |stretch: usize| {
            let begin = stretch as u128 * self.len() as u128 / count as u128;
            let end = (stretch as u128 + 1) * self.len() as u128 / count as u128;
            let turn = mix(self.seed ^ mix(stretch as u64));
            begin as usize + (turn % (end - begin) as u64) as usize
        };
        (0..count).map(draw).collect()
    }
}

/// Divides by the norm; a row of norm 0 stays.
pub(crate) fn normalise(values: &mut [f32]) {
    let bytes = bytemuck::cast_slice(values);
    let inverse = inverse_norm(Isa::detected(), bytes, Element::F32);
    for value in values {
        *value *= inverse;
    }
}

/// Encodes all rows on all cores into codes of `code_bytes` each. `encode` is given a scratch made
/// by `Default` for each task, a row's values and its code's bytes.
pub(crate) fn encode_all<S: Default>(
    rows: &Rows<'_>,
    code_bytes: usize,
    step: &Step<'_>,
    encode: impl Fn(&mut S, &[f32], &mut [u8]) + Sync,
) -> ControlFlow<(), Vec<u8>> {
    let mut codes = vec![0; rows.len() * code_bytes];
    let tasks = codes.par_chunks_mut(ROWS_PER_TASK * code_bytes).enumerate();
    tasks.try_for_each(|(task, out)| {
        let first = task * ROWS_PER_TASK;
        let (mut values, mut scratch) = (vec![0.0; rows.dim()], S::default());
        for (i, code) in out.chunks_exact_mut(code_bytes).enumerate() {
            rows.copy(first + i, &mut values);
            encode(&mut scratch, &values, code);
        }
        step((first + out.len() / code_bytes) as u64)
    })?;
    ControlFlow::Continue(codes)
}
