//! Rows as JSON objects, one a line (RFC 8259).
//!
//! Values are kept as they are written until their type is known: whether a number is whole is a
//! matter of its text, and one that is too large is told from one that was rounded.

use std::borrow::Cow;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::lines::Lines;
use super::token::{Cell, Token, decimal};
use super::{ColumnFileError, Result};

/// Hands over the objects of a file, one after the other.
pub(super) fn each_row(
    path: &Path,
    gzip: bool,
    each: &mut dyn FnMut(u64, &mut Vec<Cell<'_>>) -> Result<()>,
) -> Result<()> {
    let mut lines = Lines::open(path, gzip)?;
    while let Some((row, line)) = lines.next()? {
        let wrong = |reason: String| ColumnFileError::NotJson { path: path.into(), row, reason };
        if line.trim_ascii().is_empty() {
            return Err(wrong("it is empty".into()));
        }
        let object: Object<'_> = serde_json::from_str(line).map_err(|e| wrong(said(&e)))?;
        let mut cells = Vec::with_capacity(object.0.len());
        for (name, value) in object.0 {
            let token = token(path, row, &name, value.get())?;
            cells.push((Cow::Owned(name), token));
        }
        each(row, &mut cells)?;
    }
    Ok(())
}

/// What the parser said, with the column alone: the line is named beside it.
fn said(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    format!("{text} at column {column}")
}

/// What a value is by how it is written.
fn token<'a>(path: &Path, row: u64, name: &str, text: &'a str) -> Result<Token<'a>> {
    let wrong = |e: serde_json::Error| {
        let reason = format!("a text in {name:?}: {}", said(&e));
        ColumnFileError::NotJson { path: path.into(), row, reason }
    };
    Ok(match text.as_bytes().first() {
        Some(b'n') => Token::Null,
        Some(b't') => Token::Bool(true),
        Some(b'f') => Token::Bool(false),
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(wrong)?;
            Token::Text(text.into())
        }
        Some(b'{') => Token::Nested("an object"),
        Some(b'[') => Token::Nested("an array"),
        _ if text.contains(['.', 'e', 'E']) => Token::Decimal(decimal(path, row, name, text)?),
        _ => text.parse().map_or(Token::Large(text.into()), Token::Integer),
    })
}

/// The keys and values of an object, in the order in which they are written, twice those that are
/// there twice.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Object<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }

        from.deserialize_map(Pairs)
    }
}
