//! A filter bound to the fields of a segment: names become columns, and comparisons become what
//! columns can be asked for.
//!
//! Here types are checked. What comes out, a [`Plan`], knows nothing of texts and positions; its
//! parts stand in the order in which they are cheapest to ask for.

use std::ops::Bound::{self, Included, Unbounded};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::exact::{self, Number, Range};
use super::expression::{Comparison, Condition, Constant, Expression, Kind, Span, Test};
use super::{Filter, FilterError, FilterProblem as Problem};
use crate::columns::parse_timestamp;
use crate::{Field, FieldType, Value};

/// The field that every point has.
const ID: &str = "id";

/// What to ask columns and ids for, and how to join the answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// All points, or none.
    Constant(bool),
    Ids(IdTest),
    Column(usize, Asked),
    Not(Box<Plan>),
    /// The cheapest first.
    All(Vec<Plan>),
    Any(Vec<Plan>),
}

/// What an id is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum IdTest {
    /// In ascending order, none twice.
    OneOf(Vec<u64>),
    Within(RangeInclusive<u64>),
}

/// What the values of a column are to be, all of the column's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// In ascending order, none twice.
    OneOf(Vec<Value>),
    /// Something is between the bounds, and something is not.
    Within(Bound<Value>, Bound<Value>),
    StartsWith(String),
    IsNull,
}

/// Binds a filter to these fields, and `id`.
pub(crate) fn bind(filter: &Filter, fields: &[Field]) -> Result<Plan, FilterError> {
    let (root, text) = filter.positioned()?;
    Binding { fields, text: &text }.plan(&root)
}

struct Binding<'a> {
    fields: &'a [Field],
    text: &'a Arc<str>,
}

impl Binding<'_> {
    fn plan(&self, expression: &Expression) -> Result<Plan, FilterError> {
        let each = |children: &[Expression]| {
            let plans = children.iter().map(|child| self.plan(child));
            let mut plans = plans.collect::<Result<Vec<_>, _>>()?;
            plans.sort_by_cached_key(|plan| self.cost(plan));
            Ok(plans)
        };
        match expression {
            Expression::Test(test) => self.test(test),
            Expression::Not(inner) => Ok(negation(self.plan(inner)?)),
            Expression::All(children) => Ok(Plan::All(each(children)?)),
            Expression::Any(children) => Ok(Plan::Any(each(children)?)),
            Expression::TooDeep => Err(self.error(Span::default(), Problem::TooDeep)),
        }
    }

    /// What asking costs, about as pages that are read for each: enough to order by.
    fn cost(&self, plan: &Plan) -> u64 {
        const IN_MEMORY: u64 = 1;
        const INDEX: u64 = 8;
        const COLUMN: u64 = 100;
        const TEXTS: u64 = 2000;
        match plan {
            Plan::Constant(_) => 0,
            Plan::Ids(_) => IN_MEMORY,
            Plan::Column(number, _) => match &self.fields[*number] {
                Field { indexed: true, .. } => INDEX,
                Field { field_type: FieldType::Text, .. } => TEXTS,
                _ => COLUMN,
            },
            Plan::Not(inner) => self.cost(inner),
            Plan::All(parts) | Plan::Any(parts) => parts.iter().map(|part| self.cost(part)).sum(),
        }
    }

    fn test(&self, test: &Test) -> Result<Plan, FilterError> {
        let subject = self.subject(test)?;
        let range = |comparison, constant: &Constant| {
            let range = range(subject, comparison, constant);
            range.map_err(|wrong| self.wrong(test, subject, constant, wrong))
        };
        Ok(match &test.condition {
            Condition::IsNull { negated: false } => subject.nulls(),
            Condition::IsNull { negated: true } => negation(subject.nulls()),
            Condition::Compare(comparison, constant) => {
                subject.within(range(*comparison, constant)?)
            }
            Condition::Unequal(constant) => {
                subject.inverted(subject.within(range(Comparison::Equal, constant)?))
            }
            Condition::Between(low, high) => subject.within(exact::between(
                range(Comparison::AtLeast, low)?,
                range(Comparison::AtMost, high)?,
            )),
            Condition::In { constants, negated } => {
                let equal = |constant| range(Comparison::Equal, constant);
                let found = constants.iter().map(equal).collect::<Result<Vec<_>, _>>()?;
                let plan = subject.one_of(found.into_iter().flatten().filter_map(only).collect());
                if *negated { subject.inverted(plan) } else { plan }
            }
            Condition::StartsWith(prefix) => match subject {
                Subject::Column(number, field) if is_textual(field) => {
                    Plan::Column(number, Asked::StartsWith(prefix.clone()))
                }
                _ => {
                    let expected = "another operator: starts with is for keyword and text";
                    return Err(self.wrong_type(test, subject, test.at, expected));
                }
            },
        })
    }

    fn subject(&self, test: &Test) -> Result<Subject<'_>, FilterError> {
        let mut numbered = self.fields.iter().enumerate();
        if test.name == ID {
            return Ok(Subject::Id);
        }
        if let Some((number, field)) = numbered.find(|(_, field)| field.name == test.name) {
            return Ok(Subject::Column(number, field));
        }
        let names = self.fields.iter().map(|field| field.name.as_str()).chain([ID]);
        let likeness = |known: &&str| strsim::damerau_levenshtein(&test.name, known);
        let nearest = names.min_by_key(likeness).unwrap_or(ID).into();
        Err(self.error(test.name_at, Problem::UnknownField { nearest }))
    }

    fn wrong(
        &self,
        test: &Test,
        subject: Subject<'_>,
        constant: &Constant,
        wrong: Wrong,
    ) -> FilterError {
        let field = test.name.clone();
        match wrong {
            // What a field alone is compared with was never written.
            Wrong::Value(_) if constant.at.start == test.name_at.start => {
                let expected = "an operator behind it: a bool alone is a test";
                self.wrong_type(test, subject, test.name_at, expected)
            }
            Wrong::Value(expected) => self.wrong_type(test, subject, constant.at, expected),
            Wrong::Operator(expected) => self.wrong_type(test, subject, test.at, expected),
            Wrong::Time => self.error(constant.at, Problem::NoTimestamp { field }),
        }
    }

    fn wrong_type(
        &self,
        test: &Test,
        subject: Subject<'_>,
        at: Span,
        expected: &'static str,
    ) -> FilterError {
        let field_type = match subject {
            Subject::Id => "u64".into(),
            Subject::Column(_, field) => field.field_type.to_string(),
        };
        let field = test.name.clone();
        self.error(at, Problem::WrongType { field, field_type, expected: expected.into() })
    }

    fn error(&self, at: Span, problem: Problem) -> FilterError {
        FilterError::new(self.text, at.start..at.end, problem)
    }
}

/// Whose value is tested.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Id,
    Column(usize, &'a Field),
}

impl Subject<'_> {
    /// The points without a value.
    fn nulls(self) -> Plan {
        match self {
            Self::Column(number, field) if field.nullable => Plan::Column(number, Asked::IsNull),
            _ => Plan::Constant(false),
        }
    }

    /// The points with a value that are not in `plan`.
    fn inverted(self, plan: Plan) -> Plan {
        match self.nulls() {
            Plan::Constant(_) => negation(plan),
            nulls => Plan::All(vec![negation(nulls), negation(plan)]),
        }
    }

    /// The points with a value in this range.
    fn within(self, range: Range<Kind>) -> Plan {
        let Some((low, high)) = range else { return Plan::Constant(false) };
        match (self, low, high) {
            (_, Unbounded, Unbounded) => negation(self.nulls()),
            (_, Included(low), Included(high)) if low == high => self.one_of(vec![low]),
            (Self::Id, low, high) => {
                // Of integers the bounds are included.
                let end = |bound: Bound<Kind>, none| match bound {
                    Included(kind) => id(kind).unwrap_or(none),
                    _ => none,
                };
                Plan::Ids(IdTest::Within(end(low, 0)..=end(high, u64::MAX)))
            }
            (Self::Column(number, field), low, high) => {
                let value = |kind| value(field.field_type, kind);
                Plan::Column(number, Asked::Within(low.map(value), high.map(value)))
            }
        }
    }

    /// The points with one of these values.
    fn one_of(self, mut values: Vec<Kind>) -> Plan {
        // None is NaN, so that any two are in order.
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        values.dedup();
        match self {
            _ if values.is_empty() => Plan::Constant(false),
            Self::Id => Plan::Ids(IdTest::OneOf(values.into_iter().filter_map(id).collect())),
            Self::Column(number, field) => {
                let values = values.into_iter().map(|kind| value(field.field_type, kind));
                Plan::Column(number, Asked::OneOf(values.collect()))
            }
        }
    }
}

/// Why a field is not compared so.
enum Wrong {
    /// With such a value: with what instead.
    Value(&'static str),
    /// By this operator: by which instead.
    Operator(&'static str),
    /// With a text that is no time.
    Time,
}

/// The values of the subject's type that compare so with a constant.
fn range(
    subject: Subject<'_>,
    comparison: Comparison,
    constant: &Constant,
) -> Result<Range<Kind>, Wrong> {
    let number = || match constant.literal.0 {
        Kind::Whole(number) => Ok(Number::Whole(number)),
        Kind::Decimal(number) => Ok(Number::Decimal(number)),
        _ => Err(Wrong::Value("a number")),
    };
    let integers = |least: i128, most: i128| {
        let range = exact::integers(comparison, number()?, least, most);
        Ok(range.map(|(low, high)| (low.map(Kind::Whole), high.map(Kind::Whole))))
    };
    let Subject::Column(_, field) = subject else { return integers(0, u64::MAX.into()) };
    match (field.field_type, &constant.literal.0) {
        (FieldType::I64, _) => integers(i64::MIN.into(), i64::MAX.into()),
        (FieldType::F64, _) => {
            let range = exact::floats(comparison, number()?);
            Ok(range.map(|(low, high)| (low.map(Kind::Decimal), high.map(Kind::Decimal))))
        }
        (FieldType::Keyword | FieldType::Text, text @ Kind::Text(_)) => {
            Ok(exact::same(comparison, text.clone()))
        }
        (FieldType::Timestamp, Kind::Text(text)) => {
            let us = parse_timestamp(text).ok_or(Wrong::Time)?;
            Ok(exact::same(comparison, Kind::Whole(us.into())))
        }
        (FieldType::Bool, value @ Kind::Bool(_)) => match comparison {
            Comparison::Equal => Ok(exact::same(comparison, value.clone())),
            _ => Err(Wrong::Operator("=, != or in")),
        },
        (FieldType::Bool, _) => Err(Wrong::Value("true or false")),
        (FieldType::Keyword | FieldType::Text, _) => Err(Wrong::Value("a text in quotes")),
        (FieldType::Timestamp, _) => {
            Err(Wrong::Value("a time in quotes, as \"2024-05-01T12:00:00Z\""))
        }
    }
}

fn is_textual(field: &Field) -> bool {
    matches!(field.field_type, FieldType::Keyword | FieldType::Text)
}

fn negation(plan: Plan) -> Plan {
    match plan {
        Plan::Constant(value) => Plan::Constant(!value),
        Plan::Not(inner) => *inner,
        other => Plan::Not(other.into()),
    }
}

/// The one value of a range that has one.
fn only((low, _): (Bound<Kind>, Bound<Kind>)) -> Option<Kind> {
    match low {
        Included(value) => Some(value),
        _ => None,
    }
}

fn id(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Whole(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

/// As a column has it. Numbers are within their type's range by now.
fn value(field_type: FieldType, kind: Kind) -> Value {
    match (field_type, kind) {
        (FieldType::Timestamp, Kind::Whole(us)) => Value::Timestamp(us as i64),
        (_, Kind::Whole(number)) => Value::I64(number as i64),
        (_, Kind::Decimal(number)) => Value::F64(number),
        (FieldType::Keyword, Kind::Text(text)) => Value::Keyword(text),
        (_, Kind::Text(text)) => Value::Text(text),
        (_, Kind::Bool(value)) => Value::Bool(value),
    }
}
