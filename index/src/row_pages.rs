//! Which pages a set of points needs, and which bytes of an arriving page are whose record.
//!
//! Each page is asked for once and in ascending order, however many of the points lie in it.
//! Records longer than a page are put together from theirs, and told when the last has arrived.

use ringpool_storage::PageNo;

use crate::layout::Records;

/// The most memory that records longer than a page are put together in at once, where one alone
/// does not need more.
const ASSEMBLY_BYTES: usize = 16 << 20;

/// The pages of some points; kept from one set of points to the next.
#[derive(Default)]
pub(crate) struct RowPages {
    /// To be asked for.
    pub(crate) pages: Vec<PageNo>,
    pub(crate) shares: Shares,
}

/// Whose records are in which of the pages.
#[derive(Default)]
pub(crate) struct Shares {
    /// For each point its page and where it stands among the points.
    order: Vec<(PageNo, u32)>,
    /// For each page where its points begin in `order`.
    starts: Vec<usize>,
    /// Records that are put together, in the order of `order`.
    assembled: Vec<u8>,
}

impl RowPages {
    /// How many points may be planned for at once.
    pub(crate) fn most(records: &Records) -> usize {
        match records.per_page() {
            0 => (ASSEMBLY_BYTES / records.record_bytes).max(1),
            _ => usize::MAX,
        }
    }

    /// Takes other points.
    pub(crate) fn plan(&mut self, records: &Records, points: impl Iterator<Item = u32>) {
        let Self { pages, shares: Shares { order, starts, assembled } } = self;
        order.clear();
        order.extend(points.map(|point| records.place(point).0).zip(0..));
        order.sort_unstable();
        pages.clear();
        starts.clear();
        if records.per_page() == 0 {
            for &(first, _) in order.iter() {
                pages.extend((0..records.span()).map(|part| PageNo(first.0 + part)));
            }
            assembled.resize(order.len() * records.record_bytes, 0);
            return;
        }
        for (i, &(page, _)) in order.iter().enumerate() {
            if pages.last() != Some(&page) {
                pages.push(page);
                starts.push(i);
            }
        }
        starts.push(order.len());
    }
}

impl Shares {
    /// Takes the page at `place` among those that were asked for, and tells of each point whose
    /// whole record it has: where it stands among `points`, which are those that were planned
    /// for, and its record.
    pub(crate) fn take(
        &mut self,
        records: &Records,
        points: &[u32],
        place: usize,
        page: &[u8],
        each: &mut dyn FnMut(usize, &[u8]),
    ) {
        let record_bytes = records.record_bytes;
        if records.per_page() == 0 {
            let span = records.span() as usize;
            let (row, start) = (place / span, place % span * records.page_size.bytes());
            let row = &mut self.assembled[row * record_bytes..][..record_bytes];
            let end = record_bytes.min(start + page.len());
            row[start..end].copy_from_slice(&page[..end - start]);
            return;
        }
        for &(_, point) in &self.order[self.starts[place]..self.starts[place + 1]] {
            let (_, offset) = records.place(points[point as usize]);
            each(point as usize, &page[offset..offset + record_bytes]);
        }
    }

    /// Tells of the points whose records had to be put together, once all pages were taken.
    pub(crate) fn finish(&self, records: &Records, each: &mut dyn FnMut(usize, &[u8])) {
        if records.per_page() == 0 {
            let rows = self.assembled.chunks_exact(records.record_bytes);
            for (&(_, point), row) in self.order.iter().zip(rows) {
                each(point as usize, row);
            }
        }
    }
}
