//! Files of fields: what points have beside their vectors, a row for each.
//!
//! | ending | a row |
//! |---|---|
//! | `.ndjson`, `.jsonl` | a JSON object on a line of its own |
//! | `.parquet` | a row of a Parquet file (feature `arrow`) |
//! | `.arrow`, `.arrows` | a row of an Arrow IPC file or stream (feature `arrow`) |
//!
//! The first two also with `.gz` behind it. The ending decides, nothing is guessed from the content.
//!
//! A file is read twice: once to see what each field is, once for its values. So nothing is kept
//! twice, and a field's type follows from all rows: whole numbers are `i64`, also where all happen to
//! be small; decimals `f64`, also where some are whole; true and false `bool`; texts that name times
//! as RFC 3339 writes them `timestamp`; other texts `keyword` where few are different, else `text`
//! ([`FEW_WORDS`]). A field that a row lacks, or has as null, is nullable. [`ColumnSpec`] says
//! otherwise.
//!
//! The files come from elsewhere and are not trusted: a line and a value have a longest length, and
//! everything that is wrong is a [`ColumnFileError`] that names the row and the field.

mod ending;
mod error;
mod infer;
mod lines;
mod ndjson;
mod spec;
mod token;

use std::collections::HashMap;
use std::path::Path;

use ringpool_index::{Columns, Field, Value};

use ending::Format;
pub use error::ColumnFileError;
pub use infer::{FEW_WORDS, MAX_FEW_WORD_BYTES, ROWS_A_WORD};
pub use lines::MAX_LINE_BYTES;
pub use spec::{ColumnSpec, ColumnSpecError};

use infer::Seen;
use token::{Cell, Token};

type Result<T> = std::result::Result<T, ColumnFileError>;

/// The key that is no field: every point has an id.
const ID: &str = "id";

/// What a file of fields holds.
#[derive(Debug)]
pub struct ColumnFile {
    /// The fields and their values.
    pub columns: Columns,
    /// What was under the key `id`, which is no field.
    pub ids: IdKey,
}

/// What the rows of a file have under the key `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKey {
    /// Nothing.
    Absent,
    /// Their own numbers, from 0.
    Rows,
    /// Something else, in some row.
    Others,
}

/// Reads a file of fields for `points` vectors, of the format that its ending names. `specs` say
/// what some fields are, whatever they look like.
///
/// # Errors
/// [`ColumnFileError`] names what is wrong, where, and what to do.
pub fn read(path: &Path, specs: &[ColumnSpec], points: usize) -> Result<ColumnFile> {
    let format = Format::of(path)?;
    let mut seen = Seen::new(path, points);
    each_row(path, format, &mut |row, cells| seen.take(row, cells))?;
    let ids = seen.ids;
    let fields = seen.fields(specs)?;
    let numbers: HashMap<String, usize> =
        fields.iter().enumerate().map(|(number, field)| (field.name.clone(), number)).collect();
    let refused = |source| ColumnFileError::Refused { path: path.into(), source };
    let mut columns = Columns::new(fields.clone()).map_err(refused)?;
    let mut values = vec![Value::Null; fields.len()];
    each_row(path, format, &mut |row, cells| {
        values.fill(Value::Null);
        for (name, token) in cells.drain(..).filter(|(name, _)| name != ID) {
            let changed = || ColumnFileError::Changed { path: path.into(), row };
            let number = *numbers.get(&*name).ok_or_else(changed)?;
            values[number] = value_of(path, row, &fields[number], token)?;
        }
        columns.push_row(&values).map_err(refused)
    })?;
    if columns.rows() != points {
        return Err(ColumnFileError::Changed { path: path.into(), row: columns.rows() as u64 });
    }
    Ok(ColumnFile { columns, ids })
}

/// Hands over the rows of a file, one after the other.
fn each_row(
    path: &Path,
    format: Format,
    each: &mut dyn FnMut(u64, &mut Vec<Cell<'_>>) -> Result<()>,
) -> Result<()> {
    match format {
        Format::Ndjson { gzip } => ndjson::each_row(path, gzip, each),
        #[cfg(feature = "arrow")]
        Format::Parquet => arrow::each_row_of_parquet(path, each),
        #[cfg(feature = "arrow")]
        Format::ArrowFile => arrow::each_row_of_file(path, each),
        #[cfg(feature = "arrow")]
        Format::ArrowStream => arrow::each_row_of_stream(path, each),
        #[cfg(not(feature = "arrow"))]
        Format::Parquet | Format::ArrowFile | Format::ArrowStream => {
            Err(ColumnFileError::NoArrow { path: path.into() })
        }
    }
}

/// What stands in a row, as a value of its field.
fn value_of(path: &Path, row: u64, field: &Field, token: Token<'_>) -> Result<Value> {
    use ringpool_index::FieldType::{Bool, F64, I64, Keyword, Text, Timestamp};
    let (name, expected) = (field.name.clone(), field.field_type);
    Ok(match (expected, token) {
        (_, Token::Null) => Value::Null,
        (I64, Token::Integer(value)) => Value::I64(value),
        (I64, Token::Large(value)) => return Err(token::too_large(path, row, &name, &value)),
        (F64, Token::Integer(value)) => Value::F64(value as f64),
        (F64, Token::Large(value)) => Value::F64(token::decimal(path, row, &name, &value)?),
        (F64, Token::Decimal(value)) => Value::F64(value),
        (Bool, Token::Bool(value)) => Value::Bool(value),
        (Keyword, Token::Text(text)) => Value::Keyword(text.into_owned()),
        (Text, Token::Text(text)) => Value::Text(text.into_owned()),
        (Timestamp, Token::Timestamp(us) | Token::Integer(us)) => Value::Timestamp(us),
        (Timestamp, Token::Text(text)) => match ringpool_index::parse_timestamp(&text) {
            Some(us) => Value::Timestamp(us),
            None => {
                let (path, text) = (path.into(), token::shortened(&text));
                return Err(ColumnFileError::NotATimestamp { path, row, name, text });
            }
        },
        (_, other) => {
            let (path, found) = (path.into(), other.kind());
            return Err(ColumnFileError::Mismatch { path, row, name, expected, found });
        }
    })
}

#[cfg(feature = "arrow")]
mod arrow;
#[cfg(test)]
mod tests;
