//! What is selected, against looking at every row in the plainest way.

use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::rows::Rows;
use super::{fields, parsed};
use crate::columns::parse_timestamp;
use crate::filter::evaluation::evaluate;
use crate::filter::expression::{Comparison, Condition, Constant, Expression, Kind, Literal, Test};
use crate::{Filter, Patience, SearchError, Value};

const TIMES: [&str; 4] = [
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
fn passes(expression: &Expression, id: u64, row: &[Value]) -> bool {
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

fn whole() -> impl Strategy<Value = i128> {
    prop_oneof![3 => -3_i128..4, 1 => prop::sample::select(EDGES.to_vec())]
}

fn decimal() -> impl Strategy<Value = f64> {
    prop::sample::select(DECIMALS.to_vec())
}

fn number() -> impl Strategy<Value = Kind> {
    prop_oneof![whole().prop_map(Kind::Whole), decimal().prop_map(Kind::Decimal)]
}

fn text(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(String::from)
}

fn or_null(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value]
}

/// A value of each of `fields()`.
fn row() -> impl Strategy<Value = Vec<Value>> {
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

fn filter() -> impl Strategy<Value = Expression> {
    test().prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            inner.prop_map(Expression::negated),
        ]
    })
}

fn selected(filter: &Filter, of: &Rows) -> Vec<u32> {
    let selection = evaluate(filter, of, &Patience::default());
    selection.unwrap_or_else(|error| panic!("{error}")).iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_selected_is_what_passes(
        expression in filter(),
        points in prop::collection::vec((whole(), row()), 1..40),
    ) {
        let (ids, rows): (Vec<u64>, Vec<_>) =
            points.into_iter().map(|(id, row)| (id as u64, row)).unzip();
        let expected: Vec<u32> = (0..rows.len() as u32)
            .filter(|&row| passes(&expression, ids[row as usize], &rows[row as usize]))
            .collect();
        let of = Rows::new(fields(), ids, rows);
        let filter = Filter::from(expression);
        prop_assert_eq!(selected(&filter, &of), &expected[..], "{}", filter);
        let read: Filter = filter.to_string().parse().unwrap();
        prop_assert_eq!(selected(&read, &of), expected);
    }
}

/// Points 0 to 3, of which 1 has null wherever that is possible.
fn four() -> Rows {
    let time = |text| Value::Timestamp(parse_timestamp(text).unwrap());
    let row = |number: i64, nulls: bool, city: &str| {
        let or_null = |value| if nulls { Value::Null } else { value };
        vec![
            or_null(Value::I64(number)),
            Value::F64(number as f64 + 0.5),
            or_null(Value::Bool(number % 2 == 0)),
            Value::Keyword(city.into()),
            or_null(Value::Text(city.to_lowercase())),
            time(TIMES[number as usize]),
        ]
    };
    let rows = vec![
        row(0, false, "Oslo"),
        row(1, true, "Bergen"),
        row(2, false, "Oslofjord"),
        row(3, false, ""),
    ];
    Rows::new(fields(), vec![u64::MAX - 1, 7, 8, 0], rows)
}

#[test]
fn nulls_pass_is_null_and_not_alone() {
    let of = four();
    for (text, expected) in [
        ("label = 0", &[0][..]),
        ("label != 0", &[2, 3]),
        ("not label = 0", &[1, 2, 3]),
        ("label in (0, 2)", &[0, 2]),
        ("label not in (0, 2)", &[3]),
        ("not label in (0, 2)", &[1, 3]),
        ("label is null", &[1]),
        ("label is not null", &[0, 2, 3]),
        ("label < 100", &[0, 2, 3]),
        ("label > -1e300", &[0, 2, 3]),
        ("not label > -1e300", &[1]),
        ("label != 0.5", &[0, 2, 3]),
        ("label not in ()", &[0, 2, 3]),
        ("not sold", &[1, 3]),
        ("sold = false", &[3]),
        ("sold != true", &[3]),
        ("note starts with ''", &[0, 2, 3]),
        ("price is null or id is null", &[]),
        ("price is not null and id is not null", &[0, 1, 2, 3]),
        ("id >= 8 or label is null", &[0, 1, 2]),
        ("id between 7 and 8", &[1, 2]),
        ("id = 18446744073709551614", &[0]),
        ("id not in (0, 7, 1e3)", &[0, 2]),
        ("city starts with 'Oslo' and not city = 'Oslo'", &[2]),
        ("city between 'Bergen' and 'Oslo'", &[0, 1]),
        ("made >= '1970-01-01T00:00:00Z' and made < '2024-05-01T12:00:00Z'", &[1]),
        ("price between 3 and 1", &[]),
        ("price = 2.5 or price < 1", &[0, 2]),
    ] {
        assert_eq!(selected(&parsed(text), &of), expected, "{text}");
    }
}

#[test]
fn the_cheapest_is_asked_first_and_no_more_than_is_needed() {
    let of = four();
    let asked = |text: &str| {
        selected(&parsed(text), &of);
        of.asked.take()
    };
    let (label, city, note, made) = (Some(0), Some(3), Some(4), Some(5));
    let time = "made > '1960-01-01T00:00:00Z'";
    let all = format!("note = 'oslo' and {time} and city = 'Oslo' and id > 9");
    assert_eq!(asked(&all), [None, city, made, note]);
    // Nothing is left after the second.
    assert_eq!(asked("note = 'oslo' and label = 99 and id > 9"), [None, label]);
    assert_eq!(asked("note = 'oslo' and label = 99.5"), []);
    // Nothing is missing after the first.
    assert_eq!(asked("note = 'oslo' or city >= ''"), [city]);
    assert_eq!(asked("note = 'x' and (label = 0 or id = 3)"), [None, label, note]);
    assert_eq!(asked("price is not null or note = 'x'"), []);
}

#[test]
fn patience_ends_between_two_tests() {
    let (of, cancelled) = (four(), AtomicBool::new(true));
    let patience = Patience::default().unless(&cancelled);
    let ended = evaluate(&parsed("label = 0 and city = 'Oslo'"), &of, &patience);
    assert!(matches!(ended, Err(SearchError::Cancelled)), "{ended:?}");
    assert_eq!(of.asked.take(), []);
}

#[test]
fn a_filter_of_other_fields_is_refused() {
    let refused = evaluate(&parsed("label = 0 and town = 'Oslo'"), &four(), &Patience::default());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("byte 14") && error.contains("is it"), "{error}");
}
