//! A device that fails on request, around any other.
//!
//! A script decides for each read, from its ordinal and its page, what is wrong with the answer
//! and how late it comes: a function of the test's own, or a [`FaultPlan`](crate::FaultPlan)
//! drawn from a seed. What went wrong is noted, so that two runs can be compared and an error be
//! held against its cause.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Landing, PageDevice, PageNo, PageRead, PageSize, Result};

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
        self.inner.drive(&|| true, None);
        count
    }

    /// Drops what was held, as a device does that is closed: each lands as abandoned.
    pub fn abandon(&self) {
        drop(std::mem::take(&mut *lock(&self.held)));
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
        match self.inner.submit(read) {
            Ok(()) => true,
            Err(read) => {
                lock(&self.late).reads.insert(turn, (read, None));
                false
            }
        }
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
        lock(&self.late).in_hand -= 1;
        Some(had_room)
    }

    fn none_is_late(&self) -> bool {
        let late = lock(&self.late);
        late.reads.is_empty() && late.in_hand == 0
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
        let mut others = false;
        while let Some(had_room) = self.carry_out_late(ordinal) {
            others = true;
            if !had_room {
                break;
            }
        }
        if others {
            // Who waits for them may be asleep already: nobody else would start them.
            self.inner.drive(&|| true, None);
        }
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
}

/// None of the locks is held while a read lands: a landing may do anything.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A read of `page` into the memory of `read`, which lands spoiled.
fn spoiled(mut read: PageRead, page: PageNo, spoil: Spoil) -> PageRead {
    let (memory, len_bytes) = (read.as_mut_ptr(), read.len_bytes() as u32);
    let memory = std::ptr::NonNull::new(memory).expect("a read has memory");
    let landing = Arc::new(Spoiler { read: Mutex::new(Some(read)), spoil });
    // SAFETY: the memory is `read`'s, which `landing` keeps and does not touch before it is
    // told; so it is exclusively this read's, and as aligned as it was.
    #[allow(unsafe_code)]
    unsafe {
        PageRead::new(page, memory, len_bytes, landing, 0)
    }
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
mod tests {
    use super::*;
    use crate::conformance::{self, Specimen};
    use crate::{FaultPlan, FaultRates, MemoryDevice, MemorySource, ReadBuffer, park_until};
    use std::collections::VecDeque;

    const SIZE: PageSize = PageSize::KIB_4;
    const PAGES: u64 = 40;

    fn memory() -> MemoryDevice {
        let bytes: Vec<u8> = (0..PAGES).flat_map(|no| Specimen::page(PageNo(no), SIZE)).collect();
        MemoryDevice::new(MemorySource::new("a file", SIZE, bytes).unwrap())
    }

    fn late_by(late_by_reads: u32) -> Answer {
        Answer { late_by_reads, fault: None }
    }

    /// The order in which pages 0 to `count` arrive, `depth` at once.
    fn order(device: &FaultyDevice, count: u64, depth: u32) -> Vec<usize> {
        let pages: Vec<_> = (0..count).map(PageNo).collect();
        let mut order = Vec::new();
        let visited = ReadBuffer::new(depth, SIZE).visit(device, &pages, |i, bytes| {
            assert!(bytes == Specimen::page(pages[i], SIZE));
            order.push(i);
        });
        visited.unwrap();
        order
    }

    #[test]
    fn a_late_read_is_answered_after_as_many_later_ones() {
        let script = |n, _| if n == 1 { late_by(3) } else { late_by(0) };
        let device = FaultyDevice::answering(Arc::new(memory()), script);
        assert_eq!(order(&device, 8, 8), [0, 2, 3, 4, 1, 5, 6, 7]);
    }

    #[test]
    fn a_late_read_lands_when_nothing_else_is_left() {
        let device = FaultyDevice::answering(Arc::new(memory()), |n, _| late_by(99 - n as u32));
        assert_eq!(order(&device, 5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(order(&device, 5, 1), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn each_call_that_does_not_wait_lands_one_late_read() {
        // Takes reads and never lands them, so that they are to be had.
        let tap = Bounded { room: usize::MAX, lands: false, ..Bounded::default() };
        let pages: Vec<_> = (0..5).map(PageNo).collect();
        ReadBuffer::new(5, SIZE).visit(&tap, &pages, |_, _| {}).unwrap_err();
        let device = FaultyDevice::answering(Arc::new(memory()), |_, _| late_by(1_000));
        lock(&tap.queue).drain(..).for_each(|read| device.submit(read).unwrap());
        for left in (0..5).rev() {
            assert!(device.drive(&|| true, None));
            assert_eq!(lock(&device.late).reads.len(), left);
        }
    }

    /// Memory with a queue of so many reads, which land when it is driven.
    struct Bounded {
        memory: MemoryDevice,
        room: usize,
        lands: bool,
        queue: Mutex<VecDeque<PageRead>>,
    }

    impl Default for Bounded {
        fn default() -> Self {
            Self { memory: memory(), room: 3, lands: true, queue: Mutex::default() }
        }
    }

    impl PageDevice for Bounded {
        fn file(&self) -> &Arc<str> {
            self.memory.file()
        }
        fn page_size(&self) -> PageSize {
            self.memory.page_size()
        }
        fn page_count(&self) -> u64 {
            self.memory.page_count()
        }
        fn submit(&self, read: PageRead) -> std::result::Result<(), PageRead> {
            let mut queue = lock(&self.queue);
            if queue.len() == self.room {
                return Err(read);
            }
            queue.push_back(read);
            Ok(())
        }
        fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
            if !self.lands {
                return until();
            }
            let queue = std::mem::take(&mut *lock(&self.queue));
            queue.into_iter().for_each(|read| self.memory.submit(read).unwrap());
            park_until(until, deadline)
        }
    }

    #[test]
    fn late_reads_and_a_full_queue_beneath_are_still_a_device() {
        let dir = tempfile::tempdir().unwrap();
        conformance::devices(dir.path(), &|specimen| {
            let memory = MemoryDevice::new(specimen.in_memory());
            let bounded = Arc::new(Bounded { memory, ..Bounded::default() });
            let rates = FaultRates { late: 0.5, queue_full: 0.01, ..FaultRates::default() };
            let plan = FaultPlan::new(1, rates, specimen.page_size, specimen.page_count());
            Arc::new(FaultyDevice::answering(bounded, move |n, page| plan.answer(n, page)))
        });
    }

    #[test]
    fn a_read_that_the_device_beneath_hands_back_is_asked_about_once() {
        let flip = |n, _| (n == 5).then_some(Fault::FlipBit(8));
        let device = FaultyDevice::new(Arc::new(Bounded::default()), flip);
        let pages: Vec<_> = (0..10).map(PageNo).collect();
        let mut wrong = Vec::new();
        let visited = ReadBuffer::new(10, SIZE).visit(&device, &pages, |i, bytes| {
            let mut right = Specimen::page(pages[i], SIZE);
            if bytes != right {
                wrong.push(i);
                right[1] ^= 1;
            }
            assert!(bytes == right, "page {i} is wrong in one bit at most");
        });
        visited.unwrap();
        assert_eq!((wrong, device.reads()), (vec![5], 10));
    }

    #[test]
    fn incidents_are_noted_until_taken_and_end_with_the_faults() {
        let script = |n, _| (n % 3 == 2).then_some(Fault::Misdirected(PageNo(7)));
        let device = FaultyDevice::new(Arc::new(memory()), script);
        let read = || {
            let pages: Vec<_> = (20..30).map(PageNo).collect();
            ReadBuffer::new(1, SIZE).visit(&device, &pages, |_, _| {}).unwrap();
        };
        read();
        let answer = Answer { late_by_reads: 0, fault: Some(Fault::Misdirected(PageNo(7))) };
        let expected = [2, 5, 8].map(|n| Incident { ordinal: n, page: PageNo(20 + n), answer });
        assert_eq!(device.take_incidents(), expected);
        device.heal();
        read();
        assert_eq!((device.take_incidents(), device.reads()), (vec![], 20));
    }
}
