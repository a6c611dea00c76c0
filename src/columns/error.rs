//! What can be wrong with a file of fields.

use std::io;
use std::path::PathBuf;

use ringpool_index::{ColumnsError, FieldType, MAX_FIELDS};

use super::MAX_LINE_BYTES;

/// Why a file of fields could not be read. Rows count from 0, so that row 0 is line 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnFileError {
    /// The system refused to open or read the file.
    #[error("{path}: {doing}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's own answer.
        source: io::Error,
    },

    /// A folder, a FIFO or a device in a file's place.
    #[error("{path}: is no regular file; name a file of fields")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },

    /// The ending names no format.
    #[error(
        "{path}: unknown ending; known are .ndjson and .jsonl, each also with .gz behind it, \
         .parquet, .arrow and .arrows"
    )]
    UnknownEnding {
        /// The file.
        path: PathBuf,
    },

    /// A format that this program was built without.
    #[error(
        "{path}: this program was built without the feature \"arrow\", which reads Parquet and \
         Arrow: build it with --features arrow, or give the fields as .ndjson"
    )]
    NoArrow {
        /// The file.
        path: PathBuf,
    },

    /// The ending says gzip, the content does not.
    #[error("{path}: does not start as gzip does; drop the .gz from its name or compress it")]
    NotGzip {
        /// The file.
        path: PathBuf,
    },

    /// The compressed stream is damaged or cut.
    #[error(
        "{path}: the gzip stream is damaged or cut in row {row} ({source}); fetch the file again"
    )]
    CorruptGzip {
        /// The file.
        path: PathBuf,
        /// The row that could not be had.
        row: u64,
        /// What the decompressor said.
        source: io::Error,
    },

    /// A line that is longer than one may be.
    #[error(
        "{path}: row {row} (line {line}) is longer than {MAX_LINE_BYTES} bytes; write one object a \
         line, and keep long texts elsewhere", line = .row + 1
    )]
    LongLine {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
    },

    /// Bytes that are no text.
    #[error(
        "{path}: row {row} (line {line}) is no UTF-8 from its byte {offset} on; write the file as \
         UTF-8", line = .row + 1
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The first byte of the line that is wrong.
        offset: usize,
    },

    /// A line that is no JSON object.
    #[error(
        "{path}: row {row} (line {line}) is no JSON object: {reason}; write one object a line, and \
         null for NaN", line = .row + 1
    )]
    NotJson {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// What the parser said.
        reason: String,
    },

    /// A Parquet or Arrow file that cannot be read.
    #[error("{path}: {reason}; write the file again")]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },

    /// A key that a row has twice.
    #[error("{path}: row {row} (line {line}) has {name:?} twice; keep one", line = .row + 1)]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The key.
        name: String,
    },

    /// A value that has values in it.
    #[error(
        "{path}: row {row} (line {line}) has {found} in field {name:?}; give each of its values a \
         field of its own, or leave it out", line = .row + 1
    )]
    Nested {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The field.
        name: String,
        /// What it is.
        found: &'static str,
    },

    /// A field whose values are of several types.
    #[error(
        "{path}: field {name:?} has {first} in row {first_row} and {found} in row {row}; make them \
         of one type"
    )]
    Mixed {
        /// The file.
        path: PathBuf,
        /// The field.
        name: String,
        /// The row of the first value.
        first_row: u64,
        /// What it is.
        first: &'static str,
        /// The row of another.
        row: u64,
        /// What that is.
        found: &'static str,
    },

    /// A value of another type than its field was said to be.
    #[error(
        "{path}: row {row} has {found} in field {name:?}, which is to be {expected}; change the \
         value, or the type of --column"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The field.
        name: String,
        /// The field's type.
        expected: FieldType,
        /// What the value is.
        found: &'static str,
    },

    /// A text that names no time in a field of times.
    #[error(
        "{path}: row {row} has {text:?} in field {name:?}, which is no timestamp; write it as \
         2026-11-21T20:00:00Z, to the microsecond at most"
    )]
    NotATimestamp {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The field.
        name: String,
        /// The text, or its beginning.
        text: String,
    },

    /// A number that its type does not hold.
    #[error(
        "{path}: row {row} has {value} in field {name:?}, which 64 bits do not hold; give it as \
         text in quotes, or rounded with --column {name}:f64"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The field.
        name: String,
        /// The number, or its beginning.
        value: String,
    },

    /// More fields than a segment has.
    #[error(
        "{path}: with row {row} there are more than {MAX_FIELDS} different keys; keep what is \
         filtered by, and put the rest elsewhere"
    )]
    TooManyFields {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
    },

    /// A field without a single value.
    #[error(
        "{path}: field {name:?} is null in every row, so that its type is unknown; say it with \
         --column {name}:TYPE, or leave the field out"
    )]
    NoValues {
        /// The file.
        path: PathBuf,
        /// The field.
        name: String,
    },

    /// A field that was described and is nowhere.
    #[error("{path}: no row has the field {name:?} of --column{nearest}")]
    NoSuchField {
        /// The file.
        path: PathBuf,
        /// The field.
        name: String,
        /// A field that is called nearly so, as a question.
        nearest: String,
    },

    /// Other rows than there are vectors.
    #[error(
        "{path}: has {rows} rows where there are {points} vectors; give one row for each vector"
    )]
    Rows {
        /// The file.
        path: PathBuf,
        /// How many rows it has; one more than vectors where it has more.
        rows: String,
        /// How many vectors there are.
        points: usize,
    },

    /// Fields and values that were read, and cannot be a segment's.
    #[error("{path}: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: ColumnsError,
    },

    /// Somebody wrote to the file while it was read.
    #[error(
        "{path}: row {row} is another than a moment ago; leave the file alone while it is read"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
    },
}
