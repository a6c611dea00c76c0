//! The end of an engine with reads in flight, and the life of its child after a fork.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, Landing, PageNo, PageRead, PageSize, ReadBuffer, Result};
use ringpool_uring::{Engine, EngineChoice, EngineOptions};

const PAGE_BYTES: usize = 4096;
const READS: usize = 256;
const CANARY: u8 = 0xCA;

/// An arena that counts what has landed in it, and wakes the thread that made it.
struct Arena {
    memory: NonNull<u8>,
    landed: AtomicUsize,
    thread: Thread,
}

// SAFETY: each page is its read's until that has landed; then only the test looks at it.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    fn layout() -> Layout {
        Layout::from_size_align(READS * PAGE_BYTES, PAGE_BYTES).unwrap()
    }

    fn new() -> Arc<Self> {
        // SAFETY: the layout is not empty, and all of it is written.
        let memory = unsafe {
            let memory = NonNull::new(alloc(Self::layout())).unwrap();
            memory.write_bytes(CANARY, READS * PAGE_BYTES);
            memory
        };
        Arc::new(Self { memory, landed: AtomicUsize::new(0), thread: thread::current() })
    }

    fn read(self: &Arc<Self>, page: u64) -> PageRead {
        // SAFETY: a page of its own for each read of this test; the landing is the arena.
        unsafe {
            let memory = self.memory.add(page as usize * PAGE_BYTES);
            PageRead::new(PageNo(page), memory, PAGE_BYTES as u32, self.clone(), page)
        }
    }

    /// All of it. Only when every read has landed.
    fn bytes(&self) -> &[u8] {
        assert_eq!(self.landed.load(Ordering::Acquire), READS);
        // SAFETY: every read has landed: nobody writes to it but `fill`, on the same thread.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), READS * PAGE_BYTES) }
    }

    /// Writes to all of it. Only when every read has landed.
    fn fill(&self, byte: u8) {
        assert_eq!(self.landed.load(Ordering::Acquire), READS);
        // SAFETY: every read has landed, and no slice of it is held by the one test thread.
        unsafe { self.memory.write_bytes(byte, READS * PAGE_BYTES) }
    }
}

impl Landing for Arena {
    fn landed(&self, _: u64, result: Result<()>) {
        result.unwrap();
        self.landed.fetch_add(1, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; reads in flight keep the arena.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout()) }
    }
}

fn specimen(dir: &Path) -> Specimen {
    Specimen::write(dir, "pages", PageSize::KIB_4, READS as u64)
}

#[test]
fn dropped_with_256_reads_in_flight_it_returns_when_the_disk_has_answered() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = specimen(dir.path());
    for round in 0..10 {
        let mut options = EngineOptions::default();
        (options.max_in_flight, options.adapts) = (READS as u32, false);
        let engine = Engine::start(options).unwrap();
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let arena = Arena::new();
        // In no order, so that each is a read of its own.
        (0..READS as u64).for_each(|i| device.submit(arena.read(i * 37 % READS as u64)).unwrap());
        device.drive(&|| true, None);
        if round % 2 == 0 {
            drop((device, engine));
        } else {
            drop((engine, device));
        }
        for (page, bytes) in arena.bytes().chunks(PAGE_BYTES).enumerate() {
            assert_eq!(bytes, Specimen::page(PageNo(page as u64), PageSize::KIB_4));
        }
        // The memory is ours again: nothing of the closed ring writes to it.
        arena.fill(CANARY);
        thread::sleep(Duration::from_millis(20));
        assert!(arena.bytes().iter().all(|&byte| byte == CANARY), "written after the drop");
    }
}

#[test]
fn reads_that_are_only_queued_are_read_before_the_end() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = specimen(dir.path());
    let engine = Engine::start(EngineChoice::Auto).unwrap();
    let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
    let arena = Arena::new();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (device, arena) = (&device, &arena);
            let pages = (thread..READS as u64).step_by(4);
            scope.spawn(move || pages.for_each(|page| device.submit(arena.read(page)).unwrap()));
        }
    });
    drop((device, engine));
    assert_eq!(arena.landed.load(Ordering::Acquire), READS);
}

/// Runs `child` in a forked child and returns its exit code.
fn in_a_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the test binary of this test runs other threads, so the child takes no lock that
    // they could hold at this moment but the allocator's, which glibc makes usable after a fork.
    unsafe {
        match libc::fork() {
            0 => {
                let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
                libc::_exit(code.unwrap_or(99));
            }
            pid => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -status }
            }
        }
    }
}

#[test]
fn a_forked_child_is_told_so_and_touches_no_ring() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = specimen(dir.path());
    for choice in [EngineChoice::Auto, EngineChoice::Blocking] {
        let engine = Engine::start(choice).unwrap();
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let mut buffer = ReadBuffer::new(8, PageSize::KIB_4);
        buffer.register(&*device);
        let pages: Vec<PageNo> = (0..64).map(PageNo).collect();
        buffer.visit(&*device, &pages, |_, _| {}).unwrap();
        // Reads in flight while it forks: they land in the parent alone.
        let arena = Arena::new();
        (0..READS as u64).for_each(|page| device.submit(arena.read(page)).unwrap());
        device.drive(&|| true, None);

        let (mut device, mut engine, mut buffer) = (Some(device), Some(engine), Some(buffer));
        let code = in_a_child(|| {
            let (device, mut buffer) = (device.take().unwrap(), buffer.take().unwrap());
            let verdict = buffer.visit(&*device, &pages, |_, _| {});
            let told = matches!(verdict, Err(Error::Forked { .. }));
            drop((buffer, device, engine.take()));
            if told { 7 } else { 8 }
        });
        assert_eq!(code, 7, "{choice}");

        let (device, mut buffer) = (device.unwrap(), buffer.unwrap());
        let all = || arena.landed.load(Ordering::Acquire) == READS;
        assert!(device.drive(&all, None), "{choice}: the parent's reads land");
        buffer.visit(&*device, &pages, |_, _| {}).unwrap();
        assert_eq!(engine.unwrap().counters().strays, 0);
    }
}
