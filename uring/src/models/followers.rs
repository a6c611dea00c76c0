//! Threads that wait while others reap, leave, give up, or leave their reads behind.

use std::time::Instant;

use loom::thread;

use super::*;

/// A thread at home in an empty lane waits for a page that another one reads and leaves behind,
/// the way `leave` says: it adopts the lane and lands the page.
fn left_behind(preemptions: usize, leave: fn(&Lanes<ModelRing>)) {
    explore(preemptions, move || {
        let (lanes, pages) = (lanes(2), Page::some::<1>());
        lanes.lane(1);
        pages[0].ask();
        let leaver = {
            let (lanes, page) = (lanes.clone(), pages[0].clone());
            thread::spawn(move || {
                lanes.lane(1).queue(page.request()).ok().expect("room in the queue");
                leave(&lanes);
            })
        };
        assert!(lanes.drive_from(lanes.lane(0), &|| pages[0].has_landed(), None));
        leaver.join().unwrap();
        settled(&lanes, &pages);
    });
}

/// The one who asked only starts its read. No wake-up is lost. At most 3 preemptions.
#[test]
fn loom_reads_of_one_who_does_not_wait_are_adopted() {
    left_behind(3, |lanes| assert!(lanes.drive_from(lanes.lane(1), &|| true, None)));
}

/// The one who asked reaps until its deadline passes. No wake-up is lost. At most 3 preemptions.
#[test]
fn loom_reads_of_one_who_gave_up_are_adopted() {
    left_behind(3, |lanes| {
        let passed = Some(Instant::now());
        lanes.drive_from(lanes.lane(1), &|| false, passed);
    });
}

/// Two wait for a page that a third one leaves behind, but one of them gives up at its deadline,
/// perhaps as the one who was just woken: it passes that on. At most 2 preemptions.
#[test]
fn loom_a_waiter_that_gives_up_passes_the_wake_up_on() {
    explore(2, || {
        let (lanes, pages) = (lanes(2), Page::some::<1>());
        lanes.lane(1);
        let waiter = {
            let (lanes, page) = (lanes.clone(), pages[0].clone());
            thread::spawn(move || {
                page.ask();
                assert!(lanes.drive_from(lanes.lane(0), &|| page.has_landed(), None));
            })
        };
        let leaver = {
            let (lanes, page) = (lanes.clone(), pages[0].clone());
            thread::spawn(move || {
                lanes.lane(1).queue(page.request()).ok().expect("room in the queue");
                assert!(lanes.drive_from(lanes.lane(1), &|| true, None));
            })
        };
        // First among the followers, if nothing comes between.
        lanes.drive_from(lanes.lane(0), &|| pages[0].has_landed(), Some(Instant::now()));
        waiter.join().unwrap();
        leaver.join().unwrap();
        settled(&lanes, &pages);
    });
}
