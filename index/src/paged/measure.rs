//! How far a point is, by a record of it that has just been read or that is in memory.

use super::memo::Told;
use super::upper::UpperCodes;
use crate::codes::Scheme;
use crate::distance::RowQuery;
use crate::passing::Passing;
use crate::resident::Rows;

/// Knows the query, and what records are of.
pub(crate) trait Measure {
    /// Whether anybody wants to know how far this point is.
    fn is_wanted(&self, point: u32) -> bool;

    /// What is told of a point whose record is in memory anyway.
    fn resident(&self, point: u32) -> Option<Told>;

    /// What `record` tells of its point, or what is wrong with it.
    fn of(&self, record: &[u8]) -> Result<Told, String>;

    /// How far the point with this vector is.
    fn exact(&self, row: &[u8]) -> f32;
}

/// By codes.
pub(crate) struct ByCodes<'a, S: Scheme> {
    pub(crate) codes: &'a S,
    pub(crate) query: &'a S::Query,
    pub(crate) resident: Resident<'a>,
    pub(crate) passing: Passing<'a>,
    pub(crate) row_query: &'a RowQuery,
}

/// Which codes are in memory anyway.
#[derive(Clone, Copy)]
pub(crate) enum Resident<'a> {
    All,
    Upper(&'a UpperCodes),
}

impl<S: Scheme> Measure for ByCodes<'_, S> {
    #[inline]
    fn is_wanted(&self, point: u32) -> bool {
        self.passing.contains(point)
    }

    fn resident(&self, point: u32) -> Option<Told> {
        match self.resident {
            Resident::All => {
                let distance = self.codes.distance(self.query, point);
                Some(self.told(self.codes.row(point), distance))
            }
            Resident::Upper(upper) => {
                let code = upper.code(point)?;
                Some(self.told(code, self.codes.measure(self.query, code)))
            }
        }
    }

    fn of(&self, record: &[u8]) -> Result<Told, String> {
        self.codes.check(record)?;
        Ok(self.told(record, self.codes.measure(self.query, record)))
    }

    fn exact(&self, row: &[u8]) -> f32 {
        self.row_query.distance(row)
    }
}

impl<S: Scheme> ByCodes<'_, S> {
    fn told(&self, code: &[u8], distance: f32) -> Told {
        Told { distance, error: self.codes.error(self.query, code, distance), exact: None }
    }
}

/// By original vectors, those that are in memory or those that are read.
pub(crate) struct ByRows<'a> {
    pub(crate) query: &'a RowQuery,
    pub(crate) resident: Option<&'a Rows>,
    pub(crate) passing: Passing<'a>,
}

impl Measure for ByRows<'_> {
    #[inline]
    fn is_wanted(&self, point: u32) -> bool {
        self.passing.contains(point)
    }

    fn resident(&self, point: u32) -> Option<Told> {
        let row = self.resident?.row(point);
        Some(Told { distance: self.query.distance(row), ..Told::default() })
    }

    fn of(&self, record: &[u8]) -> Result<Told, String> {
        Ok(Told { distance: self.exact(record), ..Told::default() })
    }

    fn exact(&self, row: &[u8]) -> f32 {
        self.query.distance(row)
    }
}
