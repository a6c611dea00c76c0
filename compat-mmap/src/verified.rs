//! Which pages have matched their checksum once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringpool_storage::PageNo;

/// One bit a page, set once and never cleared.
///
/// Relaxed throughout: a bit tells only that the file's bytes matched when some thread read them.
/// No memory is published with it, so there is no other operation to be ordered against. A thread
/// that sees an old 0 checks the page once more than it had to.
pub(crate) struct VerifiedPages {
    words: Box<[AtomicU64]>,
}

impl VerifiedPages {
    /// None of `pages` pages is verified yet.
    pub(crate) fn none_of(pages: u64) -> Self {
        let words = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0));
        Self { words: words.collect() }
    }

    /// Whether `page`, which must exist, has matched its checksum before.
    #[inline]
    pub(crate) fn contains(&self, page: PageNo) -> bool {
        let (word, bit) = self.place(page);
        word.load(Relaxed) & bit != 0
    }

    /// Remembers that `page`, which must exist, has matched its checksum.
    pub(crate) fn insert(&self, page: PageNo) {
        let (word, bit) = self.place(page);
        word.fetch_or(bit, Relaxed);
    }

    #[inline]
    fn place(&self, page: PageNo) -> (&AtomicU64, u64) {
        (&self.words[(page.0 / 64) as usize], 1 << (page.0 % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_a_bit_of_its_own() {
        let verified = VerifiedPages::none_of(130);
        for page in (0..130).map(PageNo) {
            assert!(!verified.contains(page), "{page} before");
            verified.insert(page);
            assert!(verified.contains(page), "{page} after");
        }
        assert_eq!(verified.words.len(), 3);
        assert_eq!(VerifiedPages::none_of(0).words.len(), 0);
    }

    #[test]
    fn threads_lose_no_bits_of_one_word() {
        let verified = VerifiedPages::none_of(64);
        std::thread::scope(|scope| {
            for first in 0..8 {
                let verified = &verified;
                scope.spawn(move || {
                    (first..64).step_by(8).map(PageNo).for_each(|page| verified.insert(page))
                });
            }
        });
        assert!((0..64).map(PageNo).all(|page| verified.contains(page)));
    }
}
