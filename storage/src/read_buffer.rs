//! Reading pages straight from a device, with no pool in between.
//!
//! For what is read once (a component that is loaded and kept, a verification of every page), and
//! the yardstick of what a pool costs on top of its device.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

use crate::{Error, Landing, PageDevice, PageNo, PageRead, PageSize, Result};

/// Memory for a fixed number of pages in flight, reused from batch to batch.
pub struct ReadBuffer {
    slots: Arc<Slots>,
    /// The slots that no read is using. One that timed out comes back when it lands.
    free: Vec<u32>,
    size: PageSize,
}

impl ReadBuffer {
    /// How long a device may take to answer before a batch fails.
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
        Self { slots: Arc::new(Slots::new(depth, size)), free: (0..depth).collect(), size }
    }

    /// Reads `pages` from `device`, as many at once as the buffer holds, and calls
    /// `each(i, bytes)` for each `pages[i]` in order of arrival.
    ///
    /// # Errors
    /// The first failure, after which no page is handed over any more; [`Error::TimedOut`] when
    /// nothing arrives within [`DEFAULT_PATIENCE`](Self::DEFAULT_PATIENCE).
    ///
    /// # Panics
    /// When the device's pages have another size than the buffer's.
    pub fn visit(
        &mut self,
        device: &dyn PageDevice,
        pages: &[PageNo],
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<()> {
        assert_eq!(device.page_size(), self.size, "the buffer is for pages of another size");
        self.slots.wait_on_this_thread();
        // What each slot in flight is reading, as an index into `pages`.
        let mut reading = vec![None; self.slots.depth as usize];
        let (mut next, mut flying, mut failure) = (0, 0, None);
        let mut handed_back = None;
        while flying > 0 || (next < pages.len() && failure.is_none()) {
            while failure.is_none() && next < pages.len() {
                let (slot, read) = match handed_back.take() {
                    Some(again) => again,
                    None => match self.free.pop() {
                        Some(slot) => (slot, self.slots.read(pages[next], slot)),
                        None => break,
                    },
                };
                if let Err(read) = device.submit(read) {
                    handed_back = Some((slot, read));
                    break;
                }
                reading[slot as usize] = Some(next);
                (next, flying) = (next + 1, flying + 1);
            }
            let arrived = || !self.slots.arrivals.is_empty();
            let patience = if flying > 0 { Self::DEFAULT_PATIENCE } else { Self::BACK_PRESSURE };
            if !device.drive(&arrived, Some(Instant::now() + patience)) && flying > 0 {
                let (file, waited) = (device.file().clone(), Self::DEFAULT_PATIENCE);
                return Err(Error::TimedOut { file, waited });
            }
            while let Some((slot, result)) = self.slots.arrivals.pop() {
                if let Some(i) = reading[slot as usize].take() {
                    flying -= 1;
                    match result {
                        Ok(()) if failure.is_none() => each(i, self.slots.page(slot)),
                        Ok(()) => {}
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                self.free.push(slot);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The memory and where its reads land.
struct Slots {
    memory: NonNull<u8>,
    layout: Layout,
    size: PageSize,
    depth: u32,
    arrivals: ArrayQueue<(u32, Result<()>)>,
    waiting: Mutex<Option<Thread>>,
}

// SAFETY: a slot's memory is touched only by its read while one is in flight (see `read`), and
// otherwise only by the one thread that holds the `ReadBuffer` mutably.
#[allow(unsafe_code)]
unsafe impl Send for Slots {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Slots {}

#[allow(unsafe_code)]
impl Slots {
    fn new(depth: u32, size: PageSize) -> Self {
        let layout = Layout::from_size_align(depth as usize * size.bytes(), size.bytes().max(4096))
            .expect("a buffer larger than the address space");
        // SAFETY: the layout's size is not zero: `depth` and a page size are positive.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        let arrivals = ArrayQueue::new(depth as usize);
        Self { memory, layout, size, depth, arrivals, waiting: Mutex::new(None) }
    }

    fn address(&self, slot: u32) -> NonNull<u8> {
        debug_assert!(slot < self.depth);
        // SAFETY: `slot < depth`, so the page lies within the allocation.
        unsafe { self.memory.add(slot as usize * self.size.bytes()) }
    }

    /// A read into `slot`, which the caller has just taken from the free ones.
    fn read(self: &Arc<Self>, page: PageNo, slot: u32) -> PageRead {
        // SAFETY: the slot is free, so nothing else touches its memory, and it is not used again
        // until its arrival was popped. The landing is this very allocation, aligned to the page.
        unsafe {
            let len_bytes = self.size.bytes() as u32;
            PageRead::new(page, self.address(slot), len_bytes, self.clone(), slot.into())
        }
    }

    /// The bytes of a slot whose read has landed and that was not given out again.
    fn page(&self, slot: u32) -> &[u8] {
        // SAFETY: no read is in flight into this slot, so that nobody writes to it; popping its
        // arrival made the read's bytes visible.
        unsafe { std::slice::from_raw_parts(self.address(slot).as_ptr(), self.size.bytes()) }
    }

    fn wait_on_this_thread(&self) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
    }
}

impl Landing for Slots {
    fn landed(&self, token: u64, result: Result<()>) {
        // Never full: a slot has at most one arrival.
        let pushed = self.arrivals.push((token as u32, result));
        debug_assert!(pushed.is_ok(), "a slot landed twice");
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = &*waiting {
            thread.unpark();
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout. Reads in flight keep the slots alive, so that none
        // is left.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}
