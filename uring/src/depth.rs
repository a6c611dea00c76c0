//! How many reads may be in flight: as few as keep the disk busy, over all rings.
//!
//! A disk's throughput grows with the reads in flight up to a knee; beyond it more only wait
//! longer. [`Depth`] measures rates while there is enough to do, and lets the search in `knee` say
//! what to try next. While there is not enough to do, nothing is learnt.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::crowding::Crowding;
use crate::knee::Knee;
use crate::sync::AtomicU32;

/// A measurement covers so many reads, and at least so many for each that is in flight.
const READS: u64 = 1024;
const READS_A_DEPTH: u64 = 4;
/// The first so many for each in flight, which were started at another depth, do not count.
const SETTLING: u64 = 2;
/// Of the places in flight as many may be free as this part of them, and they are full all the same.
const FULL: u32 = 4;
/// Until rates are known, a busy ring's part of the limit is at least so many: with fewer nearly each
/// read is a system call of its own.
const START_A_RING: u32 = 8;
/// After so many measurements in a row that were spoilt, since there was not enough to do, nothing
/// more is tried until there is.
const SPOILT: u32 = 4;

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
    crowding: Crowding,
    course: Option<Mutex<Course>>,
}

/// A search and the measurement that is under way.
struct Course {
    knee: Knee,
    began: Instant,
    began_at: u64,
    settling: bool,
    spoilt: u32,
}

impl Depth {
    pub(crate) fn new(ceiling: u32, adapts: bool) -> Self {
        let knee = Knee::new(ceiling);
        let limit = if adapts { knee.depth() } else { ceiling };
        let course = Course { knee, began: Instant::now(), began_at: 0, settling: true, spoilt: 0 };
        Self {
            limit: AtomicU32::new(limit),
            in_flight: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            look_at: AtomicU64::new(SETTLING * u64::from(limit)),
            slack: AtomicBool::new(false),
            crowding: Crowding::new(adapts),
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

    /// Reads have ended by `now` that took so long: measures, when it is time.
    #[inline]
    pub(crate) fn measure(&self, latencies_ns: &[u64], now: Instant) {
        let reads = latencies_ns.len() as u64;
        if self.crowding.is_watched() && self.is_narrow(latencies_ns) {
            self.widen(now);
        }
        let ended = self.ended.fetch_add(reads, Ordering::Relaxed) + reads;
        if ended >= self.look_at.load(Ordering::Relaxed)
            && let Some(mut course) = self.course.as_ref().and_then(Mutex::try_lock)
        {
            self.look(&mut course, ended, now);
        }
    }

    /// Whether the limit is reached, and too low: by what the last reads took the disk has room for
    /// more, or there are many rings.
    fn is_narrow(&self, latencies_ns: &[u64]) -> bool {
        let (limit, busy) = (self.limit(), self.busy.load(Ordering::Relaxed));
        let full = self.in_flight.load(Ordering::Relaxed) >= limit - limit / FULL;
        let has_room = self.crowding.landed(latencies_ns, full, limit);
        has_room || full && limit < START_A_RING * busy
    }

    /// Lets more be in flight, unless a rate is known.
    #[cold]
    fn widen(&self, now: Instant) {
        let Some(mut course) = self.course.as_ref().and_then(Mutex::try_lock) else { return };
        if !course.knee.widen() {
            return self.crowding.stop();
        }
        course.settling = true;
        self.next(&mut course, self.ended.load(Ordering::Relaxed), now);
    }

    #[cold]
    fn look(&self, course: &mut Course, ended: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(course.began);
        if self.slack.swap(false, Ordering::Relaxed) {
            course.settling = true; // And measured once more.
            course.spoilt += 1;
            if course.spoilt == SPOILT {
                course.knee.give_up();
            }
        } else if course.settling {
            course.settling = false;
        } else if elapsed > Duration::ZERO {
            let depth = course.knee.depth();
            course.spoilt = 0;
            course.knee.measured((ended - course.began_at) as f64 / elapsed.as_secs_f64());
            course.settling = course.knee.depth() != depth;
            if course.knee.is_known() {
                self.crowding.stop();
            }
        }
        self.next(course, ended, now);
    }

    /// Begins the next measurement, at the depth that the search says.
    fn next(&self, course: &mut Course, ended: u64, now: Instant) {
        let depth = course.knee.depth();
        self.limit.store(depth, Ordering::Relaxed);
        let depth = u64::from(depth);
        let reads = match course.settling {
            true => SETTLING * depth,
            false => READS.max(READS_A_DEPTH * depth),
        };
        (course.began, course.began_at) = (now, ended);
        self.look_at.store(ended + reads, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::knee::START;

    /// What reads take alone, and what in a crowd.
    const ALONE: [u64; 16] = [50_000; 16];
    const WAITED: [u64; 16] = [500_000; 16];

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
    fn what_cannot_be_measured_is_not_tried_for_ever() {
        let depth = Depth::new(256, true);
        let mut now = Instant::now();
        let mut run = |reads: usize, dry_every: usize| {
            let mut limits = Vec::new();
            for i in 1..=reads / 16 {
                now += Duration::from_micros(100);
                if i % dry_every == 0 {
                    depth.runs_dry();
                }
                depth.measure(&ALONE, now);
                limits.push(depth.limit());
            }
            limits
        };
        while depth.limit() == START {
            run(16, usize::MAX);
        }
        run(16 * 1024, 10);
        assert!(run(1024, 10).iter().all(|&limit| limit == START));
    }

    #[test]
    fn without_enough_to_do_nothing_is_learnt() {
        let depth = Depth::new(256, true);
        let mut now = Instant::now();
        for _ in 0..10_000 {
            now += Duration::from_micros(100);
            depth.runs_dry();
            depth.measure(&ALONE, now);
        }
        assert_eq!(depth.limit(), START);
        (0..START).for_each(|i| depth.starts(i == 0));
        for _ in 0..100_000 {
            now += Duration::from_micros(100); // The same rate at each depth: one is enough.
            depth.measure(&WAITED, now);
        }
        assert!(depth.limit() <= 2, "{}", depth.limit());
    }

    #[test]
    fn many_rings_begin_with_more() {
        for (rings, limit) in [(8, START), (9, 2 * START), (16, 2 * START)] {
            let depth = Depth::new(256, true);
            (0..START).for_each(|i| depth.starts(i < rings));
            (0..10).for_each(|_| depth.measure(&WAITED, Instant::now()));
            assert_eq!(depth.limit(), limit, "{rings} rings");
        }
    }

    #[test]
    fn bursts_get_more_where_reads_do_not_wait_for_each_other() {
        let limits = |crowded: [u64; 16]| {
            let depth = Depth::new(256, true);
            let mut now = Instant::now();
            depth.measure(&ALONE, now);
            let mut limits = Vec::new();
            for _ in 0..1_000 {
                let (limit, in_flight) = (depth.limit(), depth.in_flight.load(Ordering::Relaxed));
                (in_flight..limit).for_each(|i| depth.starts(i == 0));
                now += Duration::from_micros(100);
                depth.measure(&crowded, now);
                (0..limit).for_each(|i| depth.ends(i + 1 == limit));
                depth.runs_dry();
                limits.push(limit);
            }
            limits.dedup();
            limits
        };
        assert_eq!(limits(ALONE), [START, 2 * START, 4 * START], "and not beyond the ceiling");
        assert_eq!(limits(WAITED), [START]);
    }
}
