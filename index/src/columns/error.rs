//! Why rows are no columns of a segment.

use super::{FieldType, MAX_FIELD_NAME_BYTES, MAX_FIELDS};

/// Why fields or their values cannot be those of a segment. Rows count from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// A word that cannot name a field.
    #[error(
        "no field can be called {name:?}: use 1 to {MAX_FIELD_NAME_BYTES} of A-Z a-z 0-9 _ . - and \
         begin with a letter or _"
    )]
    Name {
        /// The word.
        name: String,
    },
    /// Every point has an id already.
    #[error("no field can be called \"id\", which every point has: choose another name")]
    Reserved,
    /// Two fields of one name.
    #[error("there are two fields called {name:?}: give each a name of its own")]
    Twice {
        /// The name.
        name: String,
    },
    /// More fields than a segment has.
    #[error("{fields} fields are too many: a segment has at most {MAX_FIELDS}")]
    TooManyFields {
        /// How many there are.
        fields: usize,
    },
    /// An index of texts.
    #[error("field {name:?} is text, which has no index: make it a keyword, or go without")]
    TextIndexed {
        /// The field.
        name: String,
    },
    /// A row that is longer or shorter than there are fields.
    #[error("row {row} has {found} values, and there are {expected} fields: give one for each")]
    RowLength {
        /// The row.
        row: usize,
        /// How many fields there are.
        expected: usize,
        /// How many values it has.
        found: usize,
    },
    /// A value of another type.
    #[error("row {row} has a value of type {found} in field {name:?}, which is {expected}")]
    Type {
        /// The row.
        row: usize,
        /// The field.
        name: String,
        /// The field's type.
        expected: FieldType,
        /// The value's.
        found: FieldType,
    },
    /// No value in a field that every point has.
    #[error("row {row} has no value in field {name:?}: give one, or make the field nullable")]
    Null {
        /// The row.
        row: usize,
        /// The field.
        name: String,
    },
    /// A float that is not smaller, equal or larger than others.
    #[error("row {row} has {value} in field {name:?}: replace it by a number, or by null")]
    NotFinite {
        /// The row.
        row: usize,
        /// The field.
        name: String,
        /// The value: an infinity or not a number.
        value: f64,
    },
    /// A text that is longer than one of its type may be.
    #[error(
        "row {row} has a {field_type} of {bytes} bytes in field {name:?}, and at most {most} are \
         possible: cut it, or keep what is longer than a keyword as text"
    )]
    TooLong {
        /// The row.
        row: usize,
        /// The field.
        name: String,
        /// The field's type.
        field_type: FieldType,
        /// The length of the value.
        bytes: usize,
        /// The longest that there may be.
        most: usize,
    },
    /// A point in time that cannot be written.
    #[error(
        "row {row} has the timestamp {value} in field {name:?}, which is outside the years 0000 to \
         9999: timestamps are microseconds since 1970"
    )]
    Timestamp {
        /// The row.
        row: usize,
        /// The field.
        name: String,
        /// The microseconds.
        value: i64,
    },
    /// Other rows than those of the vectors.
    #[error("the fields have {rows} rows and there are {points} vectors: give one row for each")]
    Rows {
        /// How many rows there are.
        rows: usize,
        /// How many vectors.
        points: usize,
    },
}
