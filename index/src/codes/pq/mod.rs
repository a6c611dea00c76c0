//! Product quantization: one byte for each group of dimensions.
//!
//! From "Product Quantization for Nearest Neighbor Search" (Jégou, Douze and Schmid, TPAMI 2011). A
//! vector is cut into m groups of dimensions, here as many as a code has bytes. Each group has a
//! codebook of k* = 256 centroids, found by [`kmeans`] over a sample of rows, and byte j of a code
//! is the number of the centroid that is nearest to the vector's group j: the paper's q_j.
//!
//! A query is not quantized (the paper's asymmetric distance, ADC): its distances from all centroids
//! of each group make a table of m rows of 256, and the distance of a code is the sum of one entry
//! of each row. Under l2 the entries are squared distances, under ip and cosine negated products, and
//! cosine is ip of normalised vectors.

mod kmeans;
mod nearest;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};

use kmeans::{CENTROIDS, centroids};
use nearest::{NegatedProducts, SquaredDistances, nearest};
use rayon::prelude::*;

use super::{Rows, Scheme, Shape, Step, encode_all, floats};
use crate::Metric;
use crate::distance::number_or_far;
use crate::graph::mix;
use crate::isa::Isa;

/// The most rows that the codebooks are made of: 128 for each centroid.
const SAMPLE_ROWS: usize = 1 << 15;
/// The most values that they are made of: fewer rows where they are long.
const SAMPLE_VALUES: usize = 1 << 25;

/// The codes of all points, and what they mean.
pub(crate) struct Codes {
    metric: Metric,
    pub(super) code_bytes: usize,
    /// For each dimension, that of each centroid of its group.
    book: Vec<[f32; CENTROIDS]>,
    /// Row after row.
    codes: Vec<u8>,
    isa: Isa,
}

/// A query's distances from all centroids of each group.
#[derive(Default)]
pub(crate) struct CodeQuery {
    table: Vec<[f32; CENTROIDS]>,
}

/// The section before the codes: the centroids, dimension by dimension.
pub(super) fn parameters(dim: usize) -> Vec<(usize, usize)> {
    vec![(4 * CENTROIDS, dim)]
}

impl Scheme for Codes {
    type Query = CodeQuery;

    fn query(all: &mut super::CodeQuery) -> &mut CodeQuery {
        &mut all.pq
    }

    fn train(rows: &Rows<'_>, code_bytes: usize, step: &Step<'_>) -> ControlFlow<(), Self> {
        // Half of the way is training.
        let half = rows.len() as u64 / 2;
        let book = train(rows, code_bytes, &|share| step((share * half as f64) as u64))?;
        let isa = Isa::detected();
        let encoded = |done| step(half + done / 2);
        let codes = encode_all(rows, code_bytes, &encoded, |(): &mut (), values, code| {
            for (group, byte) in groups(values.len(), code_bytes).zip(code) {
                *byte = nearest(isa, &values[group.clone()], &book[group]).0;
            }
        })?;
        ControlFlow::Continue(Self { metric: rows.metric, code_bytes, book, codes, isa })
    }

    fn to_sections(&self) -> Vec<Cow<'_, [u8]>> {
        vec![bytemuck::cast_slice(self.book.as_flattened()).into(), (&*self.codes).into()]
    }

    fn from_sections(shape: Shape, sections: Vec<Vec<u8>>) -> Result<Self, String> {
        let Ok([words, codes]) = <[Vec<u8>; 2]>::try_from(sections) else {
            return Err("expected two sections".into());
        };
        let book = floats(&words).as_chunks().0.to_vec();
        let wrong = |row: &[f32; CENTROIDS]| row.iter().position(|value| !value.is_finite());
        let found = book.iter().enumerate().find_map(|(d, row)| wrong(row).map(|c| (d, c)));
        if let Some((dimension, centroid)) = found {
            return Err(format!("dimension {dimension} of centroid {centroid} is no number"));
        }
        let Shape { metric, code_bytes, .. } = shape;
        Ok(Self { metric, code_bytes, book, codes, isa: Isa::detected() })
    }

    fn set_query(&self, values: &[f32], query: &mut CodeQuery) {
        query.table.resize(self.code_bytes, [0.0; CENTROIDS]);
        for (group, out) in groups(values.len(), self.code_bytes).zip(&mut query.table) {
            let (part, book) = (&values[group.clone()], &self.book[group]);
            match self.metric {
                Metric::L2 => self.isa.run(SquaredDistances { part, book, out }),
                Metric::Ip | Metric::Cosine => self.isa.run(NegatedProducts { part, book, out }),
            }
        }
    }

    #[inline]
    fn row(&self, point: u32) -> &[u8] {
        &self.codes[point as usize * self.code_bytes..][..self.code_bytes]
    }

    #[inline]
    fn distance(&self, query: &CodeQuery, point: u32) -> f32 {
        self.measure(query, self.row(point))
    }

    #[inline]
    fn measure(&self, query: &CodeQuery, code: &[u8]) -> f32 {
        let sum = sum_of_entries(&query.table, code);
        number_or_far(if self.metric == Metric::Cosine { 1.0 + sum } else { sum })
    }

    fn resident_bytes(&self) -> u64 {
        (size_of_val(&*self.codes) + size_of_val(&*self.book)) as u64
    }
}

/// The dimensions of each group: as equal as they can be.
fn groups(dim: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).map(move |group| group * dim / count..(group + 1) * dim / count)
}

/// Makes all codebooks on all cores; `heard` is told the share that is done.
fn train(
    rows: &Rows<'_>,
    code_bytes: usize,
    heard: &(dyn Fn(f64) -> ControlFlow<()> + Sync),
) -> ControlFlow<(), Vec<[f32; CENTROIDS]>> {
    let dim = rows.dim();
    let sample = rows.sample(SAMPLE_ROWS.min(SAMPLE_VALUES / dim));
    let mut values = vec![0.0; sample.len() * dim];
    values.par_chunks_exact_mut(dim).zip(&sample).for_each(|(out, &row)| rows.copy(row, out));
    let done = AtomicU64::new(0);
    let share = || heard(done.load(Ordering::Relaxed) as f64 / code_bytes as f64);
    let all: Vec<Range<usize>> = groups(dim, code_bytes).collect();
    let books = all.into_par_iter().enumerate().map(|(number, group)| {
        let parts = values.chunks_exact(dim).flat_map(|row| &row[group.clone()]);
        let parts: Vec<f32> = parts.copied().collect();
        let seed = mix(rows.seed ^ mix(number as u64));
        let book = centroids(&parts, group.len(), seed, &share)?;
        done.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Continue(book)
    });
    // By group, whichever was done first.
    let books: Vec<ControlFlow<(), Vec<_>>> = books.collect();
    let mut book = Vec::with_capacity(dim);
    for rows in books {
        book.extend(rows?);
    }
    ControlFlow::Continue(book)
}

/// Sums that do not wait for each other.
const SUMS: usize = 8;

/// Adds up one entry of each row of the table, in an order of its own.
#[inline]
fn sum_of_entries(table: &[[f32; CENTROIDS]], code: &[u8]) -> f32 {
    let (rows, last_rows) = table.as_chunks::<SUMS>();
    let (bytes, last_bytes) = code.as_chunks::<SUMS>();
    let mut sums = [0.0; SUMS];
    for (rows, bytes) in rows.iter().zip(bytes) {
        for i in 0..SUMS {
            sums[i] += rows[i][usize::from(bytes[i])];
        }
    }
    for (sum, (row, &byte)) in sums.iter_mut().zip(last_rows.iter().zip(last_bytes)) {
        *sum += row[usize::from(byte)];
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}
