//! Files of any length whose pages are made up from their numbers, in a pool.

// Each test binary uses what it needs of this.
#![allow(dead_code)]

use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolFile};
use ringpool_storage::{NumberedPages, PageNo, PageSize};

pub const SIZE: PageSize = PageSize::KIB_4;

pub fn device(pages: u64) -> Arc<NumberedPages> {
    Arc::new(NumberedPages::new("numbered", SIZE, pages))
}

/// A file of the pool with so many pages, without checksums.
pub fn attach(pool: &Pool, pages: u64) -> PoolFile {
    pool.attach(device(pages), None).unwrap()
}

pub fn is_page(bytes: &[u8], page: PageNo) -> bool {
    NumberedPages::is_page(bytes, page)
}
