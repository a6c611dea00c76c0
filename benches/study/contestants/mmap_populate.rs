//! A mapping of which every page is read in when it is opened, as MAP_POPULATE does: for files that
//! fit.

use std::sync::Arc;

use ringpool::Advice;
use ringpool::storage::PageSource;
use ringpool_cli::failure::Failure;

use super::{Contestant, Subject, mapped};

pub struct MmapPopulate;

impl Contestant for MmapPopulate {
    fn name(&self) -> &'static str {
        "mmap-populate"
    }

    fn manner(&self) -> &'static str {
        "a mapping that is populated when it is opened (MADV_POPULATE_READ, as MAP_POPULATE)"
    }

    fn open(&self, subject: &Subject) -> Result<Arc<dyn PageSource>, Failure> {
        let source = mapped(subject, Advice::Normal)?;
        source.read_ahead(true).map_err(|error| Failure::of(&error))?;
        Ok(Arc::new(source))
    }
}
