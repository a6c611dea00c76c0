//! Futures that found no frame, and who wakes them.
//!
//! A future cannot wait for a frame as a thread does, by looking again now and then: nobody would
//! ask it to. It leaves its batch here and is woken by the next read of the pool that lands, since
//! a page that was loading can be evicted from then on. So it may only wait here while a read is
//! in flight; where none is, no frame will come free by itself.

use std::sync::{Arc, Weak};

use crate::landing::Batch;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};

#[derive(Default)]
pub(crate) struct Starved {
    /// The pool's reads that have not landed.
    in_flight: AtomicUsize,
    any: AtomicBool,
    batches: Mutex<Vec<Weak<Batch>>>,
}

impl Starved {
    /// Has `batch` woken by the next read that lands. Whether one is in flight is to be looked at
    /// after that.
    pub(crate) fn join(&self, batch: &Arc<Batch>) {
        let mut batches = self.batches.lock();
        if !batch.set_starved(true) {
            batches.push(Arc::downgrade(batch));
        }
        // SeqCst, here and in the next two: of a read that lands and us, either it sees that
        // somebody waits, or we see that it is not in flight any more.
        self.any.store(true, Ordering::SeqCst);
    }

    pub(crate) fn reads_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// A read has landed.
    pub(crate) fn read_ends(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.any.load(Ordering::SeqCst) {
            self.wake_all();
        }
    }

    pub(crate) fn read_begins(&self) {
        // Relaxed: whoever begins a read has not landed it yet.
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    fn wake_all(&self) {
        let mut batches = self.batches.lock();
        self.any.store(false, Ordering::Relaxed);
        let told: Vec<Arc<Batch>> = batches.drain(..).filter_map(|batch| batch.upgrade()).collect();
        told.iter().for_each(|batch| _ = batch.set_starved(false));
        drop(batches); // A waker may do anything.
        told.iter().for_each(|batch| batch.wake());
    }
}
