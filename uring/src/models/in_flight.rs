//! The table of reads in flight: completions that come late, twice, and beside a slot's next use.

use loom::sync::Arc;
use loom::thread;

use super::explore;
use crate::in_flight::InFlight;

/// Two threads have the same completion, as if the kernel had said it twice, while a third fills
/// the slot again as soon as it is free. One of the two gets the read, none gets the next one,
/// and the next one lands with its own completion. All interleavings of at most 4 preemptions.
#[test]
fn loom_a_completion_lands_once_and_never_in_the_next_read() {
    explore(4, || {
        let table = Arc::new(InFlight::new(1));
        let (old, is_first) = table.vacant().unwrap().fill("old");
        assert!(is_first);
        let reapers = [(); 2].map(|()| {
            let table = table.clone();
            thread::spawn(move || table.land(old).map(|(read, _)| read))
        });
        let next = table.vacant().map(|vacant| vacant.fill("next").0);
        assert_ne!(next, Some(old), "the generation differs");
        let mut landed = reapers.map(|reaper| reaper.join().unwrap());
        landed.sort();
        assert_eq!(landed, [None, Some("old")]);
        match next {
            Some(next) => assert_eq!(table.land(next), Some(("next", true))),
            None => assert!(table.vacant().is_some(), "the slot came back"),
        }
        assert_eq!((table.count(), table.land(old)), (0, None));
    });
}

/// A slot goes from hand to hand: two threads fill it and land what they filled. None sees the
/// other's read, whoever comes first. At most 4 preemptions.
#[test]
fn loom_a_slot_is_reused() {
    explore(4, || {
        let table = Arc::new(InFlight::new(1));
        let reader = |read: &'static str| {
            let table = table.clone();
            move || {
                if let Some(vacant) = table.vacant() {
                    let (user_data, is_first) = vacant.fill(read);
                    assert!(is_first || table.count() > 0);
                    assert_eq!(table.land(user_data).unwrap().0, read);
                    assert_eq!(table.land(user_data), None, "twice");
                }
            }
        };
        let others = ["first", "second"].map(|read| thread::spawn(reader(read)));
        reader("third")();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(table.count(), 0);
        assert!(table.vacant().is_some(), "the slot came back");
    });
}

/// What is filled by one thread and named to another lands there with its content, as an SQE's
/// `user_data` comes back through the kernel, which synchronises nothing here. At most 4
/// preemptions.
#[test]
fn loom_filled_here_landed_there() {
    use loom::sync::atomic::{AtomicU64, Ordering};
    explore(4, || {
        let table = Arc::new(InFlight::new(2));
        let named = Arc::new(AtomicU64::new(0));
        let filler = {
            let (table, named) = (table.clone(), named.clone());
            thread::spawn(move || {
                let (user_data, _) = table.vacant().unwrap().fill("read");
                named.store(user_data, Ordering::Relaxed);
            })
        };
        let early = table.land(named.load(Ordering::Relaxed)).map(|(read, _)| read);
        filler.join().unwrap();
        let late = table.land(named.load(Ordering::Relaxed)).map(|(read, _)| read);
        assert!([(Some("read"), None), (None, Some("read"))].contains(&(early, late)));
    });
}
