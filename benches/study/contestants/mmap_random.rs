//! A mapping with MADV_RANDOM: a fault reads its own page. What most who map do.

use std::sync::Arc;

use ringpool::Advice;
use ringpool::storage::PageSource;
use ringpool_cli::failure::Failure;

use super::{Contestant, Subject, mapped};

pub struct MmapRandom;

impl Contestant for MmapRandom {
    fn name(&self) -> &'static str {
        "mmap-random"
    }

    fn manner(&self) -> &'static str {
        "a mapping with MADV_RANDOM; pages of a batch one after the other"
    }

    fn open(&self, subject: &Subject) -> Result<Arc<dyn PageSource>, Failure> {
        Ok(Arc::new(mapped(subject, Advice::Random)?))
    }
}
