//! A visit allocates nothing: queries of many threads would otherwise meet in the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringpool_compat_mmap::{Advice, MmapOptions, MmapSource, Verify};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{PageNo, PageSize, PageSource};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged. The counter is a plain cell of the
// thread, without a destructor, so that touching it never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `block` and `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_visit_allocates_nothing_not_even_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 200);
    let pages: Vec<PageNo> = (0..200).rev().step_by(3).map(PageNo).collect();
    for advice in Advice::ALL {
        let options = MmapOptions { advice, verify: Verify::FirstTouch };
        let checksums = Some(specimen.checksums.clone());
        let source = MmapSource::open(&specimen.path, PageSize::KIB_4, checksums, options).unwrap();
        let before = ALLOCATIONS.get();
        assert!(before > 0, "the counter counts");
        let mut sum = 0;
        for _ in 0..3 {
            source.visit(&pages, &mut |_, bytes| sum += u64::from(bytes[0])).unwrap();
        }
        assert_eq!(ALLOCATIONS.get(), before, "{advice}");
        assert_ne!(sum, 0);
    }
}

#[test]
fn many_batches_at_once_allocate_nothing_once_as_many_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 200);
    let pages: Vec<PageNo> = (0..200).rev().step_by(20).map(PageNo).collect();
    for advice in Advice::ALL {
        let options = MmapOptions { advice, verify: Verify::FirstTouch };
        let source = MmapSource::open(&specimen.path, PageSize::KIB_4, None, options).unwrap();
        let mut gather = source.gather().unwrap();
        let mut sum = 0;
        let mut pass = || {
            let before = ALLOCATIONS.get();
            for batch in 0..16 {
                gather.ask(batch, &pages, &mut |_, bytes| sum += u64::from(bytes[0])).unwrap();
            }
            while gather.outstanding() > 0 {
                gather.wait(&|| gather.has_arrivals(), None).unwrap();
                gather.collect(&mut |_, _, bytes| sum += u64::from(bytes.unwrap()[0]));
            }
            ALLOCATIONS.get() - before
        };
        pass();
        assert_eq!((0..100).map(|_| pass()).sum::<u64>(), 0, "{advice}");
        assert_ne!(sum, 0);
    }
}
