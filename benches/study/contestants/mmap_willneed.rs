//! A mapping with MADV_RANDOM, and one MADV_WILLNEED for each range of a batch before it is read.

use std::sync::Arc;

use ringpool::Advice;
use ringpool::storage::PageSource;
use ringpool_cli::failure::Failure;

use super::{Contestant, Subject, mapped};

pub struct MmapWillNeed;

impl Contestant for MmapWillNeed {
    fn name(&self) -> &'static str {
        "mmap-willneed"
    }

    fn manner(&self) -> &'static str {
        "a mapping with MADV_RANDOM, and MADV_WILLNEED for each range of a batch first"
    }

    fn open(&self, subject: &Subject) -> Result<Arc<dyn PageSource>, Failure> {
        Ok(Arc::new(mapped(subject, Advice::WillNeed)?))
    }
}
