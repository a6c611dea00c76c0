//! The engines on a disk that is slow, that fails, that answers short, and that never answers.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, Landing, PageDevice, PageNo, PageRead, ReadBuffer, Result};
use ringpool_uring::{Engine, EngineChoice};

use crate::mounts::in_own_mounts;
use crate::slow_disk::{Behaviour, PAGE, SlowDisk};
use crate::{choose, compare, engines, folder, say};

/// Pages of the file on the disk.
const PAGES: u64 = 400;
/// What a wait may take that was promised to end, before the test says that it does not.
const OVERDUE: Duration = Duration::from_secs(20);

/// Runs `test` with each engine on a disk of its own.
fn on_slow_disk(name: &str, test: impl Fn(&mut SlowDisk, &Engine) + Sync) {
    // FUSE may be allowed where other mounts are not.
    in_own_mounts(|_| {
        let dir = folder();
        let specimen = Specimen::write(dir.path(), "source", PAGE, PAGES);
        for (no, engine) in engines().enumerate() {
            match SlowDisk::over(&specimen.path, &dir.path().join(no.to_string())) {
                Ok(mut disk) => test(&mut disk, &engine),
                Err(why) => return say(&format!("{name}: skipped: {why}")),
            }
        }
    });
}

fn open(engine: &Engine, disk: &SlowDisk) -> Arc<dyn PageDevice> {
    engine.open(disk.file(), PAGE).unwrap().device
}

#[test]
fn answers_out_of_order_land_where_they_belong() {
    on_slow_disk("a slow disk", |disk, engine| {
        let device = open(engine, disk);
        disk.order(&Behaviour { jitter_us: 3_000, seed: 5, ..Behaviour::default() });
        for depth in [1, 7, 128] {
            compare(&*device, &choose(PAGES, 20 * depth as usize, depth.into()), depth);
        }
        let seen = disk.order(&Behaviour::default());
        // Pages that follow each other by chance were one read.
        let reads = seen.answered + engine.counters().merged;
        assert!(reads >= 20 * (1 + 7 + 128), "all reads were this disk's: {seen:?}");
    });
}

#[test]
fn a_page_that_fails_is_named_and_the_others_are_right() {
    on_slow_disk("a failing disk", |disk, engine| {
        let device = open(engine, disk);
        let failing = [0, 1, 17, 255, PAGES - 1].into();
        disk.order(&Behaviour { failing, jitter_us: 200, seed: 6, ..Behaviour::default() });
        let mut right = Vec::new();
        for no in 0..PAGES {
            match read_alone(&*device, no) {
                Ok(()) => right.push(PageNo(no)),
                Err(error) => {
                    let text = error.to_string();
                    let Error::Io { file, source, .. } = error else { panic!("{text}") };
                    assert_eq!((&file, source.raw_os_error()), (device.file(), Some(libc::EIO)));
                    assert!(text.contains(&format!("page {no}:")), "{text}");
                }
            }
        }
        assert_eq!(right.len() as u64, PAGES - 5, "no other page fails");
        compare(&*device, &right, 64);
        batches_with_bad_pages_hand_over_nothing_wrong(&*device);
        // A failure is not kept.
        disk.order(&Behaviour::default());
        compare(&*device, &(0..PAGES).map(PageNo).collect::<Vec<_>>(), 64);
    });
}

/// The whole file in every batch: each ends as the error of one of its bad pages.
fn batches_with_bad_pages_hand_over_nothing_wrong(device: &dyn PageDevice) {
    for depth in [1, 16, 128] {
        let pages = choose(PAGES, 2_000, depth.into());
        let visited = ReadBuffer::new(depth, PAGE).visit(device, &pages, |i, bytes| {
            assert!(bytes == Specimen::page(pages[i], PAGE), "bytes of page {}", pages[i]);
        });
        assert!(matches!(visited, Err(Error::Io { .. })), "{visited:?}");
    }
}

/// A disk may answer with fewer bytes than asked for. Where it stops at a whole sector the engine
/// reads on; where it stops within one, as at the end of a file, the page is reported as cut.
#[test]
fn short_answers_end_whole_or_as_an_error() {
    on_slow_disk("a disk that answers short", |disk, engine| {
        let device = open(engine, disk);
        let lengths = [0, 1, 511, 512, 513, 1024, 2048, 3584, 4095];
        let short: BTreeMap<u64, usize> = (0..PAGES).zip(lengths.into_iter().cycle()).collect();
        disk.order(&Behaviour { short: short.clone(), ..Behaviour::default() });
        let (mut whole, mut cut) = (0, 0);
        for (no, answer_bytes) in short {
            match read_alone(&*device, no) {
                Ok(()) => whole += 1,
                Err(Error::Truncated { page, found_bytes, expected_bytes, .. }) => {
                    assert_eq!((page.0, expected_bytes), (no, PAGE.bytes()));
                    assert!(found_bytes < PAGE.bytes(), "{found_bytes}");
                    let sectors = answer_bytes > 0 && answer_bytes.is_multiple_of(512);
                    assert!(!sectors, "page {no}, {answer_bytes} bytes at a time, can be read");
                    cut += 1;
                }
                Err(error) => panic!("page {no}, {answer_bytes} bytes at a time: {error}"),
            }
        }
        assert!(whole > 0 && whole + cut == PAGES, "{whole} whole, {cut} cut");
    });
}

/// Reads one page and compares it.
fn read_alone(device: &dyn PageDevice, no: u64) -> Result<()> {
    ReadBuffer::new(1, PAGE).visit(device, &[PageNo(no)], |_, bytes| {
        assert!(bytes == Specimen::page(PageNo(no), PAGE), "bytes of page {no}");
    })
}

#[test]
fn a_read_that_never_ends_holds_nobody_beyond_a_deadline() {
    on_slow_disk("a disk that never answers", |disk, engine| {
        let opened = engine.open(disk.file(), PAGE).unwrap();
        if opened.engine == EngineChoice::Uring {
            waits_end_at_their_deadlines(disk, opened.device);
        }
    });
}

#[test]
fn a_pread_that_never_ends_holds_nobody_beyond_a_deadline() {
    on_slow_disk("a disk that never answers", |disk, engine| {
        let opened = engine.open(disk.file(), PAGE).unwrap();
        if opened.engine == EngineChoice::Blocking {
            waits_end_at_their_deadlines(disk, opened.device);
        }
    });
}

fn waits_end_at_their_deadlines(disk: &mut SlowDisk, device: Arc<dyn PageDevice>) {
    const READS: u32 = 16;
    let held = Behaviour {
        held: (0..READS).map(Slots::page).map(|page| page.0).collect(),
        ..Behaviour::default()
    };
    disk.order(&held);
    let slots = Arc::new(Slots::new(READS));
    for token in 0..READS {
        device.submit(slots.read(token)).expect("an empty queue takes a few reads");
    }
    // One of two threads may wait in the kernel and the other for the first: both must end.
    let waits: Vec<_> = (0..2).map(|_| wait_for_a_moment(&device, &slots)).collect();
    for wait in waits {
        let Ok(came_true) = wait.recv_timeout(OVERDUE) else {
            disk.order(&Behaviour::default());
            panic!("a wait did not end at its deadline");
        };
        assert!(!came_true, "no read has ended");
    }
    read_alone(&*device, 0).expect("other pages are read meanwhile");
    let overdue = Instant::now() + OVERDUE;
    while disk.order(&held).in_flight < READS.into() {
        assert!(Instant::now() < overdue, "{READS} reads are never at the disk at once");
        thread::sleep(Duration::from_millis(1));
    }
    disk.order(&Behaviour::default());
    let all_landed = || slots.landed.lock().unwrap().len() == READS as usize;
    assert!(device.drive(&all_landed, Some(Instant::now() + OVERDUE)), "released, they land");
    slots.check();
}

/// Waits for a read to land, on a thread of its own, for a tenth of a second. Returns where the
/// outcome arrives.
fn wait_for_a_moment(device: &Arc<dyn PageDevice>, slots: &Arc<Slots>) -> mpsc::Receiver<bool> {
    let (sender, outcome) = mpsc::channel();
    let (device, slots) = (device.clone(), slots.clone());
    thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_millis(100);
        let came_true = device.drive(&|| !slots.landed.lock().unwrap().is_empty(), Some(deadline));
        assert!(came_true || Instant::now() >= deadline, "given up before the deadline");
        drop((device, slots));
        let _ = sender.send(came_true);
    });
    outcome
}

/// Memory for some pages, and what has landed there.
struct Slots {
    memory: NonNull<u8>,
    layout: Layout,
    landed: Mutex<Vec<(u64, Result<()>)>>,
    /// Who made them, and waits for what lands.
    owner: Thread,
}

// SAFETY: a page's memory belongs to its read until that has landed, and is only read afterwards.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    fn new(count: u32) -> Self {
        let layout = Layout::from_size_align(count as usize * PAGE.bytes(), PAGE.bytes()).unwrap();
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        Self { memory, layout, landed: Mutex::default(), owner: thread::current() }
    }

    /// The page that slot `token` is for. No two are close to each other: each is a read of its own.
    fn page(token: u32) -> PageNo {
        PageNo(3 * u64::from(token) + 1)
    }

    /// The one read into slot `token`.
    fn read(self: &Arc<Self>, token: u32) -> PageRead {
        let page = Self::page(token);
        // SAFETY: called once a slot. It lies within the allocation, which the landing keeps.
        unsafe {
            let memory = self.memory.add(token as usize * PAGE.bytes());
            PageRead::new(page, memory, PAGE.bytes() as u32, self.clone(), token.into())
        }
    }

    /// Passes when each slot has landed once, with its page's bytes.
    fn check(&self) {
        let mut landed = self.landed.lock().unwrap();
        landed.sort_by_key(|(token, _)| *token);
        for (no, (token, result)) in landed.iter().enumerate() {
            assert_eq!(*token, no as u64, "each lands once");
            result.as_ref().unwrap();
            // SAFETY: this slot's read has landed, so that nobody writes to it any more.
            let bytes = unsafe {
                let start = self.memory.add(no * PAGE.bytes());
                std::slice::from_raw_parts(start.as_ptr(), PAGE.bytes())
            };
            assert!(bytes == Specimen::page(Self::page(*token as u32), PAGE), "bytes of slot {no}");
        }
    }
}

impl Landing for Slots {
    fn landed(&self, token: u64, result: Result<()>) {
        self.landed.lock().unwrap().push((token, result));
        self.owner.unpark();
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; reads in flight would keep it alive.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

/// The reads a second of one thread on a disk where each takes a millisecond.
#[test]
#[ignore = "a ratio of speeds: cargo test --release -p ringpool-uring --test filesystems -- \
            --ignored --nocapture one_thread_overlaps"]
fn one_thread_overlaps_reads_of_a_millisecond() {
    const DEPTH: u32 = 128;
    const TIMES: f64 = 40.0;
    on_slow_disk("a disk of 1 ms", |disk, engine| {
        let opened = engine.open(disk.file(), PAGE).unwrap();
        disk.order(&Behaviour { latency_us: 1_000, ..Behaviour::default() });
        let right: Vec<_> = (0..PAGES).map(|no| Specimen::page(PageNo(no), PAGE)).collect();
        let reads_per_second = |depth: u32, count: usize| {
            let pages = choose(PAGES, count, depth.into());
            let mut buffer = ReadBuffer::new(depth, PAGE);
            let start = Instant::now();
            let visited = buffer.visit(&*opened.device, &pages, |i, bytes| {
                assert!(bytes == right[pages[i].0 as usize], "bytes of page {}", pages[i]);
            });
            visited.unwrap();
            count as f64 / start.elapsed().as_secs_f64()
        };
        let mut ratios: Vec<f64> = (0..5)
            .map(|_| {
                let (alone, overlapped) =
                    (reads_per_second(1, 400), reads_per_second(DEPTH, 20_000));
                say(&format!(
                    "{}: {alone:.0} reads/s alone, {overlapped:.0} with {DEPTH}: {:.1} times",
                    opened.engine,
                    overlapped / alone
                ));
                overlapped / alone
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let seen = disk.order(&Behaviour::default());
        say(&format!("{}: at most {} at the disk at once", opened.engine, seen.most_in_flight));
        // A thread pool overlaps as many reads as it has threads.
        if opened.engine == EngineChoice::Uring {
            assert!(ratios[2] >= TIMES, "{ratios:.1?}");
        }
    });
}
