//! The contestants of the study (benches/study) are sources like any other: each passes the public
//! lists. And what the study calls noise is.

use std::path::Path;
use std::sync::Arc;

use contestants::paged_file::{PagedFile, READ_PAGES_MAX};
use contestants::{ALL, Access, Contestant, Subject};
use ringpool::EngineChoice;
use ringpool::storage::conformance::{self, Specimen, skipped};
use ringpool::storage::{Gather, PageNo, PageSize, PageSource, Result};
use ringpool::uring::Engine;

#[path = "../../benches/study/contestants/mod.rs"]
#[allow(dead_code, reason = "the study uses all of it")]
mod contestants;
#[path = "../../benches/study/judging.rs"]
mod judging;
mod noise;
#[path = "../../benches/study/run.rs"]
#[allow(dead_code, reason = "as above")]
mod run;
#[path = "../../benches/study/spread.rs"]
mod spread;

/// What a pool gets: far less than a specimen, as the lists want it.
const MEMORY_BYTES: u64 = 512 << 10;

/// The lists take boxes.
struct Shared(Arc<dyn PageSource>);

impl PageSource for Shared {
    fn page_size(&self) -> PageSize {
        self.0.page_size()
    }

    fn page_count(&self) -> u64 {
        self.0.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.0.visit(pages, each)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        self.0.gather()
    }
}

fn pass_the_lists(access: Access) {
    let no_ring = Engine::start(EngineChoice::Uring).err();
    let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for contestant in ALL {
        if let Some(error) = no_ring.as_ref().filter(|_| contestant.name().ends_with("-ring")) {
            skipped(format!("{}: {error}", contestant.name()));
            continue;
        }
        let open = |specimen: &Specimen| opened(contestant, access, specimen);
        conformance::sources(dir.path(), &open);
        conformance::gathers(dir.path(), &open);
    }
}

fn opened(contestant: &dyn Contestant, access: Access, specimen: &Specimen) -> Box<dyn PageSource> {
    let subject = Subject {
        path: specimen.path.clone(),
        page_size: specimen.page_size,
        checksums: Some(specimen.checksums.clone()),
        memory_bytes: MEMORY_BYTES,
        access,
    };
    let source = contestant.open(&subject);
    Box::new(Shared(source.unwrap_or_else(|failure| panic!("{}: {failure}", contestant.name()))))
}

#[test]
fn every_contestant_passes_the_lists_for_random_reads() {
    pass_the_lists(Access::Random);
}

#[test]
fn every_contestant_passes_the_lists_for_scans() {
    pass_the_lists(Access::Sequential);
}

#[test]
fn contestants_are_found_by_name_and_no_two_have_the_same() {
    for contestant in ALL {
        let found = contestants::named(contestant.name()).map(|found| found.manner()).unwrap();
        assert_eq!(found, contestant.manner());
    }
    let unknown = contestants::named("mmap").map(|_| ()).unwrap_err();
    assert!(unknown.to_string().contains("mmap-random"), "{unknown}");
}

#[test]
fn adjacent_pages_are_one_read_and_no_read_is_too_long() {
    let of = |numbers: &[u64]| {
        let pages: Vec<PageNo> = numbers.iter().copied().map(PageNo).collect();
        PagedFile::reads(&pages).collect::<Vec<_>>()
    };
    assert_eq!(of(&[]), []);
    assert_eq!(of(&[7, 8, 3, 3, 4, 9]), [0..2, 2..3, 3..5, 5..6]);
    assert_eq!(of(&[u64::MAX, 0]), [0..1, 1..2]);
    let many: Vec<u64> = (100..100 + 2 * READ_PAGES_MAX as u64 + 1).collect();
    let max = READ_PAGES_MAX;
    assert_eq!(of(&many), [0..max, max..2 * max, 2 * max..2 * max + 1]);
}
