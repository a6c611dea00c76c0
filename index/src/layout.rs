//! Where a record lies in its file of pages.
//!
//! Records of one length fill pages without straddling them: as many as fit whole, then zeros. A
//! record longer than a page starts on a page of its own and runs over as many as it needs. Either
//! way each page holds one unbroken stretch of the records put end to end, from its first byte on:
//! writing and loading are copies of [`Records::stretch`].

use std::ops::Range;

use ringpool_storage::{PageNo, PageSize};

/// `count` records of `record_bytes` each, in pages from `first_page` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) page_size: PageSize,
    pub(crate) record_bytes: usize,
    pub(crate) count: u64,
    pub(crate) first_page: u64,
}

impl Records {
    /// How many records a page holds; 0 where one record takes several pages.
    #[inline]
    pub(crate) fn per_page(&self) -> usize {
        self.page_size.bytes() / self.record_bytes
    }

    /// How many pages a record touches.
    #[inline]
    pub(crate) fn span(&self) -> u64 {
        self.page_size.pages_for(self.record_bytes as u64)
    }

    /// How many pages all records take.
    pub(crate) fn pages(&self) -> u64 {
        match self.per_page() {
            0 => self.count * self.span(),
            per_page => self.count.div_ceil(per_page as u64),
        }
    }

    /// The page after the last.
    pub(crate) fn end_page(&self) -> u64 {
        self.first_page + self.pages()
    }

    /// All records put end to end, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.count * self.record_bytes as u64
    }

    /// The page on which a record starts, and where on it.
    #[inline]
    pub(crate) fn place(&self, record: u32) -> (PageNo, usize) {
        debug_assert!(u64::from(record) < self.count);
        let record = u64::from(record);
        let (page, offset) = match self.per_page() as u64 {
            0 => (record * self.span(), 0),
            per_page => (record / per_page, record % per_page * self.record_bytes as u64),
        };
        (PageNo(self.first_page + page), offset as usize)
    }

    /// Which bytes of the records put end to end a page holds, from its own first byte on.
    /// `page` counts from `first_page`.
    pub(crate) fn stretch(&self, page: u64) -> Range<usize> {
        debug_assert!(page < self.pages());
        let (start, end) = match self.per_page() as u64 {
            0 => {
                let (record, part) = (page / self.span(), page % self.span());
                let start =
                    record * self.record_bytes as u64 + part * self.page_size.bytes() as u64;
                (start, (record + 1) * self.record_bytes as u64)
            }
            per_page => {
                let record = page * per_page;
                let end = (record + per_page).min(self.count);
                (record * self.record_bytes as u64, end * self.record_bytes as u64)
            }
        };
        start as usize..end.min(start + self.page_size.bytes() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stretches_tile_the_records_and_places_agree(
            shift in 9u32..13,
            record_bytes in 1usize..9000,
            count in 0u64..60,
            first_page in 0u64..5,
        ) {
            let page_size = PageSize::new(1 << shift).unwrap();
            let records = Records { page_size, record_bytes, count, first_page };
            let mut next = 0;
            for page in 0..records.pages() {
                let stretch = records.stretch(page);
                prop_assert_eq!(stretch.start, next);
                prop_assert!(!stretch.is_empty() && stretch.len() <= page_size.bytes());
                next = stretch.end;
            }
            prop_assert_eq!(next as u64, records.bytes());
            for record in 0..count as u32 {
                let (page, offset) = records.place(record);
                let stretch = records.stretch(page.0 - first_page);
                prop_assert_eq!(stretch.start + offset, record as usize * record_bytes);
                // A record that fits a page never straddles two.
                let whole = offset + record_bytes <= page_size.bytes();
                prop_assert_eq!(whole, record_bytes <= page_size.bytes());
            }
        }
    }
}
