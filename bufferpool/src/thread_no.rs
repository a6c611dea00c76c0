//! A small number for each thread, so that it can count where nobody else writes.
//!
//! Numbers are the process's, as threads are: a thread takes the lowest free one when it first
//! asks, and gives it back when it ends, for the next. So they stay as low as the number of threads
//! at once, and whatever is indexed by them ends with its owner and not with a thread. When all are
//! taken a thread has none.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Threads at once that have a number of their own; all numbers are below.
pub(crate) const OWN: usize = if cfg!(miri) { 64 } else { 256 };

/// Not a number, yet: the thread has not asked for one.
const NONE_YET: usize = usize::MAX;
/// Not a number, and not going to be one.
const NONE: usize = usize::MAX - 1;

thread_local! {
    // Neither has anything to set up or to drop when it is looked at, so that a look is a load.
    static NUMBER: Cell<usize> = const { Cell::new(NONE_YET) };
    static LEASE: Lease = const { Lease };
}

/// A bit for each number that is taken.
static TAKEN: [AtomicU64; OWN / 64] = [const { AtomicU64::new(0) }; OWN / 64];

/// The calling thread's number, below [`OWN`]; something else when it has none, or not yet.
#[inline]
pub(crate) fn of_this_thread() -> usize {
    NUMBER.with(Cell::get)
}

/// The same, with a number taken for a thread that has not asked before; `None` when it has none.
pub(crate) fn of_this_thread_or_new() -> Option<usize> {
    if of_this_thread() == NONE_YET {
        // A thread whose lease is over already would never give a number back.
        let leased = LEASE.try_with(|_| lowest_free()).ok().flatten();
        NUMBER.set(leased.unwrap_or(NONE));
    }
    Some(of_this_thread()).filter(|&number| number < OWN)
}

/// Takes the lowest number that is free.
fn lowest_free() -> Option<usize> {
    TAKEN.iter().enumerate().find_map(|(i, bits)| {
        let mut taken = bits.load(Ordering::Relaxed);
        while taken != u64::MAX {
            let free = taken.trailing_ones();
            let more = taken | 1 << free;
            // Acquire: pairs with the release in `Lease::drop`. We add to the counts as the last
            // thread of this number left them.
            match bits.compare_exchange_weak(taken, more, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(i * 64 + free as usize),
                Err(now) => taken = now,
            }
        }
        None
    })
}

/// Gives the thread's number back when the thread ends.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        // What the thread still counts, while its other variables are dropped, it counts without.
        let number = NUMBER.replace(NONE);
        if number < OWN {
            // Release: pairs with the acquire in `lowest_free`.
            TAKEN[number / 64].fetch_and(!(1 << (number % 64)), Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Barrier, Mutex};
    use std::thread;

    use super::*;

    /// Held by tests that take many numbers, since numbers are the process's.
    pub(crate) static CROWD: Mutex<()> = Mutex::new(());

    #[test]
    fn numbers_are_distinct_at_one_time_and_used_again() {
        const THREADS: usize = 24;
        let numbers_of_a_crowd = || {
            let barrier = Barrier::new(THREADS);
            thread::scope(|scope| {
                let threads = [(); THREADS].map(|()| {
                    scope.spawn(|| {
                        let number = of_this_thread_or_new().unwrap();
                        assert_eq!(of_this_thread(), number, "the same as long as it lives");
                        barrier.wait();
                        number
                    })
                });
                let numbers = threads.map(|thread| thread.join().unwrap());
                BTreeSet::from(numbers)
            })
        };
        let _alone = CROWD.lock().unwrap();
        // Other tests' threads have numbers too, and come and go.
        let mut seen = BTreeSet::new();
        for _ in 0..if cfg!(miri) { 3 } else { 40 } {
            let numbers = numbers_of_a_crowd();
            assert_eq!(numbers.len(), THREADS);
            seen.extend(numbers);
        }
        assert!(seen.len() < 3 * THREADS, "{} numbers for {THREADS} threads", seen.len());
    }
}
