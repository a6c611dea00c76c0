//! Which points of a segment may be hits: a bit a point, by place.
//!
//! A search asks for one bit after another at random places, so it is a plain bitmap: an eighth of
//! a byte a point, whatever is selected.

/// Points of one segment, by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    words: Vec<u64>,
    points: usize,
    len: usize,
}

impl Selection {
    /// None of `points` points.
    pub fn none(points: usize) -> Self {
        Self { words: vec![0; points.div_ceil(64)], points, len: 0 }
    }

    /// All of `points` points.
    pub fn all(points: usize) -> Self {
        let mut words = vec![u64::MAX; points.div_ceil(64)];
        if let Some(last) = words.last_mut().filter(|_| !points.is_multiple_of(64)) {
            *last = (1 << (points % 64)) - 1;
        }
        Self { words, points, len: points }
    }

    /// How many points the segment has.
    pub fn points(&self) -> usize {
        self.points
    }

    /// How many are selected.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the point at `place` is. None past the last point is.
    #[inline]
    pub fn contains(&self, place: u32) -> bool {
        let word = self.words.get(place as usize / 64);
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// The memory that it takes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        size_of_val(&*self.words) as u64
    }

    /// A bit for each of the 64 points from `64 * number` on; none past the last point.
    #[inline]
    pub(crate) fn word(&self, number: usize) -> u64 {
        self.words.get(number).copied().unwrap_or(0)
    }

    /// Selects the point at `place`; returns whether it was not selected before.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn insert(&mut self, place: u32) -> bool {
        assert!((place as usize) < self.points, "place {place} of {}", self.points);
        let word = &mut self.words[place as usize / 64];
        let bit = 1 << (place % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        self.len += usize::from(is_new);
        is_new
    }

    /// Leaves what `other` selects as well.
    pub fn intersect(&mut self, other: &Self) {
        self.combine(other, |own, other| own & other);
    }

    /// Selects what `other` does, too.
    pub fn unite(&mut self, other: &Self) {
        self.combine(other, |own, other| own | other);
    }

    /// Leaves out what `other` selects.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |own, other| own & !other);
    }

    /// Selects what was not, and nothing else.
    pub fn invert(&mut self) {
        let mut inverted = Self::all(self.points);
        inverted.subtract(self);
        *self = inverted;
    }

    /// The selected places in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).zip(&self.words).flat_map(|(number, &word)| {
            let lowest_off = |rest: &u64| Some(rest & (rest - 1)).filter(|&rest| rest > 0);
            let rests = std::iter::successors(Some(word).filter(|&word| word > 0), lowest_off);
            rests.map(move |rest| number * 64 + rest.trailing_zeros())
        })
    }

    /// # Panics
    /// When they are of segments of different lengths.
    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        assert_eq!(self.points, other.points, "selections of one segment");
        self.len = 0;
        for (own, &other) in self.words.iter_mut().zip(&other.words) {
            *own = with(*own, other);
            self.len += own.count_ones() as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(points: usize, places: &BTreeSet<u32>) -> Selection {
        let mut selection = Selection::none(points);
        places.iter().for_each(|&place| assert!(selection.insert(place)));
        selection
    }

    proptest! {
        #[test]
        fn is_a_set_of_places(
            points in 1_usize..200,
            a in proptest::collection::btree_set(0_u32..200, 0..100),
            b in proptest::collection::btree_set(0_u32..200, 0..100),
        ) {
            let within = |set: BTreeSet<u32>| -> BTreeSet<u32> {
                set.into_iter().filter(|&place| (place as usize) < points).collect()
            };
            let (a, b) = (within(a), within(b));
            let all: BTreeSet<u32> = (0..points as u32).collect();
            let check = |selection: &Selection, expected: BTreeSet<u32>| {
                assert_eq!(selection, &of(points, &expected));
                assert_eq!(selection.len(), expected.len());
                assert_eq!(selection.iter().collect::<BTreeSet<_>>(), expected);
                assert!((0..300).all(|place| selection.contains(place) == expected.contains(&place)));
            };
            let made = |combine: fn(&mut Selection, &Selection)| {
                let mut selection = of(points, &a);
                combine(&mut selection, &of(points, &b));
                selection
            };
            check(&Selection::all(points), all.clone());
            check(&made(Selection::intersect), &a & &b);
            check(&made(Selection::unite), &a | &b);
            check(&made(Selection::subtract), &a - &b);
            check(&made(|selection, _| selection.invert()), &all - &a);
        }
    }
}
