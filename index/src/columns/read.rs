//! The values that points have in fields, read together.
//!
//! At most three waves: what each point has in each field, which for numbers is all; then where
//! words are, and the bytes of texts; then the bytes of words. Dictionaries are in memory unless
//! they are large, so that one wave is enough for all but texts. Each is one batch over all files,
//! of several segments, too.

use std::ops::Range;

use super::key::{self, word_of};
use super::open::{OpenColumn, ValueParts};
use super::wave::Wave;
use super::{FieldType, MAX_KEYWORD_BYTES, MAX_TEXT_BYTES, Value};
use crate::{Patience, SearchError, Segment};

/// Values that are read together: of as many points as a page of hits has.
const VALUES_AT_ONCE: usize = 1 << 14;

impl Segment {
    /// The values of the points at these places, a row for each: what it has in each of `fields`,
    /// by their numbers among [`fields`](Self::fields). All pages are asked for side by side.
    ///
    /// # Errors
    /// When there is no such place or field, a field was not opened, a page could not be had, or
    /// it holds what no build writes.
    pub fn values(&self, places: &[u32], fields: &[usize]) -> Result<Vec<Vec<Value>>, SearchError> {
        self.values_within(places, fields, &Patience::default())
    }

    /// [`values`](Self::values) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `values`, [`SearchError::DeadlinePassed`] and [`SearchError::Cancelled`].
    pub fn values_within(
        &self,
        places: &[u32],
        fields: &[usize],
        patience: &Patience<'_>,
    ) -> Result<Vec<Vec<Value>>, SearchError> {
        let columns: Vec<&OpenColumn> =
            fields.iter().map(|&field| self.column(field)).collect::<Result<_, _>>()?;
        let cells = |&place: &u32| columns.iter().map(move |&column| (column, place));
        let points = self.manifest().points;
        if let Some(&place) = places.iter().find(|&&place| place as usize >= points) {
            return Err(SearchError::NoSuchPlace { place, points });
        }
        let wanted: Vec<Cell<'_>> = places.iter().flat_map(cells).collect();
        let mut values = read_cells(&wanted, patience)?.into_iter();
        Ok(places.iter().map(|_| values.by_ref().take(fields.len()).collect()).collect())
    }

    /// The number of the field of this name.
    pub fn field_number(&self, name: &str) -> Option<usize> {
        self.fields().iter().position(|field| field.name == name)
    }

    pub(crate) fn column(&self, field: usize) -> Result<&OpenColumn, SearchError> {
        let fields = self.columns.len();
        self.columns.get(field).ok_or(SearchError::NoSuchField { field, fields })
    }
}

/// The values of points of several segments, each by its segment and its place there, in the fields
/// of these names; no value where a segment has no such field. All pages of all segments are asked
/// for side by side.
///
/// # Errors
/// As those of [`Segment::values`].
pub fn values_of(
    points: &[(&Segment, u32)],
    fields: &[&str],
) -> Result<Vec<Vec<Value>>, SearchError> {
    values_of_within(points, fields, &Patience::default())
}

/// [`values_of`] as long as `patience` lasts.
///
/// # Errors
/// As those of `values_of`, [`SearchError::DeadlinePassed`] and [`SearchError::Cancelled`].
pub fn values_of_within(
    points: &[(&Segment, u32)],
    fields: &[&str],
    patience: &Patience<'_>,
) -> Result<Vec<Vec<Value>>, SearchError> {
    let mut wanted: Vec<Cell<'_>> = Vec::new();
    let mut found = Vec::with_capacity(points.len() * fields.len());
    for &(segment, place) in points {
        let points = segment.manifest().points;
        if place as usize >= points {
            return Err(SearchError::NoSuchPlace { place, points });
        }
        for name in fields {
            let number = segment.field_number(name);
            found.push(number.is_some());
            if let Some(number) = number {
                wanted.push((segment.column(number)?, place));
            }
        }
    }
    let mut values = read_cells(&wanted, patience)?.into_iter();
    let mut all = found.into_iter().map(|found| {
        let value = found.then(|| values.next()).flatten();
        value.unwrap_or_default()
    });
    Ok(points.iter().map(|_| all.by_ref().take(fields.len()).collect()).collect())
}

/// A point's value in a field that is wanted.
pub(crate) type Cell<'a> = (&'a OpenColumn, u32);

/// The values of these, in their order.
pub(crate) fn read_cells(
    cells: &[Cell<'_>],
    patience: &Patience<'_>,
) -> Result<Vec<Value>, SearchError> {
    let mut values = Vec::with_capacity(cells.len());
    for cells in cells.chunks(VALUES_AT_ONCE) {
        read_together(cells, patience, &mut values)?;
    }
    Ok(values)
}

fn read_together(
    cells: &[Cell<'_>],
    patience: &Patience<'_>,
    values: &mut Vec<Value>,
) -> Result<(), SearchError> {
    let (mut records, mut asked) = (Wave::default(), Vec::with_capacity(cells.len()));
    for &(column, place) in cells {
        let (parts, place) = (column.opened()?, place as usize);
        let present = parts.present.as_ref();
        let present = present.map(|bits| records.want(bits, place / 8..place / 8 + 1));
        asked.push((present, records.want_records(&parts.points, parts.record_of(column, place))));
    }
    records.read(patience)?;
    let (mut words, mut texts) = (Wave::default(), Vec::new());
    for (&(column, place), (present, record)) in cells.iter().zip(asked) {
        let has_bit = |byte: u8| byte >> (place % 8) & 1 == 1;
        let parts = column.opened()?;
        if present.is_some_and(|present| !has_bit(records.get(present)[0])) {
            values.push(Value::Null);
            continue;
        }
        let record = records.get(record);
        let text = match column.field.field_type {
            FieldType::Keyword => {
                let word = column.word(parts, record)?;
                let words_of = parts.words.as_ref();
                words_of.map(|part| Text::Word(words.want_records(part, word..word + 1)))
            }
            FieldType::Text => {
                let bytes = column.text(parts, record)?;
                parts.heap.as_ref().map(|heap| Text::Bytes(words.want(heap, bytes)))
            }
            _ => None,
        };
        if let Some(text) = text {
            texts.push((values.len(), column, text));
        }
        values.push(match column.field.field_type {
            FieldType::Bool => Value::Bool(has_bit(record[0])),
            FieldType::Keyword | FieldType::Text => Value::Null,
            _ => column.number(parts, record)?,
        });
    }
    words.read(patience)?;
    let (mut heap, mut late) = (Wave::default(), Vec::new());
    for (at, column, text) in texts {
        let parts = column.opened()?;
        match (text, &parts.words, &parts.heap) {
            (Text::Word(record), Some(words_of), Some(bytes)) => {
                let most = MAX_KEYWORD_BYTES as u64;
                let range = words_of.extent(words.get(record), bytes, most)?;
                late.push((at, column, heap.want(bytes, range)));
            }
            (Text::Bytes(bytes), ..) => {
                values[at] = Value::Text(column.text_of(parts, words.get(bytes))?);
            }
            _ => {}
        }
    }
    heap.read(patience)?;
    for (at, column, bytes) in late {
        values[at] = Value::Keyword(column.text_of(column.opened()?, heap.get(bytes))?);
    }
    Ok(())
}

/// What is on its way of a text: where a word is, or the bytes themselves.
enum Text {
    Word(usize),
    Bytes(usize),
}

impl ValueParts {
    /// The record that a point's value is in.
    fn record_of(&self, column: &OpenColumn, place: usize) -> Range<usize> {
        let record = if column.field.field_type == FieldType::Bool { place / 8 } else { place };
        record..record + 1
    }
}

impl OpenColumn {
    /// The value of a record of 8 bytes.
    fn number(&self, parts: &ValueParts, record: &[u8]) -> Result<Value, SearchError> {
        let field_type = self.field.field_type;
        key::of_record(record, field_type).map_err(|reason| parts.points.damaged(reason))?;
        let bits = word_of(record);
        Ok(match field_type {
            FieldType::F64 => Value::F64(f64::from_bits(bits)),
            FieldType::Timestamp => Value::Timestamp(bits as i64),
            _ => Value::I64(bits as i64),
        })
    }

    /// The number of the word in a record.
    pub(crate) fn word(&self, parts: &ValueParts, record: &[u8]) -> Result<usize, SearchError> {
        let (word, words) = (word_of(record) as usize, self.column.words());
        let wrong = || parts.points.damaged(format!("it names the word {word} of {words}"));
        (word < words).then_some(word).ok_or_else(wrong)
    }

    /// Which bytes of the heap a point's text is.
    pub(crate) fn text(
        &self,
        parts: &ValueParts,
        record: &[u8],
    ) -> Result<Range<usize>, SearchError> {
        match &parts.heap {
            Some(heap) => parts.points.extent(record, heap, MAX_TEXT_BYTES as u64),
            None => Ok(0..0),
        }
    }

    fn text_of(&self, parts: &ValueParts, bytes: &[u8]) -> Result<String, SearchError> {
        let wrong = |e: std::str::Utf8Error| {
            parts.points.damaged(format!("a text of the field {:?}: {e}", self.field.name))
        };
        Ok(str::from_utf8(bytes).map_err(wrong)?.to_owned())
    }
}
