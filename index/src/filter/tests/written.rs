//! No text is too strange to be read, and whatever is a filter is read as it was written.

use proptest::prelude::*;

use crate::filter::expression::{Comparison, Condition, Constant, Expression, Kind, Literal, Test};
use crate::filter::{Filter, FilterError};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c_][a-c0-9_.-]{0,3}",
        1 => prop::sample::select(vec!["in", "NOT", "and", "null", "true", "id", "with", "nan"])
            .prop_map(String::from),
        1 => any::<String>(),
    ]
}

fn literal() -> impl Strategy<Value = Kind> {
    prop_oneof![
        any::<i64>().prop_map(|number| Kind::Whole(number.into())),
        any::<u64>().prop_map(|number| Kind::Whole(number.into())),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Kind::Decimal),
        any::<String>().prop_map(Kind::Text),
        any::<bool>().prop_map(Kind::Bool),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let constant =
        || literal().prop_map(|kind| Constant { literal: Literal(kind), at: Default::default() });
    prop_oneof![
        (prop::sample::select(Comparison::ALL.to_vec()), constant())
            .prop_map(|(comparison, constant)| Condition::Compare(comparison, constant)),
        constant().prop_map(Condition::Unequal),
        (prop::collection::vec(constant(), 0..4), any::<bool>())
            .prop_map(|(constants, negated)| Condition::In { constants, negated }),
        (constant(), constant()).prop_map(|(low, high)| Condition::Between(low, high)),
        any::<String>().prop_map(Condition::StartsWith),
        any::<bool>().prop_map(|negated| Condition::IsNull { negated }),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let test = (name(), condition()).prop_map(|(name, condition)| {
        let nowhere = Default::default();
        Expression::Test(Test { name, name_at: nowhere, condition, at: nowhere })
    });
    test.prop_recursive(6, 40, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            inner.prop_map(Expression::negated),
        ]
    })
}

/// Words of the language, and others, in any order.
fn nearly_filters() -> impl Strategy<Value = String> {
    let words = vec![
        "and",
        "or",
        "not",
        "in",
        "between",
        "starts",
        "with",
        "is",
        "null",
        "true",
        "false",
        "a",
        "id",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "!",
        "3",
        "-1.5",
        "1e400",
        "'x'",
        "\"\\u{41}\"",
        "'",
        "\"",
        "`",
        "\\",
        "é",
        "\u{2028}",
        "==",
        "\n",
        "9e",
        "-",
        "\u{0}",
        ".",
    ];
    let word = prop::sample::select(words);
    let spaced = (word, prop::sample::select(vec!["", " ", "  "]));
    prop::collection::vec(spaced, 0..40)
        .prop_map(|words| words.into_iter().flat_map(|(word, space)| [word, space]).collect())
}

/// Reads a text and looks at all that is said of it.
fn read(text: &str) {
    match text.parse::<Filter>() {
        Ok(filter) => {
            assert_eq!(filter.to_string().parse::<Filter>().as_ref(), Ok(&filter), "{filter}");
            let _ = filter.check(&super::fields()).map_err(|error| look_at(&error));
        }
        Err(error) => look_at(&error),
    }
}

fn look_at(error: &FilterError) {
    assert!(error.text().is_char_boundary(error.position()));
    assert!(error.text()[error.position()..].starts_with(error.found()));
    assert!(!error.to_string().contains('\n'), "{error}");
    assert_eq!(error.carets().lines().count(), 2, "{}", error.carets());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_filter_is_read_as_it_is_written(expression in expression()) {
        let filter = Filter::from(expression);
        let text = filter.to_string();
        prop_assert!(!text.contains(['\n', '\r']), "{}", text);
        prop_assert_eq!(text.parse::<Filter>(), Ok(filter));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn nothing_that_is_nearly_a_filter_panics(text in nearly_filters()) {
        read(&text);
    }

    /// A filter with one character more, less or other.
    #[test]
    fn no_slip_of_the_hand_panics(
        expression in expression(),
        at in any::<prop::sample::Index>(),
        slip in prop::option::of(any::<char>()),
        is_inserted: bool,
    ) {
        let mut text: Vec<char> = Filter::from(expression).to_string().chars().collect();
        let at = at.index(text.len());
        let rest = if is_inserted { at } else { at + 1 };
        text.splice(at..rest, slip);
        read(&text.into_iter().collect::<String>());
    }
}
