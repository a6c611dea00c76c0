//! From a residual to the levels of its code: the nearest direction on a grid.
//!
//! With B bits a dimension the grid has the values ±1, ±3, ..., ±(2^B - 1), in half steps. Of all
//! grid vectors y the code is the one whose direction is nearest to that of the residual r: the
//! largest <r, y> / |y|. Each such y is r scaled and rounded, hence a search over scales finds it
//! (SIGMOD 2025, section 3.2). For normal values, as a rotation makes them, the best scale is near
//! a known one: a few around it are tried, then each dimension may move by a step where that helps.

/// A code before it is packed, and what its factors are made of.
pub(super) struct Grid {
    /// <r, y>.
    pub(super) dot: f64,
    /// |y|².
    pub(super) norm: f64,
}

/// Scales that are tried.
const SCALES: usize = 16;
/// The first and the last of them, relative to the best one for normal values.
const SCALE_RANGE: (f64, f64) = (0.6, 1.7);
/// Passes over all dimensions that move each by a step.
const PASSES: usize = 2;

/// Replaces `levels` by those of the nearest direction: y = 2 · level - (2^B - 1). The residual is
/// scaled to a mean square of 1.
pub(super) fn quantize<const BITS: usize>(residual: &[f32], levels: &mut [u8]) -> Grid {
    let most = ((1 << BITS) - 1) as f64;
    if BITS == 1 {
        for (level, value) in levels.iter_mut().zip(residual) {
            *level = u8::from(*value >= 0.0);
        }
    } else {
        // Of the best uniform quantizer of a normal value (Max, 1960).
        let half_step = if BITS == 2 { 0.498 } else { 0.1676 };
        round(residual, best_scale(residual, 1.0 / half_step, most), most, levels);
    }
    let mut grid = Grid { dot: 0.0, norm: 0.0 };
    for (&value, &level) in residual.iter().zip(&*levels) {
        let y = 2.0 * f64::from(level) - most;
        grid.dot += f64::from(value) * y;
        grid.norm += y * y;
    }
    for _ in 0..if BITS == 1 { 0 } else { PASSES } {
        grid = moved(residual, grid, most, levels);
    }
    grid
}

/// The scale, of some around `usual`, whose rounding is nearest in direction.
fn best_scale(residual: &[f32], usual: f64, most: f64) -> f32 {
    let (first, last) = SCALE_RANGE;
    let mut best = (f64::NEG_INFINITY, 0.0);
    for i in 0..SCALES {
        let share = i as f64 / (SCALES - 1) as f64;
        let scale = (usual * first * (last / first).powf(share)) as f32;
        let (mut dot, mut norm) = ([0.0_f32; 16], [0.0_f32; 16]);
        // Sixteen sums, so that they fit a vector: the order of additions is this one.
        for values in residual.as_chunks::<16>().0 {
            for (i, &value) in values.iter().enumerate() {
                let y = rounded(value.abs() * scale, most as f32);
                dot[i] += value.abs() * y;
                norm[i] += y * y;
            }
        }
        let total = |sums: [f32; 16]| sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        let cosine = total(dot) / total(norm).sqrt();
        if cosine > best.0 {
            best = (cosine, scale);
        }
    }
    best.1
}

/// The nearest odd number in 1..=most.
#[inline(always)]
fn rounded(magnitude: f32, most: f32) -> f32 {
    // The cast truncates and saturates.
    let steps = (magnitude * 0.5) as i32 as f32;
    (2.0 * steps + 1.0).min(most)
}

fn round(residual: &[f32], scale: f32, most: f64, levels: &mut [u8]) {
    for (level, &value) in levels.iter_mut().zip(residual) {
        let y = rounded(value.abs() * scale, most as f32).copysign(value);
        *level = ((y + most as f32) * 0.5) as u8;
    }
}

/// Moves each dimension by a step, up or down, where that turns y nearer to r.
fn moved(residual: &[f32], mut grid: Grid, most: f64, levels: &mut [u8]) -> Grid {
    for (&value, level) in residual.iter().zip(levels) {
        let y = 2.0 * f64::from(*level) - most;
        for next in [y - 2.0, y + 2.0] {
            let dot = grid.dot + f64::from(value) * (next - y);
            let norm = grid.norm + next * next - y * y;
            let nearer = next.abs() <= most
                && dot > 0.0
                && dot * dot * grid.norm > grid.dot * grid.dot * norm;
            if nearer {
                *level = ((next + most) * 0.5) as u8;
                grid = Grid { dot, norm };
                break;
            }
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::mix;

    /// About normal values: sums of twelve uniform ones.
    fn normal(len: usize, seed: u64) -> Vec<f32> {
        let uniform = |i: u64| (mix(seed << 40 ^ i) >> 40) as f32 / (1 << 24) as f32;
        let sum = |i: usize| (0..12).map(|part| uniform(12 * i as u64 + part)).sum::<f32>() - 6.0;
        (0..len).map(sum).collect()
    }

    /// The best cosine there is: every scale at which a dimension takes its next value.
    fn best_cosine(residual: &[f32], most: f64) -> f64 {
        let turns = residual.iter().flat_map(|&value| {
            let steps = (1..).map(|step| 2.0 * f64::from(step)).take_while(move |&y| y < most);
            steps.map(move |y| y / f64::from(value.abs()))
        });
        let cosine = |scale: f64| {
            let (mut dot, mut norm) = (0.0, 0.0);
            for &value in residual {
                let magnitude = f64::from(value.abs());
                let steps = (magnitude * scale * 0.5 * (1.0 + 1e-12)).floor();
                let y = (2.0 * steps + 1.0).min(most);
                (dot, norm) = (dot + magnitude * y, norm + y * y);
            }
            dot / norm.sqrt()
        };
        turns.map(cosine).fold(cosine(0.0), f64::max)
    }

    #[test]
    fn the_direction_is_nearly_the_best() {
        for seed in 0..10 {
            let residual = normal(128, seed);
            let mut levels = vec![0; 128];
            for (grid, most) in [
                (quantize::<2>(&residual, &mut levels), 3.0),
                (quantize::<4>(&residual, &mut levels), 15.0),
            ] {
                let best = best_cosine(&residual, most);
                let found = grid.dot / grid.norm.sqrt();
                assert!(found <= best * (1.0 + 1e-9), "{found} beyond {best}");
                assert!(found >= best * 0.9995, "{found} where {best} is possible");
            }
        }
    }

    #[test]
    fn sums_are_those_of_the_levels() {
        let residual = normal(192, 7);
        let mut levels = vec![0; 192];
        let grid = quantize::<4>(&residual, &mut levels);
        let y = |level: u8| 2.0 * f64::from(level) - 15.0;
        let dot: f64 = residual.iter().zip(&levels).map(|(&r, &l)| f64::from(r) * y(l)).sum();
        let norm: f64 = levels.iter().map(|&level| y(level).powi(2)).sum();
        assert!((grid.dot - dot).abs() < 1e-6 && (grid.norm - norm).abs() < 1e-6);
    }
}
