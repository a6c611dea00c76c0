//! Points whose fields are rows in memory: columns that are asked by looking at every value.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Bound;

use crate::columns::Test;
use crate::filter::binding::IdTest;
use crate::filter::evaluation::Matching;
use crate::{Field, Patience, SearchError, Selection, Value};

pub(super) struct Rows {
    pub(super) fields: Vec<Field>,
    pub(super) ids: Vec<u64>,
    /// A value of each field for each point.
    pub(super) rows: Vec<Vec<Value>>,
    /// The fields that were asked, in order; `None` for the ids.
    pub(super) asked: RefCell<Vec<Option<usize>>>,
}

impl Rows {
    pub(super) fn new(fields: Vec<Field>, ids: Vec<u64>, rows: Vec<Vec<Value>>) -> Self {
        Self { fields, ids, rows, asked: RefCell::default() }
    }

    fn chosen(&self, keep: impl Fn(usize) -> bool) -> Selection {
        let mut chosen = Selection::none(self.rows.len());
        (0..self.rows.len()).filter(|&row| keep(row)).for_each(|row| {
            chosen.insert(row as u32);
        });
        chosen
    }
}

impl Matching for Rows {
    fn points(&self) -> usize {
        self.rows.len()
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn with_ids(&self, test: &IdTest) -> Selection {
        self.asked.borrow_mut().push(None);
        self.chosen(|row| match test {
            IdTest::OneOf(ids) => ids.binary_search(&self.ids[row]).is_ok(),
            IdTest::Within(ids) => ids.contains(&self.ids[row]),
        })
    }

    fn with_values(
        &self,
        field: usize,
        test: &Test<'_>,
        _: &Patience<'_>,
    ) -> Result<Selection, SearchError> {
        self.asked.borrow_mut().push(Some(field));
        Ok(self.chosen(|row| passes(&self.rows[row][field], test)))
    }
}

/// As a column would have it, which refuses what is not of its type.
fn passes(value: &Value, test: &Test<'_>) -> bool {
    if *value == Value::Null {
        return *test == Test::IsNull;
    }
    match *test {
        Test::IsNull => false,
        Test::Equals(values) => {
            assert!(values.windows(2).all(|pair| order(&pair[0], &pair[1]) == Ordering::Less));
            values.iter().any(|other| order(value, other) == Ordering::Equal)
        }
        Test::Within(low, high) => {
            let above = match low {
                Bound::Included(low) => order(value, low) != Ordering::Less,
                Bound::Excluded(low) => order(value, low) == Ordering::Greater,
                Bound::Unbounded => true,
            };
            above
                && match high {
                    Bound::Included(high) => order(value, high) != Ordering::Greater,
                    Bound::Excluded(high) => order(value, high) == Ordering::Less,
                    Bound::Unbounded => true,
                }
        }
        Test::StartsWith(prefix) => value.as_str().expect("a text").starts_with(prefix),
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    let order = match (a, b) {
        (Value::I64(a), Value::I64(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => {
            a.partial_cmp(b)
        }
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        (Value::Keyword(a), Value::Keyword(b)) | (Value::Text(a), Value::Text(b)) => {
            a.partial_cmp(b)
        }
        _ => None,
    };
    order.unwrap_or_else(|| panic!("{a:?} and {b:?} are not of one type"))
}
