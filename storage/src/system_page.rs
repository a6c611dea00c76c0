//! The system's pages, which are not those of a file.
//!
//! The system gives memory, takes it back, locks it and reads ahead by pages of its own: 4 KiB on
//! x86-64; 4, 16 or 64 KiB on aarch64. A file's pages, of 512 bytes to 64 KiB, may be smaller or
//! larger. What is handed to the system is rounded here, one way or the other: what takes something
//! away (memory given back, a lock released) stays [within](SystemPage::within) the range, so that
//! what lies beside it keeps its own; what adds something (a lock, a page read ahead) goes
//! [around](SystemPage::around) it, so that none of it is left out.

use std::ops::Range;

use crate::platform;

/// A size of the system's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemPage {
    bytes: usize,
}

impl SystemPage {
    /// What most machines have, and what is assumed of one that does not say.
    const USUAL: Self = Self::of_bytes(4096);

    /// This machine's.
    pub fn of_machine() -> Self {
        let bytes = platform::system_page_bytes().filter(|bytes| bytes.is_power_of_two());
        bytes.map_or(Self::USUAL, Self::of_bytes)
    }

    /// Pages of so many bytes, to try the rounding of other machines.
    ///
    /// # Panics
    /// When `bytes` is no power of two.
    pub const fn of_bytes(bytes: usize) -> Self {
        assert!(bytes.is_power_of_two(), "a page is a power of two");
        Self { bytes }
    }

    /// Their size.
    pub const fn bytes(self) -> usize {
        self.bytes
    }

    /// The whole pages in a range of bytes, counted from the start of a page; `None` where there
    /// is none.
    pub fn within(self, range: Range<usize>) -> Option<Range<usize>> {
        let start = range.start.checked_next_multiple_of(self.bytes)?;
        let end = range.end & !(self.bytes - 1);
        (start < end).then_some(start..end)
    }

    /// The pages that a range of bytes, counted from the start of a page, touches. Of an empty
    /// range there are none.
    pub fn around(self, range: Range<usize>) -> Range<usize> {
        if range.is_empty() {
            return range;
        }
        let start = range.start & !(self.bytes - 1);
        let end = range.end.checked_next_multiple_of(self.bytes);
        start..end.unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn ranges_are_rounded_by_the_pages_of_every_machine() {
        for page_bytes in [4 * KIB, 16 * KIB, 64 * KIB] {
            let page = SystemPage::of_bytes(page_bytes);
            for (range, within, around) in [
                (0..0, None, 0..0),
                (5..5, None, 5..5),
                (0..1, None, 0..page_bytes),
                (1..page_bytes, None, 0..page_bytes),
                (0..page_bytes, Some(0..page_bytes), 0..page_bytes),
                (1..2 * page_bytes, Some(page_bytes..2 * page_bytes), 0..2 * page_bytes),
                (512..3 * page_bytes - 512, Some(page_bytes..2 * page_bytes), 0..3 * page_bytes),
                (page_bytes - 1..page_bytes + 1, None, 0..2 * page_bytes),
            ] {
                assert_eq!(page.within(range.clone()), within, "{range:?} of {page_bytes}");
                assert_eq!(page.around(range.clone()), around, "{range:?} of {page_bytes}");
            }
        }
    }

    #[test]
    fn the_end_of_the_address_space_is_no_overflow() {
        let page = SystemPage::of_bytes(64 * KIB);
        assert_eq!(page.within(usize::MAX - 1..usize::MAX), None);
        let start = usize::MAX & !(64 * KIB - 1);
        assert_eq!(page.around(usize::MAX - 1..usize::MAX), start..usize::MAX);
    }

    #[test]
    fn the_machine_has_one() {
        assert!(SystemPage::of_machine().bytes() >= 4 * KIB);
    }
}
