//! Comparisons as ranges of a field's own type, without rounding.
//!
//! Fields hold integers of 64 bits or floats, and a filter may compare either with either. A
//! decimal becomes the integers on its one side; an integer that no float is becomes the floats on
//! its one side. `x < 2.5` of integers is `x <= 2`, and `x = 2.5` is nothing.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use super::expression::Comparison;

/// What lies between two bounds, at least one possible value; or `None`, if none does.
pub(crate) type Range<T> = Option<(Bound<T>, Bound<T>)>;

/// A number that is written in a filter. A decimal is finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Whole(i128),
    Decimal(f64),
}

/// The integers from `least` to `most` that compare so with `number`. Where there are several, a
/// side on which all are in is unbounded.
pub(crate) fn integers(
    comparison: Comparison,
    number: Number,
    least: i128,
    most: i128,
) -> Range<i128> {
    // The largest integer up to the number, and whether it is the number.
    let (floor, is_whole) = match number {
        Number::Whole(number) => (number, true),
        // Beyond 2^127 a conversion ends there, which is on the same side of all fields.
        Number::Decimal(number) => (number.floor() as i128, number.fract() == 0.0),
    };
    let (above, below) = (floor.saturating_add(1), floor.saturating_sub(1));
    let (low, high) = match comparison {
        Comparison::Equal if is_whole => (floor, floor),
        Comparison::Equal => return None,
        Comparison::Less if is_whole => (least, below),
        Comparison::Less | Comparison::AtMost => (least, floor),
        Comparison::AtLeast if is_whole => (floor, most),
        Comparison::AtLeast | Comparison::More => (above, most),
    };
    let (low, high) = (low.max(least), high.min(most));
    let bound = |end, limit| match end == limit && low < high {
        true => Unbounded,
        false => Included(end),
    };
    (low <= high).then(|| (bound(low, least), bound(high, most)))
}

/// The finite floats that compare so with `number`.
pub(crate) fn floats(comparison: Comparison, number: Number) -> Range<f64> {
    let (near, whole) = match number {
        // Zero has two signs and is one number.
        Number::Decimal(number) => (number + 0.0, None),
        Number::Whole(whole) => (whole as f64, Some(whole)),
    };
    // Where the nearest float lies. It is an integer itself, of at most 65 bits.
    let is_less = whole.is_some_and(|whole| (near as i128) < whole);
    let is_more = whole.is_some_and(|whole| (near as i128) > whole);
    let is_exact = !is_less && !is_more;
    Some(match comparison {
        Comparison::Equal if is_exact => (Included(near), Included(near)),
        Comparison::Equal => return None,
        // No float is between the two: up to the number is up to, or below, the nearest one.
        Comparison::AtMost if is_exact => (Unbounded, Included(near)),
        Comparison::Less | Comparison::AtMost if is_less => (Unbounded, Included(near)),
        Comparison::Less | Comparison::AtMost => (Unbounded, Excluded(near)),
        Comparison::AtLeast if is_exact => (Included(near), Unbounded),
        Comparison::More | Comparison::AtLeast if is_more => (Included(near), Unbounded),
        Comparison::More | Comparison::AtLeast => (Excluded(near), Unbounded),
    })
}

/// What compares so with a value of the same type.
pub(crate) fn same<T: Clone>(comparison: Comparison, value: T) -> Range<T> {
    Some(match comparison {
        Comparison::Equal => (Included(value.clone()), Included(value)),
        Comparison::Less => (Unbounded, Excluded(value)),
        Comparison::AtMost => (Unbounded, Included(value)),
        Comparison::More => (Excluded(value), Unbounded),
        Comparison::AtLeast => (Included(value), Unbounded),
    })
}

/// From where the first begins to where the second ends.
pub(crate) fn between<T: PartialOrd>(first: Range<T>, second: Range<T>) -> Range<T> {
    let (low, high) = (first?.0, second?.1);
    let is_empty = match (&low, &high) {
        (Included(low), Included(high)) => low > high,
        (Included(low) | Excluded(low), Included(high) | Excluded(high)) => low >= high,
        _ => false,
    };
    (!is_empty).then_some((low, high))
}
