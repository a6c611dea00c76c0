//! Places inside, ids outside.
//!
//! A point's id is its number in the order in which vectors were given. In a segment it has a place:
//! rows, codes and neighbours lie in the order of places, neighbours are named by their places, and
//! a search knows nothing else until it makes hits. Where two points are equally far the lower id
//! comes first, wherever they lie: so the order on disk changes no hit.

use crate::aligned::Aligned;

/// The id of the point at each place.
#[derive(Debug)]
pub(crate) enum Ids {
    /// Points lie as they were given: a place is an id.
    Given,
    /// Packed: the ids in the order of places, a permutation.
    Packed(Aligned<u32>),
}

impl Ids {
    /// Takes words that anybody may have written; says what is wrong where they are no permutation.
    pub(crate) fn packed(ids: Aligned<u32>) -> Result<Self, String> {
        let mut seen = vec![false; ids.len()];
        for (place, &id) in ids.iter().enumerate() {
            match seen.get_mut(id as usize) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return Err(format!("the id {id} is at place {place} and one before")),
                None => {
                    let count = ids.len();
                    return Err(format!(
                        "place {place} has the id {id}, expected one below {count}"
                    ));
                }
            }
        }
        Ok(Self::Packed(ids))
    }

    /// The id of the point at `place`.
    #[inline]
    pub(crate) fn of(&self, place: u32) -> u32 {
        match self {
            Self::Given => place,
            Self::Packed(ids) => ids[place as usize],
        }
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        match self {
            Self::Given => 0,
            Self::Packed(ids) => ids.resident_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(ids: &[u32]) -> Result<Ids, String> {
        let mut words = Aligned::zeroed(ids.len());
        words.copy_from_slice(ids);
        Ids::packed(words)
    }

    #[test]
    fn every_id_is_at_one_place() {
        let ids = packed(&[2, 0, 3, 1]).unwrap();
        assert_eq!([0, 1, 2, 3].map(|place| ids.of(place)), [2, 0, 3, 1]);
        assert_eq!(Ids::Given.of(7), 7);
        assert!(packed(&[0, 4, 1, 2]).unwrap_err().contains("place 1 has the id 4"));
        assert!(packed(&[u32::MAX]).is_err());
        assert!(packed(&[0, 1, 2, 1]).unwrap_err().contains("the id 1 is at place 3"));
    }
}
