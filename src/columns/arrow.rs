//! Rows of Parquet and Arrow IPC files, batch by batch.

use std::borrow::Cow;
use std::io::BufReader;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::lines::open_file;
use super::token::{Cell, Token};
use super::{ColumnFileError, Result};

/// Rows of a Parquet file that are decoded at once.
const ROWS_AT_ONCE: usize = 1024;
const US_PER_SECOND: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;

type Each<'e> = dyn FnMut(u64, &mut Vec<Cell<'_>>) -> Result<()> + 'e;

pub(super) fn each_row_of_parquet(path: &Path, each: &mut Each<'_>) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(open_file(path)?);
    let reader = builder.and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build());
    each_row(path, reader.map_err(|e| wrong(path, &e.to_string()))?, each)
}

pub(super) fn each_row_of_file(path: &Path, each: &mut Each<'_>) -> Result<()> {
    let reader = FileReader::try_new(BufReader::new(open_file(path)?), None);
    each_row(path, reader.map_err(|e| wrong(path, &e.to_string()))?, each)
}

pub(super) fn each_row_of_stream(path: &Path, each: &mut Each<'_>) -> Result<()> {
    let reader = StreamReader::try_new(BufReader::new(open_file(path)?), None);
    each_row(path, reader.map_err(|e| wrong(path, &e.to_string()))?, each)
}

fn each_row(
    path: &Path,
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut first = 0;
    for batch in batches {
        let batch = batch.map_err(|e| wrong(path, &e.to_string()))?;
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns: Vec<(&str, Reading<'_>)> = columns
            .map(|(field, column)| {
                let reading =
                    reading(&**column).ok_or_else(|| unlike(path, field.name(), column))?;
                Ok((field.name().as_str(), reading))
            })
            .collect::<Result<_>>()?;
        for at in 0..batch.num_rows() {
            let row = first + at as u64;
            let mut cells = Vec::with_capacity(columns.len());
            for (name, reading) in &columns {
                let token = reading(at).ok_or_else(|| between(path, row, name))?;
                cells.push((Cow::Borrowed(*name), token));
            }
            each(row, &mut cells)?;
        }
        first += batch.num_rows() as u64;
    }
    Ok(())
}

/// What a row of an array has. None where it is a time between two microseconds, or one that 64
/// bits of them do not hold.
type Reading<'a> = Box<dyn Fn(usize) -> Option<Token<'a>> + 'a>;

/// How an array is read; none for types that no field has.
fn reading(array: &dyn Array) -> Option<Reading<'_>> {
    /// Numbers of a type, each made a token.
    macro_rules! numbers {
        ($type:ty, $token:expr) => {{
            let values = array.as_primitive::<$type>();
            let token = $token;
            Box::new(move |at| token(values.value(at)))
        }};
    }
    let whole: Reading<'_> = match array.data_type() {
        DataType::Null => return Some(Box::new(|_| Some(Token::Null))),
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(|at| Some(Token::Bool(values.value(at))))
        }
        DataType::Int8 => numbers!(Int8Type, |value| integer(value)),
        DataType::Int16 => numbers!(Int16Type, |value| integer(value)),
        DataType::Int32 => numbers!(Int32Type, |value| integer(value)),
        DataType::Int64 => numbers!(Int64Type, |value: i64| integer(value)),
        DataType::UInt8 => numbers!(UInt8Type, |value| integer(value)),
        DataType::UInt16 => numbers!(UInt16Type, |value| integer(value)),
        DataType::UInt32 => numbers!(UInt32Type, |value| integer(value)),
        DataType::UInt64 => numbers!(UInt64Type, |value: u64| Some(match i64::try_from(value) {
            Ok(value) => Token::Integer(value),
            Err(_) => Token::Large(value.to_string().into()),
        })),
        DataType::Float16 => numbers!(Float16Type, |value: half::f16| decimal(value.to_f64())),
        DataType::Float32 => numbers!(Float32Type, |value| decimal(value)),
        DataType::Float64 => numbers!(Float64Type, |value: f64| decimal(value)),
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            Box::new(|at| Some(Token::Text(values.value(at).into())))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Box::new(|at| Some(Token::Text(values.value(at).into())))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            Box::new(|at| Some(Token::Text(values.value(at).into())))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            numbers!(TimestampSecondType, |value: i64| times(value, US_PER_SECOND))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            numbers!(TimestampMillisecondType, |value: i64| times(value, 1000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers!(TimestampMicrosecondType, |value: i64| times(value, 1))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            numbers!(TimestampNanosecondType, |value: i64| {
                (value % 1000 == 0).then_some(Token::Timestamp(value / 1000))
            })
        }
        DataType::Date32 => numbers!(Date32Type, |value: i32| times(value.into(), US_PER_DAY)),
        DataType::Date64 => numbers!(Date64Type, |value: i64| times(value, 1000)),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = dictionary.values();
            if values.is_empty() {
                return Some(Box::new(|_| Some(Token::Null)));
            }
            let (keys, value) = (dictionary.normalized_keys(), reading(&**values)?);
            Box::new(move |at| value(keys[at]))
        }
        _ => return None,
    };
    Some(Box::new(move |at| if array.is_null(at) { Some(Token::Null) } else { whole(at) }))
}

fn integer<'a>(value: impl Into<i64>) -> Option<Token<'a>> {
    Some(Token::Integer(value.into()))
}

fn decimal<'a>(value: impl Into<f64>) -> Option<Token<'a>> {
    Some(Token::Decimal(value.into()))
}

fn times<'a>(value: i64, us: i64) -> Option<Token<'a>> {
    value.checked_mul(us).map(Token::Timestamp)
}

fn wrong(path: &Path, reason: &str) -> ColumnFileError {
    ColumnFileError::Arrow { path: path.into(), reason: reason.into() }
}

fn unlike(path: &Path, name: &str, array: &dyn Array) -> ColumnFileError {
    let found = array.data_type();
    wrong(path, &format!("field {name:?} is of the Arrow type {found}, which no field has"))
}

fn between(path: &Path, row: u64, name: &str) -> ColumnFileError {
    let what = "a time that no microsecond of 64 bits is";
    wrong(path, &format!("row {row} has {what} in field {name:?}"))
}
