//! Scoring points from their original vectors, which lie in memory or in pages.
//!
//! All pages that a set of points needs are asked for in one batch and scored as they arrive.

use std::time::Instant;

use ringpool_storage::Error;

use crate::distance::RowQuery;
use crate::paged::Paged;
use crate::resident::Rows;
use crate::row_pages::RowPages;

/// The original vectors of a segment, wherever they are.
pub(crate) enum Originals {
    Resident(Rows),
    Paged(Paged),
}

/// What scoring needs, kept from one batch to the next.
#[derive(Default)]
pub(crate) struct PageScratch {
    pages: RowPages,
    /// Until when pages are waited for.
    pub(crate) deadline: Option<Instant>,
}

impl Paged {
    /// Replaces `distances` by those of `points`, in their order.
    pub(crate) fn score(
        &self,
        query: &RowQuery,
        points: &[u32],
        scratch: &mut PageScratch,
        distances: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let PageScratch { pages, deadline } = scratch;
        distances.clear();
        distances.resize(points.len(), 0.0);
        let at_once = RowPages::most(&self.records);
        for (points, distances) in points.chunks(at_once).zip(distances.chunks_mut(at_once)) {
            pages.plan(&self.records, points.iter().copied());
            let RowPages { pages, shares } = pages;
            let each = &mut |point: usize, record: &[u8]| {
                distances[point] = query.distance(self.row(record));
            };
            self.source.visit_until(pages, *deadline, &mut |place, page| {
                shares.take(&self.records, points, place, page, each);
            })?;
            shares.finish(&self.records, each);
        }
        Ok(())
    }
}
