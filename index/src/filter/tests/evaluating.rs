//! What is selected, against looking at every row in the plainest way.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::drawn::{TIMES, filter, passes, row, whole};
use super::rows::Rows;
use super::{fields, parsed};
use crate::columns::parse_timestamp;
use crate::filter::evaluation::evaluate;
use crate::{Filter, Patience, SearchError, Value};

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
