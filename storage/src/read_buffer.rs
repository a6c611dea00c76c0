//! Reading pages straight from a device, with no pool in between.
//!
//! For what is read once (a component that is loaded and kept, a verification of every page), for
//! who brings his own cache, and the yardstick of what a pool costs on top of its device. The same
//! buffer serves a thread that [waits](ReadBuffer::visit), one that waits only [so
//! long](ReadBuffer::visit_until), and a [future](ReadBuffer::visit_async).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

use crate::{Error, Landing, PageDevice, PageNo, PageRead, PageSize, Registration, Result};

/// Memory for a fixed number of pages in flight, reused from batch to batch.
pub struct ReadBuffer {
    slots: Arc<Slots>,
    /// The slots that no read is using. One that timed out comes back when it lands.
    free: Vec<u32>,
    /// What each slot in flight is reading, as an index into the pages of the visit.
    reading: Vec<Option<usize>>,
}

impl ReadBuffer {
    /// How long a device may give no answer at all before [`visit`](Self::visit) fails.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

    /// How long to work for others before offering a read again that the full queue of a device
    /// has handed back.
    const BACK_PRESSURE: Duration = Duration::from_millis(1);

    /// A buffer for `depth` pages in flight.
    ///
    /// # Panics
    /// When `depth` is 0 or the memory would be larger than the address space.
    pub fn new(depth: u32, size: PageSize) -> Self {
        assert!(depth > 0, "a buffer without pages reads nothing");
        let slots = Arc::new(Slots::new(depth, size));
        Self { slots, free: (0..depth).collect(), reading: vec![None; depth as usize] }
    }

    /// Registers the memory with `device`, once: reads of its files then cost less. Returns
    /// whether that worked; where the device has no use for it or is refused, nothing changes.
    pub fn register(&self, device: &dyn PageDevice) -> bool {
        self.slots.register(device)
    }

    /// Reads `pages` from `device`, as many at once as the buffer holds, and calls
    /// `each(i, bytes)` for each `pages[i]` in order of arrival.
    ///
    /// # Errors
    /// The first failure, after which no page is handed over any more; [`Error::TimedOut`] when
    /// nothing arrives within [`DEFAULT_PATIENCE`](Self::DEFAULT_PATIENCE).
    ///
    /// # Panics
    /// When the device's pages have another size than the buffer's, and when `each` does. What is
    /// in flight then lands in the buffer and is not handed over.
    pub fn visit(
        &mut self,
        device: &dyn PageDevice,
        pages: &[PageNo],
        each: impl FnMut(usize, &[u8]),
    ) -> Result<()> {
        Visit::new(self, device, pages, each).run(None)
    }

    /// [`visit`](Self::visit) that ends at `deadline`, whatever has arrived until then.
    ///
    /// # Errors
    /// As `visit`; [`Error::TimedOut`] at the deadline. The reads go on in the background, and
    /// their part of the buffer stays out of use until they end.
    pub fn visit_until(
        &mut self,
        device: &dyn PageDevice,
        pages: &[PageNo],
        deadline: Instant,
        each: impl FnMut(usize, &[u8]),
    ) -> Result<()> {
        Visit::new(self, device, pages, each).run(Some(deadline))
    }

    /// [`visit`](Self::visit) as a future, for any executor. It starts when it is first polled.
    ///
    /// Dropping it abandons the interest in the pages, not the memory: what is in flight lands in
    /// the buffer, which the next visit uses as far as it is free again. That is also how to give
    /// up at a deadline: drop it when the runtime's own timer says so.
    pub fn visit_async<'a, F: FnMut(usize, &[u8])>(
        &'a mut self,
        device: &'a dyn PageDevice,
        pages: &'a [PageNo],
        each: F,
    ) -> VisitFuture<'a, F> {
        let mut visit = Visit::new(self, device, pages, each);
        visit.unattended = true;
        VisitFuture { visit }
    }
}

/// The reading of some pages. Made by [`ReadBuffer::visit_async`].
#[must_use = "a future reads nothing until it is polled"]
pub struct VisitFuture<'a, F> {
    visit: Visit<'a, F>,
}

// Nothing in it points into itself.
impl<F> Unpin for VisitFuture<'_, F> {}

impl<F: FnMut(usize, &[u8])> Future for VisitFuture<'_, F> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let visit = &mut self.visit;
        loop {
            visit.collect();
            visit.submit();
            if visit.is_over() {
                return Poll::Ready(visit.verdict());
            }
            let slots = &visit.buffer.slots;
            slots.tell(Asker::Task(context.waker().clone()));
            visit.device.start();
            // Told first, looked second, so that no arrival falls between the two.
            if slots.arrivals.is_empty() {
                if visit.flying == 0 {
                    context.waker().wake_by_ref(); // The device's queue is full of others' reads.
                }
                return Poll::Pending;
            }
        }
    }
}

/// One pass over some pages.
struct Visit<'a, F> {
    buffer: &'a mut ReadBuffer,
    device: &'a dyn PageDevice,
    pages: &'a [PageNo],
    each: F,
    /// The first page that was not submitted yet.
    next: usize,
    flying: usize,
    unattended: bool,
    failure: Option<Error>,
    /// A read that the device's queue had no room for, with its slot.
    handed_back: Option<(u32, PageRead)>,
}

impl<'a, F: FnMut(usize, &[u8])> Visit<'a, F> {
    fn new(
        buffer: &'a mut ReadBuffer,
        device: &'a dyn PageDevice,
        pages: &'a [PageNo],
        each: F,
    ) -> Self {
        assert_eq!(
            device.page_size(),
            buffer.slots.size,
            "the buffer is for pages of another size"
        );
        // Whatever an earlier visit has abandoned is nobody's.
        buffer.reading.fill(None);
        let (next, flying, unattended) = (0, 0, false);
        let (failure, handed_back) = (None, None);
        Self { buffer, device, pages, each, next, flying, unattended, failure, handed_back }
    }

    fn run(mut self, deadline: Option<Instant>) -> Result<()> {
        self.buffer.slots.tell(Asker::Thread(thread::current()));
        let (device, slots) = (self.device, self.buffer.slots.clone());
        let arrived = || !slots.arrivals.is_empty();
        let began = Instant::now();
        loop {
            self.collect();
            self.submit();
            if self.is_over() {
                return self.verdict();
            }
            let now = Instant::now();
            let patience = match self.flying {
                0 => ReadBuffer::BACK_PRESSURE,
                _ => ReadBuffer::DEFAULT_PATIENCE,
            };
            let until = deadline.map_or(now + patience, |deadline| deadline.min(now + patience));
            let held = device.drive(&arrived, Some(until));
            // A device that answers at once always holds, and the deadline counts all the same.
            let late = deadline.is_some_and(|end| end <= Instant::now());
            if late || (!held && self.flying > 0) {
                self.collect();
                if self.is_over() {
                    return self.verdict();
                }
                let waited = if deadline.is_some() { began.elapsed() } else { patience };
                return Err(Error::TimedOut { file: device.file().clone(), waited });
            }
        }
    }

    /// Submits as many reads as the buffer and the device's queue have room for.
    fn submit(&mut self) {
        while self.failure.is_none() && self.next < self.pages.len() {
            let (slot, read) = match self.handed_back.take() {
                Some(again) => again,
                None => match self.buffer.free.pop() {
                    Some(slot) => {
                        let read = self.buffer.slots.read(self.pages[self.next], slot);
                        (slot, if self.unattended { read.unattended() } else { read })
                    }
                    None => return,
                },
            };
            if let Err(read) = self.device.submit(read) {
                self.handed_back = Some((slot, read));
                return;
            }
            self.buffer.reading[slot as usize] = Some(self.next);
            (self.next, self.flying) = (self.next + 1, self.flying + 1);
        }
    }

    /// Hands over what has arrived.
    fn collect(&mut self) {
        while let Some((slot, result)) = self.buffer.slots.arrivals.pop() {
            // Free before it is handed over, so that a panic loses no slot: nothing is submitted
            // until `each` has returned.
            self.buffer.free.push(slot);
            let Some(i) = self.buffer.reading[slot as usize].take() else { continue };
            self.flying -= 1;
            match result {
                Ok(()) if self.failure.is_none() => (self.each)(i, self.buffer.slots.page(slot)),
                Ok(()) => {}
                Err(error) => self.failure = self.failure.take().or(Some(error)),
            }
        }
    }

    /// Whether there is nothing left to wait for.
    fn is_over(&self) -> bool {
        self.flying == 0 && (self.failure.is_some() || self.next == self.pages.len())
    }

    fn verdict(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

/// The memory and where its reads land.
pub(crate) struct Slots {
    memory: NonNull<u8>,
    layout: Layout,
    size: PageSize,
    depth: u32,
    pub(crate) arrivals: ArrayQueue<(u32, Result<()>)>,
    asker: Mutex<Option<Asker>>,
    registration: OnceLock<Option<Registration>>,
}

/// Who is to be told of an arrival.
pub(crate) enum Asker {
    Thread(Thread),
    /// Told once; it says so again when it waits again.
    Task(Waker),
}

// SAFETY: a slot's memory is touched only by its read while one is in flight (see `read`), and
// otherwise only by the one thread that holds the `ReadBuffer` mutably.
#[allow(unsafe_code)]
unsafe impl Send for Slots {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Slots {}

/// To what memory is aligned that direct reads go to, at least. Disks with larger blocks exist, and
/// are read so only by pages that are as large.
const DIRECT_ALIGN_BYTES: usize = 4096;

#[allow(unsafe_code)]
impl Slots {
    pub(crate) fn new(depth: u32, size: PageSize) -> Self {
        let align = size.bytes().max(DIRECT_ALIGN_BYTES);
        let layout = Layout::from_size_align(depth as usize * size.bytes(), align)
            .expect("a buffer larger than the address space");
        // SAFETY: the layout's size is not zero: `depth` and a page size are positive.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        let arrivals = ArrayQueue::new(depth as usize);
        let (asker, registration) = (Mutex::new(None), OnceLock::new());
        Self { memory, layout, size, depth, arrivals, asker, registration }
    }

    pub(crate) fn register(&self, device: &dyn PageDevice) -> bool {
        // SAFETY: the allocation lives until `drop`, which takes the registration back first.
        let register = || unsafe { device.register(self.memory, self.layout.size()) };
        self.registration.get_or_init(register).is_some()
    }

    fn address(&self, slot: u32) -> NonNull<u8> {
        debug_assert!(slot < self.depth);
        // SAFETY: `slot < depth`, so the page lies within the allocation.
        unsafe { self.memory.add(slot as usize * self.size.bytes()) }
    }

    /// A read into `slot`, which the caller has just taken from the free ones.
    pub(crate) fn read(self: &Arc<Self>, page: PageNo, slot: u32) -> PageRead {
        // SAFETY: the slot is free, so nothing else touches its memory, and it is not used again
        // until its arrival was popped. The landing is this very allocation, aligned to the page.
        unsafe {
            let len_bytes = self.size.bytes() as u32;
            PageRead::new(page, self.address(slot), len_bytes, self.clone(), slot.into())
        }
    }

    /// The bytes of a slot whose read has landed and that was not given out again.
    pub(crate) fn page(&self, slot: u32) -> &[u8] {
        // SAFETY: no read is in flight into this slot, so that nobody writes to it; popping its
        // arrival made the read's bytes visible.
        unsafe { std::slice::from_raw_parts(self.address(slot).as_ptr(), self.size.bytes()) }
    }

    pub(crate) fn tell(&self, asker: Asker) {
        *self.asker.lock().unwrap_or_else(PoisonError::into_inner) = Some(asker);
    }
}

impl Landing for Slots {
    fn landed(&self, token: u64, result: Result<()>) {
        // Never full: a slot has at most one arrival.
        let pushed = self.arrivals.push((token as u32, result));
        debug_assert!(pushed.is_ok(), "a slot landed twice");
        let mut asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner);
        match &*asker {
            Some(Asker::Thread(thread)) => thread.unpark(),
            Some(Asker::Task(_)) => {
                let task = asker.take();
                drop(asker); // A waker may do anything, also submit the next read.
                if let Some(Asker::Task(waker)) = task {
                    // Should it panic, it has been heard by the panic hook, and the device goes on.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
            }
            None => {}
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Slots {
    fn drop(&mut self) {
        drop(self.registration.take());
        // SAFETY: allocated with this layout. Reads in flight keep the slots alive, so that none
        // is left.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryDevice, MemorySource};

    #[test]
    fn a_deadline_ends_the_visit_of_a_device_that_never_makes_anybody_wait() {
        let source = MemorySource::new("f", PageSize::KIB_4, vec![0; 64 * 4096]).unwrap();
        let device = MemoryDevice::new(source);
        let pages: Vec<PageNo> = (0..64).map(PageNo).collect();
        let mut buffer = ReadBuffer::new(2, PageSize::KIB_4);
        let mut arrived = 0;
        let verdict = buffer.visit_until(&device, &pages, Instant::now(), |_, _| arrived += 1);
        assert!(matches!(verdict, Err(Error::TimedOut { .. })));
        assert_eq!(arrived, 2, "what has arrived is handed over, and no more is asked for");
        // And what has all arrived is no failure, however late.
        let verdict = buffer.visit_until(&device, &pages[..2], Instant::now(), |_, _| {});
        verdict.unwrap();
    }
}
