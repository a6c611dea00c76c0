//! The values of one field as they are given to a build, row after row.

use std::collections::HashMap;

use super::{Field, FieldType, Value};

/// What a row without a value has in place of one.
const NO_TEXT: &str = "";

/// The values of a field by row.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    values: Values,
    /// Whether a row has a value; empty where each has.
    present: Option<Vec<bool>>,
}

/// By the type of the field. A row without a value has any.
#[derive(Clone, Debug)]
enum Values {
    /// Whole numbers, and timestamps.
    I64(Vec<i64>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Keyword {
        words: Vec<u32>,
        /// Each word, and its number in the order in which they came.
        numbers: HashMap<Box<str>, u32>,
    },
    Text {
        /// For each row where its text ends.
        ends: Vec<usize>,
        heap: String,
    },
}

/// What a row has in a field, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    I64(i64),
    F64(f64),
    Bool(bool),
    /// The number of a word, in the order in which words came.
    Word(u32),
    Text(&'a str),
}

impl Cells {
    /// None yet, of a field.
    pub(crate) fn of(field: &Field) -> Self {
        let values = match field.field_type {
            FieldType::I64 | FieldType::Timestamp => Values::I64(Vec::new()),
            FieldType::F64 => Values::F64(Vec::new()),
            FieldType::Bool => Values::Bool(Vec::new()),
            FieldType::Keyword => Values::Keyword { words: Vec::new(), numbers: HashMap::new() },
            FieldType::Text => Values::Text { ends: Vec::new(), heap: String::new() },
        };
        Self { values, present: field.nullable.then(Vec::new) }
    }

    /// Appends a row. What is not of the field's type counts as no value: it was checked before.
    pub(crate) fn push(&mut self, value: &Value) {
        if let Some(present) = &mut self.present {
            present.push(*value != Value::Null);
        }
        match (&mut self.values, value) {
            (Values::I64(values), Value::I64(value) | Value::Timestamp(value)) => {
                values.push(*value);
            }
            (Values::I64(values), _) => values.push(0),
            (Values::F64(values), Value::F64(value)) => values.push(*value),
            (Values::F64(values), _) => values.push(0.0),
            (Values::Bool(values), value) => values.push(*value == Value::Bool(true)),
            (Values::Keyword { words, numbers }, Value::Keyword(word)) => {
                let number = match numbers.get(&**word) {
                    Some(&number) => number,
                    None => {
                        let next = numbers.len() as u32;
                        numbers.insert(word.as_str().into(), next);
                        next
                    }
                };
                words.push(number);
            }
            (Values::Keyword { words, .. }, _) => words.push(0),
            (Values::Text { ends, heap }, value) => {
                heap.push_str(value.as_str().unwrap_or(NO_TEXT));
                ends.push(heap.len());
            }
        }
    }

    /// What a row has, if anything.
    ///
    /// # Panics
    /// When there is no such row.
    pub(crate) fn get(&self, row: usize) -> Option<Cell<'_>> {
        if self.present.as_ref().is_some_and(|present| !present[row]) {
            return None;
        }
        Some(match &self.values {
            Values::I64(values) => Cell::I64(values[row]),
            Values::F64(values) => Cell::F64(values[row]),
            Values::Bool(values) => Cell::Bool(values[row]),
            Values::Keyword { words, .. } => Cell::Word(words[row]),
            Values::Text { ends, heap } => {
                let start = row.checked_sub(1).map_or(0, |before| ends[before]);
                Cell::Text(&heap[start..ends[row]])
            }
        })
    }

    /// The same rows in another order.
    pub(crate) fn in_order(self, order: &[u32]) -> Self {
        fn reordered<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
            order.iter().map(|&row| values[row as usize]).collect()
        }
        let present = self.present.map(|present| reordered(&present, order));
        let values = match self.values {
            Values::I64(values) => Values::I64(reordered(&values, order)),
            Values::F64(values) => Values::F64(reordered(&values, order)),
            Values::Bool(values) => Values::Bool(reordered(&values, order)),
            Values::Keyword { words, numbers } => {
                Values::Keyword { words: reordered(&words, order), numbers }
            }
            Values::Text { ends, heap } => {
                let mut ordered = String::with_capacity(heap.len());
                let ends = order.iter().map(|&row| {
                    let start = (row as usize).checked_sub(1).map_or(0, |before| ends[before]);
                    ordered.push_str(&heap[start..ends[row as usize]]);
                    ordered.len()
                });
                let ends = ends.collect();
                Values::Text { ends, heap: ordered }
            }
        };
        Self { values, present }
    }

    /// The words of keywords with their numbers, in the order of their letters.
    pub(crate) fn sorted_words(&self) -> Vec<(&str, u32)> {
        let Values::Keyword { numbers, .. } = &self.values else { return Vec::new() };
        let mut words: Vec<(&str, u32)> =
            numbers.iter().map(|(word, &number)| (&**word, number)).collect();
        words.sort_unstable();
        words
    }

    /// The memory that they take, nearly.
    pub(crate) fn resident_bytes(&self) -> u64 {
        /// A box, a number, and what an allocator and a table add.
        const WORD_BYTES: usize = 48;
        let present = self.present.as_ref().map_or(0, Vec::capacity);
        let values = match &self.values {
            Values::I64(values) => 8 * values.capacity(),
            Values::F64(values) => 8 * values.capacity(),
            Values::Bool(values) => values.capacity(),
            Values::Keyword { words, numbers } => {
                let heap: usize = numbers.keys().map(|word| word.len()).sum();
                4 * words.capacity() + heap + WORD_BYTES * numbers.capacity()
            }
            Values::Text { ends, heap } => 8 * ends.capacity() + heap.capacity(),
        };
        (values + present) as u64
    }
}
