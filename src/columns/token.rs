//! What stands in a row under one key, before anybody knows the type of its field.

use std::borrow::Cow;
use std::path::Path;

use super::{ColumnFileError, Result};

/// A key of a row, and what it has.
pub(super) type Cell<'a> = (Cow<'a, str>, Token<'a>);

/// What a row has under a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// A whole number that 64 bits with a sign do not hold.
    Large(Cow<'a, str>),
    /// Finite.
    Decimal(f64),
    Text(Cow<'a, str>),
    /// Microseconds since 1970.
    #[cfg_attr(not(feature = "arrow"), allow(dead_code))]
    Timestamp(i64),
    /// An array, or an object.
    Nested(&'static str),
}

impl Token<'_> {
    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Large(_) => "a whole number",
            Self::Decimal(_) => "a decimal",
            Self::Text(_) => "a text",
            Self::Timestamp(_) => "a timestamp",
            Self::Nested(what) => what,
        }
    }
}

/// A number as a float: the nearest.
pub(super) fn decimal(path: &Path, row: u64, name: &str, text: &str) -> Result<f64> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(too_large(path, row, name, text)),
    }
}

pub(super) fn too_large(path: &Path, row: u64, name: &str, value: &str) -> ColumnFileError {
    let (path, name, value) = (path.into(), name.into(), shortened(value));
    ColumnFileError::TooLarge { path, row, name, value }
}

/// As much of a text as fits an error.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
