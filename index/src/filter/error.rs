//! Why a filter cannot be read, or not be asked of some points: what was found, where, and what
//! was expected.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_TESTS, MAX_FILTER_VALUES};

/// The most characters of what was found that a message repeats.
const MAX_FOUND: usize = 40;
/// The characters of the text that are shown on either side of the position.
const SHOWN_BEFORE: usize = 40;
const SHOWN_AFTER: usize = 36;

/// A filter that is wrong, with the position of what is wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    text: Arc<str>,
    at: Range<usize>,
    problem: FilterProblem,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterProblem {
    /// Something else should have stood there.
    Unexpected {
        /// What could have.
        expected: String,
    },
    /// A quote that is opened and not closed.
    Unclosed {
        /// The quote that would close it.
        quote: char,
    },
    /// A backslash before something that has no escape.
    Escape,
    /// It begins like a number and is none.
    NoNumber,
    /// A number that is beyond all fields.
    TooLarge,
    /// The text is too long.
    TooLong,
    /// Too many parentheses and `not`s around one test.
    TooDeep,
    /// Too many tests.
    TooManyTests,
    /// Too many values in one `in`.
    TooManyValues,
    /// There is no such field.
    UnknownField {
        /// The one that is written most like it.
        nearest: String,
    },
    /// The field's type has no such test, or is not compared with such a value.
    WrongType {
        /// The field.
        field: String,
        /// Its type, or `u64` for `id`.
        field_type: String,
        /// What the type goes with.
        expected: String,
    },
    /// A text that a timestamp is compared with, and that is no time.
    NoTimestamp {
        /// The field.
        field: String,
    },
}

impl FilterError {
    pub(crate) fn new(text: &Arc<str>, at: Range<usize>, problem: FilterProblem) -> Self {
        Self { text: text.clone(), at, problem }
    }

    /// The filter as it was written, or as it is displayed where it was built.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where in the text it is, in bytes from its start.
    pub fn position(&self) -> usize {
        self.at.start
    }

    /// What stands there: nothing at the end.
    pub fn found(&self) -> &str {
        self.text.get(self.at.clone()).unwrap_or_default()
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &FilterProblem {
        &self.problem
    }

    /// Two lines for a terminal: the text about the position, and carets under what was found.
    pub fn carets(&self) -> String {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let before = self.text.get(..self.at.start).unwrap_or_default();
        let skipped = before.chars().count().saturating_sub(SHOWN_BEFORE);
        let mut line = String::from(if skipped > 0 { "..." } else { "" });
        line.extend(before.chars().skip(skipped).map(printable));
        let indent = " ".repeat(line.chars().count());
        let rest = self.text.get(self.at.start..).unwrap_or_default();
        line.extend(rest.chars().take(SHOWN_AFTER).map(printable));
        line.push_str(if rest.chars().nth(SHOWN_AFTER).is_some() { "..." } else { "" });
        let carets = self.found().chars().count().clamp(1, SHOWN_AFTER);
        format!("{line}\n{indent}{}", "^".repeat(carets))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Found(self.found());
        write!(f, "filter, byte {}: ", self.at.start)?;
        match &self.problem {
            FilterProblem::Unexpected { expected } => {
                write!(f, "found {found}, expected {expected}")?;
                slip(self.found()).map_or(Ok(()), |meant| write!(f, "; is it {meant}?"))
            }
            FilterProblem::Unclosed { quote } => {
                write!(f, "{found} begins a text that does not end: close it with {quote}")
            }
            FilterProblem::Escape => {
                write!(f, "{found} is no escape: use \\\\ \\\" \\' \\` \\n \\r \\t or \\u{{1F600}}")
            }
            FilterProblem::NoNumber => {
                write!(f, "{found} is no number: write it as 42, -1.5 or 2e6")
            }
            FilterProblem::TooLarge => write!(
                f,
                "{found} is out of range: integers go from {} to {}, decimals to {:e}",
                i64::MIN,
                u64::MAX,
                f64::MAX
            ),
            FilterProblem::TooLong => {
                let length = self.text.len();
                write!(f, "the text has {length} bytes, at most {MAX_FILTER_BYTES} are read")
            }
            FilterProblem::TooDeep => {
                write!(f, "more than {MAX_FILTER_DEPTH} parentheses and nots around one test")
            }
            FilterProblem::TooManyTests => {
                write!(f, "more than {MAX_FILTER_TESTS} tests: join those of one field by in")
            }
            FilterProblem::TooManyValues => {
                write!(f, "more than {MAX_FILTER_VALUES} values in one list: use a range")
            }
            FilterProblem::UnknownField { nearest } => {
                write!(f, "no field is called {found}: is it {nearest}?")
            }
            FilterProblem::WrongType { field, field_type, expected } => {
                write!(f, "found {found}, but {field} is of type {field_type}: expected {expected}")
            }
            FilterProblem::NoTimestamp { field } => write!(
                f,
                "found {found}, but {field} is of type timestamp: expected a time as \
                 \"2024-05-01T12:00:00Z\""
            ),
        }
    }
}

impl std::error::Error for FilterError {}

/// What was found, as a message has it: short, in quotes, without what breaks a line.
struct Found<'a>(&'a str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the end");
        }
        let more = if self.0.chars().nth(MAX_FOUND).is_some() { "..." } else { "" };
        let quote = if self.0.starts_with(['"', '\'', '`']) { "" } else { "\"" };
        f.write_str(quote)?;
        for c in self.0.chars().take(MAX_FOUND) {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        write!(f, "{more}{quote}")
    }
}

/// What is meant by a word of another language.
fn slip(found: &str) -> Option<&'static str> {
    const SLIPS: [(&str, &str); 9] = [
        ("==", "="),
        ("<>", "!="),
        ("=<", "<="),
        ("=>", ">="),
        ("&&", "and"),
        ("||", "or"),
        ("like", "starts with"),
        ("null", "is null"),
        ("contains", "starts with"),
    ];
    let slip = SLIPS.iter().find(|(word, _)| word.eq_ignore_ascii_case(found));
    slip.map(|(_, meant)| *meant)
}
