//! Reads that nobody waits for: a future's, landed by the attendant.
//!
//! The steps of the engine's own thread and of its end are those of `ring_engine`, the steps of
//! the future those of `storage::ReadBuffer`: it says whom to wake, starts, and looks once more.

use loom::sync::atomic::AtomicBool;
use loom::thread::{JoinHandle, spawn};

use super::*;

/// The attendant, as `Core::attend`.
fn attendant(lanes: &Arc<Lanes<ModelRing>>, closed: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (lanes, closed) = (lanes.clone(), closed.clone());
    spawn(move || lanes.attend(&|| closed.load(Ordering::Acquire), None))
}

/// A task that reads a page, on an executor of its own that sleeps until it is woken.
fn run_task(lanes: &Lanes<ModelRing>, home: usize, page: &Arc<Page>) {
    lanes.queue(page.request_of(page.read().unattended())).ok().expect("room in the queue");
    page.ask();
    assert!(lanes.drive_from(lanes.lane(home), &|| true, None));
    lanes.start_unattended();
    while !page.has_landed() {
        thread::park();
    }
}

/// The engine's end, as `RingEngine::drop`.
fn close(lanes: &Lanes<ModelRing>, closed: &AtomicBool) {
    closed.store(true, Ordering::Release);
    lanes.attend(&|| lanes.is_idle(), None);
    lanes.wake_followers();
}

/// A task asks for a page and is woken when it has landed, though it never waits in the engine:
/// the attendant is awake and sees the read, or is woken by who started it. Then the engine
/// closes, and the attendant ends. At most 2 preemptions.
#[test]
fn loom_a_task_is_woken_and_the_attendant_ends() {
    explore(2, || {
        let (lanes, pages) = (lanes(2), Page::some::<1>());
        lanes.lane(1);
        let closed = Arc::new(AtomicBool::new(false));
        let attendant = attendant(&lanes, &closed);
        run_task(&lanes, 1, &pages[0]);
        close(&lanes, &closed);
        attendant.join().unwrap();
        settled(&lanes, &pages);
    });
}

/// Two tasks on two threads: whichever starts the reads of both, both are woken. At most 1
/// preemption.
#[test]
fn loom_two_tasks_are_woken() {
    explore(1, || {
        let (lanes, pages) = (lanes(2), Page::some::<2>());
        let closed = Arc::new(AtomicBool::new(false));
        let attendant = attendant(&lanes, &closed);
        let other = {
            let (lanes, page) = (lanes.clone(), pages[1].clone());
            spawn(move || run_task(&lanes, 0, &page))
        };
        run_task(&lanes, 0, &pages[0]);
        other.join().unwrap();
        close(&lanes, &closed);
        attendant.join().unwrap();
        settled(&lanes, &pages);
    });
}
