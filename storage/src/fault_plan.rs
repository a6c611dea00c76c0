//! What goes wrong on a bad disk, drawn from a seed.
//!
//! A plan is a pure function: the same seed, read and page give the same fault in any build and on
//! any machine, whatever was asked before and by how many threads. So a run that failed is run
//! again from its seed, and a run of one thread meets the very same faults in the same order.

use libc::{EAGAIN, EINTR, EIO, ENOMEM};

use crate::faulty::{Answer, Fault};
use crate::{PageNo, PageSize};

/// The faults of one file's reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    rates: FaultRates,
    page_size: PageSize,
    pages: u64,
}

/// How often each fault happens: the share of all reads (or, where it says so, of all pages),
/// from 0 to 1. A read has one fault at most: of rates of reads that add up to more than 1, the
/// last ones are cut short.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// Reads that the system refuses once: EIO, EINTR, EAGAIN or ENOMEM.
    pub errno: f64,
    /// Reads that end after 0, 1, 511 or 512 bytes, or one byte before the page does.
    pub truncated: f64,
    /// Reads with one wrong bit.
    pub flipped_bit: f64,
    /// Reads whose page is old from some sector on.
    pub torn: f64,
    /// Reads that return another page of the file.
    pub misdirected: f64,
    /// Reads that are handed back once, as if the queue were full.
    pub queue_full: f64,
    /// Reads without an answer until [`FaultyDevice::release`](crate::FaultyDevice::release).
    pub held: f64,
    /// Reads that are answered, well or not, only after up to
    /// [`LATE_READS_MAX`](FaultPlan::LATE_READS_MAX) later ones.
    pub late: f64,
    /// Pages that no read ever gets (EIO), a [stretch](FaultPlan::BAD_STRETCH_PAGES) at a time.
    pub bad_pages: f64,
}

impl FaultRates {
    /// So large a share of all reads fails or has wrong bytes, each kind as often as the others;
    /// none is late, held or handed back, and no page is bad for ever.
    pub fn evenly(share: f64) -> Self {
        let each = share / 5.0;
        Self {
            errno: each,
            truncated: each,
            flipped_bit: each,
            torn: each,
            misdirected: each,
            ..Self::default()
        }
    }
}

/// A disk writes its sectors whole: a page is torn between two of them.
const SECTOR_BYTES: usize = 512;

impl FaultPlan {
    /// A late read is answered after so many later ones at most.
    pub const LATE_READS_MAX: u32 = 16;
    /// Pages that are bad for ever come in stretches of so many.
    pub const BAD_STRETCH_PAGES: u64 = 4;

    /// The plan that `seed` gives for a file of `pages` pages.
    pub fn new(seed: u64, rates: FaultRates, page_size: PageSize, pages: u64) -> Self {
        Self { seed, rates, page_size, pages }
    }

    /// What becomes of the read with this ordinal, which is one of `page`.
    pub fn answer(&self, ordinal: u64, page: PageNo) -> Answer {
        let mut draws = Draws::new([self.seed, ordinal, page.0]);
        let late = draws.share() < self.rates.late;
        let late_by_reads = 1 + draws.below(Self::LATE_READS_MAX.into()) as u32;
        let drawn = self.fault(&mut draws, page);
        let fault = if self.is_bad(page) { Some(Fault::Errno(EIO)) } else { drawn };
        Answer { late_by_reads: if late { late_by_reads } else { 0 }, fault }
    }

    /// Whether every read of `page` fails.
    pub fn is_bad(&self, page: PageNo) -> bool {
        let stretch = page.0 / Self::BAD_STRETCH_PAGES;
        Draws::new([self.seed, u64::MAX, stretch]).share() < self.rates.bad_pages
    }

    fn fault(&self, draws: &mut Draws, page: PageNo) -> Option<Fault> {
        type Draw = fn(&FaultPlan, &mut Draws, PageNo) -> Fault;
        let FaultRates {
            errno, truncated, flipped_bit, torn, misdirected, queue_full, held, ..
        } = self.rates;
        let kinds: [(f64, Draw); 7] = [
            (errno, |_, draws, _| Fault::Errno(draws.one_of(&[EIO, EINTR, EAGAIN, ENOMEM]))),
            (truncated, |plan, draws, _| Fault::Truncated(plan.shorter_than_a_page(draws))),
            (flipped_bit, |plan, draws, _| Fault::FlipBit(draws.index(8 * plan.page_size.bytes()))),
            (torn, |plan, draws, _| {
                Fault::Torn(SECTOR_BYTES * draws.index(plan.page_size.bytes() / SECTOR_BYTES))
            }),
            (misdirected, |plan, draws, page| plan.misdirected(draws, page)),
            (queue_full, |_, _, _| Fault::QueueFull),
            (held, |_, _, _| Fault::Hold),
        ];
        let mut left = draws.share();
        for (rate, draw) in kinds {
            if left < rate {
                return Some(draw(self, draws, page));
            }
            left -= rate;
        }
        None
    }

    fn shorter_than_a_page(&self, draws: &mut Draws) -> usize {
        let last = self.page_size.bytes() - 1;
        draws.one_of(&[0, 1, 511, 512, last]).min(last)
    }

    /// To any page but `page`. In a file of one page there is none: a bit is flipped instead.
    fn misdirected(&self, draws: &mut Draws, page: PageNo) -> Fault {
        match self.pages {
            0 | 1 => Fault::FlipBit(draws.index(8 * self.page_size.bytes())),
            pages => Fault::Misdirected(PageNo((page.0 + 1 + draws.below(pages - 1)) % pages)),
        }
    }
}

/// Random numbers that depend on nothing but what they are drawn from: splitmix64.
struct Draws(u64);

impl Draws {
    fn new(from: [u64; 3]) -> Self {
        from.into_iter().fold(Self(0), |draws, part| Self(Self(draws.0 ^ part).next()))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: u64 = 400;

    fn plan(seed: u64, rates: FaultRates) -> FaultPlan {
        FaultPlan::new(seed, rates, PageSize::KIB_4, PAGES)
    }

    fn all_kinds() -> FaultRates {
        let even = FaultRates::evenly(0.10);
        FaultRates { queue_full: 0.02, held: 0.02, late: 0.25, bad_pages: 0.1, ..even }
    }

    fn answers(plan: FaultPlan) -> Vec<Answer> {
        (0..10_000).map(|n| plan.answer(n, PageNo(n * 7 % PAGES))).collect()
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let first = answers(plan(1, all_kinds()));
        assert_eq!(first, answers(plan(1, all_kinds())));
        let other = answers(plan(2, all_kinds()));
        let alike = first.iter().zip(&other).filter(|(one, two)| one == two).count();
        // Of ten reads not quite six are on time and fine; a third of all is so under both seeds.
        assert!((2_500..4_500).contains(&alike), "{alike} of {} are alike", first.len());
        // Fixed, so that a seed noted down keeps its meaning.
        let second = Answer { late_by_reads: 5, fault: Some(Fault::Errno(EIO)) };
        let third = Answer { late_by_reads: 10, fault: Some(Fault::Hold) };
        assert_eq!(first[..3], [Answer::default(), second, third]);
    }

    #[test]
    fn each_fault_is_as_frequent_as_its_rate() {
        let plan = plan(3, FaultRates { bad_pages: 0.0, ..all_kinds() });
        let reads = 100_000;
        let answers: Vec<_> = (0..reads).map(|n| plan.answer(n, PageNo(n % PAGES))).collect();
        let is_near = |what: &str, share: f64, is: fn(&Answer) -> bool| {
            let count = answers.iter().filter(|answer| is(answer)).count();
            let found = count as f64 / reads as f64;
            assert!((0.9..1.1).contains(&(found / share)), "{what}: {found}, not {share}");
        };
        is_near("errno", 0.02, |answer| matches!(answer.fault, Some(Fault::Errno(_))));
        is_near("EINTR", 0.005, |answer| answer.fault == Some(Fault::Errno(EINTR)));
        is_near("truncated", 0.02, |answer| matches!(answer.fault, Some(Fault::Truncated(_))));
        is_near("flipped", 0.02, |answer| matches!(answer.fault, Some(Fault::FlipBit(_))));
        is_near("torn", 0.02, |answer| matches!(answer.fault, Some(Fault::Torn(_))));
        is_near("misdirected", 0.02, |answer| matches!(answer.fault, Some(Fault::Misdirected(_))));
        is_near("queue full", 0.02, |answer| answer.fault == Some(Fault::QueueFull));
        is_near("held", 0.02, |answer| answer.fault == Some(Fault::Hold));
        is_near("late", 0.25, |answer| answer.late_by_reads > 0);
        is_near("fine", 0.86, |answer| answer.fault.is_none());
    }

    #[test]
    fn bad_pages_are_bad_for_every_read_and_their_stretch_with_them() {
        let plan = plan(5, FaultRates { bad_pages: 0.1, ..FaultRates::default() });
        let bad: Vec<_> = (0..PAGES).map(PageNo).filter(|&page| plan.is_bad(page)).collect();
        assert!((16..80).contains(&bad.len()), "about a tenth of {PAGES}: {}", bad.len());
        for page in (0..PAGES).map(PageNo) {
            let first = PageNo(page.0 - page.0 % FaultPlan::BAD_STRETCH_PAGES);
            assert_eq!(plan.is_bad(page), plan.is_bad(first));
            let fault = bad.contains(&page).then_some(Fault::Errno(EIO));
            assert!((0..50).all(|n| plan.answer(n, page) == Answer { late_by_reads: 0, fault }));
        }
    }

    #[test]
    fn every_fault_is_one_whatever_the_page_size() {
        for (page_size, pages) in [(512, 1), (512, 2), (4096, 2), (65_536, 9)] {
            let page_size = PageSize::new(page_size).unwrap();
            let plan = FaultPlan::new(7, FaultRates::evenly(1.0), page_size, pages);
            for n in 0..5_000 {
                let page = PageNo(n % pages);
                match plan.answer(n, page).fault.expect("every read has a fault") {
                    Fault::Truncated(found_bytes) => assert!(found_bytes < page_size.bytes()),
                    Fault::FlipBit(bit) => assert!(bit < 8 * page_size.bytes()),
                    Fault::Torn(from) => assert!(from < page_size.bytes()),
                    Fault::Misdirected(other) => assert!(other != page && other.0 < pages),
                    other => assert!(matches!(other, Fault::Errno(_))),
                }
            }
        }
    }
}
