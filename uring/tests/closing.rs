//! Closing an engine says what is left of it: files, reads and threads, each within its time.

use std::time::{Duration, Instant};

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(60);
const CHOICES: [EngineChoice; 2] = [EngineChoice::Auto, EngineChoice::Blocking];

#[test]
fn files_that_are_open_are_told_and_go_on_being_read() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", PageSize::KIB_4, 64);
    for choice in CHOICES {
        let engine = Engine::start(choice).unwrap();
        let file = engine.open(&specimen.path, PageSize::KIB_4).unwrap();
        let left = engine.close(SHORT).unwrap_err();
        assert_eq!((left.files, left.reads), (1, 0), "{left}");
        let pages: Vec<PageNo> = (0..64).map(PageNo).collect();
        let mut buffer = ReadBuffer::new(8, PageSize::KIB_4);
        let mut seen = 0;
        buffer.visit(&*file.device, &pages, |_, _| seen += 1).unwrap();
        assert_eq!(seen, 64);
    }
}

#[test]
fn an_engine_whose_files_are_closed_ends_with_its_threads() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", PageSize::KIB_4, 64);
    for choice in CHOICES {
        let engine = Engine::start(choice).unwrap();
        let file = engine.open_until(&specimen.path, PageSize::KIB_4, Some(Instant::now() + LONG));
        let file = file.unwrap();
        // A deadline has the reads land by a thread of the engine's own.
        let pages: Vec<PageNo> = (0..64).map(PageNo).collect();
        let mut buffer = ReadBuffer::new(8, PageSize::KIB_4);
        let soon = Instant::now() + LONG;
        buffer.visit_until(&*file.device, &pages, soon, |_, _| {}).unwrap();
        file.device.start();
        drop((buffer, file));
        engine.close(LONG).unwrap();
        Engine::start(choice).unwrap().close(LONG).unwrap();
    }
}
