//! Registered memory and files: looked up while others come and go.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::*;
use crate::registered::Regions;

/// A slot changes hands, from one region to another beside it, while a thread looks up an address
/// between the two, which only half of each could claim, and its own region, which stays. It
/// finds the latter and never the former. At most 2 preemptions.
#[test]
fn loom_a_region_is_never_half_seen() {
    explore(2, || {
        let regions = Arc::new(Regions::new());
        regions.set(0, 100, 200);
        regions.set(1, 1000, 1100);
        let registrar = {
            let regions = regions.clone();
            thread::spawn(move || {
                regions.set(0, 0, 0);
                regions.set(0, 300, 400);
            })
        };
        assert_eq!(regions.slot_of(1000, 100), Some(1), "kept, and found");
        assert_eq!(regions.slot_of(210, 10), None, "between the old and the new");
        assert_eq!(regions.slot_of(10, 20), None, "before both");
        registrar.join().unwrap();
        assert_eq!((regions.slot_of(100, 100), regions.slot_of(300, 100)), (None, Some(0)));
    });
}

/// Who knows that memory was registered finds it, and who knows that it was taken back and its
/// slot used again does not find it any more. At most 3 preemptions.
#[test]
fn loom_a_region_that_left_is_not_found() {
    explore(3, || {
        let regions = Arc::new(Regions::new());
        let steps = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let registrar = {
            let (regions, steps) = (regions.clone(), steps.clone());
            thread::spawn(move || {
                regions.set(0, 100, 200);
                steps[0].store(true, Ordering::Release);
                regions.set(0, 0, 0);
                regions.set(0, 300, 400);
                steps[1].store(true, Ordering::Release);
            })
        };
        if steps[1].load(Ordering::Acquire) {
            assert_eq!(regions.slot_of(120, 10), None);
            assert_eq!(regions.slot_of(320, 10), Some(0));
        } else if steps[0].load(Ordering::Acquire) {
            // May leave at any time; must not be another's.
            assert!(matches!(regions.slot_of(120, 10), None | Some(0)));
            assert_eq!(regions.slot_of(210, 10), None);
        }
        registrar.join().unwrap();
    });
}

/// A file that is closed leaves its slot to another that is read meanwhile: an SQE names the slot
/// only while the slot is its own file's. The ring compares, and the checker reports a slot that
/// changes under an SQE. At most 3 preemptions.
#[test]
fn loom_a_file_slot_changes_hands() {
    explore(3, || {
        let lane = Arc::new(Lane::new(ModelRing::new(), 4, true));
        let books = Arc::new(Books::new(Depth::new(4, false)));
        let (old, new) = (Page::new(0), Page::new(PAGES_A_FILE));
        let land = |pages: &[&Arc<Page>]| {
            let mut reaping = lane.ring().reaping().expect("nobody reaps");
            lane.wait(&reaping, Duration::ZERO, &books);
            while lane.land_burst(&mut reaping, &books) > 0 {}
            pages.iter().for_each(|page| assert!(page.has_landed()));
        };
        lane.queue(old.request()).ok().expect("room");
        lane.stage(&books);
        land(&[&old]);
        assert!(lane.has_registered(file(0)));
        // Orders nothing. The checker, which keeps the last access alone, tries these in both
        // orders, and would not see that what the closer reads and then writes was read here.
        let turn = Arc::new(AtomicUsize::new(0));
        let closer = {
            let (lane, turn) = (lane.clone(), turn.clone());
            thread::spawn(move || {
                turn.fetch_add(1, Ordering::Relaxed);
                lane.forget_file(file(0).id);
            })
        };
        let again = Page::new(PAGES_A_FILE + 2);
        for page in [&new, &again] {
            lane.queue(page.request()).ok().expect("room");
            turn.fetch_add(1, Ordering::Relaxed);
            lane.stage(&books);
        }
        closer.join().unwrap();
        land(&[&new, &again]);
        assert!(!lane.has_registered(file(0)));
    });
}
