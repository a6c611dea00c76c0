//! Ways to hold pages in memory, each written as those would who prefer it.
//!
//! All have the same pages and room for the same number of them. Each does a whole pass by itself,
//! so that nothing of the bench stands between it and a page: no copy, no box, no virtual call a page.

use std::fs;
use std::sync::Arc;

use memmap2::Mmap;
use quick_cache::sync::Cache;
use ringpool::bufferpool::{Pool, PoolFile, PoolOptions, Stay};
use ringpool::storage::{MemoryDevice, MemorySource, PageNo, PageSource};

use super::chained::{PAGE, PAGE_BYTES, word};
use super::locked_pool::LockedPool;
use super::{mapping, run};

/// Pages in a batch: as one step of a walk over a graph asks for.
pub const BATCH: usize = 16;

/// What a pass does with its pages.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// The first word of each page, one after the other.
    Single,
    /// The same, and the pages known [`BATCH`] at a time.
    Batch,
    /// From the first page on, each page says which is next: as many as there are in the pass.
    Chain,
}

/// One way to hold pages.
pub trait Holder: Send + Sync {
    fn name(&self) -> &'static str;

    /// Does a pass, and returns the sum of the words or the last page of the chain.
    fn pass(&self, task: Task, pages: &[PageNo]) -> u64;
}

/// The pass of a holder that looks at `one` page, or at `many` at a time.
#[inline(always)]
fn pass(
    task: Task,
    pages: &[PageNo],
    mut one: impl FnMut(PageNo) -> u64,
    mut many: impl FnMut(&[PageNo]) -> u64,
) -> u64 {
    match task {
        Task::Single => pages.iter().fold(0, |sum, &page| sum.wrapping_add(one(page))),
        Task::Batch => pages.chunks(BATCH).fold(0, |sum, batch| sum.wrapping_add(many(batch))),
        Task::Chain => pages[1..].iter().fold(pages[0].0, |page, _| one(PageNo(page))),
    }
}

/// Our pool with room for `frames` pages of `source`, which is read through a device in memory.
pub fn pooled(source: &MemorySource, frames: u64) -> Arc<PoolFile> {
    let table_frames = (8 * source.page_count()).div_ceil(Pool::frame_bytes(PAGE));
    let memory_bytes = (frames + table_frames) * Pool::frame_bytes(PAGE);
    let options = PoolOptions { memory_bytes, page_size: PAGE, ..PoolOptions::default() };
    let pool = Pool::new(&options).expect("a budget that does");
    let device = Arc::new(MemoryDevice::new(source.clone()));
    Arc::new(pool.attach(device, None).expect("a file that fits"))
}

/// A reader: one stay a pass.
pub struct PoolReader(pub Arc<PoolFile>);

impl Holder for PoolReader {
    fn name(&self) -> &'static str {
        "pool reader"
    }

    fn pass(&self, task: Task, pages: &[PageNo]) -> u64 {
        let file = &*self.0;
        let mut reader = file.pool().reader().expect("a seat");
        let mut stay = reader.enter();
        match task {
            Task::Single => self.singly(&mut stay, pages),
            Task::Batch => pages
                .chunks(BATCH)
                .fold(0, |sum, batch| sum.wrapping_add(self.batch(&mut stay, batch))),
            Task::Chain => self.chain(&mut stay, pages[0].0, pages.len() - 1),
        }
    }
}

impl PoolReader {
    fn singly(&self, stay: &mut Stay<'_>, pages: &[PageNo]) -> u64 {
        let (mut sum, mut rest) = (0_u64, pages.iter());
        loop {
            let resident = stay.pages(&self.0);
            let absent = loop {
                let Some(&page) = rest.next() else { return sum };
                match resident.get(page) {
                    Some(bytes) => sum = sum.wrapping_add(word(bytes)),
                    None => break page,
                }
            };
            sum = sum.wrapping_add(word(stay.read(&self.0, absent).expect("memory")));
        }
    }

    fn batch(&self, stay: &mut Stay<'_>, batch: &[PageNo]) -> u64 {
        let mut found = [None; BATCH];
        let found = &mut found[..batch.len()];
        if stay.get_many(&self.0, batch, found) == batch.len() {
            return found.iter().flatten().fold(0, |sum, page| sum + word(page));
        }
        let mut sum = 0;
        stay.visit(&self.0, batch, &mut |_, page| sum += word(page)).expect("memory");
        sum
    }

    fn chain(&self, stay: &mut Stay<'_>, first: u64, mut links: usize) -> u64 {
        let mut page = first;
        while links > 0 {
            let resident = stay.pages(&self.0);
            while links > 0
                && let Some(bytes) = resident.get(PageNo(page))
            {
                (page, links) = (word(bytes), links - 1);
            }
            if links > 0 {
                page = word(stay.read(&self.0, PageNo(page)).expect("memory"));
                links -= 1;
            }
        }
        page
    }
}

/// A pinned guard a page.
pub struct PoolGuard(pub Arc<PoolFile>);

impl Holder for PoolGuard {
    fn name(&self) -> &'static str {
        "pool guard"
    }

    fn pass(&self, task: Task, pages: &[PageNo]) -> u64 {
        let one = |page| word(&self.0.pin(page).expect("memory"));
        pass(task, pages, one, |batch| batch.iter().fold(0, |sum, &page| sum + one(page)))
    }
}

/// A visit a page, or a batch.
pub struct PoolVisit(pub Arc<PoolFile>);

impl Holder for PoolVisit {
    fn name(&self) -> &'static str {
        "pool visit"
    }

    fn pass(&self, task: Task, pages: &[PageNo]) -> u64 {
        let visit = |pages: &[PageNo]| {
            let mut sum = 0;
            self.0.visit(pages, &mut |_, page| sum += word(page)).expect("memory");
            sum
        };
        pass(task, pages, |page| visit(&[page]), visit)
    }
}

/// A mapping of the file, all of it resident and its page tables filled. No check, no trait.
pub struct Mapping(Mmap);

impl Mapping {
    pub fn of(bytes: &[u8]) -> Self {
        let path = run::files().join(format!("chained-{}.pages", bytes.len() / PAGE_BYTES));
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            fs::write(&path, bytes).expect("room in the target folder");
        }
        Self(mapping::random(&path))
    }
}

impl Holder for Mapping {
    fn name(&self) -> &'static str {
        "mmap"
    }

    fn pass(&self, task: Task, pages: &[PageNo]) -> u64 {
        let one = |page: PageNo| word(mapping::slice(&self.0, page));
        pass(task, pages, one, |batch| batch.iter().fold(0, |sum, &page| sum + one(page)))
    }
}

/// quick_cache, a concurrent cache as published, with pages as shared slices.
pub struct QuickCache {
    cache: Cache<u64, Arc<[u8]>>,
    bytes: Arc<[u8]>,
}

impl QuickCache {
    pub fn new(bytes: &Arc<[u8]>, room: usize) -> Self {
        Self { cache: Cache::new(room), bytes: bytes.clone() }
    }
}

impl Holder for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn pass(&self, task: Task, pages: &[PageNo]) -> u64 {
        let one = |page: PageNo| match self.cache.get(&page.0) {
            Some(bytes) => word(&bytes),
            None => {
                let bytes: Arc<[u8]> =
                    self.bytes[page.0 as usize * PAGE_BYTES..][..PAGE_BYTES].into();
                let sum = word(&bytes);
                self.cache.insert(page.0, bytes);
                sum
            }
        };
        pass(task, pages, one, |batch| batch.iter().fold(0, |sum, &page| sum + one(page)))
    }
}

impl Holder for LockedPool {
    fn name(&self) -> &'static str {
        if self.is_sharded() { "16 mutexes, maps" } else { "mutex, map" }
    }

    fn pass(&self, task: Task, pages: &[PageNo]) -> u64 {
        let one = |page: PageNo| word(&self.get(page.0));
        pass(task, pages, one, |batch| batch.iter().fold(0, |sum, &page| sum + one(page)))
    }
}
