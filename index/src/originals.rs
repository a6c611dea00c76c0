//! Scoring points from their original vectors, which lie in memory or in pages.
//!
//! All pages that a set of points needs are asked for in one batch, each once and in ascending
//! order, and scored as they arrive. Vectors longer than a page are put together first.

use std::sync::Arc;
use std::time::Instant;

use ringpool_storage::{Error, PageNo, PageSource};

use crate::distance::RowQuery;
use crate::layout::Records;
use crate::resident::Rows;

/// The original vectors of a segment, wherever they are.
pub(crate) enum Originals {
    Resident(Rows),
    Paged(PagedRows),
}

impl Originals {
    /// Replaces `distances` by those of `points`, in their order.
    pub(crate) fn score(
        &self,
        query: &RowQuery,
        points: &[u32],
        scratch: &mut PageScratch,
        distances: &mut Vec<f32>,
    ) -> Result<(), Error> {
        match self {
            Self::Resident(rows) => {
                rows.score(query, points, f32::INFINITY, distances);
                Ok(())
            }
            Self::Paged(rows) => rows.score(query, points, scratch, distances),
        }
    }
}

/// Original vectors that are read by page.
pub(crate) struct PagedRows {
    pub(crate) source: Arc<dyn PageSource>,
    pub(crate) records: Records,
}

/// The most memory that vectors longer than a page are put together in at once, where one alone
/// does not need more.
const ASSEMBLY_BYTES: usize = 16 << 20;

/// What scoring needs, kept from one batch to the next.
#[derive(Default)]
pub(crate) struct PageScratch {
    /// For each point its page and where it stands among the points asked for.
    order: Vec<(PageNo, u32)>,
    pages: Vec<PageNo>,
    /// For each page where its points begin in `order`.
    starts: Vec<usize>,
    rows: Vec<u8>,
    /// Until when pages are waited for.
    pub(crate) deadline: Option<Instant>,
}

impl PagedRows {
    /// Replaces `distances` by those of `points`, in their order.
    pub(crate) fn score(
        &self,
        query: &RowQuery,
        points: &[u32],
        scratch: &mut PageScratch,
        distances: &mut Vec<f32>,
    ) -> Result<(), Error> {
        distances.clear();
        distances.resize(points.len(), 0.0);
        if self.records.per_page() > 0 {
            return self.score_in_pages(query, points, scratch, distances);
        }
        let at_once = (ASSEMBLY_BYTES / self.records.record_bytes).max(1);
        for (points, distances) in points.chunks(at_once).zip(distances.chunks_mut(at_once)) {
            self.score_assembled(query, points, scratch, distances)?;
        }
        Ok(())
    }

    fn score_in_pages(
        &self,
        query: &RowQuery,
        points: &[u32],
        scratch: &mut PageScratch,
        distances: &mut [f32],
    ) -> Result<(), Error> {
        let PageScratch { order, pages, starts, deadline, .. } = scratch;
        order.clear();
        let places = points.iter().map(|&point| self.records.place(point).0);
        order.extend(places.zip(0..));
        order.sort_unstable();
        pages.clear();
        starts.clear();
        for (i, &(page, _)) in order.iter().enumerate() {
            if pages.last() != Some(&page) {
                pages.push(page);
                starts.push(i);
            }
        }
        starts.push(order.len());
        let record_bytes = self.records.record_bytes;
        self.source.visit_until(pages, *deadline, &mut |i, page| {
            for &(_, point) in &order[starts[i]..starts[i + 1]] {
                let (_, offset) = self.records.place(points[point as usize]);
                let row = &page[offset..offset + record_bytes];
                distances[point as usize] = query.distance(row);
            }
        })
    }

    fn score_assembled(
        &self,
        query: &RowQuery,
        points: &[u32],
        scratch: &mut PageScratch,
        distances: &mut [f32],
    ) -> Result<(), Error> {
        let PageScratch { order, pages, rows, deadline, .. } = scratch;
        let span = self.records.span() as usize;
        let (record_bytes, page_bytes) =
            (self.records.record_bytes, self.records.page_size.bytes());
        order.clear();
        let places = points.iter().map(|&point| self.records.place(point).0);
        order.extend(places.zip(0..));
        order.sort_unstable();
        pages.clear();
        for &(first, _) in order.iter() {
            pages.extend((0..span as u64).map(|part| PageNo(first.0 + part)));
        }
        rows.resize(points.len() * record_bytes, 0);
        self.source.visit_until(pages, *deadline, &mut |i, page| {
            let (row, start) = (i / span, i % span * page_bytes);
            let row = &mut rows[row * record_bytes..][..record_bytes];
            let end = record_bytes.min(start + page_bytes);
            row[start..end].copy_from_slice(&page[..end - start]);
        })?;
        for (&(_, point), row) in order.iter().zip(rows.chunks(record_bytes)) {
            distances[point as usize] = query.distance(row);
        }
        Ok(())
    }
}
