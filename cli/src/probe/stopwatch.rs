//! Times reads from their submission to their arrival, for an engine that keeps no latencies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use ringpool::storage::{PageDevice, PageRead, PageSize};

use crate::failure::Failure;

/// What takes longer counts as this: ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// Latencies are kept to so many digits.
const DIGITS: u8 = 3;

/// A device that notes when each read was submitted. A visit submits its pages in their order, so
/// that the n-th submission since [`begin_visit`](Self::begin_visit) is that of its n-th page.
pub struct Stopwatch {
    device: Arc<dyn PageDevice>,
    times: Mutex<Times>,
}

struct Times {
    /// As many as one visit has pages, at most.
    submitted: Vec<Instant>,
    latency_ns: Histogram<u64>,
}

impl Stopwatch {
    pub fn new(device: Arc<dyn PageDevice>) -> Result<Self, Failure> {
        let latency_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS);
        let latency_ns = latency_ns.map_err(|error| Failure::of(&error))?;
        let times = Mutex::new(Times { submitted: Vec::new(), latency_ns });
        Ok(Self { device, times })
    }

    /// Due before each visit.
    pub fn begin_visit(&self) {
        self.times().submitted.clear();
    }

    /// The visit's n-th page has arrived.
    pub fn arrived(&self, n: usize) {
        let mut times = self.times();
        if let Some(submitted) = times.submitted.get(n) {
            let latency_ns = submitted.elapsed().as_nanos() as u64;
            times.latency_ns.saturating_record(latency_ns);
        }
    }

    /// The latencies since this was last called, in nanoseconds.
    pub fn take_latencies(&self) -> Histogram<u64> {
        let mut times = self.times();
        let taken = times.latency_ns.clone();
        times.latency_ns.reset();
        taken
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageDevice for Stopwatch {
    fn file(&self) -> &Arc<str> {
        self.device.file()
    }

    fn page_size(&self) -> PageSize {
        self.device.page_size()
    }

    fn page_count(&self) -> u64 {
        self.device.page_count()
    }

    fn submit(&self, read: PageRead) -> Result<(), PageRead> {
        let now = Instant::now();
        self.device.submit(read)?;
        self.times().submitted.push(now);
        Ok(())
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        self.device.drive(until, deadline)
    }

    fn start(&self) {
        self.device.start();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use ringpool::storage::{MemoryDevice, MemorySource, PageNo, ReadBuffer};

    use super::*;

    const NAP: Duration = Duration::from_millis(1);

    #[test]
    fn each_read_is_timed_once() {
        let source = MemorySource::new("f", PageSize::KIB_4, vec![0; 8 * 4096]).unwrap();
        let stopwatch = Stopwatch::new(Arc::new(MemoryDevice::new(source))).unwrap();
        let mut buffer = ReadBuffer::new(2, PageSize::KIB_4);
        let pages: Vec<PageNo> = (0..8).map(PageNo).collect();
        for _ in 0..2 {
            stopwatch.begin_visit();
            let each = |i, _: &[u8]| {
                thread::sleep(NAP);
                stopwatch.arrived(i);
            };
            buffer.visit(&stopwatch, &pages, each).unwrap();
        }
        stopwatch.arrived(8); // Was never submitted.
        let latencies = stopwatch.take_latencies();
        assert_eq!(latencies.len(), 16);
        let least_ns = NAP.as_nanos() as u64;
        assert!(latencies.min() >= least_ns - least_ns / 100, "{} ns", latencies.min());
        assert_eq!(stopwatch.take_latencies().len(), 0);
    }
}
