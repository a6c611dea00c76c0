//! What goes into a segment beside the vectors.

use crate::ids::{IdSource, MAX_ID};
use crate::{BuildError, Columns, ColumnsError};

/// What a segment's points have besides their vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attached<'a> {
    /// Their ids.
    pub ids: GivenIds<'a>,
    /// The values of their fields.
    pub columns: Option<&'a Columns>,
}

/// The ids of vectors.
#[derive(Clone, Copy, Debug)]
pub enum GivenIds<'a> {
    /// The first has this one, and each the next.
    From(u64),
    /// One for each, in their order: no two are the same, and none is above [`MAX_ID`].
    Each(&'a [u64]),
}

impl Default for GivenIds<'_> {
    fn default() -> Self {
        Self::From(0)
    }
}

impl<'a> From<GivenIds<'a>> for Attached<'a> {
    /// These ids and nothing else.
    fn from(ids: GivenIds<'a>) -> Self {
        Self { ids, columns: None }
    }
}

impl Attached<'_> {
    /// What a build needs for these beyond what [`BuildOptions::memory`](crate::BuildOptions::memory)
    /// tells, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let ids = match self.ids {
            GivenIds::From(_) => 0,
            GivenIds::Each(ids) => ids.len() as u64 * Ranked::BYTES_PER_ID,
        };
        ids + self.columns.map_or(0, Columns::build_bytes)
    }

    /// Passes where there are fields for so many vectors, or none at all.
    pub(crate) fn check(&self, points: usize) -> Result<(), ColumnsError> {
        match self.columns.map(Columns::rows).filter(|&rows| rows != points) {
            Some(rows) => Err(ColumnsError::Rows { rows, points }),
            None => Ok(()),
        }
    }
}

/// Ids in their order.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(crate) source: IdSource,
    /// For each row the rank of its id, where that is not the row.
    pub(crate) ranks: Option<Vec<u32>>,
    /// The ids in ascending order, where they do not follow each other.
    pub(crate) own: Vec<u64>,
}

impl Ranked {
    /// The ids as they were given, the order of rows, ranks twice, and the ids once more.
    const BYTES_PER_ID: u64 = 8 + 4 + 4 + 4 + 8;

    /// Ranks the ids of so many vectors.
    ///
    /// # Errors
    /// When they are not as many, when two are the same, or when one is too large.
    pub(crate) fn new(ids: GivenIds<'_>, rows: usize) -> Result<Self, BuildError> {
        let ids = match ids {
            GivenIds::Each(ids) => ids,
            GivenIds::From(first_id) => {
                let last = first_id.checked_add(rows.saturating_sub(1) as u64);
                if last.is_none_or(|last| last > MAX_ID) {
                    return Err(BuildError::FirstId { first_id, rows });
                }
                return Ok(Self {
                    source: IdSource::Rows { first_id },
                    ranks: None,
                    own: Vec::new(),
                });
            }
        };
        if ids.len() != rows {
            return Err(BuildError::IdCount { ids: ids.len(), rows });
        }
        if let Some(row) = ids.iter().position(|&id| id > MAX_ID) {
            return Err(BuildError::IdTooLarge { row, id: ids[row] });
        }
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_unstable_by_key(|&row| (ids[row as usize], row));
        let own: Vec<u64> = order.iter().map(|&row| ids[row as usize]).collect();
        if let Some(at) = own.windows(2).position(|pair| pair[0] == pair[1]) {
            let [first_row, second_row] = [at, at + 1].map(|at| order[at] as usize);
            return Err(BuildError::DuplicateId { id: own[at], first_row, second_row });
        }
        let is_ascending = order.is_sorted();
        let follow = own.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        if let Some(&first_id) = own.first().filter(|_| is_ascending && follow) {
            return Ok(Self { source: IdSource::Rows { first_id }, ranks: None, own: Vec::new() });
        }
        let mut ranks = vec![0; rows];
        for (rank, &row) in (0..).zip(&order) {
            ranks[row as usize] = rank;
        }
        let ranks = (!is_ascending).then_some(ranks);
        Ok(Self { source: IdSource::Given, ranks, own })
    }

    /// The rank of a row's id.
    pub(crate) fn rank(&self, row: u32) -> u32 {
        self.ranks.as_ref().map_or(row, |ranks| ranks[row as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_follow_each_other_are_not_kept() {
        for ids in [GivenIds::From(7), GivenIds::Each(&[7, 8, 9])] {
            let ranked = Ranked::new(ids, 3).unwrap();
            assert_eq!(ranked.source, IdSource::Rows { first_id: 7 });
            assert!(ranked.ranks.is_none() && ranked.own.is_empty());
        }
        let ranked = Ranked::new(GivenIds::Each(&[9, 8, 7]), 3).unwrap();
        assert_eq!((ranked.source, ranked.ranks), (IdSource::Given, Some(vec![2, 1, 0])));
        let ranked = Ranked::new(GivenIds::Each(&[3, 8, 90]), 3).unwrap();
        assert_eq!(
            (ranked.source, ranked.ranks, ranked.own),
            (IdSource::Given, None, vec![3, 8, 90])
        );
    }

    #[test]
    fn ids_that_cannot_be() {
        let refused = |ids: &[u64], rows| Ranked::new(GivenIds::Each(ids), rows).unwrap_err();
        let error = refused(&[5, 1, 4, 1, 1], 5);
        assert!(
            matches!(error, BuildError::DuplicateId { id: 1, first_row: 1, second_row: 3 }),
            "{error}"
        );
        assert!(matches!(refused(&[1, 2], 3), BuildError::IdCount { ids: 2, rows: 3 }));
        assert!(matches!(refused(&[1, u64::MAX], 2), BuildError::IdTooLarge { row: 1, .. }));
        for (first_id, rows, fine) in [(MAX_ID, 1, true), (MAX_ID, 2, false), (u64::MAX, 1, false)]
        {
            assert_eq!(Ranked::new(GivenIds::From(first_id), rows).is_ok(), fine);
        }
    }
}
