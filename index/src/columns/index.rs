//! Which points have values in ranges of keys, by an index.
//!
//! Inverted: the bitmaps of all keys within are united. They are roaring bitmaps (Lemire, Kai and
//! Kaser, arXiv 1709.07821) in their portable form. Range: the values are in order, so that a range
//! is found by halving, and its points lie together.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::key;
use super::open::IndexParts;
use super::part::Part;
use super::ranges::KeyRanges;
use super::stored::most_bitmap_bytes;
use super::wave::Wave;
use super::{Column, FieldType};
use crate::{Patience, SearchError, Selection};

/// Bitmaps of which is read at once where they are,
const BITMAPS_AT_ONCE: usize = 1 << 12;
/// bytes of them that are read at once, where one alone does not need more,
const BITMAP_BYTES_AT_ONCE: usize = 4 << 20;
/// and places of a range.
const PLACES_AT_ONCE: usize = 1 << 16;

impl IndexParts {
    /// Selects the points whose values have their keys in `ranges`.
    pub(crate) fn select(
        &self,
        column: &Column,
        ranges: &KeyRanges,
        found: &mut Selection,
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        for range in ranges.iter() {
            let within = |part: &Part| {
                let type_of = column.field_type;
                let first = first_not(part, type_of, patience, &|key| key < *range.start())?;
                let past = first_not(part, type_of, patience, &|key| key <= *range.end())?;
                Ok::<_, SearchError>(first..past.max(first))
            };
            match self {
                Self::Inverted { keys, bitmaps, heap } => {
                    let numbers = match keys {
                        Some(keys) => within(keys)?,
                        // The keys are the numbers.
                        None => numbers_in(range, bitmaps.count()),
                    };
                    select_bitmaps(bitmaps, heap, numbers, found, patience)?;
                }
                Self::Range { values, places } => {
                    select_places(places, within(values)?, found, patience)?;
                }
            }
        }
        Ok(())
    }
}

/// The numbers below `count` in a range of keys.
fn numbers_in(range: std::ops::RangeInclusive<u64>, count: usize) -> Range<usize> {
    let end = range.end().saturating_add(1).min(count as u64);
    (*range.start()).min(end) as usize..end as usize
}

/// The number of the first record of values in order of which it does not hold.
fn first_not(
    values: &Part,
    field_type: FieldType,
    patience: &Patience<'_>,
    holds: &dyn Fn(u64) -> bool,
) -> Result<usize, SearchError> {
    let (mut low, mut high) = (0, values.count());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut wave = Wave::default();
        let record = wave.want_records(values, middle..middle + 1);
        wave.read(patience)?;
        let key = key::of_record(wave.get(record), field_type);
        if holds(key.map_err(|reason| values.damaged(reason))?) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn select_bitmaps(
    bitmaps: &Part,
    heap: &Part,
    numbers: Range<usize>,
    found: &mut Selection,
    patience: &Patience<'_>,
) -> Result<(), SearchError> {
    let most = most_bitmap_bytes(found.points());
    for first in numbers.clone().step_by(BITMAPS_AT_ONCE) {
        let mut wave = Wave::default();
        let some = first..numbers.end.min(first + BITMAPS_AT_ONCE);
        let records = wave.want_records(bitmaps, some);
        wave.read(patience)?;
        let (mut read, mut wanted) = (Wave::default(), Vec::new());
        for record in wave.get(records).chunks_exact(bitmaps.records.record_bytes) {
            wanted.push(read.want(heap, bitmaps.extent(record, heap, most)?));
            if read.len() >= BITMAP_BYTES_AT_ONCE {
                take_bitmaps(heap, &mut read, &mut wanted, found, patience)?;
            }
        }
        take_bitmaps(heap, &mut read, &mut wanted, found, patience)?;
    }
    Ok(())
}

fn take_bitmaps(
    heap: &Part,
    read: &mut Wave<'_>,
    wanted: &mut Vec<usize>,
    found: &mut Selection,
    patience: &Patience<'_>,
) -> Result<(), SearchError> {
    read.read(patience)?;
    for bitmap in wanted.drain(..) {
        let mut bytes = read.get(bitmap);
        let places = RoaringBitmap::deserialize_from(&mut bytes);
        let places = places.map_err(|e| heap.damaged(format!("a bitmap of points: {e}")))?;
        let points = found.points();
        if let Some(place) = places.max().filter(|&place| place as usize >= points) {
            let wrong = format!("a bitmap has the place {place}, expected one below {points}");
            return Err(heap.damaged(wrong));
        }
        places.iter().for_each(|place| {
            found.insert(place);
        });
    }
    *read = Wave::default();
    Ok(())
}

fn select_places(
    places: &Part,
    within: Range<usize>,
    found: &mut Selection,
    patience: &Patience<'_>,
) -> Result<(), SearchError> {
    for first in within.clone().step_by(PLACES_AT_ONCE) {
        let mut wave = Wave::default();
        let records = first..within.end.min(first + PLACES_AT_ONCE);
        let records = wave.want_records(places, records);
        wave.read(patience)?;
        for record in wave.get(records).chunks_exact(places.records.record_bytes) {
            let (place, points) = (key::word_of(record), found.points());
            if place >= points as u64 {
                let wrong = format!("it has the place {place}, expected one below {points}");
                return Err(places.damaged(wrong));
            }
            found.insert(place as u32);
        }
    }
    Ok(())
}
