//! A whole pool under a scheduler that draws, at every atomic operation and every lock, who goes on:
//! three threads that pin, visit, look, await, read ahead, forget and drop, over a disk that fails and lands when it
//! is drawn to.
//!
//! In every schedule:
//! 1. Bytes are those of the page asked for, under a pin and under a reader, for as long as they
//!    are held.
//! 2. Nobody waits for ever: a lost wake-up ends with all threads parked, which is reported.
//! 3. At rest no page is in two frames, no frame is lost, nothing is loading and nothing pinned.
//! 4. Only what the disk did is an error, or that all frames were in use; and none is kept: once the
//!    disk is sound, every page can be read.
//! 5. When the files are gone, so are their pages.
//!
//! ```sh
//! export RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle
//! cargo test -p ringpool-bufferpool --test schedules                 # 2,000 of each kind
//! RINGPOOL_SCHEDULES=100000 cargo test ...                           # the slow suite: minutes
//! RINGPOOL_SCHEDULE_SEED=7 cargo test ...                            # other ones
//! ```
//!
//! A failure at random prints its seed: run that one again with `RINGPOOL_SCHEDULE_SEED=` and
//! `RINGPOOL_SCHEDULES=1`. One by priorities prints its schedule: `RINGPOOL_REPLAY=`. The scheduler
//! interleaves operations and does not reorder them: what weaker orderings allow is for the loom
//! models to find.
#![cfg(shuttle)]

mod disk;
mod work;

use std::env;
use std::fmt::Display;
use std::str::FromStr;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Schedules of each kind, unless the environment asks for more.
const SCHEDULES: usize = 2_000;
/// The changes of priority in a schedule by priorities: bugs need few.
const DEPTH: usize = 4;
/// Below this many schedules, some things need not have happened yet.
const ENOUGH: usize = 1_000;

fn asked<T: FromStr<Err: Display>>(name: &str, otherwise: T) -> T {
    match env::var(name) {
        Ok(word) => word.parse().unwrap_or_else(|error| panic!("{name}={word}: {error}")),
        Err(_) => otherwise,
    }
}

fn run(scheduler: impl Scheduler + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    // It warns that it takes every ordering for the strongest: said above.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(work::schedule)
}

#[test]
fn drawn_at_random_and_by_priorities() {
    let schedules = asked("RINGPOOL_SCHEDULES", SCHEDULES);
    let seed = asked("RINGPOOL_SCHEDULE_SEED", 1);
    eprintln!("{schedules} schedules at random and by priorities each, seed {seed}");
    assert_eq!(run(RandomScheduler::new_from_seed(seed, schedules)), schedules);
    assert_eq!(run(PctScheduler::new_from_seed(seed, DEPTH, schedules)), schedules);
    let seen = work::seen();
    eprintln!("{seen:#?}");
    assert!(schedules < ENOUGH || seen.has_everything(), "something never happened: {seen:#?}");
}

#[test]
fn replay_of_the_one_that_failed() {
    match env::var("RINGPOOL_REPLAY") {
        Ok(schedule) => _ = run(ReplayScheduler::new_from_encoded(&schedule)),
        Err(_) => eprintln!("skipped: no RINGPOOL_REPLAY names a schedule"),
    }
}
