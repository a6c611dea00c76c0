//! The tree of a filter, and how it is written.
//!
//! Chains are flat: `a and b and c` is one node with three children, however it was put together.
//! No node is nested deeper than a text can be, so that walking and dropping it is safe.

use std::fmt::{self, Display, Formatter, Write};

use super::MAX_FILTER_DEPTH;
use super::lexer::is_plain_name;

/// A condition on points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Test(Test),
    Not(Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    /// Stands for what was nested too deep when it was built.
    TooDeep,
}

/// A field, and what its value is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) name_at: Span,
    pub(crate) condition: Condition,
    /// The operator.
    pub(crate) at: Span,
}

/// What is said of a field's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    Compare(Comparison, Constant),
    Unequal(Constant),
    In { constants: Vec<Constant>, negated: bool },
    Between(Constant, Constant),
    StartsWith(String),
    IsNull { negated: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A value that is written in a filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant {
    pub(crate) literal: Literal,
    pub(crate) at: Span,
}

/// A value to compare a field with: made from integers, `f64`, `bool` and text.
///
/// A time is text, as RFC 3339 has it: `"2024-05-01T12:00:00Z"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// Of -2^63 to 2^64 - 1.
    Whole(i128),
    /// Finite where it was read; whatever a caller gave where it was built.
    Decimal(f64),
    Text(String),
    Bool(bool),
}

/// Where in a filter's text something stands, in bytes. That changes nothing in what it means, so
/// any two are equal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Expression {
    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        let chain = |expression| match expression {
            Self::All(children) => children,
            single => vec![single],
        };
        let mut children = chain(self);
        children.extend(chain(other));
        Self::All(children).bounded()
    }

    /// One of both, or both.
    pub(crate) fn or(self, other: Self) -> Self {
        let chain = |expression| match expression {
            Self::Any(children) => children,
            single => vec![single],
        };
        let mut children = chain(self);
        children.extend(chain(other));
        Self::Any(children).bounded()
    }

    /// The opposite. That of the opposite is the thing itself.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(other.into()).bounded(),
        }
    }

    /// What says that it was too deep, instead of what is.
    fn bounded(self) -> Self {
        if self.depth() > MAX_FILTER_DEPTH { Self::TooDeep } else { self }
    }

    /// The parentheses and `not`s around its innermost test, when it is written.
    fn depth(&self) -> usize {
        let nested = |child: &Self| {
            child.depth() + usize::from(matches!(child, Self::All(_) | Self::Any(_)))
        };
        match self {
            Self::Test(_) | Self::TooDeep => 0,
            Self::Not(inner) => 1 + nested(inner),
            Self::All(children) | Self::Any(children) => {
                children.iter().map(nested).max().unwrap_or(0)
            }
        }
    }

    pub(crate) fn is_too_deep(&self) -> bool {
        match self {
            Self::TooDeep => true,
            Self::Test(_) => false,
            Self::Not(inner) => inner.is_too_deep(),
            Self::All(children) | Self::Any(children) => children.iter().any(Self::is_too_deep),
        }
    }

    /// Adds the names of all fields.
    pub(crate) fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Test(test) => names.push(&test.name),
            Self::Not(inner) => inner.names(names),
            Self::All(children) | Self::Any(children) => {
                children.iter().for_each(|child| child.names(names));
            }
            Self::TooDeep => {}
        }
    }
}

impl Comparison {
    pub(crate) const ALL: [Self; 5] =
        [Self::Equal, Self::Less, Self::AtMost, Self::More, Self::AtLeast];

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(test) => test.fmt(f),
            Self::Not(inner) => {
                f.write_str("not ")?;
                inner.fmt_nested(f)
            }
            Self::All(children) => fmt_chain(children, " and ", f),
            Self::Any(children) => fmt_chain(children, " or ", f),
            Self::TooDeep => f.write_str("(...)"),
        }
    }
}

impl Expression {
    fn fmt_nested(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) | Self::Any(_) => write!(f, "({self})"),
            _ => self.fmt(f),
        }
    }
}

fn fmt_chain(children: &[Expression], word: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for (i, child) in children.iter().enumerate() {
        f.write_str(if i > 0 { word } else { "" })?;
        child.fmt_nested(f)?;
    }
    Ok(())
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_plain_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            fmt_quoted(&self.name, '`', f)?;
        }
        match &self.condition {
            Condition::Compare(Comparison::Equal, Constant { literal, .. })
                if literal.0 == Kind::Bool(true) =>
            {
                Ok(())
            }
            Condition::Compare(comparison, constant) => {
                write!(f, " {} {}", comparison.symbol(), constant.literal)
            }
            Condition::Unequal(constant) => write!(f, " != {}", constant.literal),
            Condition::In { constants, negated } => {
                f.write_str(if *negated { " not in (" } else { " in (" })?;
                for (i, constant) in constants.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, constant.literal)?;
                }
                f.write_char(')')
            }
            Condition::Between(low, high) => {
                write!(f, " between {} and {}", low.literal, high.literal)
            }
            Condition::StartsWith(text) => {
                f.write_str(" starts with ")?;
                fmt_quoted(text, '"', f)
            }
            Condition::IsNull { negated: false } => f.write_str(" is null"),
            Condition::IsNull { negated: true } => f.write_str(" is not null"),
        }
    }
}

/// As a filter has it.
impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(number) => number.fmt(f),
            // With a point or an exponent, so that it is read back as what it is, bit by bit.
            Kind::Decimal(number) => write!(f, "{number:?}"),
            Kind::Text(text) => fmt_quoted(text, '"', f),
            Kind::Bool(value) => value.fmt(f),
        }
    }
}

/// In quotes, with escapes for whatever would end them or the line.
fn fmt_quoted(text: &str, quote: char, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            // The two separators end a line for some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                write!(f, "\\u{{{:x}}}", c as u32)?;
            }
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}
