//! What is asked of the values of one field.

use std::ops::Bound;

use super::Value;

/// A test of a field's values. A point without a value passes none but [`Test::IsNull`]. What a
/// field is compared with is of the field's own type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Test<'a> {
    /// Is any of these.
    Equals(&'a [Value]),
    /// Is between these; texts by the order of their bytes, which is that of their characters.
    Within(Bound<&'a Value>, Bound<&'a Value>),
    /// Begins so: of keywords and texts.
    StartsWith(&'a str),
    /// There is no value.
    IsNull,
}
