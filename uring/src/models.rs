//! The protocols between threads, by the model checker:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-uring --lib loom`.
//!
//! What runs is the engine's own code: lanes, batons, followers, the table of reads in flight, the
//! registered regions. Replaced are the kernel ([`ModelRing`]), the landing ([`Page`]), and what
//! `sync::checked` names. There is no clock: who parks or waits in the kernel sleeps until it is
//! woken, so that whatever only a timeout would repair is a deadlock here, and a deadlock fails.
//!
//! Each model says what it claims. The interleavings are all those with so many preemptions at
//! most as it says (a thread that blocks or ends costs none).

#![allow(unsafe_code)]

mod attendant;
mod followers;
mod in_flight;
mod one_lane;
mod registered;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use ringpool_storage::{Landing, PageNo, PageRead, PageSize, Result};

use crate::books::Books;
use crate::depth::Depth;
use crate::lane::Lane;
use crate::lanes::Lanes;
use crate::paged_file::PagedFile;
use crate::registered::FILES;
use crate::request::Request;
use crate::ring::{RawRing, Sqe, SqeFile};
use crate::sync::thread::{self, Thread};

/// Explores `model` with at most so many preemptions.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 10_000;
    builder.check(model);
}

/// A kernel and a disk. The disk answers whoever waits, and nobody else: what nobody waits for
/// does not land.
struct ModelRing {
    /// The tail of the submission queue, as who submits knows it; and the head of the completion
    /// queue. The checker reports two threads in one.
    submitting: UnsafeCell<usize>,
    reaping: UnsafeCell<()>,
    /// The tail as the kernel sees it.
    tail: AtomicUsize,
    kernel: Mutex<Kernel>,
    completed: Condvar,
    files: [UnsafeCell<RawFd>; FILES],
}

// SAFETY: the checker watches over the cells; what is in them is plain.
unsafe impl Sync for ModelRing {}

#[derive(Default)]
struct Kernel {
    /// How many SQEs were taken from the submission queue.
    head: usize,
    staged: VecDeque<u64>,
    flying: Vec<u64>,
    done: VecDeque<u64>,
}

impl ModelRing {
    fn new() -> Self {
        Self {
            submitting: UnsafeCell::new(0),
            reaping: UnsafeCell::new(()),
            tail: AtomicUsize::new(0),
            kernel: Mutex::new(Kernel::default()),
            completed: Condvar::new(),
            files: std::array::from_fn(|_| UnsafeCell::new(-1)),
        }
    }

    /// Ends the reads in flight. Returns whether there is a completion.
    fn answer(&self, kernel: &mut Kernel) -> bool {
        kernel.done.extend(kernel.flying.drain(..));
        !kernel.done.is_empty()
    }
}

impl RawRing for ModelRing {
    unsafe fn push(&self, sqe: &Sqe) -> bool {
        if let SqeFile::Slot(slot) = sqe.file {
            // SAFETY: the checker reports it if anybody changes the slot.
            self.files[slot as usize].with(|fd| assert_eq!(unsafe { *fd }, expected_fd(sqe)));
        }
        self.kernel.lock().unwrap().staged.push_back(sqe.user_data);
        // SAFETY: the checker reports it if anybody else pushes.
        let tail = self.submitting.with_mut(|tail| unsafe {
            *tail += 1;
            *tail
        });
        // Relaxed: that the kernel sees it is the business of who calls the kernel.
        self.tail.store(tail, Ordering::Relaxed);
        true
    }

    fn enter(&self, want: usize, _: Duration) -> io::Result<()> {
        let tail = self.tail.load(Ordering::Relaxed);
        let mut kernel = self.kernel.lock().unwrap();
        while kernel.head < tail {
            let user_data = kernel.staged.pop_front().expect("what was pushed");
            kernel.flying.push(user_data);
            kernel.head += 1;
            self.completed.notify_all();
        }
        while want > 0 && !self.answer(&mut kernel) {
            kernel = self.completed.wait(kernel).unwrap();
        }
        Ok(())
    }

    unsafe fn pop(&self, into: &mut [(u64, i32)]) -> usize {
        // SAFETY: nothing is done with it; the checker reports it if anybody else pops.
        let done = self.reaping.with_mut(|_| {
            let mut kernel = self.kernel.lock().unwrap();
            let count = into.len().min(kernel.done.len());
            kernel.done.drain(..count).collect::<Vec<_>>()
        });
        let whole = PageSize::KIB_4.bytes() as i32;
        into.iter_mut().zip(&done).for_each(|(place, &user_data)| *place = (user_data, whole));
        done.len()
    }

    unsafe fn completions(&self) -> usize {
        self.reaping.with_mut(|_| self.kernel.lock().unwrap().done.len())
    }

    fn register_file(&self, slot: u32, fd: RawFd) -> io::Result<()> {
        // SAFETY: the checker reports it if anybody else is in the slot.
        self.files[slot as usize].with_mut(|place| unsafe { *place = fd });
        Ok(())
    }

    unsafe fn register_memory(&self, _: u32, _: *mut u8, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn wait_any(rings: &[&Self], _: Duration) {
        for ring in rings {
            if ring.answer(&mut ring.kernel.lock().unwrap()) {
                return;
            }
        }
        loom::thread::yield_now(); // Nothing was submitted yet.
    }
}

/// Files are told apart by the page that is read of them: see [`file`].
fn expected_fd(sqe: &Sqe) -> RawFd {
    let page = sqe.offset_bytes / PageSize::KIB_4.bytes() as u64;
    file(page / PAGES_A_FILE).fd()
}

/// Pages that are read of one file in a model; those of the next file come after.
const PAGES_A_FILE: u64 = 8;

/// An open file. Files 0 and 1 have ids that fall into the same slot.
fn file(which: u64) -> &'static Arc<PagedFile> {
    static OPEN: [OnceLock<Arc<PagedFile>>; 2] = [const { OnceLock::new() }; 2];
    OPEN[which as usize].get_or_init(|| {
        let path = tempfile::NamedTempFile::new().expect("a file");
        path.as_file().set_len(2 * PAGES_A_FILE * 4096).expect("its length");
        let id = 1 + which * FILES as u64;
        Arc::new(PagedFile::open(path.path(), PageSize::KIB_4, id).expect("its pages"))
    })
}

/// One page that is asked for, and who waits for it.
struct Page {
    page: u64,
    lands: AtomicUsize,
    asker: Mutex<Option<Thread>>,
}

impl Page {
    fn new(page: u64) -> Arc<Self> {
        Arc::new(Self { page, lands: AtomicUsize::new(0), asker: Mutex::new(None) })
    }

    /// Not neighbours, which would become one read.
    fn some<const N: usize>() -> [Arc<Self>; N] {
        std::array::from_fn(|i| Self::new(2 * i as u64))
    }

    fn read(self: &Arc<Self>) -> PageRead {
        let (memory, len_bytes) = (NonNull::<u8>::dangling(), PageSize::KIB_4.bytes() as u32);
        // SAFETY: the model's ring writes to no memory.
        unsafe { PageRead::new(PageNo(self.page), memory, len_bytes, self.clone(), 0) }
    }

    fn request(self: &Arc<Self>) -> Request {
        self.request_of(self.read())
    }

    fn request_of(&self, read: PageRead) -> Request {
        Request::new(file(self.page / PAGES_A_FILE), read).expect("a page of the file")
    }

    /// The calling thread is to be woken when it lands.
    fn ask(&self) {
        *self.asker.lock().unwrap() = Some(thread::current());
    }

    fn has_landed(&self) -> bool {
        // Acquire: pairs with the release in `landed`.
        self.lands.load(Ordering::Acquire) > 0
    }
}

impl Landing for Page {
    fn landed(&self, _: u64, result: Result<()>) {
        let lands = if result.is_ok() { 1 } else { 100 };
        self.lands.fetch_add(lands, Ordering::Release);
        if let Some(thread) = self.asker.lock().unwrap().take() {
            thread.unpark();
        }
    }
}

/// An engine without files, threads and kernel.
fn lanes(depth: u32) -> Arc<Lanes<ModelRing>> {
    let make = move |_: &Books| Ok(Lane::new(ModelRing::new(), depth, false));
    let books = Books::new(Depth::new(depth, false));
    Arc::new(Lanes::new(Lane::new(ModelRing::new(), depth, false), Box::new(make), books))
}

/// Queues a read of `page` at a lane.
fn queue(lanes: &Lanes<ModelRing>, lane: usize, page: &Arc<Page>) {
    page.ask();
    lanes.lane(lane).queue(page.request()).ok().expect("room in the queue");
}

/// Whatever was asked for has landed once, and nothing else.
fn settled<const N: usize>(lanes: &Lanes<ModelRing>, pages: &[Arc<Page>; N]) {
    for page in pages {
        assert_eq!(page.lands.load(Ordering::Relaxed), 1, "page {} lands once", page.page);
    }
    let counters = lanes.counters();
    assert_eq!((counters.reads, counters.strays, counters.panics), (N as u64, 0, 0));
    assert!(lanes.is_idle(), "nothing is left");
}
