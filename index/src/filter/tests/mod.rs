//! Tests of filters, from text to selections over points that are rows in memory.

pub(crate) mod drawn;
mod errors;
mod evaluating;
mod parsing;
mod rows;
mod written;

use super::{Filter, FilterError};
use crate::{Field, FieldType};

fn parsed(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error: FilterError| panic!("{error}\n{}", error.carets()))
}

/// One field of each type, those of them nullable that have an even number.
pub(crate) fn fields() -> Vec<Field> {
    vec![
        Field::new("label", FieldType::I64).or_null(),
        Field::new("price", FieldType::F64),
        Field::new("sold", FieldType::Bool).or_null(),
        Field::new("city", FieldType::Keyword),
        Field::new("note", FieldType::Text).or_null(),
        Field::new("made", FieldType::Timestamp).without_index(),
    ]
}
