//! Which points may be hits of a search: those that are selected and not deleted.
//!
//! Both are bitmaps, and nothing is computed of them before a search: a bit of each is looked at
//! when the search comes to a point.

use std::sync::Arc;

use crate::{SearchError, Segment, Selection};

/// Points of one segment. Where neither is given all pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passing<'a> {
    points: usize,
    selected: Option<&'a Selection>,
    deleted: Option<&'a Selection>,
}

impl<'a> Passing<'a> {
    /// Of `points` points those that are `selected` and not `deleted`.
    pub(crate) fn new(
        points: usize,
        selected: Option<&'a Selection>,
        deleted: Option<&'a Selection>,
    ) -> Self {
        // What leaves nothing out is not asked.
        let selected = selected.filter(|selected| selected.len() < points);
        let deleted = deleted.filter(|deleted| !deleted.is_empty());
        Self { points, selected, deleted }
    }

    /// How many points the segment has.
    pub(crate) fn points(&self) -> usize {
        self.points
    }

    /// Whether it is known that all do.
    #[inline]
    pub(crate) fn are_all(&self) -> bool {
        self.selected.is_none() && self.deleted.is_none()
    }

    /// Whether the point at `place` does.
    #[inline]
    pub(crate) fn contains(&self, place: u32) -> bool {
        self.selected.is_none_or(|selected| selected.contains(place))
            && self.deleted.is_none_or(|deleted| !deleted.contains(place))
    }

    /// About how many do, from counts alone: exact unless points are both selected and deleted.
    pub(crate) fn expected(&self) -> usize {
        let selected = self.selected.map_or(self.points, Selection::len);
        let alive = self.points.saturating_sub(self.deleted.map_or(0, Selection::len));
        // Both are below 2^31.
        selected * alive / self.points.max(1)
    }

    /// How many do. Goes over the bitmaps where points are both selected and deleted.
    pub(crate) fn count(&self) -> usize {
        if self.selected.is_none() || self.deleted.is_none() {
            return self.expected();
        }
        (0..self.points.div_ceil(64)).map(|word| self.word(word).count_ones() as usize).sum()
    }

    /// Appends those from `from` on to `places`, in ascending order, as long as they `fit`. Returns
    /// the first that does not; `None` past the last point.
    pub(crate) fn take_while(
        &self,
        from: u32,
        places: &mut Vec<u32>,
        mut fits: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut seen_before = (1_u64 << (from % 64)) - 1;
        for number in from as usize / 64..self.points.div_ceil(64) {
            let mut rest = self.word(number) & !seen_before;
            seen_before = 0;
            while rest != 0 {
                let place = number as u32 * 64 + rest.trailing_zeros();
                if !fits(place) {
                    return Some(place);
                }
                places.push(place);
                rest &= rest - 1;
            }
        }
        None
    }

    /// A bit for each of 64 points.
    #[inline]
    fn word(&self, number: usize) -> u64 {
        let all = match self.points - number * 64 {
            rest @ 0..64 => (1 << rest) - 1,
            _ => u64::MAX,
        };
        let selected = self.selected.map_or(all, |selected| selected.word(number));
        selected & !self.deleted.map_or(0, |deleted| deleted.word(number))
    }
}

/// Which points pass in each of the segments that a search goes through: those that were not
/// deleted when it began.
#[derive(Default)]
pub(crate) struct PassingEach<'a> {
    selected: Option<&'a [Selection]>,
    /// For each segment how many points it has, and which of them are deleted.
    segments: Vec<(usize, Option<Arc<Selection>>)>,
}

impl<'a> PassingEach<'a> {
    /// Takes another search, and looks whether there is a selection for each segment, or none.
    pub(crate) fn begin<'s>(
        &mut self,
        selected: Option<&'a [Selection]>,
        segments: impl ExactSizeIterator<Item = &'s Segment>,
    ) -> Result<(), SearchError> {
        self.selected = selected;
        self.segments.clear();
        let points = |segment: &Segment| segment.manifest().points;
        self.segments.extend(segments.map(|segment| (points(segment), segment.deleted())));
        let Some(selected) = selected else { return Ok(()) };
        let (expected, found) = (self.segments.len(), selected.len());
        if expected != found {
            return Err(SearchError::Selections { expected, found });
        }
        let mut pairs = selected.iter().zip(&self.segments).enumerate();
        pairs.try_for_each(|(number, (selection, (points, _)))| check(selection, number, *points))
    }

    /// Those of one segment.
    pub(crate) fn of(&self, segment: usize) -> Passing<'_> {
        let (points, deleted) = &self.segments[segment];
        let selected = self.selected.map(|selected| &selected[segment]);
        Passing::new(*points, selected, deleted.as_deref())
    }
}

/// Whether `selection` is one of the points of this segment, the `segment`-th of those searched.
pub(crate) fn check(
    selection: &Selection,
    segment: usize,
    points: usize,
) -> Result<(), SearchError> {
    let found = selection.points();
    match found == points {
        true => Ok(()),
        false => Err(SearchError::Selection { segment, expected: points, found }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_of(points: usize, bits: &[bool]) -> Selection {
        let mut selection = Selection::none(points);
        for (place, _) in (0..).zip(bits).filter(|(_, bit)| **bit) {
            selection.insert(place);
        }
        selection
    }

    proptest! {
        #[test]
        fn passes_what_is_selected_and_not_deleted(
            (selected, deleted) in (0_usize..200).prop_flat_map(|points| {
                let bits = || proptest::option::of(proptest::collection::vec(any::<bool>(), points));
                (proptest::collection::vec(any::<bool>(), points), bits())
            }),
            only_deleted: bool,
            at_once in 1_usize..70,
        ) {
            let points = selected.len();
            let (chosen, dead) = (some_of(points, &selected), deleted.as_ref().map(|bits| some_of(points, bits)));
            let chosen = (!only_deleted).then_some(&chosen);
            let passing = Passing::new(points, chosen, dead.as_ref());
            let passes = |place: usize| {
                (only_deleted || selected[place]) && !deleted.as_ref().is_some_and(|bits| bits[place])
            };
            let expected: Vec<u32> = (0..points).filter(|&at| passes(at)).map(|at| at as u32).collect();
            prop_assert_eq!(passing.count(), expected.len());
            prop_assert!(!passing.are_all() || expected.len() == points);
            prop_assert!(passing.expected() <= points);
            prop_assert!((0..points).all(|place| passing.contains(place as u32) == passes(place)));
            let (mut found, mut next) = (Vec::new(), Some(0));
            while let Some(from) = next {
                let mut room = at_once;
                next = passing.take_while(from, &mut found, |_| {
                    room = room.wrapping_sub(1);
                    room != usize::MAX
                });
            }
            prop_assert_eq!(found, expected);
        }
    }
}
