//! Pages that follow each other are one read of the disk, whatever becomes of each.

use std::sync::Mutex;

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

const CHOICES: [EngineChoice; 2] = [EngineChoice::Auto, EngineChoice::Blocking];

#[test]
fn pages_that_follow_each_other_become_one_read() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for shift in 12..=16 {
        let size = PageSize::new(1 << shift).unwrap();
        let specimen = Specimen::write(dir.path(), "pages", size, 96);
        for choice in CHOICES {
            let engine = Engine::start(choice).unwrap();
            let opened = engine.open(&specimen.path, size).unwrap();
            let (device, in_order) = (opened.device, opened.engine == EngineChoice::Uring);
            let mut buffer = ReadBuffer::new(96, size);
            let seen = Mutex::new(vec![0; 96]);
            let mut visit = |pages: &[PageNo]| {
                let before = engine.counters();
                let visited = buffer.visit(&*device, pages, |i, bytes| {
                    assert_eq!(bytes, Specimen::page(pages[i], size));
                    seen.lock().unwrap()[i] += 1;
                });
                visited.unwrap();
                let after = engine.counters();
                (after.reads - before.reads, after.merged - before.merged)
            };
            let upwards: Vec<PageNo> = (0..96).map(PageNo).collect();
            let downwards: Vec<PageNo> = (0..96).rev().map(PageNo).collect();
            for (pages, expected) in [(upwards, 96), (downwards, 0)] {
                let (reads, merged) = visit(&pages);
                assert_eq!(reads, 96, "{choice} {size}");
                // The blocking engine's threads part the queue among them, and what one of them
                // leaves goes to its end: pages may lose their neighbours there, or find them.
                assert!(!in_order || merged == expected, "{choice} {size}: {merged} merged");
            }
            assert!(seen.lock().unwrap().iter().all(|&times| times == 2));
        }
    }
}

#[test]
fn a_small_gap_is_read_over_and_a_larger_one_is_not() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (size, apart, bridged) in
        [(512, 9, true), (512, 10, false), (4096, 2, true), (4096, 3, false), (8192, 2, false)]
    {
        let size = PageSize::new(size).unwrap();
        let specimen = Specimen::write(dir.path(), "pages", size, 960);
        for choice in CHOICES {
            let engine = Engine::start(choice).unwrap();
            let opened = engine.open(&specimen.path, size).unwrap();
            let mut buffer = ReadBuffer::new(96, size);
            let pages: Vec<PageNo> = (0..96).map(|i| PageNo(i * apart)).collect();
            let (before, mut seen) = (engine.counters(), 0);
            let visited = buffer.visit(&*opened.device, &pages, |i, bytes| {
                assert_eq!(bytes, Specimen::page(pages[i], size));
                seen += 1;
            });
            visited.unwrap();
            let counters = engine.counters();
            assert_eq!((seen, counters.reads - before.reads, counters.retries), (96, 96, 0));
            if !bridged {
                assert_eq!((counters.merged, counters.bridged_bytes), (0, 0));
            } else if opened.engine == EngineChoice::Uring {
                // Two pages and the gap that a read may have.
                let gap_bytes = (apart - 1) * size.bytes() as u64;
                assert_eq!((counters.merged, counters.bridged_bytes), (96, 48 * gap_bytes));
            }
        }
    }
}

#[test]
fn a_run_over_the_end_of_a_cut_file_gives_each_page_its_own_result() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for choice in CHOICES {
        let specimen = Specimen::write(dir.path(), "cut", PageSize::KIB_4, 32);
        let engine = Engine::start(choice).unwrap();
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let file = std::fs::File::options().write(true).open(&specimen.path).unwrap();
        file.set_len(10 * 4096 + 1024).unwrap();
        let mut buffer = ReadBuffer::new(32, PageSize::KIB_4);
        let pages: Vec<PageNo> = (0..32).map(PageNo).collect();
        let mut whole = Vec::new();
        let verdict = buffer.visit(&*device, &pages, |i, bytes| {
            assert_eq!(bytes, Specimen::page(pages[i], PageSize::KIB_4));
            whole.push(i);
        });
        match verdict {
            Err(Error::Truncated { page, found_bytes, .. }) => {
                assert_eq!(found_bytes, if page.0 == 10 { 1024 } else { 0 }, "{choice}");
                assert!((10..32).contains(&page.0));
            }
            other => panic!("{choice}: {other:?}"),
        }
        assert!(whole.iter().all(|&i| i < 10));
        let (first, _) = pages.split_at(10);
        buffer.visit(&*device, first, |_, _| {}).unwrap();
    }
}
