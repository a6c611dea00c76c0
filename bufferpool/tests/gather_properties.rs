//! Any interleaving of what a thread with many batches does, compared with a model so plain that it
//! is right by inspection.
//!
//! The model knows what each batch has asked for and was told, and which pages are broken; it knows
//! nothing of slots, frames or queues. Two gathers and a visitor share a file and a pool with a
//! sixth of its pages, on a disk that answers late, out of order and with a full queue. After each
//! step of any sequence of *ask*, *collect*, *wait*, *leave*, *visit*, *forget* and *drop and begin
//! anew*:
//!
//! 1. Every place of a batch is told once at most, and never after the batch has left, whatever
//!    came of its number since.
//! 2. With the bytes of its page; or with an error, if and only if the page is broken.
//! 3. As many pages are to come as were asked for, less those that were told or left.
//! 4. No page is in two frames and no frame is lost, and pins are held for nothing but what has
//!    arrived and was not collected.
//!
//! In the end everything comes, and nothing is pinned.

mod setup;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use ringpool_bufferpool::PoolFile;
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Answer, Fault, FaultyDevice, Gather, MemoryDevice, PageNo, PageSource};

use setup::{PAGES, SIZE, assert_whole, is_page, pool};

const GATHERS: usize = 2;
const BATCHES: u32 = 6;
/// Nothing takes so many waits.
const WAITS_MAX: usize = 10_000;

#[derive(Clone, Debug)]
enum Step {
    Ask(usize, u32, Vec<u64>),
    Collect(usize),
    Wait(usize),
    Leave(usize, u32),
    Visit(Vec<u64>),
    Forget(u64),
    BeginAnew(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Few pages are asked for often, so that batches meet.
    let page = prop_oneof![0..20u64, 0..PAGES];
    let pages = |most| prop::collection::vec(page.clone(), 0..most);
    let (gather, batch) = (0..GATHERS, 0..BATCHES);
    prop_oneof![
        6 => (gather.clone(), batch.clone(), pages(30)).prop_map(|(g, b, p)| Step::Ask(g, b, p)),
        1 => (gather.clone(), batch.clone(), pages(300)).prop_map(|(g, b, p)| Step::Ask(g, b, p)),
        4 => gather.clone().prop_map(Step::Collect),
        4 => gather.clone().prop_map(Step::Wait),
        3 => (gather.clone(), batch).prop_map(|(g, b)| Step::Leave(g, b)),
        1 => pages(20).prop_map(Step::Visit),
        2 => page.clone().prop_map(Step::Forget),
        1 => gather.prop_map(Step::BeginAnew),
    ]
}

fn is_broken(page: u64) -> bool {
    page % 13 == 5
}

/// What is to be told of the batches of one gather: the pages that are missing, by their places.
#[derive(Default)]
struct Model {
    missing: BTreeMap<(u32, usize), u64>,
}

impl Model {
    fn told(&mut self, batch: u32, place: usize, bytes: Result<&[u8], String>) {
        let page = self.missing.remove(&(batch, place));
        let page =
            page.unwrap_or_else(|| panic!("place {place} of batch {batch} is not waited for"));
        match bytes {
            Ok(bytes) => assert!(!is_broken(page) && is_page(bytes, PageNo(page))),
            Err(error) => assert!(is_broken(page), "page {page}: {error}"),
        }
    }

    fn collect(&mut self, gather: &mut dyn Gather) {
        gather.collect(&mut |batch, place, bytes| {
            self.told(batch, place, bytes.map_err(|error| error.to_string()));
        });
    }
}

fn file_on(late: u32, full: u64) -> (ringpool_bufferpool::Pool, PoolFile) {
    let pool = pool(70);
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    let memory = Arc::new(MemoryDevice::new(specimen.in_memory()));
    let device = FaultyDevice::answering(memory, move |ordinal, page| {
        let fault = match page.0 {
            page if is_broken(page) && page % 2 == 0 => Some(Fault::Errno(5)),
            page if is_broken(page) => Some(Fault::FlipBit(page as usize)),
            _ => (full > 0 && ordinal % 17 < full).then_some(Fault::QueueFull),
        };
        Answer { late_by_reads: (ordinal * 11 % 7) as u32 * late, fault }
    });
    let file = pool.attach(Arc::new(device), Some(specimen.checksums)).unwrap();
    (pool, file)
}

fn ask(gather: &mut dyn Gather, model: &mut Model, batch: u32, pages: &[u64]) {
    if model.missing.keys().any(|&(other, _)| other == batch) {
        return; // Its places are taken.
    }
    let asked: Vec<PageNo> = pages.iter().copied().map(PageNo).collect();
    model.missing.extend((0..).zip(pages).map(|(place, &page)| ((batch, place), page)));
    let to_come =
        gather.ask(batch, &asked, &mut |place, bytes| model.told(batch, place, Ok(bytes)));
    let missing = model.missing.keys().filter(|&&(other, _)| other == batch).count();
    assert_eq!(to_come.unwrap(), missing);
}

fn run(steps: &[Step], late: u32, full: u64) {
    let (pool, file) = file_on(late, full);
    let mut gathers: [_; GATHERS] =
        std::array::from_fn(|_| (file.gather().unwrap(), Model::default()));
    for step in steps {
        match step {
            Step::Ask(at, batch, pages) => {
                let (gather, model) = &mut gathers[*at];
                ask(&mut **gather, model, *batch, pages);
            }
            Step::Collect(at) => {
                let (gather, model) = &mut gathers[*at];
                model.collect(&mut **gather);
            }
            Step::Wait(at) => {
                let (gather, _) = &gathers[*at];
                let until =
                    || gather.outstanding() == 0 || gathers.iter().any(|(g, _)| g.has_arrivals());
                gather.wait(&until, None).unwrap();
            }
            Step::Leave(at, batch) => {
                let (gather, model) = &mut gathers[*at];
                gather.leave(*batch);
                model.missing.retain(|&(other, _), _| other != *batch);
            }
            Step::Visit(pages) => {
                let pages: Vec<PageNo> = pages.iter().copied().map(PageNo).collect();
                let visited = file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i])));
                assert_eq!(visited.is_err(), pages.iter().any(|page| is_broken(page.0)));
            }
            Step::Forget(page) => _ = file.forget(PageNo(*page)),
            Step::BeginAnew(at) => gathers[*at] = (file.gather().unwrap(), Model::default()),
        }
        for (gather, model) in &gathers {
            assert_eq!(gather.outstanding(), model.missing.len());
        }
        assert!(pool.audit().unwrap().pins <= pool.stats().frames as u64 / 2);
    }
    for (gather, model) in &mut gathers {
        for _ in 0..WAITS_MAX {
            if gather.outstanding() == 0 {
                break;
            }
            gather.wait(&|| gather.has_arrivals(), None).unwrap();
            if gather.has_arrivals() {
                model.collect(&mut **gather);
            }
        }
        assert_eq!((gather.outstanding(), model.missing.len()), (0, 0), "everything comes");
    }
    drop(gathers);
    drop(file);
    assert_whole(&pool, 0);
}

proptest! {
    #[test]
    fn a_gather_does_what_the_model_does(
        steps in prop::collection::vec(step(), 1..60),
        late in 0..3u32,
        full in 0..4u64,
    ) {
        run(&steps, late, full);
    }
}
