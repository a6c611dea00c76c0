//! A disk whose reads land in any order, on any thread, well or badly, as the schedule draws.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpool_storage::{Checksums, Error, FileKey, PageDevice, PageNo, PageRead, PageSize};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

/// Pages as small as they can be.
pub const SIZE: PageSize = match PageSize::new(512) {
    Ok(size) => size,
    Err(_) => unreachable!(),
};

/// Who waits for less does not wait for an arrival: he looks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads that the queue takes; beyond, it may hand one back.
const ROOM: usize = 2;

pub struct Disk {
    file: Arc<str>,
    pages: u64,
    /// One read in so many goes wrong; 0 for none.
    fails: Mutex<u32>,
    /// Whether those who wait land what is in the queue, as with a ring that each may reap. What
    /// nobody waits for is landed by [`Disk::work`] in any case.
    is_driven: Mutex<bool>,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    reads: Vec<PageRead>,
    is_closed: bool,
}

/// The word that a page is full of.
fn stamp(page: PageNo) -> u8 {
    page.0 as u8 * 7 + 1
}

/// Whether `bytes` are those of `page`.
pub fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes.len() == SIZE.bytes() && bytes.iter().all(|&byte| byte == stamp(page))
}

impl Disk {
    pub fn new(pages: u64, fails: u32, is_driven: bool) -> Arc<Self> {
        Arc::new(Self {
            file: "simulated".into(),
            pages,
            fails: Mutex::new(fails),
            is_driven: Mutex::new(is_driven),
            queue: Mutex::default(),
            filled: Condvar::new(),
        })
    }

    pub fn checksums(&self) -> Checksums {
        let page = |page| vec![stamp(PageNo(page)); SIZE.bytes()];
        Checksums::of_pages(FileKey(1), SIZE, &(0..self.pages).flat_map(page).collect::<Vec<_>>())
    }

    /// From now on every read is good, and those who wait land it.
    pub fn mend(&self) {
        *self.fails.lock().unwrap() = 0;
        *self.is_driven.lock().unwrap() = true;
    }

    /// Lands reads until the disk is closed and nothing is left.
    pub fn work(&self) {
        loop {
            let mut queue = self.queue.lock().unwrap();
            while queue.reads.is_empty() {
                if queue.is_closed {
                    return;
                }
                queue = self.filled.wait(queue).unwrap();
            }
            drop(queue);
            self.land_one();
        }
    }

    pub fn close(&self) {
        self.queue.lock().unwrap().is_closed = true;
        self.filled.notify_all();
    }

    /// Lands any one of the reads in the queue. Returns false if there is none.
    fn land_one(&self) -> bool {
        let mut read = {
            let mut queue = self.queue.lock().unwrap();
            if queue.reads.is_empty() {
                return false;
            }
            let which = thread_rng().gen_range(0..queue.reads.len());
            queue.reads.swap_remove(which)
        };
        let fails = *self.fails.lock().unwrap();
        let is_good = fails == 0 || thread_rng().gen_range(0..fails) != 0;
        let (page, is_told) = (read.page(), thread_rng().r#gen::<bool>());
        // A failed read may have written something, and a bad one is not always told of.
        read.bytes_mut().fill(if is_good { stamp(page) } else { 0xEE });
        let failure =
            || Error::io(&self.file, format!("read {page}"), std::io::Error::other("drawn"));
        read.complete(if is_good || !is_told { Ok(()) } else { Err(failure()) });
        true
    }
}

impl PageDevice for Disk {
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
        let mut queue = self.queue.lock().unwrap();
        if queue.reads.len() >= ROOM && thread_rng().r#gen() {
            return Err(read);
        }
        queue.reads.push(read);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Parks until somebody who has made `until` true unparks: nothing else ends a long wait.
    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        let is_short = deadline.is_some_and(|deadline| deadline < Instant::now() + PATIENCE);
        loop {
            if until() {
                return true;
            }
            let landed = *self.is_driven.lock().unwrap() && self.land_one();
            match (landed, is_short) {
                (_, true) => {
                    thread::yield_now();
                    return until();
                }
                (true, false) => {}
                (false, false) => thread::park(),
            }
        }
    }
}
