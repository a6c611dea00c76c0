//! A user without privileges who may lock no more than 64 KiB of memory, as many containers have
//! it: the engine starts, by itself, on what is allowed. In a process of its own, since privileges
//! that were dropped do not come back.

#![allow(unsafe_code)]

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

/// Nobody, on most systems.
const UNPRIVILEGED: libc::uid_t = 65_534;

#[test]
fn an_engine_starts_with_sixty_four_kilobytes_to_lock() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, 200);
    let path = specimen.path.clone();
    // Opened first, as the folder may be closed to others: /proc leads to the open file.
    let file = std::fs::File::open(&path).unwrap();
    let through_proc = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
    // SAFETY: the limit is alive during the call; both calls concern this process alone, which
    // is this test's own.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED), 0);
        }
    }
    let engine = Engine::start(EngineChoice::Auto).unwrap();
    let path = if std::fs::File::open(&path).is_ok() { path } else { through_proc.into() };
    let opened = match engine.open(&path, specimen.page_size) {
        Ok(opened) => opened,
        Err(why) => return eprintln!("skipped: the file is out of this user's reach: {why}"),
    };
    println!("{}: {}", opened.engine, opened.reason);
    let pages: Vec<_> = (0..200).map(PageNo).collect();
    let mut buffer = ReadBuffer::new(64, specimen.page_size);
    let mut seen = 0;
    let visited = buffer.visit(&*opened.device, &pages, |i, bytes| {
        assert!(bytes == Specimen::page(pages[i], specimen.page_size));
        seen += 1;
    });
    visited.unwrap();
    assert_eq!(seen, 200);
}
