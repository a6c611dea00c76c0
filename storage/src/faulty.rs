//! A device that fails on request, around any other.
//!
//! The script is a function of the read's ordinal and page, so that the same script gives the
//! same faults in the same order on a device that reads in order.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::{Error, Landing, PageDevice, PageNo, PageRead, PageSize, Result};

/// What may happen to one read.
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
    /// No answer until [`FaultyDevice::release`].
    Hold,
}

type Script = dyn Fn(u64, PageNo) -> Option<Fault> + Send + Sync;

/// Any device, with faults.
pub struct FaultyDevice {
    inner: Arc<dyn PageDevice>,
    script: Box<Script>,
    reads: AtomicU64,
    held: Mutex<Vec<PageRead>>,
}

impl FaultyDevice {
    /// Asks `script(n, page)` for each read, where `n` counts the reads from 0.
    pub fn new(
        inner: Arc<dyn PageDevice>,
        script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let (reads, held) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        Self { inner, script: Box::new(script), reads, held }
    }

    /// How many reads were submitted.
    pub fn reads(&self) -> u64 {
        // Relaxed: a count, read for its value alone.
        self.reads.load(Ordering::Relaxed)
    }

    /// How many reads are held.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Lets the device answer what was held, the last one first. Returns how many there were.
    pub fn release(&self) -> usize {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let count = held.len();
        for read in held.into_iter().rev() {
            if let Err(read) = self.inner.submit(read) {
                drop(read); // The queue is full: lands as abandoned.
            }
        }
        self.inner.drive(&|| true, None);
        count
    }

    /// Drops what was held, as a device does that is closed: each lands as abandoned.
    pub fn abandon(&self) {
        drop(std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    fn spoiled(&self, read: PageRead, page: PageNo, spoil: Spoil) -> PageRead {
        let mut read = read;
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
        let page = read.page();
        // Relaxed: only the ordinal matters.
        let Some(fault) = (self.script)(self.reads.fetch_add(1, Ordering::Relaxed), page) else {
            return self.inner.submit(read);
        };
        let file = self.file().clone();
        match fault {
            Fault::Errno(errno) => {
                let source = io::Error::from_raw_os_error(errno);
                read.complete(Err(Error::io(&file, format!("reading page {page}"), source)));
            }
            Fault::Truncated(found_bytes) => {
                let expected_bytes = read.len_bytes();
                read.complete(Err(Error::Truncated { file, page, expected_bytes, found_bytes }));
            }
            Fault::Hold => self.held.lock().unwrap_or_else(PoisonError::into_inner).push(read),
            Fault::FlipBit(bit) => {
                return self.inner.submit(self.spoiled(read, page, Spoil::FlipBit(bit)));
            }
            Fault::Torn(from) => {
                return self.inner.submit(self.spoiled(read, page, Spoil::Zero(from)));
            }
            Fault::Misdirected(other) => {
                return self.inner.submit(self.spoiled(read, other, Spoil::Nothing));
            }
        }
        Ok(())
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        self.inner.drive(until, deadline)
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
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut read) = read else { return };
        if result.is_ok() {
            match self.spoil {
                Spoil::FlipBit(bit) => read.bytes_mut()[bit / 8] ^= 1 << (bit % 8),
                Spoil::Zero(from) => read.bytes_mut()[from..].fill(0),
                Spoil::Nothing => {}
            }
        }
        read.complete(result);
    }
}
