//! The best points that a walk has found so far.
//!
//! One array, sorted by (distance, id), at most ef long: a new candidate is inserted where it
//! belongs and the worst one falls off. A candidate is one u64, so that comparing two is one
//! instruction and the order is total: the distance's bits, made monotone, above the id, above a
//! bit that says whether its neighbours were looked at. Points past the ef-th best would never be
//! expanded, hence this is the same search as the paper's with its two heaps.

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
    pub(crate) fn offer(&mut self, distance: f32, id: u32) {
        let key = pack(distance, id);
        if self.sorted.len() >= self.limit {
            match self.sorted.last() {
                Some(&worst) if key < worst => self.sorted.pop(),
                _ => return,
            };
        }
        let at = self.sorted.partition_point(|&other| other < key);
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

    /// The candidates as (distance, id), nearest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (f32, u32)> + '_ {
        self.sorted.iter().map(|&key| unpack(key))
    }
}

/// Orders as (distance, id) does, by `f32::total_cmp`. Ids are below 2^31.
#[inline]
fn pack(distance: f32, id: u32) -> u64 {
    debug_assert!(id >> 31 == 0, "ids have 31 bits");
    let bits = distance.to_bits();
    let monotone = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(monotone) << 32 | u64::from(id) << 1
}

#[inline]
fn unpack(key: u64) -> (f32, u32) {
    let monotone = (key >> 32) as u32;
    let bits = if monotone >> 31 == 1 { monotone & !(1 << 31) } else { !monotone };
    (f32::from_bits(bits), (key as u32) >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_the_best_in_order(
            offers in proptest::collection::vec((any::<f32>(), 0u32..1 << 31), 0..200),
            limit in 1usize..50,
        ) {
            let mut offers = offers;
            offers.sort_by_key(|&(_, id)| id);
            offers.dedup_by_key(|&mut (_, id)| id);
            let mut candidates = Candidates::default();
            candidates.begin(limit);
            let mut expanded = 0;
            for (i, &(distance, id)) in offers.iter().enumerate() {
                candidates.offer(distance, id);
                if i % 3 == 0 {
                    expanded += usize::from(candidates.expand_next().is_some());
                }
            }
            while candidates.expand_next().is_some() {
                expanded += 1;
            }
            offers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            offers.truncate(limit);
            prop_assert!(expanded >= offers.len());
            let kept: Vec<_> = candidates.iter().map(|(d, id)| (d.to_bits(), id)).collect();
            let best: Vec<_> = offers.iter().map(|&(d, id)| (d.to_bits(), id)).collect();
            prop_assert_eq!(kept, best);
        }
    }
}
