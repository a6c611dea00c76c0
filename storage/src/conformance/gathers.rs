//! The list for gathers: what every way to ask for many batches at once must do.
//!
//! Each case asks, waits and collects as a thread with many queries does, and then looks at the
//! books: every place of every batch that did not leave was told once, with the bytes of its page.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{OpenSource, Specimen, check};
use crate::{AtOnce, Error, Gather, PageNo, PageSize, PageSource};

/// No case needs so many waits: beyond, what it waits for does not come.
const WAITS_MAX: usize = 100_000;
/// How long a wait for one of several gathers lasts, before another has its turn.
const TURN: Duration = Duration::from_millis(1);

/// Runs the list for the gathers of sources: `open` is asked for a fresh source in each case, and
/// its memory should be far smaller than the specimen, which is written into `dir`. A source that has
/// no gather of its own is visited ([`AtOnce`]).
///
/// # Panics
/// When a case fails.
pub fn gathers(dir: &Path, open: &OpenSource<'_>) {
    let specimen = Specimen::write(dir, "gather-specimen", PageSize::KIB_4, 300);
    let source = open(&specimen);
    interleaved_batches_each_get_their_pages_once(&specimen, &*source);
    an_empty_batch_is_over_at_once(&*source);
    pages_may_be_asked_for_twice(&specimen, &*source);
    more_may_be_asked_for_than_there_is_memory(&specimen, &*source);
    who_leaves_is_told_nothing_more(&specimen, &*source);
    a_page_past_the_end_is_an_error_and_nothing_breaks(&specimen, &*source);
    a_panicking_visitor_leaves_the_gather_whole(&specimen, &*source);
    a_wait_without_anything_to_come_ends_at_its_deadline(&specimen, &*source);
    a_dropped_gather_leaves_the_source_whole(&specimen, &*source);
    two_gathers_share_a_thread(&specimen, &*source, &*open(&specimen));
    threads_gather_the_same_pages(&specimen, &*source);
    drop(source);
    a_flipped_bit_fails_its_page_alone(&specimen, open);
}

/// The gather of a source, and what each batch has asked for and was told.
struct Party<'s> {
    specimen: &'s Specimen,
    gather: Box<dyn Gather + 's>,
    asked: BTreeMap<u32, Vec<PageNo>>,
    told: BTreeMap<(u32, usize), usize>,
    failed: BTreeMap<(u32, usize), Error>,
}

impl<'s> Party<'s> {
    fn new(specimen: &'s Specimen, source: &'s dyn PageSource) -> Self {
        let gather = source.gather().unwrap_or_else(|| Box::new(AtOnce(source)));
        assert_eq!(gather.outstanding(), 0);
        let (asked, told, failed) = Default::default();
        Self { specimen, gather, asked, told, failed }
    }

    fn ask(&mut self, batch: u32, pages: &[PageNo]) -> crate::Result<usize> {
        let (specimen, before) = (self.specimen, self.gather.outstanding());
        let mut here = 0;
        let asked = self.gather.ask(batch, pages, &mut |i, bytes| {
            let right = bytes == Specimen::page(pages[i], specimen.page_size);
            assert!(right, "bytes of {:?}, place {i} of batch {batch}", pages[i]);
            *self.told.entry((batch, i)).or_default() += 1;
            here += 1;
        });
        if let Ok(to_come) = &asked {
            assert_eq!(here + to_come, pages.len(), "every page is here or to come");
            assert_eq!(self.gather.outstanding(), before + to_come);
            self.asked.insert(batch, pages.to_vec());
        }
        asked
    }

    fn collect(&mut self) {
        let Self { specimen, gather, asked, told, failed } = self;
        gather.collect(&mut |batch, i, bytes| {
            let page = asked.get(&batch).and_then(|pages| pages.get(i));
            let &page = page.unwrap_or_else(|| panic!("place {i} of batch {batch}: not asked for"));
            match bytes {
                Ok(bytes) => {
                    let right = bytes == Specimen::page(page, specimen.page_size);
                    assert!(right, "bytes of {page:?}, place {i} of batch {batch}");
                }
                Err(error) => _ = failed.insert((batch, i), error),
            }
            *told.entry((batch, i)).or_default() += 1;
        });
    }

    /// Waits and collects until at most so many pages are to come.
    fn collect_until(&mut self, left: usize) {
        for _ in 0..WAITS_MAX {
            if self.gather.outstanding() <= left {
                return;
            }
            let waited = self.gather.wait(&|| self.gather.has_arrivals(), None);
            waited.expect("a device that answers");
            if self.gather.has_arrivals() {
                self.collect();
            }
        }
        panic!("{} pages do not come", self.gather.outstanding());
    }

    fn leave(&mut self, batch: u32) {
        self.gather.leave(batch);
        self.asked.remove(&batch);
        self.told.retain(|&(other, _), _| other != batch);
    }

    /// Collects the rest, and compares.
    fn end(&mut self) {
        self.collect_until(0);
        assert!(self.told.values().all(|&times| times == 1), "each place once: {:?}", self.told);
        let asked: usize = self.asked.values().map(Vec::len).sum();
        assert_eq!(self.told.len(), asked, "every place is told");
    }

    fn end_without_failures(&mut self) {
        self.end();
        assert!(self.failed.is_empty(), "{:?}", self.failed);
    }
}

fn interleaved_batches_each_get_their_pages_once(specimen: &Specimen, source: &dyn PageSource) {
    let mut party = Party::new(specimen, source);
    for batch in 0..100 {
        party.ask(batch, &specimen.some(10, batch.into())).expect("good pages");
        if batch >= 16 {
            party.collect_until(100);
        }
    }
    party.end_without_failures();
    party.ask(7, &specimen.some(10, 7)).expect("a number that is over may be used anew");
    party.told.retain(|&(batch, _), _| batch != 7);
    party.collect_until(0);
}

fn an_empty_batch_is_over_at_once(source: &dyn PageSource) {
    let mut gather = source.gather().unwrap_or_else(|| Box::new(AtOnce(source)));
    let asked = gather.ask(1, &[], &mut |_, _| panic!("nothing was asked for"));
    assert_eq!(asked.expect("nothing to fail"), 0);
    gather.collect(&mut |_, _, _| panic!("nothing was asked for"));
    assert_eq!(gather.outstanding(), 0);
}

fn pages_may_be_asked_for_twice(specimen: &Specimen, source: &dyn PageSource) {
    let mut party = Party::new(specimen, source);
    for batch in 0..4 {
        party.ask(batch, &[PageNo(9), PageNo(7), PageNo(9), PageNo(9), PageNo(7)]).expect("good");
        party.ask(10 + batch, &[PageNo(11 * u64::from(batch)); 40]).expect("good pages");
    }
    party.end_without_failures();
}

fn more_may_be_asked_for_than_there_is_memory(specimen: &Specimen, source: &dyn PageSource) {
    let mut party = Party::new(specimen, source);
    for batch in 0..3 {
        party.ask(batch, &specimen.some(1_000, batch.into())).expect("good pages");
        party.ask(10 + batch, &specimen.all()).expect("good pages");
    }
    party.end_without_failures();
}

fn who_leaves_is_told_nothing_more(specimen: &Specimen, source: &dyn PageSource) {
    let mut party = Party::new(specimen, source);
    for round in 0..20 {
        for batch in 0..8 {
            party.ask(batch, &specimen.some(30, 8 * round + u64::from(batch))).expect("good pages");
        }
        if round % 2 == 0 {
            party.collect_until(120);
        }
        for batch in [1, 4, 4, 5, 100] {
            party.leave(batch);
        }
        // At once anew, with other pages, while those of before are still on their way.
        party.ask(4, &specimen.some(20, 1_000 + round)).expect("good pages");
        party.end_without_failures();
        (0..8).for_each(|batch| party.leave(batch));
        assert_eq!(party.gather.outstanding(), 0);
    }
}

fn a_page_past_the_end_is_an_error_and_nothing_breaks(
    specimen: &Specimen,
    source: &dyn PageSource,
) {
    let mut party = Party::new(specimen, source);
    party.ask(0, &specimen.some(30, 1)).expect("good pages");
    for wrong in [specimen.pages, specimen.pages + 1, u64::MAX / 4096, u64::MAX] {
        let verdict = party.ask(1, &[PageNo(0), PageNo(wrong), PageNo(1)]);
        let named = matches!(&verdict, Err(Error::NoSuchPage { page, .. }) if page.0 == wrong);
        assert!(named, "page {wrong} of {}: {verdict:?}", specimen.pages);
        party.leave(1);
    }
    party.ask(1, &specimen.some(30, 2)).expect("good pages");
    party.end_without_failures();
}

fn a_panicking_visitor_leaves_the_gather_whole(specimen: &Specimen, source: &dyn PageSource) {
    let mut party = Party::new(specimen, source);
    party.ask(1, &specimen.some(50, 1)).expect("good pages");
    let mut left = 3;
    let mut gone = |bytes: &[u8]| {
        assert!(!bytes.is_empty());
        left -= 1;
        if left == 0 {
            resume_unwind(Box::new("the visitor's own panic"));
        }
    };
    let gather = &mut *party.gather;
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        gather.ask(2, &specimen.some(50, 2), &mut |_, bytes| gone(bytes)).expect("good pages");
        for _ in 0..WAITS_MAX {
            gather.wait(&|| gather.has_arrivals(), None).expect("a device that answers");
            gather.collect(&mut |_, _, bytes| gone(bytes.expect("good pages")));
        }
    }));
    assert!(unwound.is_err(), "the visitor's panic is the caller's");
    party.leave(1);
    party.leave(2);
    assert_eq!(party.gather.outstanding(), 0);
    party.ask(1, &specimen.all()).expect("good pages");
    party.end_without_failures();
}

fn a_wait_without_anything_to_come_ends_at_its_deadline(
    specimen: &Specimen,
    source: &dyn PageSource,
) {
    let mut party = Party::new(specimen, source);
    for _ in 0..2 {
        party.gather.wait(&|| true, None).expect("it holds already");
        party.gather.wait(&|| false, Some(Instant::now() + TURN)).expect("nothing to wait for");
        party.ask(1, &specimen.some(100, 1)).expect("good pages");
        // And with something to come: not later, and what has come is there.
        party.gather.wait(&|| false, Some(Instant::now())).expect("a device that answers");
        party.end_without_failures();
        party.leave(1);
    }
}

fn a_dropped_gather_leaves_the_source_whole(specimen: &Specimen, source: &dyn PageSource) {
    for seed in 0..10 {
        let mut party = Party::new(specimen, source);
        party.ask(1, &specimen.some(100, seed)).expect("good pages");
        party.ask(2, &specimen.some(100, seed + 1)).expect("good pages");
        if seed % 2 == 0 {
            party.collect();
        }
    }
    check(specimen, source, &specimen.all());
}

/// Of different devices, for all that is known here: so they wait in turns.
fn two_gathers_share_a_thread(
    specimen: &Specimen,
    first: &dyn PageSource,
    second: &dyn PageSource,
) {
    let mut parties = [Party::new(specimen, first), Party::new(specimen, second)];
    for batch in 0..10 {
        for party in &mut parties {
            party.ask(batch, &specimen.some(20, batch.into())).expect("good pages");
        }
    }
    for turn in 0..WAITS_MAX {
        if parties.iter().all(|party| party.gather.outstanding() == 0) {
            break;
        }
        let arrived = || parties.iter().any(|party| party.gather.has_arrivals());
        let waited = parties[turn % 2].gather.wait(&arrived, Some(Instant::now() + TURN));
        waited.expect("a device that answers");
        parties.iter_mut().for_each(Party::collect);
    }
    parties.iter_mut().for_each(Party::end_without_failures);
}

fn threads_gather_the_same_pages(specimen: &Specimen, source: &dyn PageSource) {
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let mut party = Party::new(specimen, source);
                for batch in 0..50 {
                    let pages = specimen.some(11, 50 * seed + u64::from(batch));
                    party.ask(batch, &pages).expect("good pages");
                    party.collect_until(60);
                }
                party.end_without_failures();
            });
        }
    });
}

fn a_flipped_bit_fails_its_page_alone(specimen: &Specimen, open: &OpenSource<'_>) {
    let bad = PageNo(123);
    let bit = (bad.0 * specimen.page_size.bytes() as u64 + 1_000) * 8 + 3;
    specimen.flip_bit(bit);
    let source = open(specimen);
    let is_bad = |error: &Error| matches!(error, Error::Checksum { page, .. } if *page == bad);
    let mut party = Party::new(specimen, &*source);
    for _ in 0..2 {
        party.ask(1, &[PageNo(122), PageNo(124)]).expect("good pages");
        match party.ask(2, &[PageNo(121), bad, PageNo(125)]) {
            // Only where a batch is visited whole.
            Err(error) => assert!(is_bad(&error), "{error}"),
            Ok(_) => {
                party.end();
                let told: Vec<_> = std::mem::take(&mut party.failed).into_iter().collect();
                assert!(matches!(&told[..], [((2, 1), error)] if is_bad(error)), "{told:?}");
            }
        }
        party.leave(2);
        party.end_without_failures();
        party.leave(1);
    }
    drop(party);
    drop(source);
    specimen.flip_bit(bit);
    check(specimen, &*open(specimen), &[bad]);
}
