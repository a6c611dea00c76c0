//! Places inside, ids outside.
//!
//! A point has an id of its own: a number of 64 bits that stays when segments are rewritten. In a
//! segment it has a place: rows, codes and neighbours lie in the order of places, neighbours are
//! named by their places, and a search knows nothing else until it makes hits.
//!
//! Between the two stands its *rank*, which is the number of its id among all ids of the segment
//! in ascending order. Where two points are equally far the one with the lower id comes first,
//! wherever they lie: ranks are in the order of ids and take half their bytes, so walks compare
//! these. From rank to id is a load, from id to rank a binary search.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::aligned::Aligned;
use crate::{MAX_POINTS, Selection};

/// The largest id. The number above it says in files of ids that there is none.
pub const MAX_ID: u64 = u64::MAX - 1;

/// Where the ids of a segment's points come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum IdSource {
    /// They are the rows' numbers in the order in which vectors were given.
    Rows {
        /// The id of row 0.
        first_id: u64,
    },
    /// They were given beside the vectors.
    Given,
}

/// The ids and the ranks of a segment's points.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The rank of the point at each place, a permutation; none where a rank is a place.
    ranks: Option<Aligned<u32>>,
    named: Named,
}

/// The id of each rank.
#[derive(Debug)]
enum Named {
    /// The ids follow each other.
    From { first_id: u64, points: usize },
    /// In ascending order.
    Each(Aligned<u64>),
}

impl Ids {
    /// Of however many points that lie as they were given, with their rows as ids.
    pub(crate) const ROWS: Self =
        Self { ranks: None, named: Named::From { first_id: 0, points: MAX_POINTS } };

    /// Of `points` points, by what [`check_ranks`] and [`check_ids`] let pass. `own` are the ids
    /// of all ranks where they do not follow each other.
    pub(crate) fn new(
        points: usize,
        source: IdSource,
        ranks: Option<Aligned<u32>>,
        own: Option<Aligned<u64>>,
    ) -> Self {
        let first_id = match source {
            IdSource::Rows { first_id } => first_id,
            IdSource::Given => 0,
        };
        let named = own.map_or(Named::From { first_id, points }, Named::Each);
        Self { ranks, named }
    }

    /// The rank of the point at `place`.
    #[inline]
    pub(crate) fn rank(&self, place: u32) -> u32 {
        match &self.ranks {
            None => place,
            Some(ranks) => ranks[place as usize],
        }
    }

    /// The id with this rank.
    #[inline]
    pub(crate) fn of_rank(&self, rank: u32) -> u64 {
        match &self.named {
            Named::From { first_id, .. } => first_id + u64::from(rank),
            Named::Each(ids) => ids[rank as usize],
        }
    }

    /// The id of the point at `place`.
    #[inline]
    pub(crate) fn id(&self, place: u32) -> u64 {
        self.of_rank(self.rank(place))
    }

    /// The rank of an id, if a point has it.
    pub(crate) fn rank_of(&self, id: u64) -> Option<u32> {
        let rank = match &self.named {
            Named::From { first_id, points } => {
                id.checked_sub(*first_id).filter(|&rank| rank < *points as u64)?
            }
            Named::Each(ids) => ids.binary_search(&id).ok()? as u64,
        };
        Some(rank as u32)
    }

    /// The place of the point with this id. Where places are no ranks it is looked for among all,
    /// four bytes a point.
    pub(crate) fn place_of(&self, id: u64) -> Option<u32> {
        let rank = self.rank_of(id)?;
        match &self.ranks {
            None => Some(rank),
            Some(ranks) => ranks.iter().position(|&other| other == rank).map(|at| at as u32),
        }
    }

    /// The places of those of `ids` that points have, of `points` points; all of them are looked
    /// for in one pass.
    pub(crate) fn places_of(&self, ids: &[u64], points: usize) -> Selection {
        let mut wanted = Selection::none(points);
        ids.iter().filter_map(|&id| self.rank_of(id)).for_each(|rank| {
            wanted.insert(rank);
        });
        let Some(ranks) = &self.ranks else { return wanted };
        let mut places = Selection::none(points);
        if !wanted.is_empty() {
            let found = (0..).zip(ranks.iter()).filter(|&(_, &rank)| wanted.contains(rank));
            found.for_each(|(place, _)| {
                places.insert(place);
            });
        }
        places
    }

    /// The places of the points whose ids are in this range, of `points` points.
    pub(crate) fn places_within(&self, ids: RangeInclusive<u64>, points: usize) -> Selection {
        let end = ids.end().checked_add(1).map_or(points as u32, |end| self.ranks_below(end));
        let ranks = self.ranks_below(*ids.start())..end;
        let mut within = Selection::none(points);
        match &self.ranks {
            None => ranks.for_each(|rank| {
                within.insert(rank);
            }),
            Some(all) => {
                let hits = (0..).zip(all.iter()).filter(|(_, rank)| ranks.contains(rank));
                hits.for_each(|(place, _)| {
                    within.insert(place);
                });
            }
        }
        within
    }

    /// How many ids are below this one.
    fn ranks_below(&self, id: u64) -> u32 {
        match &self.named {
            Named::From { first_id, points } => {
                id.saturating_sub(*first_id).min(*points as u64) as u32
            }
            Named::Each(ids) => ids.partition_point(|&other| other < id) as u32,
        }
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let named = match &self.named {
            Named::From { .. } => 0,
            Named::Each(ids) => ids.resident_bytes(),
        };
        self.ranks.as_ref().map_or(0, Aligned::resident_bytes) + named
    }
}

/// Takes words that anybody may have written; says what is wrong where they are no permutation.
pub(crate) fn check_ranks(ranks: &[u32]) -> Result<(), String> {
    let mut seen = vec![false; ranks.len()];
    for (place, &rank) in ranks.iter().enumerate() {
        match seen.get_mut(rank as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("the rank {rank} is at place {place} and one before")),
            None => {
                let count = ranks.len();
                return Err(format!(
                    "place {place} has the rank {rank}, expected one below {count}"
                ));
            }
        }
    }
    Ok(())
}

/// The same of ids, which ascend.
pub(crate) fn check_ids(ids: &[u64]) -> Result<(), String> {
    if let Some(rank) = ids.windows(2).position(|pair| pair[0] >= pair[1]) {
        let (id, next) = (ids[rank], ids[rank + 1]);
        return Err(format!("rank {rank} has the id {id} and the next one {next}: ids ascend"));
    }
    match ids.last() {
        Some(&last) if last > MAX_ID => Err(format!("the id {last} is above {MAX_ID}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words<T: bytemuck::Pod>(of: &[T]) -> Aligned<T> {
        let mut words = Aligned::zeroed(of.len());
        words.copy_from_slice(of);
        words
    }

    #[test]
    fn every_rank_is_at_one_place_and_ids_ascend() {
        check_ranks(&[2, 0, 3, 1]).unwrap();
        assert!(check_ranks(&[0, 4, 1, 2]).unwrap_err().contains("place 1 has the rank 4"));
        assert!(check_ranks(&[u32::MAX]).is_err());
        assert!(check_ranks(&[0, 1, 2, 1]).unwrap_err().contains("the rank 1 is at place 3"));
        check_ids(&[0, 7, MAX_ID]).unwrap();
        assert!(check_ids(&[0, 7, 7]).unwrap_err().contains("rank 1 has the id 7"));
        assert!(check_ids(&[8, 7]).is_err());
        assert!(check_ids(&[8, u64::MAX]).is_err());
    }

    #[test]
    fn the_last_ids_there_are() {
        let ids = Ids::new(3, IdSource::Rows { first_id: MAX_ID - 2 }, None, None);
        assert_eq!(
            (ids.id(2), ids.rank_of(MAX_ID), ids.rank_of(u64::MAX)),
            (MAX_ID, Some(2), None)
        );
        assert_eq!(ids.places_within(MAX_ID..=u64::MAX, 3).iter().collect::<Vec<_>>(), [2]);
        assert_eq!(ids.places_within(0..=u64::MAX, 3).len(), 3);
    }

    proptest! {
        /// Whatever the ids and wherever the points, each is found by the other.
        #[test]
        fn ids_places_and_ranks_agree(
            ids in proptest::collection::btree_set(0_u64..200, 1..60),
            order in any::<u64>(),
            is_packed: bool,
            first_id in prop_oneof![Just(None), (0_u64..100).prop_map(Some)],
            (low, high) in (0_u64..220, 0_u64..220),
        ) {
            let points = ids.len();
            let mut ranks: Vec<u32> = (0..points as u32).collect();
            if is_packed {
                ranks.sort_by_key(|&rank| crate::graph::mix(order ^ u64::from(rank)));
            }
            let of_rank: Vec<u64> = match first_id {
                Some(first) => (first..).take(points).collect(),
                None => ids.into_iter().collect(),
            };
            let source = first_id.map_or(IdSource::Given, |first_id| IdSource::Rows { first_id });
            let own = first_id.is_none().then(|| words(&of_rank));
            let made = Ids::new(points, source, is_packed.then(|| words(&ranks)), own);
            let at = |place: usize| of_rank[ranks[place] as usize];
            for place in 0..points {
                prop_assert_eq!(made.id(place as u32), at(place));
                prop_assert_eq!(made.place_of(at(place)), Some(place as u32));
            }
            let chosen = |keep: &dyn Fn(u64) -> bool| -> Vec<u32> {
                (0..points as u32).filter(|&place| keep(at(place as usize))).collect()
            };
            for id in 0..220 {
                prop_assert_eq!(made.rank_of(id).is_some(), of_rank.contains(&id));
            }
            let thirds: Vec<u64> = (0..300).filter(|id| id % 3 == 0).collect();
            let found: Vec<u32> = made.places_of(&thirds, points).iter().collect();
            prop_assert_eq!(found, chosen(&|id| id % 3 == 0));
            let found: Vec<u32> = made.places_within(low..=high, points).iter().collect();
            prop_assert_eq!(found, chosen(&|id| (low..=high).contains(&id)));
        }
    }
}
