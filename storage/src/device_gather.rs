//! Many batches at once straight from a device: a buffer for each page on its way, and no cache.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::read_buffer::{Asker, Slots};
use crate::{
    Arrivals, Asked, AskedPages, Checksums, Error, Gather, PageDevice, PageNo, PageRead,
    ReadBuffer, Result,
};

/// A [`Gather`] over a device, with memory of its own for a fixed number of pages in flight.
///
/// What [`ReadBuffer`] is to a batch that is waited for: every page that is asked for is read, as
/// often as it is asked for, and checked when it is handed over. What was asked for beyond the
/// memory is put off until some of it is free.
pub struct DeviceGather<'d> {
    device: &'d dyn PageDevice,
    checksums: Option<&'d Checksums>,
    slots: Arc<Slots>,
    asked: AskedPages,
    /// Reads that were submitted and not started.
    unstarted: Cell<usize>,
    /// A read that the device's queue had no room for. Its slot is in use.
    handed_back: Option<PageRead>,
    /// When to offer it again though nothing has arrived.
    retry_at: Instant,
    /// How long was waited since something last arrived.
    silence: Cell<Duration>,
    /// Where reads are counted, if they are.
    reads: Option<&'d AtomicU64>,
}

impl<'d> DeviceGather<'d> {
    /// How long to work for others before offering a read again that the full queue of a device
    /// has handed back.
    const BACK_PRESSURE: Duration = Duration::from_millis(1);

    /// For `depth` pages of `device` in flight, checked where there are `checksums`.
    ///
    /// # Panics
    /// As [`ReadBuffer::new`].
    pub fn new(device: &'d dyn PageDevice, checksums: Option<&'d Checksums>, depth: u32) -> Self {
        assert!(depth > 0, "a buffer without pages reads nothing");
        let slots = Arc::new(Slots::new(depth, device.page_size()));
        slots.tell(Asker::Thread(thread::current()));
        let asked = AskedPages::new(depth);
        let (unstarted, handed_back, silence) = (Cell::default(), None, Cell::default());
        let retry_at = Instant::now();
        let reads = None;
        Self { device, checksums, slots, asked, unstarted, handed_back, retry_at, silence, reads }
    }

    /// Counts in `reads`, too, how many pages are read.
    #[must_use]
    pub fn counting(self, reads: &'d AtomicU64) -> Self {
        Self { reads: Some(reads), ..self }
    }

    /// Registers the memory with the device; see [`ReadBuffer::register`].
    pub fn register(&self) -> bool {
        self.slots.register(self.device)
    }

    /// Gives a page a slot and submits its read, or says that there is no room for it now.
    fn read(&mut self, asked: Asked) -> bool {
        if self.handed_back.is_some() {
            return false;
        }
        let Some(slot) = self.asked.take_slot(asked) else { return false };
        if let Some(reads) = self.reads {
            reads.fetch_add(1, Ordering::Relaxed); // Publishes nothing.
        }
        self.submit(self.slots.read(asked.page, slot));
        true
    }

    fn submit(&mut self, read: PageRead) {
        self.unstarted.update(|reads| reads + 1);
        self.handed_back = self.device.submit(read).err();
        if self.handed_back.is_some() {
            self.retry_at = Instant::now() + Self::BACK_PRESSURE;
        }
    }

    /// Starts what was submitted when it is worth a system call, and lands what has completed.
    fn start_some(&self) {
        if self.asked.are_worth_a_start(self.unstarted.get()) {
            self.unstarted.set(0);
            self.device.drive(&|| true, None);
        }
    }

    /// Submits what was put off, as far as there is room now.
    fn catch_up(&mut self) {
        if let Some(read) = self.handed_back.take() {
            self.submit(read);
        }
        while let Some(asked) = self.asked.next_put_off() {
            if !self.read(asked) {
                self.asked.put_back(asked);
                break;
            }
        }
        self.start_some();
    }

    /// Reads that the device has, or that have landed.
    fn flying(&self) -> usize {
        self.asked.in_use() - usize::from(self.handed_back.is_some())
    }

    /// Whether something is to be read and nothing on its way, so that no arrival makes room for it.
    fn is_stuck(&self) -> bool {
        self.flying() == 0 && (self.handed_back.is_some() || self.asked.is_behind())
    }

    fn check(&self, page: PageNo, slot: u32, landed: Result<()>) -> Result<&[u8]> {
        landed?;
        let bytes = self.slots.page(slot);
        if let Some(checksums) = self.checksums {
            checksums.verify(self.device.file(), page, bytes)?;
        }
        Ok(bytes)
    }
}

impl Gather for DeviceGather<'_> {
    fn ask(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        _each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        let file = self.device.file();
        let count = self.device.page_count();
        if let Some(&page) = pages.iter().find(|page| page.0 >= count) {
            return Err(Error::NoSuchPage { file: file.clone(), page, pages: count });
        }
        self.catch_up();
        for (place, &page) in (0..).zip(pages) {
            let asked = Asked { page, batch, place };
            if self.asked.is_behind() || !self.read(asked) {
                self.asked.put_off(asked, self.device.file()).inspect_err(|_| self.start_some())?;
            }
        }
        self.start_some();
        Ok(pages.len())
    }

    fn collect(&mut self, each: &mut Arrivals<'_>) {
        for _ in 0..self.asked.in_use() {
            let Some((slot, landed)) = self.slots.arrivals.pop() else { break };
            self.silence.take();
            // Vacant before it is handed over, so that a panic loses no slot: nothing is
            // submitted until `each` has returned.
            if let Some(Asked { page, batch, place }) = self.asked.vacate(slot) {
                each(batch, place as usize, self.check(page, slot, landed));
            }
        }
        self.catch_up();
    }

    /// Also when it is time to offer a read again, and nothing else is to arrive.
    fn has_arrivals(&self) -> bool {
        let is_time = || self.is_stuck() && Instant::now() >= self.retry_at;
        !self.slots.arrivals.is_empty() || is_time()
    }

    fn outstanding(&self) -> usize {
        self.asked.outstanding()
    }

    fn wait(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> Result<()> {
        let began = Instant::now();
        let end = match self.is_stuck() {
            true => self.retry_at,
            false => began + ReadBuffer::DEFAULT_PATIENCE.saturating_sub(self.silence.get()),
        };
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        self.unstarted.set(0);
        self.device.drive(&|| self.has_arrivals() || until(), Some(end));
        if self.flying() == 0 || self.outstanding() == 0 || self.has_arrivals() {
            return Ok(());
        }
        // The thread may come and go: only what it has waited is silence.
        let silence = self.silence.get() + began.elapsed();
        self.silence.set(silence);
        if silence >= ReadBuffer::DEFAULT_PATIENCE {
            self.silence.take(); // Whoever waits on is patient anew.
            return Err(Error::TimedOut { file: self.device.file().clone(), waited: silence });
        }
        Ok(())
    }

    fn leave(&mut self, batch: u32) {
        self.asked.leave(batch, |_| {}); // What is in flight lands in its slot, for nobody.
    }
}
