//! Pages read by many tokio tasks, none of which blocks the one thread that they share.
//!
//! `ReadBuffer::visit_async` is a plain future. It knows of no runtime: what has landed wakes the
//! task, from whatever thread of the engine has seen it land. So it runs on tokio, with tokio's
//! timers around it. A task that gives up drops the future, which abandons the interest in the
//! pages and not the memory: what the kernel still writes, it writes into the buffer, which stays
//! for that long even if its owner is gone.
//!
//! ```sh
//! cargo run --release --example async_tokio -- [FILE]
//! ```
//!
//! FILE is a whole number of 4 KiB pages. Without one, a temporary file is written, and removed at
//! the end.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::EngineChoice;
use ringpool::storage::conformance::Specimen;
use ringpool::storage::{self, PageDevice, PageNo, PageSize, ReadBuffer};
use ringpool::uring::Engine;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PAGE: PageSize = PageSize::KIB_4;
const TASKS: u64 = 64;
const PAGES_PER_TASK: usize = 100;
/// Pages that a task has in flight at most.
const DEPTH: u32 = 8;
/// What the impatient task waits for the whole file.
const PATIENCE: Duration = Duration::from_millis(2);

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => Specimen::write(temporary.path(), "pages", PAGE, 8192).path,
    };
    // A ring where the kernel allows one, else preads on threads. The futures are the same.
    let engine = Engine::start(EngineChoice::Auto)?;
    let opened = engine.open(&path, PAGE)?;
    let device = opened.device;
    println!("{}: {} pages, through {}", path.display(), device.page_count(), opened.rung);
    println!("({})", opened.reason);
    if device.page_count() == 0 {
        return Err("a file without pages has none to read".into());
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let read = read_by_many_tasks(&device).await?;
        println!("{TASKS} tasks on one thread: {read} pages");
        give_up(&*device).await
    })
}

/// Lets each task read random pages. Returns how many pages came.
async fn read_by_many_tasks(device: &Arc<dyn PageDevice>) -> Result<usize, Box<dyn Error>> {
    let mut tasks = JoinSet::new();
    for seed in 0..TASKS {
        let device = device.clone();
        tasks.spawn(async move { read_random_pages(&*device, seed).await });
    }
    let mut read = 0;
    while let Some(task) = tasks.join_next().await {
        read += task??;
    }
    Ok(read)
}

async fn read_random_pages(device: &dyn PageDevice, seed: u64) -> storage::Result<usize> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let any_page = |_| PageNo(rng.random_range(0..device.page_count()));
    let pages: Vec<PageNo> = (0..PAGES_PER_TASK).map(any_page).collect();
    let mut read = 0;
    // Memory for the pages in flight. A task that reads again and again keeps its buffer.
    let mut buffer = ReadBuffer::new(DEPTH, PAGE);
    // Called once for each page, in the order in which they arrive: `pages[i]` holds `bytes`.
    buffer.visit_async(device, &pages, |_i, bytes| read += bytes.len() / PAGE.bytes()).await?;
    Ok(read)
}

/// Asks for every page and has no patience for them.
async fn give_up(device: &dyn PageDevice) -> Result<(), Box<dyn Error>> {
    let pages: Vec<PageNo> = (0..device.page_count()).map(PageNo).collect();
    let mut buffer = ReadBuffer::new(DEPTH, PAGE);
    let mut read = 0;
    let visit = buffer.visit_async(device, &pages, |_, _| read += 1);
    // At the deadline `timeout` drops the future, with up to DEPTH reads in flight.
    match timeout(PATIENCE, visit).await {
        Ok(visited) => visited.map(|()| println!("all {read} pages came within {PATIENCE:?}"))?,
        Err(_) => println!("after {PATIENCE:?} the impatient task had {read} pages and left"),
    }
    // The buffer is good for the next visit, which waits for what the last one has left in flight.
    let mut again = 0;
    buffer.visit_async(device, &pages[..1], |_, _| again += 1).await?;
    println!("the same buffer afterwards: {again} page");
    Ok(())
}
