//! Batons and the bounded queue: several threads that submit and wait at one lane.

use loom::thread;

use super::*;

/// Each thread asks for its page and waits for it, all at one lane.
fn everybody_waits(depth: u32, preemptions: usize) {
    explore(preemptions, move || {
        let (lanes, pages) = (lanes(depth), Page::some::<2>());
        let one = |page: Arc<Page>| {
            let lanes = lanes.clone();
            move || {
                queue(&lanes, 0, &page);
                assert!(lanes.drive_from(lanes.lane(0), &|| page.has_landed(), None));
            }
        };
        let other = thread::spawn(one(pages[1].clone()));
        one(pages[0].clone())();
        other.join().unwrap();
        settled(&lanes, &pages);
    });
}

/// Two threads that share a lane each get their page: one submits at a time and one reaps, a
/// request that was queued meanwhile is seen by who lets go, and nobody sleeps beside a read that
/// nobody reaps. At most 2 preemptions.
#[test]
fn loom_two_submitters_and_room_for_both() {
    everybody_waits(2, 2);
}

/// The same where one read fits in flight: the second request waits for the first to land. At
/// most 2 preemptions.
#[test]
fn loom_two_submitters_and_room_for_one() {
    everybody_waits(1, 2);
}

/// A thread that only starts its read and goes leaves it to the one that waits, which lands
/// both: what was queued or staged while the other had a baton is not lost. At most 2
/// preemptions.
#[test]
fn loom_one_starts_and_goes() {
    explore(2, || {
        let (lanes, pages) = (lanes(2), Page::some::<2>());
        let starter = {
            let (lanes, page) = (lanes.clone(), pages[1].clone());
            thread::spawn(move || {
                lanes.lane(0).queue(page.request()).ok().expect("room in the queue");
                assert!(lanes.drive_from(lanes.lane(0), &|| true, None));
            })
        };
        pages.iter().for_each(|page| page.ask());
        lanes.lane(0).queue(pages[0].request()).ok().expect("room in the queue");
        let all = || pages.iter().all(|page| page.has_landed());
        assert!(lanes.drive_from(lanes.lane(0), &all, None));
        starter.join().unwrap();
        settled(&lanes, &pages);
    });
}

/// Two threads that only start their reads and go: nothing stays in the queue, though nobody will
/// come to look, as each one's request is staged by whoever has the baton last. At most 3
/// preemptions.
#[test]
fn loom_two_start_and_go() {
    explore(3, || {
        let (lanes, pages) = (lanes(2), Page::some::<2>());
        let start = |page: Arc<Page>| {
            let lanes = lanes.clone();
            move || {
                lanes.lane(0).queue(page.request()).ok().expect("room in the queue");
                assert!(lanes.drive_from(lanes.lane(0), &|| true, None));
            }
        };
        let other = thread::spawn(start(pages[1].clone()));
        start(pages[0].clone())();
        other.join().unwrap();
        assert!(!lanes.lane(0).has_waiting(), "what was started is in the ring");
        assert_eq!(lanes.lane(0).ring().staged(), 0, "and the kernel has it");
        lanes.drive_from(lanes.lane(0), &|| lanes.is_idle(), None);
        settled(&lanes, &pages);
    });
}

/// One read fits in flight: a thread that waits for its own and goes, beside one that only starts
/// its own and goes. No request stays in the queue when nothing is in flight, whose landing would
/// make room for it. At most 3 preemptions.
#[test]
fn loom_what_waits_for_room_gets_it() {
    explore(3, || {
        let (lanes, pages) = (lanes(1), Page::some::<2>());
        let starter = {
            let (lanes, page) = (lanes.clone(), pages[1].clone());
            thread::spawn(move || {
                lanes.lane(0).queue(page.request()).ok().expect("room in the queue");
                assert!(lanes.drive_from(lanes.lane(0), &|| true, None));
            })
        };
        queue(&lanes, 0, &pages[0]);
        assert!(lanes.drive_from(lanes.lane(0), &|| pages[0].has_landed(), None));
        starter.join().unwrap();
        let lane = lanes.lane(0);
        assert!(!lane.has_waiting() || lane.in_flight() > 0, "left behind");
        lanes.drive_from(lane, &|| lanes.is_idle(), None);
        settled(&lanes, &pages);
    });
}
