//! Whether every contestant is one: the public list for sources, and that for gathers, over each.

use std::sync::Arc;

use ringpool::storage::conformance::{self, Specimen};
use ringpool::storage::{Gather, PageNo, PageSize, PageSource, Result as Read};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;

use crate::contestants::{ALL, Access, Contestant, Subject};
use crate::page_file;

/// What a pool gets: far less than the specimen, as the lists want it.
const MEMORY_BYTES: u64 = 512 << 10;

/// Runs the lists. A case that fails panics with its name.
pub fn execute(console: &Console) -> Result<(), Failure> {
    let folder = page_file::folder(None)?;
    let dir = tempfile::tempdir_in(&folder);
    let dir = dir.map_err(|error| Failure::at(&folder, "make a folder in it", &error))?;
    for contestant in ALL {
        for access in [Access::Random, Access::Sequential] {
            console.interrupt.check()?;
            let open = |specimen: &Specimen| opened(contestant, access, specimen);
            conformance::sources(dir.path(), &open);
            conformance::gathers(dir.path(), &open);
        }
    }
    let names = ALL.map(|one| one.name());
    console.show(&names, |names| format!("{} contestants pass: {}", names.len(), names.join(", ")))
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

/// The lists take boxes.
struct Shared(Arc<dyn PageSource>);

impl PageSource for Shared {
    fn page_size(&self) -> PageSize {
        self.0.page_size()
    }

    fn page_count(&self) -> u64 {
        self.0.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Read<()> {
        self.0.visit(pages, each)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        self.0.gather()
    }
}
