//! Where reads land: the page is checked, published and handed to everybody who waits for it.
//!
//! A [`Batch`] is the landing of the reads that it has started. A read in flight holds its batch,
//! and with it the file, the frames and the device, whatever the caller has dropped meanwhile. A
//! batch that nobody collects from any more gives its pins back when the last read has landed.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, Thread};

use crossbeam_queue::ArrayQueue;
use ringpool_storage::{Error, Landing, PageNo, PageRead, Result};

use crate::pool::File;
use crate::waiting::Waiter;
use crate::word::Frame;

/// What a batch has asked for and not yet collected.
pub(crate) struct Batch {
    file: Arc<File>,
    /// What has arrived: the place in the batch, and the frame with a pin, or why not.
    arrivals: ArrayQueue<(u32, Result<Frame>)>,
    pages: Box<[PageNo]>,
    thread: Thread,
}

impl Batch {
    /// A batch of `pages` with at most `window` of them outstanding, for the calling thread.
    pub(crate) fn new(file: Arc<File>, pages: &[PageNo], window: usize) -> Arc<Self> {
        let arrivals = ArrayQueue::new(window);
        Arc::new(Self { file, arrivals, pages: pages.into(), thread: thread::current() })
    }

    pub(crate) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// The next arrival, with its pin.
    pub(crate) fn collect(&self) -> Option<(u32, Result<Frame>)> {
        self.arrivals.pop()
    }

    /// A read of the page at `index` into `frame`, which the caller has just claimed for it.
    pub(crate) fn read(self: &Arc<Self>, index: u32, frame: Frame) -> PageRead {
        let frames = &self.file.pool.frames;
        let page = self.pages[index as usize];
        let memory: NonNull<u8> = frames.arena.address(frame);
        let len_bytes = self.file.pool.page_size.bytes() as u32;
        let token = u64::from(index) << 32 | u64::from(frame);
        // SAFETY: the page's word says that this frame is loading, so that nobody else looks at
        // it until `landed`; the batch holds the arena; frames are aligned to the page size.
        unsafe { PageRead::new(page, memory, len_bytes, self.clone(), token) }
    }

    fn deliver(&self, index: u32, result: Result<Frame>) {
        // Never full: no more are outstanding than it holds.
        let delivered = self.arrivals.push((index, result));
        debug_assert!(delivered.is_ok(), "more arrivals than reads");
        self.thread.unpark();
    }

    /// Publishes the page with a pin for each who waits, and hands it to them.
    fn publish(&self, page: PageNo, index: u32, frame: Frame) {
        let (file, pool) = (&*self.file, &*self.file.pool);
        let Some(word) = file.table.word(page) else {
            return;
        };
        if !word.publish_unwaited(frame) {
            let waiters = pool.waiting.lock(file.number, page);
            word.publish(frame, 1 + waiters.count());
            for Waiter { batch, index, .. } in waiters.take() {
                batch.deliver(index, Ok(frame));
            }
        }
        pool.clock.arrived(word, frame);
        self.deliver(index, Ok(frame));
    }

    /// Forgets the page, and tells everybody who waits for it why.
    fn fail(&self, page: PageNo, index: u32, frame: Frame, error: Error) {
        let (file, pool) = (&*self.file, &*self.file.pool);
        let Some(word) = file.table.word(page) else {
            return;
        };
        let mut told = Vec::new();
        // The frame's owner is cleared before the word says absent, since afterwards the page
        // may be claimed again; the frame is given back after.
        pool.frames.owner(frame).clear();
        if !word.fail_unwaited(frame) {
            let waiters = pool.waiting.lock(file.number, page);
            word.fail(frame);
            told = waiters.take();
        }
        pool.frames.give(frame);
        pool.left(file.number, &file.table, page);
        for Waiter { batch, index, .. } in told {
            batch.deliver(index, Err(error.clone()));
        }
        self.deliver(index, Err(error));
    }
}

impl Landing for Batch {
    fn landed(&self, token: u64, result: Result<()>) {
        let (index, frame) = ((token >> 32) as u32, token as Frame);
        let (file, page) = (&*self.file, self.pages[index as usize]);
        let checked = result.and_then(|()| match &file.checksums {
            Some(checksums) => {
                // SAFETY: the page is loading and its read is over: nobody writes to the frame
                // and nobody else looks at it.
                let bytes = unsafe { file.pool.frames.arena.bytes(frame) };
                checksums.verify(file.device.file(), page, bytes)
            }
            None => Ok(()),
        });
        file.pool.stats.landed();
        match checked {
            Ok(()) => self.publish(page, index, frame),
            Err(Error::Abandoned { page, .. }) => {
                let name = file.device.file().clone();
                self.fail(page, index, frame, Error::Abandoned { file: name, page });
            }
            Err(error) => self.fail(page, index, frame, error),
        }
        // Relaxed: a count, see `PoolFile::drop`.
        file.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Batch {
    /// Gives back the pins of what arrived and was never collected.
    fn drop(&mut self) {
        while let Some((index, result)) = self.arrivals.pop() {
            let word = self.file.table.word(self.pages[index as usize]);
            if let (Ok(_), Some(word)) = (result, word) {
                word.unpin();
            }
        }
    }
}
