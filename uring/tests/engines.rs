//! Both engines on a real disk: the conformance list, refusals by the kernel, and what happens
//! when a file changes under them.

#![allow(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::thread;

use ringpool_storage::conformance::{self, Specimen};
use ringpool_storage::{Error, PageDevice, PageNo, PageSize, ReadBuffer};
use ringpool_uring::{DirectIo, Engine, EngineChoice};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A ring, unless the kernel refuses one.
fn ring() -> Option<Engine> {
    Engine::start(EngineChoice::Uring).inspect_err(|why| conformance::skipped(why)).ok()
}

fn open(engine: &Engine, path: &Path, size: PageSize) -> Arc<dyn PageDevice> {
    engine.open(path, size).unwrap().device
}

#[test]
fn the_ring_conforms() {
    let Some(engine) = ring() else { return };
    conformance::devices(dir().path(), &|specimen| {
        open(&engine, &specimen.path, specimen.page_size)
    });
    assert_eq!(engine.counters().strays, 0);
    assert!(engine.counters().enters > 0 && engine.counters().reads > 0);
}

#[test]
fn blocking_reads_conform() {
    let engine = Engine::start(EngineChoice::Blocking).unwrap();
    conformance::devices(dir().path(), &|specimen| {
        open(&engine, &specimen.path, specimen.page_size)
    });
    assert!(engine.counters().enters == 0 && engine.counters().reads > 0);
}

#[test]
fn a_file_that_is_cut_while_open_is_truncated_not_wrong() {
    for choice in [EngineChoice::Auto, EngineChoice::Blocking] {
        let engine = Engine::start(choice).unwrap();
        let dir = dir();
        let specimen = Specimen::write(dir.path(), "cut", PageSize::KIB_4, 100);
        let device = open(&engine, &specimen.path, specimen.page_size);
        for (len_bytes, page, found_bytes) in [(50 * 4096 + 512, 50, 512), (4096 + 100, 1, 100)] {
            let file = std::fs::File::options().write(true).open(&specimen.path).unwrap();
            file.set_len(len_bytes).unwrap();
            let mut buffer = ReadBuffer::new(4, specimen.page_size);
            let verdict = buffer.visit(&*device, &[PageNo(page)], |_, _| panic!("half a page"));
            let expected = |error: &Error| match error {
                Error::Truncated { page: cut, found_bytes: found, .. } => {
                    cut.0 == page && *found == found_bytes
                }
                _ => false,
            };
            assert!(matches!(&verdict, Err(error) if expected(error)), "{choice}: {verdict:?}");
            let past = buffer.visit(&*device, &[PageNo(99)], |_, _| panic!("a page of nothing"));
            assert!(matches!(past, Err(Error::Truncated { found_bytes: 0, .. })), "{past:?}");
            buffer.visit(&*device, &[PageNo(0)], |_, _| {}).unwrap();
        }
    }
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let engine = Engine::start(EngineChoice::Auto).unwrap();
    let dir = dir();
    let specimen = Specimen::write(dir.path(), "deleted", PageSize::KIB_4, 20);
    let device = open(&engine, &specimen.path, specimen.page_size);
    std::fs::remove_file(&specimen.path).unwrap();
    let mut buffer = ReadBuffer::new(20, specimen.page_size);
    let pages: Vec<PageNo> = (0..20).map(PageNo).collect();
    let visited = buffer.visit(&*device, &pages, |i, bytes| {
        assert_eq!(bytes, Specimen::page(pages[i], specimen.page_size));
    });
    visited.unwrap();
}

#[test]
fn where_direct_reads_are_refused_the_reason_is_told() {
    let memory = Path::new("/dev/shm");
    let Ok(dir) = tempfile::tempdir_in(memory) else {
        return conformance::skipped(format!("no tmpfs at {}", memory.display()));
    };
    let specimen = Specimen::write(dir.path(), "tmpfs", PageSize::KIB_4, 30);
    let engine = Engine::start(EngineChoice::Auto).unwrap();
    let opened = engine.open(&specimen.path, specimen.page_size).unwrap();
    match opened.direct_io {
        DirectIo::No(why) => assert!(!why.is_empty()),
        DirectIo::Yes => conformance::skipped("this kernel's tmpfs reads directly"),
    }
    conformance::devices(dir.path(), &|specimen| open(&engine, &specimen.path, specimen.page_size));
}

/// Lets the system call `number` answer `errno` on the calling thread, as a container's seccomp
/// profile does.
fn forbid(number: libc::c_long, errno: u32) {
    let ret = |value| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: value };
    let mut program = [
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 }, // Load the call's number.
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: number as u32 },
        ret(libc::SECCOMP_RET_ERRNO | errno),
        ret(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program is alive during the call and as long as it says; it only restricts this
    // thread.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, filter, &program), 0);
    }
}

#[test]
fn where_rings_are_forbidden_reads_block_and_the_reason_is_told() {
    for (errno, word) in [(libc::EPERM, "seccomp"), (libc::ENOSYS, "no io_uring")] {
        let forbidden = thread::spawn(move || {
            forbid(libc::SYS_io_uring_setup, errno as u32);
            let refused = Engine::start(EngineChoice::Uring).err().expect("a ring was forbidden");
            assert!(refused.to_string().contains(word), "{refused}");
            let engine = Engine::start(EngineChoice::Auto).unwrap();
            let dir = dir();
            let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 10);
            let opened = engine.open(&specimen.path, specimen.page_size).unwrap();
            assert_eq!(opened.engine, EngineChoice::Blocking);
            assert!(opened.reason.contains(word), "{}", opened.reason);
            conformance::devices(dir.path(), &|specimen| {
                open(&engine, &specimen.path, specimen.page_size)
            });
        });
        forbidden.join().unwrap();
    }
}

/// A profile that was written by hand and lists but the first of the three calls: the ring comes
/// up, and its first read is refused.
#[test]
fn where_only_the_set_up_of_a_ring_is_allowed_reads_block_and_the_reason_is_told() {
    let forbidden = thread::spawn(|| {
        forbid(libc::SYS_io_uring_enter, libc::EPERM as u32);
        let dir = dir();
        let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 10);
        let engine = Engine::start(EngineChoice::Auto).unwrap();
        let opened = engine.open(&specimen.path, specimen.page_size).unwrap();
        assert_eq!(opened.engine, EngineChoice::Blocking);
        assert!(opened.reason.contains("seccomp"), "{}", opened.reason);
        conformance::devices(dir.path(), &|specimen| {
            open(&engine, &specimen.path, specimen.page_size)
        });
    });
    forbidden.join().unwrap();
}

#[test]
fn an_engine_dropped_with_reads_in_flight_waits_for_them() {
    for choice in [EngineChoice::Auto, EngineChoice::Blocking] {
        let dir = dir();
        let specimen = Specimen::write(dir.path(), "dropped", PageSize::KIB_4, 256);
        let pages: Vec<PageNo> = (0..256).map(PageNo).collect();
        for _ in 0..5 {
            let engine = Engine::start(choice).unwrap();
            let device = open(&engine, &specimen.path, specimen.page_size);
            let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut buffer = ReadBuffer::new(256, specimen.page_size);
                let visited = buffer.visit(&*device, &pages, |_, _| {
                    std::panic::resume_unwind(Box::new("gone"));
                });
                visited.unwrap();
            }));
            assert!(unwound.is_err());
            drop(device);
            drop(engine);
        }
    }
}
