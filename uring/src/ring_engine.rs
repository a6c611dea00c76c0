//! The ring engine: files, registered memory, and the end of it all.

#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringpool_storage::{Error, ForkMark, Latencies, PageDevice, PageRead, PageSize, Registration};

use crate::books::{Books, Counters};
use crate::closing::until_next_look;
use crate::depth::Depth;
use crate::lane::Lane;
use crate::lanes::Lanes;
use crate::options::EngineOptions;
use crate::paged_file::PagedFile;
use crate::platform::KernelRing;
use crate::registered::{REGION_BYTES, REGIONS};
use crate::request::Request;
use crate::ring::RawRing;
use crate::rung::{Refusal, why_not_registered};

/// Reads pages of any number of files through a few rings.
pub(crate) struct RingEngine<R: RawRing + 'static = KernelRing> {
    core: Arc<Core<R>>,
    drain: Duration,
}

pub(crate) struct Core<R> {
    pub(crate) lanes: Lanes<R>,
    /// Why nothing is registered, if nothing is.
    unregistered: Option<Refusal>,
    mark: ForkMark,
    closed: AtomicBool,
    /// The thread that lands reads nobody waits for; `None` where it could not be started.
    attendant: OnceLock<Option<JoinHandle<()>>>,
}

impl RingEngine {
    /// Sets up the first ring, or says why the kernel refuses it.
    pub(crate) fn new(options: &EngineOptions) -> io::Result<Self> {
        let depth = options.max_in_flight.clamp(1, EngineOptions::MAX_IN_FLIGHT);
        let first = KernelRing::new(depth)?;
        let slots = match options.registers {
            true => first.make_slots().map_err(|error| why_not_registered(&error)),
            false => Err(Refusal::of_choice("nothing is to be registered with the ring")),
        };
        let has_slots = slots.is_ok();
        let first = Lane::new(first, depth, has_slots);
        let make = move |books: &Books| {
            let ring = KernelRing::new(depth)?;
            if has_slots {
                ring.make_slots()?;
            }
            let lane = Lane::new(ring, depth, has_slots);
            register_all(&lane, books);
            Ok(lane)
        };
        let books = Books::new(Depth::new(depth, options.adapts));
        let lanes = Lanes::new(first, Box::new(make), books);
        Ok(Self::of(lanes, slots.err(), options.drain))
    }
}

impl<R: RawRing + 'static> RingEngine<R> {
    pub(crate) fn of(lanes: Lanes<R>, unregistered: Option<Refusal>, drain: Duration) -> Self {
        let (mark, closed) = (ForkMark::new(), AtomicBool::new(false));
        let attendant = OnceLock::new();
        Self { core: Arc::new(Core { lanes, unregistered, mark, closed, attendant }), drain }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.core.lanes.counters()
    }

    pub(crate) fn latencies(&self) -> Latencies {
        self.core.lanes.books.latencies.so_far()
    }

    /// Waits until nothing is in flight and its thread has ended, or until the deadline. Returns how
    /// many reads and threads are left.
    pub(crate) fn close(mut self, deadline: Option<Instant>) -> [usize; 2] {
        let core = self.core.clone();
        if core.mark.is_child() {
            return [0; 2]; // They are the parent's.
        }
        core.lanes.attend(&|| core.lanes.is_idle(), deadline);
        // Release: pairs with the acquire in `Core::attend`.
        core.closed.store(true, Ordering::Release);
        core.lanes.wake_followers();
        while self.left()[1] > 0 {
            let Some(nap) = until_next_look(deadline) else { break };
            thread::sleep(nap);
        }
        self.drain = Duration::ZERO; // It was waited for.
        self.left()
    }

    /// How many reads are in flight, and how many threads run.
    pub(crate) fn left(&self) -> [usize; 2] {
        let core = &self.core;
        if core.mark.is_child() {
            return [0; 2];
        }
        let attendant = core.attendant.get().and_then(Option::as_ref);
        let threads = attendant.filter(|thread| !thread.is_finished()).into_iter().count();
        [core.lanes.in_flight(), threads]
    }

    /// Why nothing is registered with the rings, if nothing is.
    pub(crate) fn unregistered(&self) -> Option<&Refusal> {
        self.core.unregistered.as_ref()
    }
}

impl<R: RawRing + 'static> Drop for RingEngine<R> {
    /// Waits for the reads in flight. Closing a ring does not stop them: what was not waited for
    /// would be written to later.
    fn drop(&mut self) {
        let core = &self.core;
        // Release: pairs with the acquire in `Core::attend`.
        core.closed.store(true, Ordering::Release);
        if core.mark.is_child() {
            // The rings are the parent's, and not even mapped here.
            return std::mem::forget(core.clone());
        }
        core.lanes.attend(&|| core.lanes.is_idle(), Some(Instant::now() + self.drain));
        core.lanes.wake_followers();
        let reads = core.lanes.in_flight();
        if reads > 0 {
            let waited = self.drain;
            tracing::error!(reads, ?waited, "a disk does not answer: its rings and memory stay");
            std::mem::forget(core.clone());
        }
    }
}

impl<R: RawRing + 'static> Core<R> {
    /// Sees to it that reads land that nobody waits for.
    fn start_unattended(self: &Arc<Self>) {
        let attendant = self.attendant.get_or_init(|| {
            let core = self.clone();
            let name = "ringpool-reap".to_string();
            let started = thread::Builder::new().name(name).spawn(move || core.attend());
            if let Err(error) = &started {
                tracing::warn!(%error, "no thread for reads that nobody waits for");
            }
            started.ok()
        });
        self.lanes.start_unattended();
        if attendant.is_none() {
            // Slower than a future should be, and right.
            self.lanes.attend(&|| self.lanes.is_idle(), None);
        }
    }

    fn attend(&self) {
        // Acquire: pairs with the release in `RingEngine::drop`.
        self.lanes.attend(&|| self.closed.load(Ordering::Acquire), None);
    }

    fn register(self: &Arc<Self>, start: usize, len_bytes: usize) -> Option<Registration> {
        let regions = &self.lanes.books.regions;
        let mut taken = regions.taken.lock();
        let mut slots = 0u64;
        for from in (start..start + len_bytes).step_by(REGION_BYTES) {
            let to = (from + REGION_BYTES).min(start + len_bytes);
            let slot = (!(*taken | slots)).trailing_zeros() as usize;
            let register = |lane: &Lane<R>| {
                // SAFETY: who registers keeps the memory until the registration is dropped, and
                // then the region is taken from each ring first.
                let taken = unsafe { lane.take_region(slot, from, to) };
                taken.inspect_err(|error| {
                    let why = why_not_registered(error);
                    tracing::info!(%why, bytes = to - from, "memory stays unregistered");
                })
            };
            if slot >= REGIONS || self.lanes.made().map(register).filter(Result::is_ok).count() == 0
            {
                drop(taken);
                self.unregister(slots);
                return None;
            }
            slots |= 1 << slot;
            *taken |= 1 << slot;
            regions.set(slot, from, to);
        }
        let core = Arc::downgrade(self);
        Some(Registration::new(Regions { core, slots }))
    }

    fn unregister(&self, slots: u64) {
        if self.mark.is_child() {
            return;
        }
        let regions = &self.lanes.books.regions;
        let mut taken = regions.taken.lock();
        for slot in (0..REGIONS).filter(|slot| slots >> slot & 1 == 1) {
            regions.set(slot, 0, 0);
            self.lanes.made().for_each(|lane| lane.drop_region(slot));
            *taken &= !(1 << slot);
        }
    }
}

/// Registers with a new ring what the others have.
fn register_all(lane: &Lane<KernelRing>, books: &Books) {
    let taken = books.regions.taken.lock();
    for slot in (0..REGIONS).filter(|slot| *taken >> slot & 1 == 1) {
        if let Some((start, end)) = books.regions.bounds(slot) {
            // SAFETY: taken, and we hold the lock: its owner keeps it until `unregister` has
            // taken it from each ring.
            if let Err(error) = unsafe { lane.take_region(slot, start, end) } {
                tracing::info!(%error, "a further ring reads into memory unregistered");
            }
        }
    }
}

/// Registered memory. Weak: a read in flight owns its memory, and its engine owns the read.
struct Regions<R: RawRing + 'static> {
    core: Weak<Core<R>>,
    slots: u64,
}

impl<R: RawRing + 'static> Drop for Regions<R> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.unregister(self.slots);
        }
    }
}

/// A file that is read through the rings.
pub(crate) struct RingFile<R: RawRing + 'static = KernelRing> {
    engine: Arc<RingEngine<R>>,
    file: Arc<PagedFile>,
}

impl<R: RawRing + 'static> RingFile<R> {
    pub(crate) fn new(engine: Arc<RingEngine<R>>, file: Arc<PagedFile>) -> Self {
        let core = Arc::downgrade(&engine.core);
        let forget = move |id| {
            if let Some(core) = core.upgrade().filter(|core| !core.mark.is_child()) {
                core.lanes.made().for_each(|lane| lane.forget_file(id));
            }
        };
        let _ = file.on_close.set(Box::new(forget));
        Self { engine, file }
    }

    /// Whether the calling thread reads it as a registered file.
    pub(crate) fn is_registered(&self) -> bool {
        self.engine.core.lanes.home().has_registered(&self.file)
    }
}

impl<R: RawRing + 'static> PageDevice for RingFile<R> {
    fn file(&self) -> &Arc<str> {
        &self.file.path
    }

    fn page_size(&self) -> PageSize {
        self.file.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.page_count
    }

    fn submit(&self, read: PageRead) -> Result<(), PageRead> {
        let core = &self.engine.core;
        if core.mark.is_child() {
            read.complete(Err(Error::Forked { file: self.file.path.clone() }));
            return Ok(());
        }
        match Request::new(&self.file, read) {
            Some(request) => core.lanes.queue(request).map_err(|request| request.read),
            None => Ok(()),
        }
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        let core = &self.engine.core;
        if core.mark.is_child() {
            return until();
        }
        core.lanes.drive(until, deadline)
    }

    fn start(&self) {
        let core = &self.engine.core;
        if !core.mark.is_child() {
            self.drive(&|| true, None);
            core.start_unattended();
        }
    }

    unsafe fn register(&self, memory: NonNull<u8>, len_bytes: usize) -> Option<Registration> {
        let core = &self.engine.core;
        if core.mark.is_child() || core.unregistered.is_some() {
            return None;
        }
        core.register(memory.as_ptr().expose_provenance(), len_bytes)
    }
}
