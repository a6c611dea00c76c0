//! What a field is to be, said by whoever gives its file.

use std::str::FromStr;

use ringpool_index::{Field, FieldType, ParseError};

/// What a field is, whatever it looks like: `NAME:TYPE`, or with `:index` or `:noindex` behind.
///
/// ```
/// # use ringpool::columns::ColumnSpec;
/// # use ringpool::FieldType;
/// let spec: ColumnSpec = "year:i64:noindex".parse()?;
/// assert_eq!((&*spec.name, spec.field_type, spec.indexed), ("year", FieldType::I64, false));
/// # Ok::<(), ringpool::columns::ColumnSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The field.
    pub name: String,
    /// What its values are.
    pub field_type: FieldType,
    /// Whether it has an index. By default all but texts have.
    pub indexed: bool,
}

/// A word that describes no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnSpecError {
    /// Not of two or three parts.
    #[error(
        "'{0}' describes no field: write it as NAME:TYPE, NAME:TYPE:index or NAME:TYPE:noindex"
    )]
    Shape(String),
    /// Another type.
    #[error(transparent)]
    Type(ParseError),
    /// An index of texts.
    #[error("'{0}' has no index: text is kept, and not indexed; make it a keyword")]
    TextIndexed(String),
}

impl ColumnSpec {
    /// The field that it describes.
    pub(super) fn field(&self, nullable: bool) -> Field {
        let (name, field_type, indexed) = (self.name.clone(), self.field_type, self.indexed);
        Field { name, field_type, nullable, indexed }
    }
}

impl FromStr for ColumnSpec {
    type Err = ColumnSpecError;

    fn from_str(text: &str) -> Result<Self, ColumnSpecError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (name, word, indexed) = match parts[..] {
            [name, word] => (name, word, None),
            [name, word, "index"] => (name, word, Some(true)),
            [name, word, "noindex"] => (name, word, Some(false)),
            _ => return Err(ColumnSpecError::Shape(text.into())),
        };
        let field_type: FieldType = word.parse().map_err(ColumnSpecError::Type)?;
        if indexed == Some(true) && !field_type.can_be_indexed() {
            return Err(ColumnSpecError::TextIndexed(text.into()));
        }
        let indexed = indexed.unwrap_or(field_type.can_be_indexed());
        Ok(Self { name: name.into(), field_type, indexed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_described_by_two_words_or_three() {
        let spec = |text: &str| text.parse::<ColumnSpec>();
        let is =
            |name: &str, field_type, indexed| ColumnSpec { name: name.into(), field_type, indexed };
        assert_eq!(spec("a:i64"), Ok(is("a", FieldType::I64, true)));
        assert_eq!(spec("a.b:keyword:noindex"), Ok(is("a.b", FieldType::Keyword, false)));
        assert_eq!(spec("t:text"), Ok(is("t", FieldType::Text, false)));
        for (text, part) in [
            ("a", "NAME:TYPE"),
            ("a:i64:maybe", "NAME:TYPE:noindex"),
            ("a:i64:index:index", "describes no field"),
            ("a:int", "\"int\" is no type of a field"),
            ("a:text:index", "make it a keyword"),
        ] {
            let refused = spec(text).unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
