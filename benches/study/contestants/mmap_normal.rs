//! A mapping as it is without advice: a fault reads as far ahead as the device's read_ahead_kb.

use std::sync::Arc;

use ringpool::Advice;
use ringpool::storage::PageSource;
use ringpool_cli::failure::Failure;

use super::{Contestant, Subject, mapped};

pub struct MmapNormal;

impl Contestant for MmapNormal {
    fn name(&self) -> &'static str {
        "mmap-normal"
    }

    fn manner(&self) -> &'static str {
        "a mapping without advice; a fault reads as far ahead as the device is set to"
    }

    fn open(&self, subject: &Subject) -> Result<Arc<dyn PageSource>, Failure> {
        Ok(Arc::new(mapped(subject, Advice::Normal)?))
    }
}
