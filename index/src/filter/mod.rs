//! Filters: which points may be hits, said in words.
//!
//! A filter is text, as `label = 3 and price < 20.5 and city in ("Oslo", "Bergen") and not sold`,
//! or is built in Rust (see [`field`]); both make the same tree, and its text is read back as the
//! filter that it was. [`Segment::select`](crate::Segment::select) makes a
//! [`Selection`](crate::Selection) of it, which searches take.
//!
//! ```text
//!   text ─▶ lexer ─▶ parser ─▶ expression ─▶ binding ─▶ plan ─▶ evaluation ─▶ Selection
//!                     builder ─┘              fields' types      columns, ids
//! ```
//!
//! # Grammar
//!
//! ```text
//! filter   = any
//! any      = all { "or" all }
//! all      = one { "and" one }
//! one      = ( "not" | "!" ) one | "(" any ")" | test
//! test     = field
//!          | field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!          | field [ "not" ] "in" "(" [ value { "," value } ] ")"
//!          | field "between" value "and" value
//!          | field "starts" "with" text
//!          | field "is" [ "not" ] "null"
//! value    = number | text | "true" | "false"
//! number   = [ "-" ] digits [ "." digits ] [ ( "e" | "E" ) [ "+" | "-" ] digits ]
//! text     = '"' characters and escapes '"' | "'" the same "'"
//! field    = a letter or _, then letters, digits, _ . -  |  "`" characters and escapes "`"
//! escape   = \\ \" \' \` \n \r \t \u{1F600}
//! ```
//!
//! Keywords are read in any case; a field that is called like one is written in backticks. `not`
//! binds tighter than `and`, and that tighter than `or`.
//!
//! # Meaning
//!
//! A test is true or false and nothing else. On a null every operator is false, `!=` and `not in`
//! as well; `is null` alone is true. A `not` in front of a test makes true of false, also where a
//! null made it so. Numbers compare exactly, whatever their types: no field is rounded on the way.
//! Types, limits and examples: `docs/filters.md`.

mod binding;
mod builder;
mod error;
mod evaluation;
mod exact;
mod expression;
mod lexer;
mod parser;
mod segment;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use builder::{FieldRef, field};
pub use error::{FilterError, FilterProblem};
use expression::Expression;
pub use expression::Literal;

use crate::Field;

/// The longest text of a filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 1 << 20;
/// The most parentheses and `not`s around one test.
pub const MAX_FILTER_DEPTH: usize = 64;
/// The most tests of a filter.
pub const MAX_FILTER_TESTS: usize = 1024;
/// The most values of one `in`.
pub const MAX_FILTER_VALUES: usize = 1 << 16;

/// Which points may be hits.
///
/// ```
/// # use ringpool_index::{Filter, field};
/// let filter: Filter = "price < 20.5 and city in ('Oslo', 'Bergen') and not sold".parse()?;
/// let built = field("price").lt(20.5).and(field("city").is_in(["Oslo", "Bergen"]));
/// assert_eq!(filter, built.and(!field("sold").is(true)));
/// assert_eq!(filter.to_string(), r#"price < 20.5 and city in ("Oslo", "Bergen") and not sold"#);
///
/// let error = "price < < 20".parse::<Filter>().unwrap_err();
/// assert_eq!(error.position(), 8);
/// assert_eq!(
///     error.to_string(),
///     "filter, byte 8: found \"<\", expected a value: a number, a text in quotes, true or false"
/// );
/// # Ok::<(), ringpool_index::FilterError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Filter {
    root: Expression,
    /// What it was read from; nothing where it was built.
    text: Option<Arc<str>>,
}

impl Filter {
    /// Whether it can be asked of points with these fields, and `id`.
    ///
    /// # Errors
    /// A field that is unknown, a test that its type does not have, or a built filter that is
    /// beyond a limit.
    pub fn check(&self, fields: &[Field]) -> Result<(), FilterError> {
        binding::bind(self, fields).map(drop)
    }

    /// The names of the fields that it asks for, each once, in alphabetical order.
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.names(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same with positions: of what is only built, as it is written.
    fn positioned(&self) -> Result<(Expression, Arc<str>), FilterError> {
        if let Some(text) = &self.text {
            return Ok((self.root.clone(), text.clone()));
        }
        // What was built keeps the limits that any text keeps: the parser says whether it does.
        let text: Arc<str> = self.to_string().into();
        if self.root.is_too_deep() {
            return Err(FilterError::new(&text, 0..text.len(), FilterProblem::TooDeep));
        }
        Ok((parser::parse(&text)?, text))
    }
}

/// Two filters are equal that are the same tree, however they were written.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl From<Expression> for Filter {
    fn from(root: Expression) -> Self {
        Self { root, text: None }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let text: Arc<str> = text.into();
        Ok(Self { root: parser::parse(&text)?, text: Some(text) })
    }
}

/// One line, which is read back as the same filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.to_string()
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        text.parse()
    }
}
