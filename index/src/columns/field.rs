//! What a field is: its name, its type, whether points may be without it, and whether it is indexed.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ColumnsError;
use crate::ParseError;

/// The most fields that the points of a segment have.
pub const MAX_FIELDS: usize = 1024;
/// The longest name of a field, in bytes.
pub const MAX_FIELD_NAME_BYTES: usize = 64;
/// What every point has without a column of it.
pub(crate) const ID: &str = "id";

/// What the values of a field are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FieldType {
    /// Whole numbers of 64 bits with a sign.
    I64,
    /// Floats of 64 bits, all finite.
    F64,
    /// True or false.
    Bool,
    /// Short texts of which many points have the same: kept once each, in order.
    Keyword,
    /// Texts, kept as they are given.
    Text,
    /// Points in time, to the microsecond.
    Timestamp,
}

impl FieldType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::I64, Self::F64, Self::Bool, Self::Keyword, Self::Text, Self::Timestamp];

    /// Whether an index can be made of such values.
    pub fn can_be_indexed(self) -> bool {
        self != Self::Text
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Keyword => "keyword",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
        })
    }
}

impl FromStr for FieldType {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|field_type| field_type.to_string() == text);
        let choices = "i64, f64, bool, keyword, text or timestamp";
        found.ok_or_else(|| ParseError::new(text, "type of a field", choices))
    }
}

/// A field that the points of a segment have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name: 1 to 64 bytes, first a letter or `_`, then letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// What its values are.
    pub field_type: FieldType,
    /// Whether points may be without a value.
    pub nullable: bool,
    /// Whether there is an index of its values, so that a filter need not read all of them.
    pub indexed: bool,
}

impl Field {
    /// A field that every point has, indexed unless it is text.
    pub fn new(name: impl Into<String>, field_type: FieldType) -> Self {
        let (name, indexed) = (name.into(), field_type.can_be_indexed());
        Self { name, field_type, nullable: false, indexed }
    }

    /// The same field, of which points may be without.
    #[must_use]
    pub fn or_null(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// The same field without an index.
    #[must_use]
    pub fn without_index(self) -> Self {
        Self { indexed: false, ..self }
    }

    /// Passes where the fields of a segment can be these.
    pub(crate) fn check_all(fields: &[Self]) -> Result<(), ColumnsError> {
        if fields.len() > MAX_FIELDS {
            return Err(ColumnsError::TooManyFields { fields: fields.len() });
        }
        let mut names = HashSet::new();
        for field in fields {
            field.check()?;
            if !names.insert(&*field.name) {
                return Err(ColumnsError::Twice { name: field.name.clone() });
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ColumnsError> {
        let name = || self.name.clone();
        if self.name == ID {
            return Err(ColumnsError::Reserved);
        }
        if !is_name(&self.name) {
            return Err(ColumnsError::Name { name: name() });
        }
        if self.indexed && !self.field_type.can_be_indexed() {
            return Err(ColumnsError::TextIndexed { name: name() });
        }
        Ok(())
    }
}

/// Whether a field can be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let begins = |first: char| first.is_ascii_alphabetic() || first == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.len() <= MAX_FIELD_NAME_BYTES && name.starts_with(begins) && name.chars().all(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_words_of_plain_letters() {
        for name in ["a", "_", "price", "a.b-c_9", "Z9", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "9a", ".a", "-a", "a b", "a\n", "größe", "a/b", "..", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn types_are_what_they_are_written_as() {
        for field_type in FieldType::ALL {
            assert_eq!(field_type.to_string().parse(), Ok(field_type));
        }
        let refused = "integer".parse::<FieldType>().unwrap_err().to_string();
        assert!(refused.contains("\"integer\"") && refused.contains("i64"), "{refused}");
    }

    #[test]
    fn fields_are_checked_together() {
        let field = |name: &str| Field::new(name, FieldType::I64);
        let check = Field::check_all;
        assert_eq!(check(&[field("a"), field("b")]), Ok(()));
        assert_eq!(check(&[field("a"), field("a")]), Err(ColumnsError::Twice { name: "a".into() }));
        assert_eq!(check(&[field("id")]), Err(ColumnsError::Reserved));
        assert_eq!(check(&[field("")]), Err(ColumnsError::Name { name: "".into() }));
        let text = Field { indexed: true, ..Field::new("t", FieldType::Text) };
        assert_eq!(check(&[text]), Err(ColumnsError::TextIndexed { name: "t".into() }));
        let many: Vec<Field> = (0..=MAX_FIELDS).map(|i| field(&format!("f{i}"))).collect();
        assert_eq!(check(&many[1..]), Ok(()));
        assert_eq!(check(&many), Err(ColumnsError::TooManyFields { fields: 1025 }));
    }
}
