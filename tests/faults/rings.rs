//! The same faults between the pool and the engines that read from a real disk.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use ringpool::EngineChoice;
use ringpool::bufferpool::{Pool, PoolOptions};
use ringpool::storage::conformance::{self, Specimen};
use ringpool::storage::{FaultPlan, FaultRates, FaultyDevice, PageNo, PageSize, PageSource};
use ringpool::uring::Engine;

use crate::disk::{PATIENCE, assert_whole, is_failure, tells, watched};

/// The engines that this machine allows.
fn engines() -> Vec<Engine> {
    let start = |choice| match Engine::start(choice) {
        Ok(engine) => Some(engine),
        Err(why) => {
            conformance::skipped(format!("{choice}: {why}"));
            None
        }
    };
    [EngineChoice::Uring, EngineChoice::Blocking].into_iter().filter_map(start).collect()
}

/// The specimen on the engine's disk, with such faults.
fn open(engine: &Engine, specimen: &Specimen, rates: FaultRates) -> Arc<FaultyDevice> {
    let device = engine.open(&specimen.path, specimen.page_size).unwrap().device;
    let plan = FaultPlan::new(1, rates, specimen.page_size, specimen.page_count());
    Arc::new(FaultyDevice::answering(device, move |n, page| plan.answer(n, page)))
}

fn pool() -> Pool {
    let memory_bytes = 72 * Pool::frame_bytes(PageSize::KIB_4);
    let (frame_patience, device_patience) = (PATIENCE, PATIENCE);
    let page_size = PageSize::KIB_4;
    let rest = PoolOptions::default();
    Pool::new(&PoolOptions { memory_bytes, page_size, frame_patience, device_patience, ..rest })
        .unwrap()
}

/// A folder on the disk that the build is on, since temporary ones may be memory.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn late_answers_and_full_queues_over_each_engine_are_still_a_source() {
    let rates = FaultRates { late: 0.3, queue_full: 0.01, ..FaultRates::default() };
    for engine in engines() {
        conformance::sources(dir().path(), &|specimen| {
            let device = open(&engine, specimen, rates);
            Box::new(pool().attach(device, Some(specimen.checksums.clone())).unwrap())
        });
    }
}

#[test]
fn faults_over_each_engine_are_told_and_leave_nothing_behind() {
    for engine in engines() {
        watched(move || faults_are_told(&engine, dir().path()));
    }
}

fn faults_are_told(engine: &Engine, dir: &Path) {
    const PAGES: u64 = 400;
    let specimen = Specimen::write(dir, "pages", PageSize::KIB_4, PAGES);
    let rates = FaultRates { late: 0.2, queue_full: 0.005, ..FaultRates::evenly(0.05) };
    let (pool, device) = (pool(), open(engine, &specimen, rates));
    let file = pool.attach(device.clone(), Some(specimen.checksums.clone())).unwrap();
    let visit = |pages: &[PageNo]| {
        let mut times = vec![0; pages.len()];
        let visited = file.visit(pages, &mut |i, bytes| {
            assert!(bytes == Specimen::page(pages[i], specimen.page_size), "page {}", pages[i]);
            times[i] += 1;
        });
        let least = u32::from(visited.is_ok());
        assert!(times.iter().all(|times| (least..=1).contains(times)), "{visited:?}: {times:?}");
        visited
    };
    let work = |thread: u64| {
        let steps = (0..300_u64).map(|step| {
            let some = (0..20).map(|i| PageNo((step * 37 + i * 11 + thread % 2) % PAGES));
            visit(&some.collect::<Vec<_>>())
        });
        steps.filter_map(Result::err).collect::<Vec<_>>()
    };
    let errors: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let incidents = device.take_incidents();
    assert!(incidents.iter().filter(|incident| is_failure(incident)).count() > 200);
    for error in &errors {
        assert!(incidents.iter().any(|incident| tells(error, incident)), "{error}");
    }
    assert_whole(&pool, 0);
    device.heal();
    visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>()).unwrap();
    assert_whole(&pool, 0);
}
