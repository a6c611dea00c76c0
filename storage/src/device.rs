//! The lower seam: what a pool fills its frames from.
//!
//! A read is a value that owns its memory. Whoever holds a [`PageRead`] may write to its bytes;
//! it is consumed when it lands. So the rule that matters most at this seam needs no discipline:
//! between submission and completion the memory belongs to the device, whatever the one who asked
//! for it has dropped meanwhile.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::{Error, PageNo, PageSize, Result};

/// One open file whose pages can be read into memory, by any number of threads.
///
/// Implemented by the ring engine, by blocking reads, by memory and by the faulty disk of the
/// tests. Two calls carry everything: `submit` never blocks, `drive` waits.
pub trait PageDevice: Send + Sync {
    /// The file's path, as errors name it.
    fn file(&self) -> &Arc<str>;

    /// The size of a page, which is also the alignment of the memory to read into.
    fn page_size(&self) -> PageSize;

    /// How many pages the file had when it was opened.
    fn page_count(&self) -> u64;

    /// Takes over one read. It may start at once or at the next [`drive`](Self::drive), and lands
    /// exactly once: on any thread, also within this call.
    ///
    /// # Errors
    /// Hands the read back when the bounded queue is full: `drive`, then submit again. That is
    /// back-pressure, no failure; a failed read lands with its error.
    fn submit(&self, read: PageRead) -> std::result::Result<(), PageRead>;

    /// Starts everything submitted and then waits until `until()` holds or `deadline` has passed;
    /// returns whether it held. With `until` true from the start, it starts what was submitted
    /// and does not wait.
    ///
    /// The waiting thread may be asked to work for others: it lands whatever completes. Whoever
    /// makes `until` true on another thread must [unpark](std::thread::Thread::unpark) the one
    /// that waits. A thread may be woken for nothing; `until` is then asked again.
    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool;

    /// Starts everything submitted, for a caller that will not wait. What was submitted as
    /// [unattended](PageRead::unattended) lands though nobody drives; anything else may need a
    /// later [`drive`](Self::drive), by anybody.
    fn start(&self) {
        self.drive(&|| true, None);
    }

    /// Tells the device of memory that many reads will land in, so that it can prepare it once
    /// (a ring registers it with the kernel, which pins it). Returns `None` where the device has
    /// no use for that or is refused; reads into the memory work all the same.
    ///
    /// # Safety
    /// Until the registration is dropped, the range stays mapped and keeps its pages: no munmap,
    /// no mremap, no MADV_DONTNEED. The kernel would go on writing to the pages of old.
    #[allow(unsafe_code)]
    unsafe fn register(&self, memory: NonNull<u8>, len_bytes: usize) -> Option<Registration> {
        let _ = (memory, len_bytes);
        None
    }
}

/// Memory that a device has prepared for reads. Dropping it takes that back, which is due before
/// the memory goes away.
pub struct Registration {
    _kept: Box<dyn Send + Sync>,
}

impl Registration {
    /// Wraps what takes the preparation back when dropped.
    pub fn new(kept: impl Send + Sync + 'static) -> Self {
        Self { _kept: Box::new(kept) }
    }
}

/// Where reads land. Keeps the memory alive that they write to.
pub trait Landing: Send + Sync {
    /// The read with this token has ended: with all bytes of its page written, or with an error.
    /// From here on its memory is the landing's again. Must neither block nor panic.
    fn landed(&self, token: u64, result: Result<()>);
}

/// One page to be read: which, into what memory, and whom to tell.
///
/// Dropped without having been completed, it lands as [`Error::Abandoned`]; a device whose memory
/// may still be written to must forget it instead.
pub struct PageRead {
    page: PageNo,
    token: u64,
    memory: NonNull<u8>,
    len_bytes: u32,
    unattended: bool,
    landing: ManuallyDrop<Arc<dyn Landing>>,
}

// SAFETY: the memory is exclusively this value's (promised to `PageRead::new`), and a landing may
// be told from any thread.
#[allow(unsafe_code)]
unsafe impl Send for PageRead {}

impl PageRead {
    /// A read of `page` into `len_bytes` bytes at `memory`, which `landing` is told of by `token`.
    ///
    /// # Safety
    /// Until `landing.landed(token, …)` is called, the caller promises that:
    /// - `memory` is valid for writes of `len_bytes` bytes, and `landing` keeps it so;
    /// - nothing else reads or writes these bytes;
    /// - `memory` is aligned to the page size of the device that the read is submitted to.
    #[allow(unsafe_code)]
    pub unsafe fn new(
        page: PageNo,
        memory: NonNull<u8>,
        len_bytes: u32,
        landing: Arc<dyn Landing>,
        token: u64,
    ) -> Self {
        let landing = ManuallyDrop::new(landing);
        Self { page, token, memory, len_bytes, unattended: false, landing }
    }

    /// Says that the one who asks will not drive the device: it must land the read by itself,
    /// from [`PageDevice::start`] on.
    pub fn unattended(mut self) -> Self {
        self.unattended = true;
        self
    }

    /// Whether the device must land the read though nobody drives.
    #[inline]
    pub fn is_unattended(&self) -> bool {
        self.unattended
    }

    /// Which page is to be read.
    #[inline]
    pub fn page(&self) -> PageNo {
        self.page
    }

    /// The number of bytes to read: the size of a page.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes as usize
    }

    /// The memory's address, for a kernel that writes to it while this value is kept.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// The memory, for a device that writes to it by itself.
    #[allow(unsafe_code)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `new`'s caller promised memory of this length that nobody else touches until
        // the read lands, which consumes `self`. The arena hands out initialised (zeroed or
        // formerly used) memory, so that reading it is defined.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len_bytes as usize) }
    }

    /// Ends the read: gives the memory back to its landing, with all bytes written or an error.
    pub fn complete(self, result: Result<()>) {
        let mut read = ManuallyDrop::new(self);
        read.land(result);
    }

    #[allow(unsafe_code)]
    fn land(&mut self, result: Result<()>) {
        // SAFETY: called once, by `complete` (which forgets `self`) or by `drop`.
        let landing = unsafe { ManuallyDrop::take(&mut self.landing) };
        landing.landed(self.token, result);
    }
}

impl Drop for PageRead {
    fn drop(&mut self) {
        let file: Arc<str> = "(closed)".into();
        self.land(Err(Error::Abandoned { file, page: self.page }));
    }
}

impl fmt::Debug for PageRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRead")
            .field("page", &self.page)
            .field("len_bytes", &self.len_bytes)
            .finish_non_exhaustive()
    }
}

/// [`PageDevice::drive`] for a device that needs no driving: waits until whoever makes `until`
/// true unparks this thread, or until `deadline`; returns whether `until` held.
pub fn park_until(until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
    loop {
        if until() {
            return true;
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(left) if left.is_zero() => return until(),
            Some(left) => std::thread::park_timeout(left),
            None => std::thread::park(),
        }
    }
}
