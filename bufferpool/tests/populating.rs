//! Frames that are given their memory in advance: it is there, the pages in them stay as they are,
//! and what goes out of use meanwhile takes none with it.

mod numbered;

use std::thread;

use numbered::{SIZE, attach, is_page};
use ringpool_bufferpool::{Pool, PoolFile, PoolOptions};
use ringpool_storage::{PageNo, PageSource};

const FRAMES: u64 = 8_192;
const FEW: u64 = 512;
const PAGES: u64 = 2_000;
const ROUNDS: usize = 20;
/// More than the stacks and the rest of these tests take.
const OTHER_BYTES: u64 = 8 << 20;

fn bytes_of(frames: u64) -> u64 {
    frames * Pool::frame_bytes(SIZE)
}

fn pool() -> Pool {
    let memory_bytes = bytes_of(FRAMES);
    Pool::new(&PoolOptions { memory_bytes, whole_tables: true, ..PoolOptions::default() }).unwrap()
}

/// Whether the system gives memory in advance, which it can since Linux 5.14.
fn populated(pool: &Pool) -> Option<u64> {
    match pool.populate().unwrap().wait() {
        Err(refused) if refused.raw_os_error() == Some(libc::EINVAL) => None,
        given => Some(given.unwrap()),
    }
}

fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn read(file: &PoolFile) {
    let pages: Vec<PageNo> = (0..PAGES).map(PageNo).collect();
    file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]), "page {}", pages[i]))
        .unwrap();
}

/// One test, since what the process has in memory is everybody's.
#[test]
fn memory_is_there_in_advance_and_goes_with_the_frames() {
    let before = anonymous_bytes();
    let pool = pool();
    let Some(given) = populated(&pool) else { return };
    let frames = pool.stats().frames as u64 * SIZE.bytes() as u64;
    assert_eq!(given, frames);
    assert!(anonymous_bytes() - before >= frames);
    let full = pool.stats().memory_bytes;

    // Whoever reads meanwhile finds its pages, and what is taken out of use stays out of memory.
    let file = attach(&pool, PAGES);
    thread::scope(|scope| {
        for _ in 0..ROUNDS {
            let populating = pool.populate().unwrap();
            let reader = scope.spawn(|| read(&file));
            pool.resize(full - bytes_of(FRAMES - FEW)).unwrap();
            reader.join().unwrap();
            populating.wait().unwrap();
            let (held, most) = (anonymous_bytes() - before, bytes_of(FEW) + OTHER_BYTES);
            assert!(held <= most, "{held} bytes, and at most {most} are the pool's and others'");
            pool.resize(full).unwrap();
            drop(pool.populate().unwrap()); // Stops in the midst of it.
        }
    });
    read(&file);
}
