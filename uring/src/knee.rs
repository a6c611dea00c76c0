//! The search for the knee: the fewest reads in flight that keep the disk busy.
//!
//! The rate at one depth says nothing beside the rate at another a second later: disks that are
//! shared drift by more than what is looked for. So [`Knee`] compares: the rate at its own rung of
//! a ladder of depths, at another, and at its own again, so that a drift is in both. From all
//! comparisons together follows what each rung is worth (least squares over the pairs), which
//! does not fall with the depth (isotonic regression: the mean of neighbours takes the place of
//! those that are out of order, and so the best of many noisy figures is not mistaken for the
//! best). The knee lies where that curve reaches nearly all of its height, between two rungs as a
//! rule.
//!
//! All of its memory is had at the start, since it works on the way of reads.

use crate::options::EngineOptions;

/// The knee is where the rate is 95 % of the best; a little more, since a little more depth costs
/// less than too little.
const GOOD_ENOUGH: f64 = 0.965;
/// Where the search begins: at the knee of many a disk.
pub(crate) const START: u32 = 64;
/// Two of them double the depth.
const RUNGS_AN_OCTAVE: f64 = 2.0;
/// What is compared with our own rung, in turn: close by for the slope, far up for the height, and
/// far down in case we are far too high.
const AWAY: [isize; 6] = [1, -1, 3, -2, 5, -4];
const FURTHEST: usize = 5;
/// Rungs at most: two an octave up to the highest ceiling, and that.
const RUNGS: usize = 32;
/// A pair of rungs is known by so many comparisons, its last ones,
const REMEMBERED: usize = 25;
/// and is forgotten when there was none among so many of all pairs.
const FORGOTTEN: u32 = 250;
/// A rung with fewer comparisons than this does not count yet.
const TOO_FEW: f64 = 6.0;
/// So many comparisons come one after the other, and so many more with short rests between; and
/// again, when the knee turns out to be so many rungs from where it was.
const LEARNING: u32 = 42;
const REFINING: u32 = 200;
const MOVED: usize = 2;
/// Measurements at our own depth between two comparisons then, and later.
const SHORT_REST: u32 = 2;
const LONG_REST: u32 = 96;
/// Rounds of relaxation after each comparison; they go on from the last result.
const ROUNDS: usize = 16;

/// The search, without clock and disk.
pub(crate) struct Knee {
    rungs: Vec<Rung>,
    /// Of each rung, its pairs with those above it, the next one first.
    pairs: Box<[[Pair; FURTHEST]]>,
    /// The rung that the others are compared with.
    here: usize,
    /// The depth that is best as far as is known.
    best: u32,
    step: Step,
    comparisons: u32,
    /// Where the search was when it last set out to learn, and how many comparisons ago.
    origin: usize,
    learnt: u32,
    /// Whose turn it is to be compared.
    turn: usize,
}

struct Rung {
    depth: u32,
    /// The logarithm of its rate, but for a constant.
    height: f64,
    /// How much of what is known says so.
    weight: f64,
}

/// What is known of two rungs.
#[derive(Clone, Copy, Default)]
struct Pair {
    /// The logarithms of how much more the upper one was worth than the lower, the last ones.
    rises: [f64; REMEMBERED],
    /// How many there were in all, since they were last forgotten.
    count: usize,
    median: f64,
    /// Which comparison was its last one.
    last: u32,
}

impl Pair {
    /// How many comparisons it is known by.
    fn weight(&self) -> f64 {
        self.count.min(REMEMBERED) as f64
    }

    fn remember(&mut self, rise: f64, now: u32) {
        self.rises[self.count % REMEMBERED] = rise;
        (self.count, self.last) = (self.count + 1, now);
        let mut sorted = self.rises;
        let known = &mut sorted[..self.count.min(REMEMBERED)];
        known.sort_unstable_by(f64::total_cmp);
        self.median = (known[(known.len() - 1) / 2] + known[known.len() / 2]) / 2.0;
    }
}

#[derive(Clone, Copy)]
enum Step {
    /// At the best depth, for so many measurements more.
    Resting(u32),
    /// At our own rung.
    Before,
    /// At another, having measured ours.
    Trying { rung: usize, before: f64 },
    /// At our own again.
    After { rung: usize, before: f64, there: f64 },
}

impl Knee {
    /// A search from one read in flight up to `ceiling`.
    pub(crate) fn new(ceiling: u32) -> Self {
        let ceiling = ceiling.clamp(1, EngineOptions::MAX_IN_FLIGHT);
        let depth = |i: i32| (f64::from(i) / RUNGS_AN_OCTAVE).exp2() as u32;
        let mut depths: Vec<u32> = (0..).map(depth).take_while(|&depth| depth < ceiling).collect();
        depths.push(ceiling);
        depths.dedup();
        let here = depths.iter().rposition(|&depth| depth <= START).unwrap_or(0);
        let rung = |&depth: &u32| Rung { depth, height: 0.0, weight: 0.0 };
        Self {
            rungs: depths.iter().map(rung).collect(),
            pairs: vec![[Pair::default(); FURTHEST]; depths.len()].into(),
            here,
            best: depths[here],
            step: Step::Before,
            comparisons: 0,
            origin: here,
            learnt: 0,
            turn: 0,
        }
    }

    /// The depth to be used now.
    pub(crate) fn depth(&self) -> u32 {
        match self.step {
            Step::Resting(_) => self.best,
            Step::Before | Step::After { .. } => self.rungs[self.here].depth,
            Step::Trying { rung, .. } => self.rungs[rung].depth,
        }
    }

    /// Takes in the rate that was measured at [`depth`](Self::depth), and moves on.
    pub(crate) fn measured(&mut self, rate: f64) {
        self.step = match self.step {
            Step::Resting(0) => Step::Before,
            Step::Resting(left) => Step::Resting(left - 1),
            Step::Before => match self.next_to_try() {
                Some(rung) => Step::Trying { rung, before: rate },
                None => Step::Resting(LONG_REST), // There is only one rung.
            },
            Step::Trying { rung, before } => Step::After { rung, before, there: rate },
            Step::After { rung, before, there } => {
                let ours = (before + rate) / 2.0;
                if ours > 0.0 && there > 0.0 {
                    self.compared(rung, (there / ours).ln());
                }
                match self.learnt {
                    ..LEARNING => Step::Before,
                    LEARNING..REFINING => Step::Resting(SHORT_REST),
                    REFINING.. => Step::Resting(LONG_REST),
                }
            }
        };
    }

    /// Whether there is a curve yet.
    pub(crate) fn is_known(&self) -> bool {
        self.rungs.iter().any(|rung| rung.weight >= TOO_FEW)
    }

    /// Goes on at twice the depth, unless rates are known or there is none higher.
    pub(crate) fn widen(&mut self) -> bool {
        let top = self.rungs.len() - 1;
        if self.is_known() || self.here == top {
            return false;
        }
        self.here = (self.here + RUNGS_AN_OCTAVE as usize).min(top);
        (self.origin, self.learnt) = (self.here, 0);
        (self.best, self.step) = (self.rungs[self.here].depth, Step::Resting(0));
        true
    }

    /// Goes back to the best depth: there is too little to do for a measurement.
    pub(crate) fn give_up(&mut self) {
        self.step = Step::Resting(0);
    }

    fn next_to_try(&self) -> Option<usize> {
        let top = self.rungs.len() as isize - 1;
        (0..AWAY.len()).find_map(|skip| {
            let rung = self.here as isize + AWAY[(self.turn + skip) % AWAY.len()];
            let rung = rung.min(top) as usize; // Below the lowest it wraps, and is none.
            (rung != self.here && rung < self.rungs.len()).then_some(rung)
        })
    }

    /// `rung` was worth so much more than ours, as a logarithm.
    fn compared(&mut self, rung: usize, rise: f64) {
        (self.turn, self.learnt) = (self.turn + 1, self.learnt + 1);
        self.comparisons += 1;
        let now = self.comparisons;
        let is_old = |pair: &&mut Pair| now - pair.last >= FORGOTTEN;
        self.pairs.as_flattened_mut().iter_mut().filter(is_old).for_each(|pair| pair.count = 0);
        let (lower, upper) = (self.here.min(rung), self.here.max(rung));
        let rise = if lower == rung { -rise } else { rise };
        self.pairs[lower][upper - lower - 1].remember(rise, now);
        self.relax();
        let (below, best) = self.knee();
        self.best = best;
        // Not further at a stride than what was compared.
        self.here = below.clamp(self.here.saturating_sub(2), self.here + 2);
        if self.here.abs_diff(self.origin) >= MOVED {
            (self.origin, self.learnt) = (self.here, 0);
        }
    }

    /// Moves each rung to where its comparisons say that it is, relative to the others.
    fn relax(&mut self) {
        for _ in 0..ROUNDS {
            for to in 0..self.rungs.len() {
                let (mut weight, mut sum) = (0.0, 0.0);
                for away in 1..=FURTHEST {
                    let above = self.rungs.get(to + away).map(|upper| {
                        let pair = &self.pairs[to][away - 1];
                        (pair.weight(), upper.height - pair.median)
                    });
                    let below = to.checked_sub(away).map(|lower| {
                        let pair = &self.pairs[lower][away - 1];
                        (pair.weight(), self.rungs[lower].height + pair.median)
                    });
                    for (known, said) in above.into_iter().chain(below) {
                        (weight, sum) = (weight + known, sum + known * said);
                    }
                }
                self.rungs[to].weight = weight;
                if weight > 0.0 {
                    self.rungs[to].height = sum / weight;
                }
            }
        }
    }

    /// Where the curve reaches nearly its height: the rung next to it, and the depth.
    fn knee(&self) -> (usize, u32) {
        let Curve { points, count } = self.curve();
        let curve = &points[..count];
        let top = curve.last().map_or(0.0, |&(_, height)| height);
        let enough = top + GOOD_ENOUGH.ln();
        let at = curve.iter().position(|&(_, height)| height >= enough).unwrap_or(0);
        let Some(&(rung, height)) = curve.get(at) else {
            return (self.here, self.best);
        };
        let depth = f64::from(self.rungs[rung].depth);
        let Some(&(lower, below)) = at.checked_sub(1).and_then(|at| curve.get(at)) else {
            return (rung, self.rungs[rung].depth);
        };
        let share = (enough - below) / (height - below);
        let from = f64::from(self.rungs[lower].depth);
        let knee = from * (depth / from).powf(share);
        let nearest = if share < 0.5 { lower } else { rung };
        (nearest, knee.round() as u32)
    }

    /// The known rungs and their heights, none of which is below that of the rung before.
    fn curve(&self) -> Curve {
        let known = self.rungs.iter().enumerate().filter(|(_, rung)| rung.weight >= TOO_FEW);
        // Blocks of neighbours with one height: their sum, weight and last rung.
        let (mut blocks, mut count) = ([(0.0, 0.0, 0); RUNGS], 0);
        for (i, rung) in known.clone() {
            let mut block = (rung.height * rung.weight, rung.weight, i);
            while count > 0 && blocks[count - 1].0 / blocks[count - 1].1 > block.0 / block.1 {
                let (sum, weight, _) = blocks[count - 1];
                block = (block.0 + sum, block.1 + weight, block.2);
                count -= 1;
            }
            blocks[count] = block;
            count += 1;
        }
        let mut curve = Curve { points: [(0, 0.0); RUNGS], count: 0 };
        for (i, _) in known {
            let block = blocks[..count].iter().find(|block| block.2 >= i);
            curve.points[curve.count] = (i, block.map_or(0.0, |&(sum, weight, _)| sum / weight));
            curve.count += 1;
        }
        curve
    }
}

/// Rungs and their heights, the lowest first.
struct Curve {
    points: [(usize, f64); RUNGS],
    count: usize,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A disk that is busier the more it has to do, up to a number of reads: what is found after so
    /// many measurements. Each is off by up to `noise`, and one of ten by half.
    fn settled(ceiling: u32, knee: f64, noise: f64, measurements: u32) -> u32 {
        let mut search = Knee::new(ceiling);
        let mut dice = SmallRng::seed_from_u64(u64::from(measurements));
        for _ in 0..measurements {
            let spoilt = if noise > 0.0 && dice.random_bool(0.1) { 0.5 } else { 1.0 };
            let luck = spoilt * (1.0 + noise * (dice.random::<f64>() * 2.0 - 1.0));
            search.measured(f64::from(search.depth()).min(knee) * luck);
        }
        search.best
    }

    #[test]
    fn it_finds_the_knee_and_stays() {
        for knee in [1.0, 2.0, 8.0, 30.0, 64.0, 200.0] {
            for noise in [0.0, 0.05] {
                let depth = f64::from(settled(256, knee, noise, 3_000));
                assert!(
                    depth >= 0.9 * knee && depth <= 1.25 * knee.max(2.0),
                    "{depth} for {knee} ± {noise}"
                );
            }
        }
    }

    #[test]
    fn noise_does_not_draw_it_up() {
        let depths: Vec<u32> = (0..40).map(|i| settled(256, 30.0, 0.15, 3_000 + 7 * i)).collect();
        let good = depths.iter().filter(|&depth| (25..=45).contains(depth)).count();
        assert!(good >= 34, "{depths:?}");
    }

    #[test]
    fn the_ceiling_holds() {
        assert_eq!(settled(1, 100.0, 0.01, 2_000), 1);
        assert!((280..=300).contains(&settled(300, 1000.0, 0.0, 2_000)));
        assert!((17..=20).contains(&settled(20, 100.0, 0.01, 2_000)));
        let mut search = Knee::new(20);
        for _ in 0..2_000 {
            assert!((1..=20).contains(&search.depth()));
            search.measured(f64::from(search.depth()));
        }
    }

    #[test]
    fn it_follows_a_disk_that_changes() {
        let mut search = Knee::new(256);
        let mut run = |knee: f64| {
            (0..30_000).for_each(|_| search.measured(f64::from(search.depth()).min(knee)));
            search.best
        };
        assert!((14..=18).contains(&run(16.0)));
        assert!((115..=140).contains(&run(128.0)));
        assert!((14..=18).contains(&run(16.0)));
    }

    #[test]
    fn rates_of_nothing_are_borne() {
        let mut search = Knee::new(256);
        (0..1_000).for_each(|_| search.measured(0.0));
        assert_eq!(search.best, START);
    }
}
