//! Who submits and who reaps: whichever thread waits, for everybody, without a thread of its own.
//!
//! Each thread has a home lane, which it shares with others only when there are more threads than
//! lanes. A thread that waits stages what is queued at home, then tries to become the reaper
//! there: it submits, waits in the kernel and lands whatever completes, until its own wait is
//! over. So a thread alone never switches context, and many do not meet. A thread whose home is
//! reaped by another, or has nothing in flight while it still waits (somebody else has asked for
//! the page), adopts lanes that have reads in flight and nobody who reaps; only when there are
//! none does it park, as a follower. Who leaves reads behind wakes one.
//!
//! Nothing is lost between a thread that queues and one that lets go: see `baton`. No follower
//! sleeps while reads are in flight that nobody reaps: see `followers`.
//!
//! Reads that nobody will wait for (a future's) go through the first lane, where one thread of
//! the engine's own follows. It is started by the first such read.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::books::{Books, Counters};
use crate::followers::Followers;
use crate::lane::Lane;
use crate::request::Request;
use crate::ring::{RawRing, Reaping};
use crate::sync::thread::yield_now;

/// Rings at most. They are set up when a thread first needs its own.
pub(crate) const LANES: usize = if cfg!(loom) { 2 } else { 16 };
/// Who waits in the kernel or is parked looks up so often, in case another lane needs him.
const NAP: Duration = Duration::from_millis(if cfg!(loom) { 3_600_000 } else { 20 });

/// Sets up one more lane; the books say what is to be registered with it.
type MakeLane<R> = dyn Fn(&Books) -> io::Result<Lane<R>> + Send + Sync;

pub(crate) struct Lanes<R> {
    /// The first one is always there. `None` is one that the kernel has refused.
    lanes: [OnceLock<Option<Lane<R>>>; LANES],
    make: Box<MakeLane<R>>,
    followers: Followers,
    pub(crate) books: Books,
}

impl<R: RawRing> Lanes<R> {
    pub(crate) fn new(first: Lane<R>, make: Box<MakeLane<R>>, books: Books) -> Self {
        let lanes = [const { OnceLock::new() }; LANES];
        let _ = lanes[0].set(Some(first));
        Self { lanes, make, followers: Followers::new(), books }
    }

    /// Queues a request at the calling thread's home, or hands it back when there is no room.
    pub(crate) fn queue(&self, request: Request) -> std::result::Result<(), Request> {
        match request.read.is_unattended() {
            true => self.first().queue(request),
            false => self.home().queue(request),
        }
    }

    /// Starts what is queued and then waits until `until()` holds or `deadline` has passed;
    /// returns whether it held.
    pub(crate) fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        self.drive_from(self.home(), until, deadline)
    }

    /// Starts what is queued in the first lane, for the thread that [attends](Self::attend) it.
    pub(crate) fn start_unattended(&self) {
        let lane = self.first();
        lane.stage(&self.books);
        lane.submit(&self.books);
        self.call_one_if_unattended();
    }

    /// Reaps until `until()` holds or `deadline` has passed, on behalf of those who do not wait.
    pub(crate) fn attend(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) {
        self.drive_from(self.first(), until, deadline);
    }

    pub(crate) fn wake_followers(&self) {
        self.followers.call_one_if(|| true);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.made().all(Lane::is_idle)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.made().map(Lane::in_flight).sum()
    }

    pub(crate) fn counters(&self) -> Counters {
        let books = &self.books;
        let value = |count: &std::sync::atomic::AtomicU64| {
            count.load(std::sync::atomic::Ordering::Relaxed) // For its value alone.
        };
        Counters {
            reads: value(&books.reads),
            merged: value(&books.merged),
            bridged_bytes: value(&books.bridged_bytes),
            enters: self.made().map(|lane| lane.ring().enters()).sum(),
            retries: value(&books.retries),
            strays: value(&books.strays),
            panics: value(&books.panics),
            rings: self.made().count() as u32,
            depth: books.depth.limit(),
            registered_bytes: books.regions.bytes(),
        }
    }

    /// The lanes that were set up.
    pub(crate) fn made(&self) -> impl Iterator<Item = &Lane<R>> {
        self.lanes.iter().filter_map(|lane| lane.get()?.as_ref())
    }

    /// The calling thread's lane.
    pub(crate) fn home(&self) -> &Lane<R> {
        self.lane(ordinal() as usize % LANES)
    }

    /// The lane at this place, set up when it is first asked for.
    pub(crate) fn lane(&self, place: usize) -> &Lane<R> {
        let make = || {
            let made = (self.make)(&self.books);
            let refused = |error: &io::Error| tracing::debug!(%error, "no further ring");
            made.inspect_err(refused).ok()
        };
        let lane = self.lanes[place].get_or_init(make);
        lane.as_ref().unwrap_or_else(|| self.first())
    }

    fn first(&self) -> &Lane<R> {
        let first = self.lanes[0].get().and_then(Option::as_ref);
        first.expect("`new` has set the first lane")
    }

    /// [`drive`](Self::drive) for a thread whose home is this lane.
    pub(crate) fn drive_from(
        &self,
        home: &Lane<R>,
        until: &dyn Fn() -> bool,
        deadline: Option<Instant>,
    ) -> bool {
        let _leaving = Leaving(self);
        home.stage(&self.books);
        if until() {
            // What is there lands, what is not is left to others or to a later call.
            home.submit(&self.books);
            if let Some(mut reaping) = home.ring().reaping() {
                while home.land_burst(&mut reaping, &self.books) > 0 {}
                home.submit(&self.books);
            }
            return true;
        }
        loop {
            if !home.is_idle() {
                if let Some(mut reaping) = home.ring().reaping() {
                    if let Some(held) = self.reap(home, &mut reaping, until, deadline) {
                        return held;
                    }
                } else {
                    // The reaper may be asleep in the kernel: submit without it.
                    home.submit(&self.books);
                }
            }
            let following = self.followers.join();
            // Registered first, looked second: see `followers`.
            if until() {
                return true;
            }
            let Some(patience) = patience(deadline) else {
                return until();
            };
            if !self.adopt(patience) {
                // With nothing in flight anywhere, only a new request can be worth waking for.
                let naps = deadline.is_some() || !self.is_idle();
                following.park(naps.then_some(patience));
            }
            home.stage(&self.books);
        }
    }

    /// Lands what completes at home until `until()` holds or `deadline` has passed, and returns
    /// which; `None` when there is nothing left to reap.
    fn reap(
        &self,
        home: &Lane<R>,
        reaping: &mut Reaping<'_, R>,
        until: &dyn Fn() -> bool,
        deadline: Option<Instant>,
    ) -> Option<bool> {
        let mut look_around = Instant::now() + NAP;
        loop {
            let landed = home.land_burst(reaping, &self.books);
            let patience = patience(deadline);
            if until() || patience.is_none() {
                home.submit_if_short(reaping, &self.books);
                return Some(until());
            }
            if home.in_flight() == 0 {
                if !home.has_waiting() {
                    return None;
                }
                home.stage(&self.books);
                if home.in_flight() == 0 {
                    yield_now(); // Another thread is about to stage what waits.
                }
            } else if landed == 0 || home.ring().staged() > 0 {
                home.wait(reaping, patience.unwrap_or(NAP), &self.books);
            }
            if landed == 0 && Instant::now() >= look_around {
                // What is waited for may be in flight where nobody reaps.
                self.tend(home);
                look_around = Instant::now() + NAP;
            }
        }
    }

    /// Lands what has completed in other lanes that nobody reaps.
    fn tend(&self, home: &Lane<R>) {
        let others = self.made().filter(|lane| !std::ptr::eq(*lane, home) && lane.is_unattended());
        others.for_each(|lane| _ = self.land_all(lane));
    }

    fn land_all(&self, lane: &Lane<R>) -> usize {
        let mut landed = 0;
        if let Some(mut reaping) = lane.ring().reaping() {
            lane.stage(&self.books);
            loop {
                let burst = lane.land_burst(&mut reaping, &self.books);
                lane.submit(&self.books);
                landed += burst;
                if burst == 0 {
                    break;
                }
            }
        }
        landed
    }

    /// Waits on behalf of lanes that nobody reaps, once. Returns false when there are none.
    fn adopt(&self, patience: Duration) -> bool {
        let mut rings = [const { None }; LANES];
        let mut count = 0;
        for lane in self.made().filter(|lane| lane.is_unattended()) {
            rings[count] = Some(lane);
            count += 1;
        }
        match &rings[..count] {
            [] => return false,
            [Some(lane)] => {
                if let Some(mut reaping) = lane.ring().reaping() {
                    lane.stage(&self.books);
                    let landed = lane.land_burst(&mut reaping, &self.books);
                    if landed == 0 && lane.in_flight() > 0 {
                        lane.wait(&reaping, patience, &self.books);
                        lane.land_burst(&mut reaping, &self.books);
                    } else if landed == 0 {
                        yield_now(); // Another thread is about to stage what waits.
                    }
                    lane.submit(&self.books);
                }
            }
            many => {
                let landed: usize = many.iter().flatten().map(|lane| self.land_all(lane)).sum();
                if landed == 0 {
                    let mut waits = [const { None }; LANES];
                    for (wait, lane) in waits.iter_mut().zip(many.iter().flatten()) {
                        *wait = Some(lane.ring().raw());
                    }
                    let raw: Vec<&R> = waits.into_iter().flatten().collect();
                    R::wait_any(&raw, patience);
                }
            }
        }
        true
    }

    fn call_one_if_unattended(&self) {
        self.followers.call_one_if(|| self.made().any(Lane::is_unattended));
    }
}

/// Whoever leaves, by return or by a panic, leaves nothing behind that nobody sees to.
struct Leaving<'a, R: RawRing>(&'a Lanes<R>);

impl<R: RawRing> Drop for Leaving<'_, R> {
    fn drop(&mut self) {
        self.0.call_one_if_unattended();
    }
}

/// How long to wait at a stretch; `None` once `deadline` has passed.
fn patience(deadline: Option<Instant>) -> Option<Duration> {
    let left = deadline.map_or(NAP, |end| end.saturating_duration_since(Instant::now()));
    (!left.is_zero()).then_some(left.min(NAP))
}

/// A number for the calling thread; threads that were started one after the other have numbers
/// that follow each other.
fn ordinal() -> u64 {
    /// Hands out what an id gives to be hashed: its number.
    #[derive(Default)]
    struct Number(u64);

    impl Hasher for Number {
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().fold(self.0, |number, &byte| number << 8 | u64::from(byte));
        }

        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    thread_local! {
        static ORDINAL: Cell<Option<u64>> = const { Cell::new(None) };
    }
    let ask = || {
        let mut number = Number::default();
        thread::current().id().hash(&mut number);
        number.finish()
    };
    ORDINAL.with(|cached| {
        let number = cached.get().unwrap_or_else(ask);
        cached.set(Some(number));
        number
    })
}
