//! A device that fails on request, around any other.
//!
//! A script decides for each read, from its ordinal and its page, what is wrong with the answer
//! and how late it comes: a function of the test's own, or a [`FaultPlan`](crate::FaultPlan)
//! drawn from a seed. What went wrong is noted, so that two runs can be compared and an error be
//! held against its cause.

use std::collections::BTreeMap;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Landing, PageDevice, PageNo, PageRead, PageSize, Registration, Result};

/// What may be wrong with one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The system answers with this errno.
    Errno(i32),
    /// The file ends after so many bytes of the page.
    Truncated(usize),
    /// One bit is wrong, counted from the page's first.
    FlipBit(usize),
    /// The rest of the page from this byte on is old: zeros.
    Torn(usize),
    /// The disk returns another page.
    Misdirected(PageNo),
    /// The queue is full: the read is handed back, and counts as a new one when it comes again.
    QueueFull,
    /// No answer until [`FaultyDevice::release`].
    Hold,
}

/// What becomes of one read. By default it is answered at once, with its page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// After how many later reads it is answered. Sooner when the device is driven and nothing
    /// else is left to answer, so that no read waits for ever.
    pub late_by_reads: u32,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// A read that was not answered at once with its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Which read of the device it was, counted from 0.
    pub ordinal: u64,
    /// The page that was asked for.
    pub page: PageNo,
    /// What became of it.
    pub answer: Answer,
}

/// Any device, with faults.
pub struct FaultyDevice {
    inner: Arc<dyn PageDevice>,
    script: Box<dyn Fn(u64, PageNo) -> Answer + Send + Sync>,
    reads: AtomicU64,
    healed: AtomicBool,
    late: Mutex<Late>,
    held: Mutex<Vec<(Turn, PageRead)>>,
    incidents: Mutex<Vec<Incident>>,
}

/// When a late read is carried out: together with the read of this ordinal; and its own ordinal.
type Turn = (u64, u64);

/// Reads to be carried out later. As many at most as callers have memory for.
#[derive(Default)]
struct Late {
    reads: BTreeMap<Turn, (PageRead, Option<Fault>)>,
    /// Reads that some thread has just taken out and may put back.
    in_hand: usize,
}

impl FaultyDevice {
    /// Incidents that are kept until they are taken; later ones are not noted.
    pub const INCIDENTS_KEPT: usize = 1 << 18;

    /// How long to work for others before offering a read again that the full queue beneath has
    /// handed back.
    const BACK_PRESSURE: Duration = Duration::from_millis(1);
    /// How often a read is offered that nobody may come back for.
    const OFFERS_MAX: u32 = 1_000;

    /// Asks `script(n, page)` for each read, where `n` counts the reads from 0.
    pub fn new(
        inner: Arc<dyn PageDevice>,
        script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::answering(inner, move |n, page| Answer { late_by_reads: 0, fault: script(n, page) })
    }

    /// The same with a script that also says when a read is answered, as that of a
    /// [`FaultPlan`](crate::FaultPlan) does: `move |n, page| plan.answer(n, page)`.
    pub fn answering(
        inner: Arc<dyn PageDevice>,
        script: impl Fn(u64, PageNo) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            script: Box::new(script),
            reads: AtomicU64::new(0),
            healed: AtomicBool::new(false),
            late: Mutex::default(),
            held: Mutex::default(),
            incidents: Mutex::default(),
        }
    }

    /// How many reads were submitted.
    pub fn reads(&self) -> u64 {
        // Relaxed: a count, read for its value alone.
        self.reads.load(Ordering::Relaxed)
    }

    /// How many reads are held.
    pub fn held(&self) -> usize {
        lock(&self.held).len()
    }

    /// Lets the device answer what was held, the last one first. Returns how many there were.
    pub fn release(&self) -> usize {
        let held = std::mem::take(&mut *lock(&self.held));
        let count = held.len();
        for (turn, read) in held.into_iter().rev() {
            self.carry_out(turn, read, None);
        }
        self.inner.start();
        count
    }

    /// Drops what was held, as a device does that is closed: each lands as abandoned.
    pub fn abandon(&self) {
        let held = std::mem::take(&mut *lock(&self.held));
        drop(held);
    }

    /// From now on the disk is a good one. What is late or held already stays so.
    pub fn heal(&self) {
        // Relaxed: a switch. Reads submitted after the call by this thread see it.
        self.healed.store(true, Ordering::Relaxed);
    }

    /// Takes the incidents noted since the last call: by ordinal where one thread reads.
    pub fn take_incidents(&self) -> Vec<Incident> {
        std::mem::take(&mut lock(&self.incidents))
    }

    fn answer(&self, ordinal: u64, page: PageNo) -> Answer {
        // Relaxed: see `heal`.
        if self.healed.load(Ordering::Relaxed) {
            return Answer::default();
        }
        let answer = (self.script)(ordinal, page);
        if answer != Answer::default() {
            let mut incidents = lock(&self.incidents);
            if incidents.len() < Self::INCIDENTS_KEPT {
                incidents.push(Incident { ordinal, page, answer });
            }
        }
        answer
    }

    /// Carries out a read now. Returns false when the queue beneath is full; the read is a late
    /// one then.
    fn carry_out(&self, turn: Turn, read: PageRead, fault: Option<Fault>) -> bool {
        let (page, file) = (read.page(), self.file().clone());
        let read = match fault {
            None | Some(Fault::QueueFull) => read,
            Some(Fault::Errno(errno)) => {
                let source = io::Error::from_raw_os_error(errno);
                read.complete(Err(Error::io(&file, format!("reading page {page}"), source)));
                return true;
            }
            Some(Fault::Truncated(found_bytes)) => {
                let expected_bytes = read.len_bytes();
                read.complete(Err(Error::Truncated { file, page, expected_bytes, found_bytes }));
                return true;
            }
            Some(Fault::Hold) => {
                lock(&self.held).push((turn, read));
                return true;
            }
            Some(Fault::FlipBit(bit)) => spoiled(read, page, Spoil::FlipBit(bit)),
            Some(Fault::Torn(from)) => spoiled(read, page, Spoil::Zero(from)),
            Some(Fault::Misdirected(other)) => spoiled(read, other, Spoil::Nothing),
        };
        // A read that is handed back here has its fault already. Handing it on would ask the
        // script twice for one read.
        match self.offer(read) {
            Ok(()) => true,
            Err(read) => {
                lock(&self.late).reads.insert(turn, (read, None));
                false
            }
        }
    }

    /// Offers a read to the device beneath: once, or, where nobody may come back for it, until
    /// there is room.
    fn offer(&self, mut read: PageRead) -> std::result::Result<(), PageRead> {
        for _ in 0..Self::OFFERS_MAX {
            match self.inner.submit(read) {
                Err(again) if again.is_unattended() => read = again,
                taken => return taken,
            }
            self.inner.drive(&|| false, Some(Instant::now() + Self::BACK_PRESSURE));
        }
        Err(read)
    }

    /// Carries out the first of the late reads, if its turn comes with `ordinal`. `None` when
    /// there is none, otherwise whether the queue beneath had room for it.
    fn carry_out_late(&self, ordinal: u64) -> Option<bool> {
        let mut late = lock(&self.late);
        let first = late.reads.first_entry().filter(|first| first.key().0 <= ordinal)?;
        let (turn, (read, fault)) = first.remove_entry();
        late.in_hand += 1;
        drop(late);
        let had_room = self.carry_out(turn, read, fault);
        // Who waits for it may be asleep already: nobody else would start it.
        self.inner.start();
        lock(&self.late).in_hand -= 1;
        Some(had_room)
    }

    fn none_is_late(&self) -> bool {
        let late = lock(&self.late);
        late.reads.is_empty() && late.in_hand == 0
    }

    fn is_one_late_and_unattended(&self) -> bool {
        lock(&self.late).reads.values().any(|(read, _)| read.is_unattended())
    }
}

impl PageDevice for FaultyDevice {
    fn file(&self) -> &Arc<str> {
        self.inner.file()
    }

    fn page_size(&self) -> PageSize {
        self.inner.page_size()
    }

    fn page_count(&self) -> u64 {
        self.inner.page_count()
    }

    fn submit(&self, read: PageRead) -> std::result::Result<(), PageRead> {
        // Relaxed: only distinct numbers are wanted.
        let ordinal = self.reads.fetch_add(1, Ordering::Relaxed);
        let Answer { late_by_reads, fault } = self.answer(ordinal, read.page());
        if fault == Some(Fault::QueueFull) {
            return Err(read);
        }
        let turn = (ordinal.saturating_add(late_by_reads.into()), ordinal);
        if late_by_reads > 0 {
            lock(&self.late).reads.insert(turn, (read, fault));
        } else if !self.carry_out(turn, read, fault) {
            return Ok(());
        }
        while self.carry_out_late(ordinal) == Some(true) {}
        Ok(())
    }

    /// Late reads are carried out in their turn until `until` holds, and at least one of them: so
    /// they all land also where nobody ever waits.
    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        let is_over = || deadline.is_some_and(|end| Instant::now() >= end);
        // A read that another thread has in hand may be ours, and nobody else may come for it.
        while !self.none_is_late() {
            match self.carry_out_late(u64::MAX) {
                Some(true) => {}
                Some(false) => {
                    let soon = Instant::now() + Self::BACK_PRESSURE;
                    self.inner.drive(until, Some(deadline.map_or(soon, |end| end.min(soon))));
                }
                None => std::thread::yield_now(),
            }
            if until() || is_over() {
                break;
            }
        }
        // Also when `until` holds: this starts what was submitted, for whoever waits for it.
        self.inner.drive(until, deadline)
    }

    /// Carries out one late read, and all that nobody may come back for.
    fn start(&self) {
        while self.carry_out_late(u64::MAX) == Some(true) && self.is_one_late_and_unattended() {}
        self.inner.start();
    }

    #[allow(unsafe_code)]
    unsafe fn register(&self, memory: NonNull<u8>, len_bytes: usize) -> Option<Registration> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.register(memory, len_bytes) }
    }
}

/// None of the locks is held while a read lands: a landing may do anything.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A read of `page` into the memory of `read`, which lands spoiled.
fn spoiled(mut read: PageRead, page: PageNo, spoil: Spoil) -> PageRead {
    let (memory, len_bytes) = (read.as_mut_ptr(), read.len_bytes() as u32);
    let memory = NonNull::new(memory).expect("a read has memory");
    let is_unattended = read.is_unattended();
    let landing = Arc::new(Spoiler { read: Mutex::new(Some(read)), spoil });
    // SAFETY: the memory is `read`'s, which `landing` keeps and does not touch before it is
    // told; so it is exclusively this read's, and as aligned as it was.
    #[allow(unsafe_code)]
    let spoiled = unsafe { PageRead::new(page, memory, len_bytes, landing, 0) };
    if is_unattended { spoiled.unattended() } else { spoiled }
}

enum Spoil {
    FlipBit(usize),
    Zero(usize),
    Nothing,
}

/// Changes what was read, and only then lets the read land where it was to land.
struct Spoiler {
    read: Mutex<Option<PageRead>>,
    spoil: Spoil,
}

impl Landing for Spoiler {
    fn landed(&self, _: u64, result: Result<()>) {
        let Some(mut read) = lock(&self.read).take() else { return };
        if result.is_ok() {
            let bytes = read.bytes_mut();
            let len_bytes = bytes.len();
            match self.spoil {
                Spoil::FlipBit(bit) => bytes[bit / 8 % len_bytes] ^= 1 << (bit % 8),
                Spoil::Zero(from) => bytes[from.min(len_bytes)..].fill(0),
                Spoil::Nothing => {}
            }
        }
        read.complete(result);
    }
}

#[cfg(test)]
mod tests;
