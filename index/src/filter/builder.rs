//! Filters made in Rust: [`field`], a test of it, `and`, `or` and `!`.
//!
//! Nothing is refused while a filter is built. What is beyond a limit, has a value that is no
//! number, or does not fit the fields of a segment is refused when it is checked or asked, with
//! its position in the text that [`Filter`] is displayed as.

use std::ops::Not;

use super::Filter;
use super::expression::{Comparison, Condition, Constant, Expression, Kind, Literal, Span, Test};

/// The field called `name`, to be tested. `id` is the id of a point.
///
/// ```
/// # use ringpool_index::field;
/// let cheap = field("price").lt(20.5).or(field("price").is_null());
/// let near = field("city").is_in(["Oslo", "Bergen"]).and(!field("sold").is(true));
/// assert_eq!(
///     cheap.and(near).to_string(),
///     r#"(price < 20.5 or price is null) and city in ("Oslo", "Bergen") and not sold"#
/// );
/// ```
pub fn field(name: impl Into<String>) -> FieldRef {
    FieldRef { name: name.into() }
}

/// A field by its name, of which something is to be said.
#[derive(Clone, Debug)]
#[must_use = "a field alone says nothing: test it"]
pub struct FieldRef {
    name: String,
}

impl FieldRef {
    /// `field = value`.
    pub fn eq(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::Equal, value)
    }

    /// `field != value`: there is a value, and it is another.
    pub fn ne(self, value: impl Into<Literal>) -> Filter {
        self.test(Condition::Unequal(constant(value)))
    }

    /// `field < value`.
    pub fn lt(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::Less, value)
    }

    /// `field <= value`.
    pub fn le(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::AtMost, value)
    }

    /// `field > value`.
    pub fn gt(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::More, value)
    }

    /// `field >= value`.
    pub fn ge(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::AtLeast, value)
    }

    /// `field`, or `field = false`.
    pub fn is(self, value: bool) -> Filter {
        self.eq(value)
    }

    /// `field in (...)`.
    pub fn is_in<L: Into<Literal>>(self, values: impl IntoIterator<Item = L>) -> Filter {
        let constants = values.into_iter().map(constant).collect();
        self.test(Condition::In { constants, negated: false })
    }

    /// `field not in (...)`: there is a value, and it is none of these.
    pub fn is_not_in<L: Into<Literal>>(self, values: impl IntoIterator<Item = L>) -> Filter {
        let constants = values.into_iter().map(constant).collect();
        self.test(Condition::In { constants, negated: true })
    }

    /// `field between low and high`, both included.
    pub fn between(self, low: impl Into<Literal>, high: impl Into<Literal>) -> Filter {
        self.test(Condition::Between(constant(low), constant(high)))
    }

    /// `field starts with "prefix"`, byte by byte.
    pub fn starts_with(self, prefix: impl Into<String>) -> Filter {
        self.test(Condition::StartsWith(prefix.into()))
    }

    /// `field is null`.
    pub fn is_null(self) -> Filter {
        self.test(Condition::IsNull { negated: false })
    }

    /// `field is not null`.
    pub fn is_not_null(self) -> Filter {
        self.test(Condition::IsNull { negated: true })
    }

    fn compare(self, comparison: Comparison, value: impl Into<Literal>) -> Filter {
        self.test(Condition::Compare(comparison, constant(value)))
    }

    fn test(self, condition: Condition) -> Filter {
        let nowhere = Span::default();
        Expression::Test(Test { name: self.name, name_at: nowhere, condition, at: nowhere }).into()
    }
}

impl Filter {
    /// Both are true.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.root.and(other.root).into()
    }

    /// One is true, or both are.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.root.or(other.root).into()
    }
}

/// True where it was false: the opposite of a test on a null is true.
impl Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        self.root.negated().into()
    }
}

fn constant(value: impl Into<Literal>) -> Constant {
    Constant { literal: value.into(), at: Span::default() }
}

impl From<f64> for Literal {
    fn from(number: f64) -> Self {
        Self(Kind::Decimal(number))
    }
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self(Kind::Bool(value))
    }
}

impl From<&str> for Literal {
    fn from(text: &str) -> Self {
        Self(Kind::Text(text.into()))
    }
}

impl From<String> for Literal {
    fn from(text: String) -> Self {
        Self(Kind::Text(text))
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Literal {
            fn from(number: $number) -> Self {
                Self(Kind::Whole(number.into()))
            }
        }
    )*};
}

whole_numbers!(i8, i16, i32, i64, u8, u16, u32, u64);
