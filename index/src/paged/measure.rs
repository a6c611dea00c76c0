//! How far a point is, by a record of it that has just been read or that is in memory.

use super::memo::Told;
use crate::codes::Scheme;
use crate::distance::RowQuery;
use crate::resident::Rows;

/// Knows the query, and what records are of.
pub(crate) trait Measure {
    /// What is told of a point whose record is in memory anyway.
    fn resident(&self, point: u32) -> Option<Told>;

    /// What `record` tells of its point, or what is wrong with it.
    fn of(&self, record: &[u8]) -> Result<Told, String>;
}

/// By codes.
pub(crate) struct ByCodes<'a, S: Scheme> {
    pub(crate) codes: &'a S,
    pub(crate) query: &'a S::Query,
    pub(crate) are_resident: bool,
}

impl<S: Scheme> Measure for ByCodes<'_, S> {
    fn resident(&self, point: u32) -> Option<Told> {
        self.are_resident.then(|| {
            let distance = self.codes.distance(self.query, point);
            Told { distance, error: self.codes.error(self.query, self.codes.row(point), distance) }
        })
    }

    fn of(&self, record: &[u8]) -> Result<Told, String> {
        self.codes.check(record)?;
        let distance = self.codes.measure(self.query, record);
        Ok(Told { distance, error: self.codes.error(self.query, record, distance) })
    }
}

/// By original vectors, those that are in memory or those that are read.
pub(crate) struct ByRows<'a> {
    pub(crate) query: &'a RowQuery,
    pub(crate) resident: Option<&'a Rows>,
}

impl Measure for ByRows<'_> {
    fn resident(&self, point: u32) -> Option<Told> {
        let row = self.resident?.row(point);
        Some(Told { distance: self.query.distance(row), error: None })
    }

    fn of(&self, record: &[u8]) -> Result<Told, String> {
        Ok(Told { distance: self.query.distance(record), error: None })
    }
}
