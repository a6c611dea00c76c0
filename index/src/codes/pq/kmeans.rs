//! k-means over one group of dimensions.
//!
//! The start is that of k-means++ (Arthur and Vassilvitskii, SODA 2007): each next centroid is a
//! point drawn with a weight of its squared distance from those that there are, so that clusters
//! far from all others are not missed. Then Lloyd's iteration: each point goes to its nearest
//! centroid, each centroid to the mean of its points. One that is left without points goes to where
//! the error is largest. All that is drawn depends on the seed alone and sums have one order, so
//! that the result is the same on any machine and any number of threads.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::nearest::{Book, nearest};
use crate::graph::mix;
use crate::isa::Isa;

/// How many centroids: as many as a byte tells apart.
pub(super) const CENTROIDS: usize = 256;
/// The most rounds of Lloyd's iteration; the error hardly falls after the first ten.
const MAX_ROUNDS: usize = 12;
/// The most points that the first centroids are drawn from.
const START_POINTS: usize = 4096;
/// Points that one task assigns at a time.
const POINTS_PER_TASK: usize = 1024;

/// The centroids of `points`, `dim` values each, at least one point; `heard` is asked before each
/// round and ends the work when it breaks.
pub(super) fn centroids(
    points: &[f32],
    dim: usize,
    seed: u64,
    heard: &(dyn Fn() -> ControlFlow<()> + Sync),
) -> ControlFlow<(), Vec<[f32; CENTROIDS]>> {
    let isa = Isa::detected();
    let mut book = start(points, dim, seed);
    let mut assigned = vec![(0, 0.0); points.len() / dim];
    for _ in 0..MAX_ROUNDS {
        heard()?;
        if !assign(isa, points, dim, &book, &mut assigned) {
            break;
        }
        update(points, dim, &mut book, &assigned);
    }
    ControlFlow::Continue(book)
}

/// Draws the first centroids. Where there are fewer different points than centroids, the rest
/// are copies of the first, to which no point goes.
fn start(points: &[f32], dim: usize, seed: u64) -> Vec<[f32; CENTROIDS]> {
    let count = points.len() / dim;
    // Evenly from all of them, in whatever order they are.
    let every = count.div_ceil(START_POINTS);
    let drawn_from: Vec<&[f32]> = points.chunks_exact(dim).step_by(every).collect();
    let first = drawn_from[(mix(seed) % drawn_from.len() as u64) as usize];
    let mut book: Vec<_> = first.iter().map(|&value| [value; CENTROIDS]).collect();
    let mut newest = first;
    let mut distances = vec![f64::INFINITY; drawn_from.len()];
    for centroid in 1..CENTROIDS {
        let mut total = 0.0;
        for (distance, point) in distances.iter_mut().zip(&drawn_from) {
            *distance = distance.min(squared_distance(point, newest));
            total += *distance;
        }
        if total == 0.0 {
            break;
        }
        let share = (mix(seed ^ mix(centroid as u64)) >> 11) as f64 / (1_u64 << 53) as f64;
        let mut left = share * total;
        let drawn = distances.iter().position(|&distance| {
            left -= distance;
            left < 0.0
        });
        // None where rounding left a little at the end.
        let Some(drawn) = drawn else { continue };
        newest = drawn_from[drawn];
        for (row, &value) in book.iter_mut().zip(newest) {
            row[centroid] = value;
        }
    }
    book
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b));
    differences.map(|difference| difference * difference).sum()
}

/// Finds each point's nearest centroid and its distance from it; says whether any has changed.
fn assign(isa: Isa, points: &[f32], dim: usize, book: &Book, assigned: &mut [(u8, f32)]) -> bool {
    let tasks = assigned.par_chunks_mut(POINTS_PER_TASK);
    let tasks = tasks.zip(points.par_chunks(POINTS_PER_TASK * dim));
    let changed = tasks.map(|(assigned, points)| {
        let mut changed = false;
        for (assigned, point) in assigned.iter_mut().zip(points.chunks_exact(dim)) {
            let found = nearest(isa, point, book);
            changed |= found != *assigned;
            *assigned = found;
        }
        changed
    });
    changed.reduce(|| false, |a, b| a | b)
}

/// Moves each centroid to the mean of its points.
fn update(points: &[f32], dim: usize, book: &mut Book, assigned: &[(u8, f32)]) {
    let mut sums = vec![0.0_f64; CENTROIDS * dim];
    let mut counts = [0_u32; CENTROIDS];
    for (point, &(centroid, _)) in points.chunks_exact(dim).zip(assigned) {
        counts[usize::from(centroid)] += 1;
        for (sum, &value) in sums[usize::from(centroid) * dim..].iter_mut().zip(point) {
            *sum += f64::from(value);
        }
    }
    let empty = counts.iter().filter(|&&count| count == 0).count();
    let mut worst = worst(assigned, empty).into_iter();
    for (centroid, (&count, sums)) in counts.iter().zip(sums.chunks_exact(dim)).enumerate() {
        if count > 0 {
            for (row, sum) in book.iter_mut().zip(sums) {
                row[centroid] = (sum / f64::from(count)) as f32;
            }
        } else if let Some(point) = worst.next() {
            for (row, &value) in book.iter_mut().zip(&points[point * dim..]) {
                row[centroid] = value;
            }
        }
    }
}

/// At most `count` points, those with the largest errors; none without an error.
fn worst(assigned: &[(u8, f32)], count: usize) -> Vec<usize> {
    let mut points: Vec<usize> = (0..assigned.len()).filter(|&i| assigned[i].1 > 0.0).collect();
    let count = count.min(points.len());
    if count == 0 {
        return Vec::new();
    }
    let by_error = |&a: &usize, &b: &usize| assigned[b].1.total_cmp(&assigned[a].1).then(a.cmp(&b));
    points.select_nth_unstable_by(count - 1, by_error);
    points.truncate(count);
    points.sort_unstable_by(by_error);
    points
}
