//! Which pages are read: any, each as likely as the others, drawn before the clock starts.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::storage::PageNo;

/// As many as are drawn; then the same come again.
const DRAWN: usize = 1 << 20;

/// As many as one visit is offered at least: more than any disk reads in a stretch.
const OFFERED: usize = DRAWN / 4;

/// An endless row of pages, the same for each file of so many.
pub struct RandomPages {
    drawn: Vec<PageNo>,
    next: usize,
}

impl RandomPages {
    /// Pages of a file that has `count` of them, at least one.
    pub fn of(count: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(count);
        let mut last = 0;
        let draw = || {
            let page = random.random_range(0..count);
            // Two pages in a row would become one read.
            last = if page == last + 1 { last } else { page };
            PageNo(last)
        };
        Self { drawn: std::iter::repeat_with(draw).take(DRAWN).collect(), next: 0 }
    }

    /// The pages that come next, at least a quarter of a million.
    pub fn ahead(&mut self) -> &[PageNo] {
        if self.drawn.len() - self.next < OFFERED {
            self.next = 0;
        }
        &self.drawn[self.next..]
    }

    /// So many of them were offered to the disk.
    pub fn skip(&mut self, count: usize) {
        self.next = (self.next + count).min(self.drawn.len());
    }

    /// The next page.
    pub fn take(&mut self) -> PageNo {
        let page = self.ahead()[0];
        self.skip(1);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_of_the_file_and_no_two_make_a_run() {
        for count in [1, 2, 3, 1000, u64::MAX >> 12] {
            let mut pages = RandomPages::of(count);
            let ahead = pages.ahead();
            assert!(ahead.len() >= OFFERED && ahead.iter().all(|page| page.0 < count));
            assert!(ahead.windows(2).all(|pair| pair[0].0 + 1 != pair[1].0));
        }
    }

    #[test]
    fn they_never_end() {
        let mut pages = RandomPages::of(1 << 40);
        let first = pages.ahead()[..2].to_vec();
        assert_eq!([pages.take(), pages.take()], first[..]);
        pages.skip(DRAWN - 3);
        assert_eq!(pages.ahead()[..2], first);
        pages.skip(usize::MAX / 2);
        assert_eq!(pages.take(), first[0]);
    }
}
