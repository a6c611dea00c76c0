//! The faulty device over memory: when late reads land, and that none is lost.

use super::*;
use crate::conformance::{self, Specimen};
use crate::{FaultPlan, FaultRates, MemoryDevice, MemorySource, ReadBuffer, park_until};
use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

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
fn what_is_unattended_lands_though_nobody_drives() {
    let script = |n, _| Answer { late_by_reads: 99, fault: (n == 5).then_some(Fault::Torn(4096)) };
    let device = FaultyDevice::answering(Arc::new(Bounded::default()), script);
    let pages: Vec<_> = (0..PAGES).map(PageNo).collect();
    let mut buffer = ReadBuffer::new(8, SIZE);
    let mut seen = 0;
    let visit = pin!(buffer.visit_async(&device, &pages, |_, _| seen += 1));
    let polled = visit.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
    assert_eq!(seen, PAGES);
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
