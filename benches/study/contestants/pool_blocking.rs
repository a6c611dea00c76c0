//! The pool without a ring: direct reads by threads that block, as where io_uring is forbidden.

use std::sync::Arc;

use ringpool::EngineChoice;
use ringpool::storage::PageSource;
use ringpool_cli::failure::Failure;

use super::pool_ring::pooled;
use super::{Contestant, Subject};

pub struct PoolBlocking;

impl Contestant for PoolBlocking {
    fn name(&self) -> &'static str {
        "pool-blocking"
    }

    fn manner(&self) -> &'static str {
        "the pool over threads that pread with O_DIRECT, as where io_uring is forbidden"
    }

    fn open(&self, subject: &Subject) -> Result<Arc<dyn PageSource>, Failure> {
        pooled(subject, EngineChoice::Blocking)
    }
}
