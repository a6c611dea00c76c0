//! How many reads to have in flight: as few as keep the disk busy.
//!
//! A disk's throughput grows with the reads in flight up to a knee; beyond it more only wait
//! longer. [`Climb`] finds the knee by trying: it measures the rate at its own rung of a ladder of
//! depths, at a neighbouring rung, and at its own again, so that a disk that drifts drifts in both,
//! and keeps what the neighbour was worth relative to it. Then it moves to the lowest rung that is
//! worth nearly as much as the best. While there is not enough to do, nothing is learnt.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::sync::AtomicU32;

/// A rung is good enough when it is worth so much of the best. The knee is where it is 95 %; a
/// little more, since what was measured is uncertain by as much.
const GOOD_ENOUGH: f64 = 0.965;
/// Where the climb begins: at the knee of many a disk.
const START: u32 = 64;
/// A measurement covers so many reads for each that is in flight, and at least so many,
const READS_A_DEPTH: u64 = 12;
const READS: u64 = 512;
/// and the first so many for each in flight, which were started at another depth, do not count.
const SETTLING: u64 = 2;
/// After so many comparisons the curve is known, and the next come only
const LEARNING: u32 = 24;
/// every so many measurements.
const REST: u32 = 48;
/// What a new comparison weighs once a rung is known.
const NEWS: f64 = 0.2;
/// A comparison that differs so much from what is known says that the disk has changed.
const SURPRISE: f64 = 0.15;

/// The reads that may be in flight, over all rings.
pub(crate) struct Depth {
    limit: AtomicU32,
    in_flight: AtomicU32,
    /// Rings with reads in flight.
    busy: AtomicU32,
    ended: AtomicU64,
    /// When to look at the clock again, in reads ended.
    look_at: AtomicU64,
    /// Whether fewer reads were asked for than allowed, since the measurement began.
    slack: AtomicBool,
    course: Option<Mutex<Course>>,
}

/// A climb and the measurement that is under way.
struct Course {
    climb: Climb,
    began: Instant,
    began_at: u64,
    settling: bool,
}

impl Depth {
    pub(crate) fn new(ceiling: u32, adapts: bool) -> Self {
        let climb = Climb::new(ceiling);
        let limit = if adapts { climb.depth() } else { ceiling };
        let course = Course { climb, began: Instant::now(), began_at: 0, settling: true };
        Self {
            limit: AtomicU32::new(limit),
            in_flight: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            look_at: AtomicU64::new(SETTLING * u64::from(limit)),
            slack: AtomicBool::new(false),
            course: adapts.then(|| Mutex::new(course)),
        }
    }

    /// Reads in flight at most, over all rings.
    pub(crate) fn limit(&self) -> u32 {
        // Relaxed, here and below: numbers that guide and guard nothing.
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether one more read may start in a ring that has `own` in flight.
    ///
    /// As long as there are fewer than the limit; and a ring has half of its fair share whatever
    /// the others have, so that none waits for another's reads to end. Those who have more then
    /// get less, as theirs end.
    #[inline]
    pub(crate) fn may_start(&self, own: u32) -> bool {
        let limit = self.limit();
        let busy = self.busy.load(Ordering::Relaxed).max(1);
        self.in_flight.load(Ordering::Relaxed) < limit || own < (limit / (2 * busy)).max(1)
    }

    /// A read starts, the first one in its ring or not.
    #[inline]
    pub(crate) fn starts(&self, is_first: bool) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if is_first {
            self.busy.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A read has ended, the last one in its ring or not.
    #[inline]
    pub(crate) fn ends(&self, was_last: bool) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if was_last {
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A ring has no more requests waiting. If more could be in flight, nothing is learnt of the
    /// disk for a while.
    #[inline]
    pub(crate) fn runs_dry(&self) {
        let dry = self.in_flight.load(Ordering::Relaxed) < self.limit();
        if dry && !self.slack.load(Ordering::Relaxed) {
            self.slack.store(true, Ordering::Relaxed);
        }
    }

    /// So many reads have ended by `now`: measures, when it is time.
    #[inline]
    pub(crate) fn measure(&self, reads: u64, now: Instant) {
        let ended = self.ended.fetch_add(reads, Ordering::Relaxed) + reads;
        if ended >= self.look_at.load(Ordering::Relaxed)
            && let Some(mut course) = self.course.as_ref().and_then(Mutex::try_lock)
        {
            self.look(&mut course, ended, now);
        }
    }

    #[cold]
    fn look(&self, course: &mut Course, ended: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(course.began);
        if self.slack.swap(false, Ordering::Relaxed) {
            course.settling = true; // And measured once more.
        } else if course.settling {
            course.settling = false;
        } else if elapsed > Duration::ZERO {
            let depth = course.climb.depth();
            course.climb.measured((ended - course.began_at) as f64 / elapsed.as_secs_f64());
            course.settling = course.climb.depth() != depth;
        }
        let depth = course.climb.depth();
        self.limit.store(depth, Ordering::Relaxed);
        let reads = match (course.settling, u64::from(depth)) {
            (true, depth) => SETTLING * depth,
            (false, depth) => (READS_A_DEPTH * depth).max(READS),
        };
        (course.began, course.began_at) = (now, ended);
        self.look_at.store(ended + reads, Ordering::Relaxed);
    }
}

/// The search for the knee, without clock and disk.
struct Climb {
    rungs: Vec<Rung>,
    here: usize,
    step: Step,
    /// Comparisons since the last surprise.
    comparisons: u32,
    /// Whose turn it is among the neighbours.
    turn: u32,
}

struct Rung {
    depth: u32,
    /// Its rate relative to the other rungs; 0 while unknown.
    worth: f64,
    comparisons: u32,
}

#[derive(Clone, Copy)]
enum Step {
    /// At our own rung, for so many measurements more.
    Resting(u32),
    /// At our own rung.
    Before,
    /// At another, having measured ours.
    Trying { rung: usize, before: f64 },
    /// At our own again.
    After { rung: usize, before: f64, there: f64 },
}

impl Climb {
    fn new(ceiling: u32) -> Self {
        let ceiling = ceiling.max(1);
        let mut depths: Vec<u32> = (0..24).map(|i| 2f64.powf(f64::from(i) / 2.0) as u32).collect();
        depths.retain(|&depth| depth < ceiling);
        depths.push(ceiling);
        depths.dedup();
        let here = depths.iter().rposition(|&depth| depth <= START).unwrap_or(0);
        let rung = |depth| Rung { depth, worth: 0.0, comparisons: 0 };
        let mut rungs: Vec<Rung> = depths.into_iter().map(rung).collect();
        rungs[here].worth = 1.0;
        Self { rungs, here, step: Step::Before, comparisons: 0, turn: 0 }
    }

    /// The depth to be used now.
    fn depth(&self) -> u32 {
        let rung = if let Step::Trying { rung, .. } = self.step { rung } else { self.here };
        self.rungs[rung].depth
    }

    /// Takes in the rate that was measured at [`depth`](Self::depth), and moves on.
    fn measured(&mut self, rate: f64) {
        self.step = match self.step {
            Step::Resting(0) => Step::Before,
            Step::Resting(left) => Step::Resting(left - 1),
            Step::Before => match self.next_to_try() {
                Some(rung) => Step::Trying { rung, before: rate },
                None => Step::Resting(REST),
            },
            Step::Trying { rung, before } => Step::After { rung, before, there: rate },
            Step::After { rung, before, there } => {
                self.compare(rung, 2.0 * there / (before + rate).max(f64::MIN_POSITIVE));
                if self.comparisons < LEARNING { Step::Before } else { Step::Resting(REST) }
            }
        };
    }

    /// The neighbours in turn: one up, one down, two up, two down.
    fn next_to_try(&self) -> Option<usize> {
        (0..4).find_map(|skip| {
            let away = [1, -1, 2, -2][((self.turn + skip) % 4) as usize];
            self.here.checked_add_signed(away).filter(|&rung| rung < self.rungs.len())
        })
    }

    /// `rung` was worth so much of ours.
    fn compare(&mut self, rung: usize, ratio: f64) {
        let worth = self.rungs[self.here].worth * ratio;
        let other = &mut self.rungs[rung];
        (self.comparisons, self.turn) = (self.comparisons + 1, self.turn.wrapping_add(1));
        if (worth - other.worth).abs() > SURPRISE * other.worth {
            (other.comparisons, self.comparisons) = (0, 0);
        }
        let weight = (1.0 / f64::from(other.comparisons + 1)).max(NEWS);
        other.worth += weight * (worth - other.worth);
        other.comparisons += 1;
        let best = self.rungs.iter().map(|rung| rung.worth).fold(0.0, f64::max);
        let good = |rung: &Rung| rung.worth >= GOOD_ENOUGH * best;
        // Found by one comparison alone, a lower rung may be luck.
        let known = |i: usize, rung: &Rung| i >= self.here || rung.comparisons >= 2;
        let found =
            self.rungs.iter().enumerate().position(|(i, rung)| good(rung) && known(i, rung));
        self.here = found.unwrap_or(self.here);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A disk with a fixed latency up to a number of reads, and a little noise.
    fn settled(ceiling: u32, knee: f64, noise: f64) -> u32 {
        let mut climb = Climb::new(ceiling);
        let mut dice = 1u64;
        for _ in 0..2000 {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let luck = 1.0 + noise * ((dice >> 33) as f64 / (1u64 << 30) as f64 - 1.0);
            climb.measured(f64::from(climb.depth()).min(knee) * luck);
        }
        climb.rungs[climb.here].depth
    }

    #[test]
    fn it_finds_the_knee_and_stays() {
        for knee in [1.0, 2.0, 8.0, 30.0, 64.0, 200.0] {
            for noise in [0.0, 0.02] {
                let depth = f64::from(settled(256, knee, noise));
                assert!(
                    depth >= 0.95 * knee && depth <= 1.6 * knee,
                    "{depth} for {knee} ± {noise}"
                );
            }
        }
    }

    #[test]
    fn the_ceiling_holds() {
        assert_eq!(settled(1, 100.0, 0.01), 1);
        assert_eq!(settled(20, 100.0, 0.01), 20);
        assert_eq!(settled(300, 1000.0, 0.0), 300);
    }

    #[test]
    fn it_follows_a_disk_that_changes() {
        let mut climb = Climb::new(256);
        let mut run = |knee: f64| {
            (0..6000).for_each(|_| climb.measured(f64::from(climb.depth()).min(knee)));
            climb.rungs[climb.here].depth
        };
        assert!((16..=23).contains(&run(16.0)));
        assert!((128..=181).contains(&run(128.0)));
        assert!((16..=23).contains(&run(16.0)));
    }

    #[test]
    fn rings_share_and_each_gets_half_of_its_part_at_least() {
        let depth = Depth::new(8, false);
        (0..8).for_each(|own| depth.starts(own == 0));
        assert!(!depth.may_start(8));
        // Another ring comes: its first read makes it count.
        assert!(depth.may_start(0));
        depth.starts(true);
        assert!(depth.may_start(1) && !depth.may_start(2), "a quarter of 8: half of its half");
        depth.starts(false);
        (0..2).for_each(|_| depth.ends(false));
        assert!(!depth.may_start(6) && depth.in_flight.load(Ordering::Relaxed) == 8);
        depth.ends(false);
        assert!(depth.may_start(5), "as long as there are fewer than the limit");
        (0..4).for_each(|_| depth.ends(false));
        depth.ends(true);
        (0..9).for_each(|_| depth.starts(true));
        assert!(depth.may_start(0) && !depth.may_start(1), "and each gets one");
    }

    #[test]
    fn without_enough_to_do_nothing_is_learnt() {
        let depth = Depth::new(256, true);
        let mut now = Instant::now();
        for _ in 0..10_000 {
            now += Duration::from_micros(100);
            depth.runs_dry();
            depth.measure(16, now);
        }
        assert_eq!(depth.limit(), START);
        (0..START).for_each(|i| depth.starts(i == 0));
        for _ in 0..100_000 {
            now += Duration::from_micros(100); // The same rate at each depth: one is enough.
            depth.measure(16, now);
        }
        assert!(depth.limit() <= 2, "{}", depth.limit());
    }
}
