//! A disk that does nothing by itself: threads meet at points that it numbers, and a read lands when
//! the test says so.
//!
//! From outside, a thread in the pool is at one of three points: it offers a read (it has claimed
//! the page), it waits (it drives the disk, whether for its own read or for another's), or it has
//! returned. [`Stage::offering`] and [`Stage::waiting`] wait until so many threads are at the
//! first two, so that what a test does next happens at that very moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, PageDevice, PageNo, PageRead, PageSize};

pub const SIZE: PageSize = PageSize::KIB_4;

/// Nothing on a stage takes so long, on whatever machine: beyond, the test has failed.
const NEVER: Duration = Duration::from_secs(30);
/// How long a waiting thread sleeps before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

pub struct Stage {
    file: Arc<str>,
    pages: u64,
    scene: Mutex<Scene>,
    changed: Condvar,
}

#[derive(Default)]
struct Scene {
    /// Pages whose reads are to be stopped when they are offered.
    stops: Vec<PageNo>,
    /// Threads that are stopped there.
    offering: usize,
    /// Threads that wait for an arrival.
    waiting: BTreeMap<String, ThreadId>,
    /// What was taken over and has not landed.
    in_flight: BTreeMap<u64, PageRead>,
    reads: usize,
    /// Whether reads land when they are offered.
    is_open: bool,
}

impl Stage {
    pub fn new(pages: u64) -> Arc<Self> {
        Arc::new(Self {
            file: "a stage".into(),
            pages,
            scene: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// From now on, reads land at once, or again only when told to.
    pub fn open(&self, is_open: bool) {
        self.scene().is_open = is_open;
    }

    /// Stops whoever offers a read of `page`, until [`go_on`](Self::go_on).
    pub fn stop_at(&self, page: PageNo) {
        self.scene().stops.push(page);
    }

    /// Lets go those who are stopped.
    pub fn go_on(&self) {
        self.scene().stops.clear();
        self.changed.notify_all();
    }

    /// Waits until `count` threads are stopped with a read that they offer.
    pub fn offering(&self, count: usize) {
        self.until(|scene| scene.offering == count, "offering");
    }

    /// Waits until `count` threads wait for an arrival.
    pub fn waiting(&self, count: usize) {
        self.until(|scene| scene.waiting.len() == count, "waiting");
    }

    /// Waits until a read of `page` is in flight.
    pub fn in_flight(&self, page: PageNo) {
        self.until(|scene| scene.in_flight.contains_key(&page.0), "in flight");
    }

    /// Lands the read of `page`: with its bytes.
    pub fn land(&self, page: PageNo) {
        let mut read = self.take(page);
        read.bytes_mut().copy_from_slice(&Specimen::page(page, SIZE));
        read.complete(Ok(()));
    }

    /// Lands the read of `page`: without.
    pub fn fail(&self, page: PageNo) {
        let refused = std::io::Error::from_raw_os_error(5);
        let error = Error::io(&self.file, format!("read page {page}"), refused);
        self.take(page).complete(Err(error));
    }

    /// How many reads were taken over.
    pub fn reads(&self) -> usize {
        self.scene().reads
    }

    fn take(&self, page: PageNo) -> PageRead {
        self.scene().in_flight.remove(&page.0).expect("a read in flight")
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap()
    }

    fn until(&self, holds: impl Fn(&Scene) -> bool, what: &str) {
        let (scene, waited) =
            self.changed.wait_timeout_while(self.scene(), NEVER, |scene| !holds(scene)).unwrap();
        assert!(!waited.timed_out(), "{what}: {} wait", scene.waiting.len());
    }

    fn change(&self, change: impl FnOnce(&mut Scene)) {
        change(&mut self.scene());
        self.changed.notify_all();
    }
}

impl PageDevice for Stage {
    fn file(&self) -> &Arc<str> {
        &self.file
    }

    fn page_size(&self) -> PageSize {
        SIZE
    }

    fn page_count(&self) -> u64 {
        self.pages
    }

    fn submit(&self, read: PageRead) -> Result<(), PageRead> {
        let page = read.page();
        if self.scene().stops.contains(&page) {
            self.change(|scene| scene.offering += 1);
            self.until(|scene| !scene.stops.contains(&page), "let go on");
            self.change(|scene| scene.offering -= 1);
        }
        self.change(|scene| {
            scene.reads += 1;
            let other = scene.in_flight.insert(page.0, read);
            assert!(other.is_none(), "two reads of page {page}");
        });
        if self.scene().is_open {
            self.land(page);
        }
        Ok(())
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        if until() {
            return true;
        }
        let (name, id) = (format!("{:?}", thread::current().id()), thread::current().id());
        self.change(|scene| _ = scene.waiting.insert(name.clone(), id));
        let held = loop {
            if until() {
                break true;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break until();
            }
            thread::park_timeout(LOOK_AGAIN);
        };
        self.change(|scene| _ = scene.waiting.remove(&name));
        held
    }
}
