//! A user without privileges who may lock little memory, as most have it: 8 MiB, or in many
//! containers 64 KiB. Engines start, by themselves, on what is allowed. In a process of its own,
//! since privileges that were dropped do not come back.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_storage::conformance::{Specimen, skipped};
use ringpool_storage::{PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

/// Nobody, on most systems.
const UNPRIVILEGED: libc::uid_t = 65_534;
/// The limits, in the order in which one may go down.
const LIMITS_BYTES: [libc::rlim_t; 2] = [8 << 20, 64 << 10];
/// Engines that run side by side. Where the kernel counts rings as locked memory (from 6.14 on),
/// some of them are more than the lower limit allows.
const ENGINES: usize = 24;

#[test]
fn engines_start_with_eight_megabytes_and_with_sixty_four_kilobytes_to_lock() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, 200);
    // Opened first, as the folder may be closed to others: /proc leads to the open file.
    let file = File::open(&specimen.path).unwrap();
    for limit_bytes in LIMITS_BYTES {
        let limit_bytes = limit_to(limit_bytes);
        let path = within_reach(&specimen.path, &file);
        if let Err(why) = File::open(&path) {
            return skipped(format!("the file is out of this user's reach: {why}"));
        }
        wait_for_the_memory_of_closed_rings();
        let engines: Vec<Engine> =
            (0..ENGINES).map(|_| Engine::start(EngineChoice::Auto).unwrap()).collect();
        let opened: Vec<_> =
            engines.iter().map(|engine| engine.open(&path, specimen.page_size).unwrap()).collect();
        for opened in &opened {
            let pages: Vec<_> = (0..200).map(PageNo).collect();
            let mut seen = 0;
            let mut buffer = ReadBuffer::new(64, specimen.page_size);
            let visited = buffer.visit(&*opened.device, &pages, |i, bytes| {
                assert!(bytes == Specimen::page(pages[i], specimen.page_size));
                seen += 1;
            });
            visited.unwrap();
            assert_eq!(seen, 200);
        }
        let rings = opened.iter().filter(|opened| opened.engine == EngineChoice::Uring).count();
        println!("{} KiB to lock: {rings} of {ENGINES} engines have a ring", limit_bytes >> 10);
        if let Some(without) = opened.iter().find(|one| one.engine == EngineChoice::Blocking) {
            println!("the others: {}", without.reason);
        }
    }
}

/// The kernel gives it back a moment after they were closed. Where no ring comes up at all, the
/// engines do without.
fn wait_for_the_memory_of_closed_rings() {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Engine::start(EngineChoice::Uring).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Lowers the limit of this process, which gives up its privileges, to `limit_bytes`, or to what
/// it has where that is less. Returns what holds.
fn limit_to(limit_bytes: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is alive during the calls; all concern this process alone, which is this
    // test's own.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit), 0);
        limit.rlim_max = limit.rlim_max.min(limit_bytes);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED), 0);
        }
    }
    limit.rlim_cur
}

/// A path to the file that this user may open.
fn within_reach(path: &Path, file: &File) -> PathBuf {
    match File::open(path) {
        Ok(_) => path.to_path_buf(),
        Err(_) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
    }
}
