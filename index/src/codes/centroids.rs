//! Centroids: k-means by Lloyd's rounds, for schemes that encode what is left of a vector once
//! the nearest centroid is taken away.

use rayon::prelude::*;

use crate::Element;
use crate::distance::l2;
use crate::isa::Isa;

/// Rounds of Lloyd's: later ones hardly move a centroid.
const ROUNDS: usize = 10;

/// `count` centroids of `rows`, which are vectors of `dim` values put end to end and at least
/// `count`. The same on any number of threads.
pub(crate) fn train(rows: &[f32], dim: usize, count: usize) -> Vec<f32> {
    let len = rows.len() / dim;
    debug_assert!((1..=len).contains(&count));
    let mut centroids = Vec::with_capacity(count * dim);
    for centroid in 0..count {
        centroids.extend_from_slice(&rows[centroid * len / count * dim..][..dim]);
    }
    let isa = Isa::detected();
    for _ in 0..ROUNDS {
        let assign = |row| nearest(isa, &centroids, row);
        let assigned: Vec<usize> = rows.par_chunks_exact(dim).map(assign).collect();
        let (mut sums, mut counts) = (vec![0.0_f64; count * dim], vec![0_u32; count]);
        for (row, &centroid) in rows.chunks_exact(dim).zip(&assigned) {
            counts[centroid] += 1;
            for (sum, &value) in sums[centroid * dim..][..dim].iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let parts = centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).zip(counts);
        // Nobody's centroid stays where it is: it was somebody's place.
        for ((centroid, sums), count) in parts.filter(|(_, count)| *count > 0) {
            for (value, sum) in centroid.iter_mut().zip(sums) {
                *value = (sum / f64::from(count)) as f32;
            }
        }
    }
    centroids
}

/// The centroid nearest to `row`; of those equally near, the first.
pub(crate) fn nearest(isa: Isa, centroids: &[f32], row: &[f32]) -> usize {
    let mut best = (f32::INFINITY, 0);
    for (i, centroid) in centroids.chunks_exact(row.len()).enumerate() {
        let distance = l2(isa, row, bytemuck::cast_slice(centroid), Element::F32);
        if distance < best.0 {
            best = (distance, i);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_found_and_their_rows_assigned() {
        // Three clusters of 40 rows, each within 0.5 of its middle.
        let middles = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]];
        let rows: Vec<f32> = (0..120)
            .flat_map(|i: u32| {
                let wobble = [(i as f32).sin(), (i as f32).cos()].map(|x| x / 2.0);
                let [x, y] = middles[i as usize % 3];
                [x + wobble[0], y + wobble[1]]
            })
            .collect();
        let centroids = train(&rows, 2, 3);
        for [x, y] in middles {
            let found = nearest(Isa::detected(), &centroids, &[x, y]);
            let [cx, cy] = [centroids[2 * found], centroids[2 * found + 1]];
            assert!((cx - x).abs() < 0.2 && (cy - y).abs() < 0.2, "{cx}, {cy} for {x}, {y}");
        }
    }

    #[test]
    fn twins_and_single_rows_are_their_own_centroids() {
        assert_eq!(train(&[3.0, 4.0], 2, 1), [3.0, 4.0]);
        let twins = train(&[7.0; 20], 1, 4);
        assert_eq!(twins, [7.0; 4]);
        assert_eq!(nearest(Isa::detected(), &twins, &[7.0]), 0);
        assert_eq!(nearest(Isa::detected(), &[f32::MAX; 2], &[f32::MIN]), 0);
    }
}
