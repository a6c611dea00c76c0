//! Points and filters drawn at random, and what passes by looking in the plainest way.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::fields;
use crate::Value;
use crate::columns::parse_timestamp;
use crate::filter::expression::{Comparison, Condition, Constant, Expression, Kind, Literal, Test};

pub(crate) const TIMES: [&str; 4] = [
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "2024-05-01T14:00:00+02:00",
    "2024-05-01T12:00:00.000001Z",
];
const CITIES: [&str; 5] = ["", "Bergen", "Oslo", "Oslofjord", "Ørsta"];
/// Where 64 bits and floats part.
const EDGES: [i128; 10] = [
    i64::MIN as i128,
    -(1 << 53) - 1,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    (1 << 62) + 1,
    i64::MAX as i128 - 1,
    i64::MAX as i128,
    1 << 63,
    u64::MAX as i128,
];
const DECIMALS: [f64; 14] = [
    0.5,
    -0.5,
    0.0,
    -0.0,
    2.0,
    2.5,
    -1.5,
    9007199254740992.0,
    9223372036854775807.0,
    -9223372036854775808.0,
    18446744073709551616.0,
    1e300,
    -1e300,
    5e-324,
];

/// Whether the point passes, by the words of the documentation alone.
pub(crate) fn passes(expression: &Expression, id: u64, row: &[Value]) -> bool {
    match expression {
        Expression::Not(inner) => !passes(inner, id, row),
        Expression::All(children) => children.iter().all(|child| passes(child, id, row)),
        Expression::Any(children) => children.iter().any(|child| passes(child, id, row)),
        Expression::Test(test) => {
            let number = fields().iter().position(|field| field.name == test.name);
            let value = number.map(|number| &row[number]);
            if value == Some(&Value::Null) {
                return test.condition == Condition::IsNull { negated: false };
            }
            let order = |constant: &Constant| match value {
                None => compare_numbers(id.into(), &constant.literal.0),
                Some(value) => compare(value, &constant.literal.0),
            };
            match &test.condition {
                Condition::IsNull { negated } => *negated,
                Condition::Unequal(constant) => order(constant) != Ordering::Equal,
                Condition::Between(low, high) => order(low).is_ge() && order(high).is_le(),
                Condition::In { constants, negated } => {
                    constants.iter().any(|constant| order(constant).is_eq()) != *negated
                }
                Condition::StartsWith(prefix) => {
                    value.and_then(Value::as_str).is_some_and(|text| text.starts_with(prefix))
                }
                Condition::Compare(comparison, constant) => match comparison {
                    Comparison::Equal => order(constant).is_eq(),
                    Comparison::Less => order(constant).is_lt(),
                    Comparison::AtMost => order(constant).is_le(),
                    Comparison::More => order(constant).is_gt(),
                    Comparison::AtLeast => order(constant).is_ge(),
                },
            }
        }
        Expression::TooDeep => unreachable!("no such filter is drawn"),
    }
}

fn compare(value: &Value, constant: &Kind) -> Ordering {
    match (value, constant) {
        (Value::I64(number), constant) => compare_numbers((*number).into(), constant),
        (Value::F64(number), Kind::Decimal(other)) => number.partial_cmp(other).unwrap(),
        (Value::F64(number), Kind::Whole(whole)) => {
            compare_numbers(*whole, &Kind::Decimal(*number)).reverse()
        }
        (Value::Bool(value), Kind::Bool(other)) => value.cmp(other),
        (Value::Keyword(text) | Value::Text(text), Kind::Text(other)) => text.cmp(other),
        (Value::Timestamp(us), Kind::Text(text)) => us.cmp(&parse_timestamp(text).unwrap()),
        _ => panic!("{value:?} and {constant:?} are not of one type"),
    }
}

/// Rounding keeps the order of any two, and makes two equal at most.
fn compare_numbers(whole: i128, constant: &Kind) -> Ordering {
    match constant {
        Kind::Whole(other) => whole.cmp(other),
        Kind::Decimal(number) => {
            let rounded = (whole as f64).partial_cmp(number).unwrap();
            rounded.then_with(|| whole.cmp(&(*number as i128)))
        }
        _ => panic!("{constant:?} is no number"),
    }
}

pub(crate) fn whole() -> impl Strategy<Value = i128> {
    prop_oneof![3 => -3_i128..4, 1 => prop::sample::select(EDGES.to_vec())]
}

fn decimal() -> impl Strategy<Value = f64> {
    prop::sample::select(DECIMALS.to_vec())
}

fn number() -> impl Strategy<Value = Kind> {
    prop_oneof![whole().prop_map(Kind::Whole), decimal().prop_map(Kind::Decimal)]
}

pub(crate) fn text(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(String::from)
}

fn or_null(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value]
}

/// A value of each of `fields()`.
pub(crate) fn row() -> impl Strategy<Value = Vec<Value>> {
    let whole_64 = whole().prop_map(|number| Value::I64(number as i64));
    let price = prop_oneof![decimal(), whole().prop_map(|number| number as f64)];
    (
        or_null(whole_64),
        price.prop_map(Value::F64),
        or_null(any::<bool>().prop_map(Value::Bool)),
        text(&CITIES).prop_map(Value::Keyword),
        or_null(text(&CITIES).prop_map(Value::Text)),
        text(&TIMES).prop_map(|time| Value::Timestamp(parse_timestamp(&time).unwrap())),
    )
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
}

fn condition(constant: impl Strategy<Value = Kind> + Clone) -> impl Strategy<Value = Condition> {
    let constant =
        constant.prop_map(|kind| Constant { literal: Literal(kind), at: Default::default() });
    prop_oneof![
        (prop::sample::select(Comparison::ALL.to_vec()), constant.clone())
            .prop_map(|(comparison, constant)| Condition::Compare(comparison, constant)),
        constant.clone().prop_map(Condition::Unequal),
        (prop::collection::vec(constant.clone(), 0..4), any::<bool>())
            .prop_map(|(constants, negated)| Condition::In { constants, negated }),
        (constant.clone(), constant).prop_map(|(low, high)| Condition::Between(low, high)),
        any::<bool>().prop_map(|negated| Condition::IsNull { negated }),
    ]
}

/// A test that a field has.
fn test() -> impl Strategy<Value = Expression> {
    let of = |name: &'static str, condition: BoxedStrategy<Condition>| {
        condition.prop_map(move |condition| {
            let nowhere = Default::default();
            let name = name.into();
            Expression::Test(Test { name, name_at: nowhere, condition, at: nowhere })
        })
    };
    let number = || number().boxed();
    let city = || text(&CITIES).prop_map(Kind::Text).boxed();
    let prefix = || prop::sample::select(vec!["", "O", "Oslo", "Ø", "z"]);
    let textual = move || {
        let prefix = prefix().prop_map(|prefix| Condition::StartsWith(prefix.into()));
        prop_oneof![4 => condition(city()), 1 => prefix].boxed()
    };
    let no_order = |condition: &Condition| match condition {
        Condition::Compare(comparison, _) => *comparison == Comparison::Equal,
        condition => !matches!(condition, Condition::Between(..)),
    };
    let is_true = condition(any::<bool>().prop_map(Kind::Bool).boxed());
    prop_oneof![
        of("id", condition(number()).boxed()),
        of("label", condition(number()).boxed()),
        of("price", condition(number()).boxed()),
        of("sold", is_true.prop_filter("a test of bool", no_order).boxed()),
        of("city", textual()),
        of("note", textual()),
        of("made", condition(text(&TIMES).prop_map(Kind::Text).boxed()).boxed()),
    ]
}

pub(crate) fn filter() -> impl Strategy<Value = Expression> {
    test().prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            inner.prop_map(Expression::negated),
        ]
    })
}
