//! The best points that a walk has found so far.
//!
//! One array, sorted by (distance, id), at most ef long: a new candidate is inserted where it
//! belongs and the worst one falls off. A candidate is one u64: the distance's bits, made monotone,
//! above the place, above a bit that says whether its neighbours were looked at. Two are
//! compared by distance in one instruction; only where that is equal are their ids asked for, so
//! that the order is total and the same wherever points lie. Points past the ef-th best would never
//! be expanded, hence this is the same search as the paper's with its two heaps.

use crate::ids::Ids;

/// A list of at most `limit` candidates.
#[derive(Default)]
pub(crate) struct Candidates {
    sorted: Vec<u64>,
    limit: usize,
    /// Everything before it is expanded.
    cursor: usize,
}

const EXPANDED: u64 = 1;

impl Candidates {
    /// Empties the list and sets how many it keeps.
    pub(crate) fn begin(&mut self, limit: usize) {
        self.sorted.clear();
        self.limit = limit;
        self.cursor = 0;
    }

    /// Takes a point that was not offered before, if it is among the best.
    #[inline]
    pub(crate) fn offer(&mut self, distance: f32, place: u32, ids: &Ids) {
        let key = pack(distance, place);
        if self.sorted.len() >= self.limit {
            match self.sorted.last() {
                Some(&worst) if before(key, worst, ids) => self.sorted.pop(),
                _ => return,
            };
        }
        let mut at = self.sorted.partition_point(|&other| of_distance(other) < of_distance(key));
        if self.sorted.get(at).is_some_and(|&other| of_distance(other) == of_distance(key)) {
            at += self.sorted[at..].partition_point(|&other| before(other, key, ids));
        }
        self.sorted.insert(at, key);
        self.cursor = self.cursor.min(at);
    }

    /// The nearest point whose neighbours were not looked at yet; from now on they count as.
    #[inline]
    pub(crate) fn expand_next(&mut self) -> Option<u32> {
        while let Some(key) = self.sorted.get_mut(self.cursor) {
            self.cursor += 1;
            if *key & EXPANDED == 0 {
                *key |= EXPANDED;
                return Some(unpack(*key).1);
            }
        }
        None
    }

    /// The point that [`expand_next`](Self::expand_next) would give.
    #[inline]
    pub(crate) fn next(&self) -> Option<u32> {
        let ahead = self.sorted.get(self.cursor..)?;
        ahead.iter().find(|&&key| key & EXPANDED == 0).map(|&key| unpack(key).1)
    }

    /// The points whose neighbours were not looked at yet, nearest first.
    pub(crate) fn unexpanded(&self) -> impl Iterator<Item = u32> + '_ {
        let ahead = self.sorted.get(self.cursor..).unwrap_or_default().iter();
        ahead.filter(|&&key| key & EXPANDED == 0).map(|&key| unpack(key).1)
    }

    /// Points farther than this would not be kept.
    #[inline]
    pub(crate) fn bound(&self) -> f32 {
        match self.sorted.last() {
            Some(&worst) if self.sorted.len() >= self.limit => unpack(worst).0,
            _ => f32::INFINITY,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The candidates as (distance, place), nearest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (f32, u32)> + '_ {
        self.sorted.iter().map(|&key| unpack(key))
    }
}

/// Whether `a` comes before `b` in the order of (distance, id).
#[inline]
fn before(a: u64, b: u64, ids: &Ids) -> bool {
    if of_distance(a) != of_distance(b) {
        return a < b;
    }
    ids.rank(unpack(a).1) < ids.rank(unpack(b).1)
}

/// What orders as the distance does, by `f32::total_cmp`.
#[inline]
fn of_distance(key: u64) -> u32 {
    (key >> 32) as u32
}

/// Places are below 2^31.
#[inline]
fn pack(distance: f32, place: u32) -> u64 {
    debug_assert!(place >> 31 == 0, "places have 31 bits");
    let bits = distance.to_bits();
    let monotone = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(monotone) << 32 | u64::from(place) << 1
}

#[inline]
fn unpack(key: u64) -> (f32, u32) {
    let monotone = of_distance(key);
    let bits = if monotone >> 31 == 1 { monotone & !(1 << 31) } else { !monotone };
    (f32::from_bits(bits), (key as u32) >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::IdSource;
    use crate::aligned::Aligned;

    proptest! {
        #[test]
        fn keeps_the_best_in_order(
            distances in proptest::collection::vec(
                prop_oneof![any::<f32>(), Just(0.0), Just(-0.0), Just(1.0)], 200),
            ids in Just((0..200).collect::<Vec<u32>>()).prop_shuffle(),
            count in 0usize..200,
            is_packed: bool,
            limit in 1usize..50,
        ) {
            let ids = if is_packed {
                let mut packed = Aligned::zeroed(ids.len());
                packed.copy_from_slice(&ids);
                Ids::new(200, IdSource::Rows { first_id: 0 }, Some(packed), None)
            } else {
                Ids::ROWS
            };
            let mut offers: Vec<(f32, u32)> = distances.into_iter().zip(0..).take(count).collect();
            let mut candidates = Candidates::default();
            candidates.begin(limit);
            let mut expanded = 0;
            for (i, &(distance, place)) in offers.iter().enumerate() {
                candidates.offer(distance, place, &ids);
                if i % 3 == 0 {
                    expanded += usize::from(candidates.expand_next().is_some());
                }
            }
            while candidates.expand_next().is_some() {
                expanded += 1;
            }
            offers.sort_by(|a, b| a.0.total_cmp(&b.0).then(ids.rank(a.1).cmp(&ids.rank(b.1))));
            offers.truncate(limit);
            prop_assert!(expanded >= offers.len());
            let kept: Vec<_> = candidates.iter().map(|(d, at)| (d.to_bits(), at)).collect();
            let best: Vec<_> = offers.iter().map(|&(d, at)| (d.to_bits(), at)).collect();
            prop_assert_eq!(kept, best);
        }
    }
}
