//! What a point has in a field: a value of the field's type, or none.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{FieldType, timestamp};

/// A value of a field, or that there is none.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// None.
    #[default]
    Null,
    /// Of a field of whole numbers.
    I64(i64),
    /// Of a field of floats: finite.
    F64(f64),
    /// Of a field that is true or false.
    Bool(bool),
    /// Of a field of keywords.
    Keyword(String),
    /// Of a field of texts.
    Text(String),
    /// Of a field of points in time: microseconds since 1970, in UTC.
    Timestamp(i64),
}

impl Value {
    /// The type of the fields that it can be in; `None` for no value, which can be in any.
    pub fn field_type(&self) -> Option<FieldType> {
        Some(match self {
            Self::Null => return None,
            Self::I64(_) => FieldType::I64,
            Self::F64(_) => FieldType::F64,
            Self::Bool(_) => FieldType::Bool,
            Self::Keyword(_) => FieldType::Keyword,
            Self::Text(_) => FieldType::Text,
            Self::Timestamp(_) => FieldType::Timestamp,
        })
    }

    /// The text of a keyword or a text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Keyword(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// As people write it; a timestamp as RFC 3339 says.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.pad("null"),
            Self::I64(value) => value.fmt(f),
            Self::F64(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Keyword(text) | Self::Text(text) => f.pad(text),
            Self::Timestamp(us) => f.pad(&timestamp::to_rfc3339(*us)),
        }
    }
}

/// A value of its own kind; a timestamp as the text that RFC 3339 says.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_none(),
            Self::I64(value) => to.serialize_i64(*value),
            Self::F64(value) => to.serialize_f64(*value),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Keyword(text) | Self::Text(text) => to.serialize_str(text),
            Self::Timestamp(us) => to.serialize_str(&timestamp::to_rfc3339(*us)),
        }
    }
}
