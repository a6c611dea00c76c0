//! The way of a read from the caller through the ring and back allocates nothing.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringpool_storage::conformance::{Specimen, skipped};
use ringpool_storage::{PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

/// Counts the allocations of a thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_batch_allocates_nothing_once_the_ring_is_warm() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, 1000);
    let engine = match Engine::start(EngineChoice::Uring) {
        Ok(engine) => engine,
        Err(why) => return skipped(why),
    };
    let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
    let mut buffer = ReadBuffer::new(64, PageSize::KIB_4);
    // Scattered pages, and pages that follow each other.
    let mut pages: Vec<PageNo> = (0..1000).map(|i| PageNo(i * 387 % 1000)).collect();
    pages.extend((0..500).map(PageNo));
    let mut allocations = |pages: &[PageNo]| {
        let before = ALLOCATIONS.get();
        buffer.visit(&*device, pages, |_, _| {}).unwrap();
        ALLOCATIONS.get() - before
    };
    allocations(&pages);
    assert_eq!(allocations(&pages), 0);
    assert_ne!(engine.counters().merged, 0);
}
