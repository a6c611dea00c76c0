//! The fields of points as they are given to a build: row by row, each value checked as it comes.

use super::cells::Cells;
use super::timestamp::is_timestamp;
use super::{ColumnsError, Field, FieldType, Value};

/// The longest keyword, in bytes.
pub const MAX_KEYWORD_BYTES: usize = 1024;
/// The longest text of a field, in bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The fields of the points that a segment is built of: for each vector, in their order, a row of
/// values.
///
/// ```
/// # use ringpool_index::{Columns, Field, FieldType, Value};
/// let price = Field::new("price", FieldType::F64);
/// let city = Field::new("city", FieldType::Keyword).or_null();
/// let mut columns = Columns::new(vec![price, city])?;
/// columns.push_row(&[Value::F64(20.5), Value::Keyword("Oslo".into())])?;
/// columns.push_row(&[Value::F64(18.0), Value::Null])?;
/// assert_eq!(columns.rows(), 2);
/// # Ok::<(), ringpool_index::ColumnsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Columns {
    fields: Vec<Field>,
    cells: Vec<Cells>,
    rows: usize,
}

impl Columns {
    /// No rows yet, of these fields.
    ///
    /// # Errors
    /// When a name is none or taken, text is to be indexed, or there are more fields than
    /// [`MAX_FIELDS`](crate::MAX_FIELDS).
    pub fn new(fields: Vec<Field>) -> Result<Self, ColumnsError> {
        Field::check_all(&fields)?;
        let cells = fields.iter().map(Cells::of).collect();
        Ok(Self { fields, cells, rows: 0 })
    }

    /// Appends a row: a value for each field, in their order.
    ///
    /// # Errors
    /// When there are more or fewer values than fields, or one cannot be in its field. The rows
    /// are then those from before.
    pub fn push_row(&mut self, values: &[Value]) -> Result<(), ColumnsError> {
        let (row, expected, found) = (self.rows, self.fields.len(), values.len());
        if expected != found {
            return Err(ColumnsError::RowLength { row, expected, found });
        }
        for (field, value) in self.fields.iter().zip(values) {
            check(field, value, row)?;
        }
        self.cells.iter_mut().zip(values).for_each(|(cells, value)| cells.push(value));
        self.rows += 1;
        Ok(())
    }

    /// The fields.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The same rows in another order: for each row of the new order, which of these it is. One
    /// field after the other, so that no two are in memory twice.
    pub(crate) fn in_order(self, order: &[u32]) -> Self {
        let cells = self.cells.into_iter().map(|cells| cells.in_order(order)).collect();
        Self { cells, ..self }
    }

    /// The memory that they take, nearly.
    pub fn resident_bytes(&self) -> u64 {
        self.cells.iter().map(Cells::resident_bytes).sum()
    }

    /// What a build needs for them, with themselves: bitmaps of all that have an index, and the
    /// largest column as it goes to its pages, with its values sorted.
    pub(crate) fn build_bytes(&self) -> u64 {
        /// A place in a bitmap, two bytes and its share of what is around it.
        const BITMAP_BYTES: u64 = 4;
        /// A key, a place, the value, and both as they are written.
        const SORTED_BYTES: u64 = 24 + 12;
        let indexed = self.fields.iter().filter(|field| field.indexed).count() as u64;
        let largest = self.cells.iter().map(Cells::resident_bytes).max().unwrap_or(0);
        let rows = self.rows as u64;
        self.resident_bytes() + largest + rows * (indexed * BITMAP_BYTES + SORTED_BYTES)
    }

    /// Each field and its values.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&Field, &Cells)> {
        self.fields.iter().zip(&self.cells)
    }
}

/// Passes where a row can have this value in a field.
fn check(field: &Field, value: &Value, row: usize) -> Result<(), ColumnsError> {
    let name = || field.name.clone();
    let Some(found) = value.field_type() else {
        let missing = ColumnsError::Null { row, name: name() };
        return field.nullable.then_some(()).ok_or(missing);
    };
    if found != field.field_type {
        return Err(ColumnsError::Type { row, name: name(), expected: field.field_type, found });
    }
    let most = if found == FieldType::Text { MAX_TEXT_BYTES } else { MAX_KEYWORD_BYTES };
    match value {
        Value::F64(value) if !value.is_finite() => {
            Err(ColumnsError::NotFinite { row, name: name(), value: *value })
        }
        Value::Timestamp(us) if !is_timestamp(*us) => {
            Err(ColumnsError::Timestamp { row, name: name(), value: *us })
        }
        Value::Keyword(text) | Value::Text(text) if text.len() > most => {
            let (field_type, bytes) = (found, text.len());
            Err(ColumnsError::TooLong { row, name: name(), field_type, bytes, most })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_be_in_its_field_is_named_and_leaves_the_rows_as_they_were() {
        let fields =
            FieldType::ALL.map(|field_type| Field::new(field_type.to_string(), field_type));
        let good = [
            Value::I64(i64::MIN),
            Value::F64(-0.0),
            Value::Bool(true),
            Value::Keyword("k".repeat(MAX_KEYWORD_BYTES)),
            Value::Text("t".repeat(MAX_TEXT_BYTES)),
            Value::Timestamp(0),
        ];
        let mut columns = Columns::new(fields.to_vec()).unwrap();
        columns.push_row(&good).unwrap();
        let bad = [
            (0, Value::Null, "no value in field \"i64\""),
            (0, Value::F64(1.0), "a value of type f64 in field \"i64\", which is i64"),
            (1, Value::F64(f64::NAN), "has NaN in field \"f64\""),
            (1, Value::F64(f64::NEG_INFINITY), "has -inf"),
            (3, Value::Keyword("k".repeat(1025)), "a keyword of 1025 bytes"),
            (3, Value::Text("k".into()), "which is keyword"),
            (4, Value::Text("t".repeat((1 << 20) + 1)), "a text of 1048577 bytes"),
            (5, Value::Timestamp(i64::MAX), "outside the years"),
        ];
        for (field, value, part) in bad {
            let mut row = good.clone();
            row[field] = value;
            let refused = columns.push_row(&row).unwrap_err().to_string();
            assert!(refused.starts_with("row 1 has") && refused.contains(part), "{refused}");
            assert_eq!(columns.rows(), 1);
        }
        let refused = columns.push_row(&good[1..]).unwrap_err();
        assert_eq!(refused, ColumnsError::RowLength { row: 1, expected: 6, found: 5 });
        columns.push_row(&good).unwrap();
    }
}
