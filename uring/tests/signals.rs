//! A storm of signals while the engines read: every wait in the kernel is cut short, again and
//! again, and nothing is lost. In a process of its own, since a timer's signals hit all threads.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Sends this process SIGALRM every `interval_us` microseconds; never again at 0.
fn alarm_every(interval_us: libc::suseconds_t) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: interval_us };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the handler touches one atomic. Without SA_RESTART, a call that it interrupts
    // returns EINTR. Both structures are alive during their calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()), 0);
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()), 0);
    }
}

#[test]
fn signals_every_fifty_microseconds_lose_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, 1000);
    let pages: Vec<_> = (0..10_000_u64).map(|i| PageNo(i * 7919 % 1000)).collect();
    for choice in [EngineChoice::Auto, EngineChoice::Blocking] {
        let engine = Engine::start(choice).unwrap();
        let device = engine.open(&specimen.path, specimen.page_size).unwrap().device;
        let before = SIGNALS.load(Ordering::Relaxed);
        alarm_every(50);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut seen = vec![0; pages.len()];
                    let mut buffer = ReadBuffer::new(32, specimen.page_size);
                    let visited = buffer.visit(&*device, &pages, |i, bytes| {
                        assert!(bytes == Specimen::page(pages[i], specimen.page_size));
                        seen[i] += 1;
                    });
                    visited.unwrap();
                    assert!(seen.iter().all(|&times| times == 1));
                });
            }
        });
        alarm_every(0);
        assert!(SIGNALS.load(Ordering::Relaxed) > before + 100, "the storm came");
        assert_eq!(engine.counters().strays, 0);
    }
}
