//! Rescoring as much as needed: originals are read only where they may still be among the hits.
//!
//! A candidate's code tells a distance and how far off that may be. Once k originals are read,
//! the farthest of them is a limit: another candidate is among the k nearest only if its true
//! distance is below. Taken as normal, as the sum of many small errors is, that has a chance of
//! Φ((limit - distance) / deviation). The distance to put there is not what the code tells: since
//! more points are far than near, what looks near among many is rather a far one that was told too
//! near. By Tweedie's formula (Efron, JASA 2011) what is to be expected is
//!
//! ```text
//!   estimate + deviation² · growth
//! ```
//!
//! where the growth is that of the logarithm of how many candidates there are at a distance: one
//! divided by how much nearer than the last of them they are on average.
//!
//! The chances of all candidates that stay unread add up to the number of hits that a search
//! expects to miss; for a recall r of k hits it may miss (1 - r) · k. So the candidates with the
//! best chances are read until no more is missed than that. Reading goes in waves, each one batch
//! of pages: what a wave reads lowers the limit for the next.
//!
//! The original RaBitQ search (Gao and Long, SIGMOD 2024, section 4) reads whatever is within a
//! fixed number of deviations, one by one; here a wanted recall decides, and pages come in batches.

/// The most batches in which a search reads: each costs a trip to the disk.
const MAX_WAVES: usize = 3;
/// The growth is that of so many of the nearest candidates for each hit, since it falls with the
/// distance.
const GROWTH_PER_HIT: usize = 8;
/// So many candidates tell of a growth at all.
const LEAST_GROWTH: usize = 32;
/// The most deviations that an estimate is taken to be too near by. Beyond, the candidates are so
/// near each other that their number does not grow as it seems.
const MOST_TOO_NEAR: f32 = 2.0;

/// A candidate whose original was not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) point: Point,
    /// The distance by its code, without bias.
    pub(crate) estimate: f32,
    /// The standard deviation of that.
    pub(crate) deviation: f32,
    /// The distance of its original, where that is known already.
    pub(crate) exact: Option<f32>,
    /// Of being among the hits.
    chance: f32,
}

/// A point of one of several segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) segment: u32,
    /// Of its id among those of the segment.
    pub(crate) rank: u32,
    /// Where it lies in the segment.
    pub(crate) place: u32,
}

/// A point whose original was read, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) point: Point,
    pub(crate) distance: f32,
}

impl Candidate {
    pub(crate) fn new(point: Point, estimate: f32, deviation: f32) -> Self {
        Self { point, estimate, deviation, exact: None, chance: 1.0 }
    }

    /// The same, where the distance of its original may be known.
    pub(crate) fn known(self, exact: Option<f32>) -> Self {
        Self { exact, ..self }
    }
}

/// Which candidates are read, wave by wave; kept from one search to the next.
#[derive(Default)]
pub(crate) struct Waves {
    /// Set before each search, nearest first.
    pub(crate) unread: Vec<Candidate>,
    k: usize,
    /// How many the next wave reads.
    count: usize,
    waves_left: usize,
    growth: f32,
    /// How many hits may be missed; `None` where the one wave is all there is.
    missable: Option<f32>,
    nearest: Vec<f32>,
}

impl Waves {
    /// Begins to read the `count` nearest candidates, and no others.
    pub(crate) fn read(&mut self, count: usize) {
        (self.count, self.waves_left, self.missable) = (count, 1, None);
    }

    /// Begins to read as many candidates as `recall` of `k` hits needs.
    pub(crate) fn read_for(&mut self, k: usize, recall: f32) {
        self.growth = self.growth(k);
        (self.k, self.count, self.waves_left) = (k, k, MAX_WAVES);
        self.missable = Some((1.0 - recall) * k as f32);
    }

    /// Replaces `wave` by the candidates that are to be read next; by none when no more are.
    pub(crate) fn next(&mut self, wave: &mut Vec<Candidate>) {
        wave.clear();
        let count = if self.waves_left == 0 { 0 } else { self.count.min(self.unread.len()) };
        wave.extend(self.unread.drain(..count));
        self.waves_left = self.waves_left.saturating_sub(1);
    }

    /// Hears what has been read so far, and decides how much more is wanted.
    pub(crate) fn heard(&mut self, scored: &[Scored]) {
        let Some(missable) = self.missable.filter(|_| self.waves_left > 0) else { return };
        let wanted = self.wanted(self.k, self.growth, missable, scored);
        // What half of them tell may spare the rest, unless there is no further wave.
        self.count = if self.waves_left > 1 { wanted.div_ceil(2) } else { wanted };
    }

    /// How the number of candidates grows with the distance.
    fn growth(&self, k: usize) -> f32 {
        let count = k.saturating_mul(GROWTH_PER_HIT).max(LEAST_GROWTH).min(self.unread.len());
        let Some(last) = self.unread[..count].last() else { return 0.0 };
        let nearer = |other: &Candidate| f64::from(last.estimate) - f64::from(other.estimate);
        (count as f64 / self.unread[..count].iter().map(nearer).sum::<f64>()) as f32
    }

    /// How many of the unread candidates must be read, of which it puts the best first.
    fn wanted(&mut self, k: usize, growth: f32, missable: f32, scored: &[Scored]) -> usize {
        self.nearest.clear();
        self.nearest.extend(scored.iter().map(|scored| scored.distance));
        let last = k.min(self.nearest.len()) - 1;
        let limit = *self.nearest.select_nth_unstable_by(last, f32::total_cmp).1;
        for candidate in &mut self.unread {
            let Candidate { estimate, deviation, .. } = *candidate;
            // Where nothing is told wrong nothing is too near, however fast they grow.
            let too_near = if deviation > 0.0 { growth * deviation } else { 0.0 };
            let below = (limit - estimate) / deviation - too_near.min(MOST_TOO_NEAR);
            candidate.chance = normal_below(below);
        }
        self.unread.sort_unstable_by(|a, b| {
            let nearer = a.estimate.total_cmp(&b.estimate).then(a.point.cmp(&b.point));
            b.chance.total_cmp(&a.chance).then(nearer)
        });
        let mut missed = 0.0;
        let spared = self.unread.iter().rev().take_while(|candidate| {
            missed += candidate.chance;
            missed <= missable
        });
        self.unread.len() - spared.count()
    }
}

/// Φ: the share of a normal distribution below so many deviations; a half where it cannot be told.
/// Abramowitz and Stegun, 26.2.19, off by 1.5e-7 at most: nothing but products and sums, which are
/// the same on every machine.
fn normal_below(deviations: f32) -> f32 {
    const TERMS: [f32; 6] =
        [0.049_867_347, 0.021_141_006, 0.003_277_626_3, 3.800_36e-5, 4.889_06e-5, 5.383e-6];
    /// Beyond it nothing is left.
    const FARTHEST: f32 = 100.0;
    if deviations.is_nan() {
        return 0.5;
    }
    let x = deviations.abs().min(FARTHEST);
    let series = 1.0 + x * TERMS.iter().rev().fold(0.0, |sum, term| sum * x + term);
    let squared = series * series;
    let fourth = squared * squared;
    let eighth = fourth * fourth;
    let beyond = 0.5 / (eighth * eighth);
    if deviations > 0.0 { 1.0 - beyond } else { beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs over candidates that are truly as far as `exact` tells; returns hits and waves.
    fn run(
        candidates: &[(f32, f32)],
        exact: impl Fn(u32) -> f32,
        k: usize,
        recall: f32,
    ) -> (Vec<Scored>, Vec<usize>) {
        let (mut waves, mut scored, mut counts) = (Waves::default(), Vec::new(), Vec::new());
        let candidates = (0..).zip(candidates);
        let point = |rank| Point { segment: 0, rank, place: rank };
        waves.unread.extend(candidates.map(|(id, &(e, d))| Candidate::new(point(id), e, d)));
        waves.read_for(k, recall);
        let mut points = Vec::new();
        loop {
            waves.next(&mut points);
            if points.is_empty() {
                return (scored, counts);
            }
            counts.push(points.len());
            scored.extend(
                points
                    .iter()
                    .map(|&Candidate { point, .. }| Scored { point, distance: exact(point.rank) }),
            );
            waves.heard(&scored);
        }
    }

    #[test]
    fn the_normal_distribution_is_the_known_one() {
        let known = [(0.0, 0.5), (1.0, 0.841_344_7), (-1.96, 0.024_997_9), (3.0, 0.998_650_1)];
        for (x, share) in known {
            assert!((normal_below(x) - share).abs() < 1e-6, "{x}");
        }
        assert_eq!(normal_below(f32::NEG_INFINITY), 0.0);
        assert_eq!(normal_below(f32::INFINITY), 1.0);
        assert_eq!(normal_below(f32::MIN), 0.0);
        assert_eq!(normal_below(f32::NAN), 0.5);
    }

    #[test]
    fn exact_estimates_need_no_more_than_k_originals() {
        let candidates: Vec<_> = (0..50).map(|i| (i as f32, 0.0)).collect();
        let (hits, waves) = run(&candidates, |id| id as f32, 5, 0.99);
        assert_eq!((hits.len(), waves), (5, vec![5]));
    }

    #[test]
    fn estimates_that_tell_nothing_read_all_in_three_waves() {
        let candidates: Vec<_> = (0..50).map(|i| (i as f32, 1e9)).collect();
        let (hits, waves) = run(&candidates, |id| (50 - id) as f32, 5, 0.999);
        assert_eq!(hits.len(), 50);
        assert_eq!(waves, [5, 23, 22]);
        let (hits, waves) = run(&candidates[..3], |id| id as f32, 5, 0.5);
        assert_eq!((hits.len(), waves), (3, vec![3]));
    }

    #[test]
    fn more_recall_reads_more_and_what_is_told_to_be_far_is_not_read() {
        let candidates: Vec<_> = (0..200).map(|i| (i as f32, 5.0)).collect();
        let reads = [0.5, 0.8, 0.9, 0.99].map(|recall| {
            let (hits, waves) = run(&candidates, |id| id as f32, 10, recall);
            assert!(waves.len() <= MAX_WAVES);
            hits.len()
        });
        assert!(reads.is_sorted() && reads[0] < reads[3], "{reads:?}");
        assert!(reads[3] < 40, "{reads:?}");
    }

    /// The hits that are missed are as many as were allowed, or fewer.
    #[test]
    fn recall_is_what_was_asked_for() {
        let noise = |i: u32, query: u32| {
            let uniform = |part: u64| {
                let bits = crate::graph::mix(u64::from(i) << 32 | u64::from(query) << 8 | part);
                (bits >> 40) as f32 / (1 << 24) as f32
            };
            (0..12).map(uniform).sum::<f32>() - 6.0
        };
        for recall in [0.8, 0.95, 0.99] {
            let (mut found, mut read) = (0, 0);
            for query in 0..200 {
                let mut candidates: Vec<_> =
                    (0..300).map(|id| (id as f32 + 8.0 * noise(id, query), id)).collect();
                candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
                let pairs: Vec<_> = candidates.iter().map(|&(e, _)| (e, 8.0)).collect();
                let exact = |place: u32| candidates[place as usize].1 as f32;
                let (hits, _) = run(&pairs, exact, 10, recall);
                found += hits.iter().filter(|hit| hit.distance < 10.0).count();
                read += hits.len();
            }
            let share = found as f32 / 2000.0;
            assert!(share >= recall, "{share} of {recall} with {} reads", read / 200);
        }
    }
}
