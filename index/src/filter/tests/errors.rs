//! What is said of a wrong filter: what was found, where, and what was expected.

use super::fields;
use crate::filter::FilterError;
use crate::{Filter, field};

/// The error of a text, whichever step it comes from.
fn refused(text: &str) -> FilterError {
    match text.parse::<Filter>() {
        Ok(filter) => filter.check(&fields()).unwrap_err(),
        Err(error) => error,
    }
}

#[test]
fn texts_that_are_no_filters() {
    for (text, position, said) in [
        ("", 0, "found the end, expected a field, not or ("),
        ("   ", 3, "found the end, expected a field"),
        ("= 3", 0, "found \"=\", expected a field"),
        ("and sold", 0, "found \"and\", expected a field"),
        ("label", 0, "label is of type i64: expected an operator behind it"),
        ("label 3", 6, "found \"3\", expected an operator: =, !=, <"),
        ("(label 3)", 7, "found \"3\", expected an operator: =, !=, <"),
        ("label = ", 8, "found the end, expected a value"),
        ("label == 3", 6, "found \"==\", expected an operator: =, !=, <, <=, >, >="),
        ("label == 3", 6, "is it =?"),
        ("label <> 3", 6, "is it !=?"),
        ("label = null", 8, "found \"null\", expected a value: a number, a text in quotes"),
        ("label = null", 8, "is it is null?"),
        ("label = Oslo", 8, "found \"Oslo\", expected a value: a number, a text in quotes"),
        ("label = 3 4", 10, "found \"4\", expected and, or, or the end"),
        ("label = 3 && sold", 10, "found \"&&\", expected and, or, or the end; is it and?"),
        ("(label = 3", 10, "found the end, expected and, or, or ) that closes"),
        ("label = 3)", 9, "found \")\", expected and, or, or the end"),
        ("label = 3 or", 12, "found the end, expected a field"),
        ("label in 3", 9, "found \"3\", expected a list of values in parentheses"),
        ("label in (3", 11, "found the end, expected , and another value, or )"),
        ("label in (3,)", 12, "found \")\", expected a value"),
        ("label not 3", 10, "found \"3\", expected in"),
        ("label between 1 or 2", 16, "found \"or\", expected and, and the upper bound"),
        ("city starts 'O'", 12, "found 'O', expected with"),
        ("city starts with 3", 17, "found \"3\", expected a text in quotes"),
        ("city is 'Oslo'", 8, "found 'Oslo', expected null or not null"),
        ("city is not 'Oslo'", 12, "found 'Oslo', expected null"),
        ("city like 'O%'", 5, "is it starts with?"),
        ("city = 'Oslo", 7, "'Oslo begins a text that does not end: close it with '"),
        ("`city = 1", 0, "close it with `"),
        ("city = 'a\\x'", 9, "\"\\x\" is no escape"),
        ("city = '\\u{110000}'", 8, "is no escape"),
        ("city = '\\u{}'", 8, "is no escape"),
        ("city = '\\u{d800}'", 8, "is no escape"),
        ("label = 3abc", 8, "\"3abc\" is no number"),
        ("label = 1.", 8, "\"1.\" is no number"),
        ("label = -", 8, "\"-\" is no number"),
        ("label = 1.2.3", 8, "\"1.2.3\" is no number"),
        ("label = 0x10", 8, "\"0x10\" is no number"),
        ("label = 1_000", 8, "\"1_000\" is no number"),
        ("label = 18446744073709551616", 8, "out of range: integers go from"),
        ("label = 1e999", 8, "out of range"),
        ("label = \u{1F600}", 8, "found \"\u{1F600}\", expected a value"),
        ("label = 3 \u{7}", 10, "found \"\\u{7}\", expected and"),
    ] {
        let error = refused(text);
        assert_eq!(error.position(), position, "{error}");
        assert!(error.to_string().contains(said), "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("filter, byte {position}: ")), "{error}");
    }
}

#[test]
fn tests_that_a_field_does_not_have() {
    for (text, position, said) in [
        ("prise < 3", 0, "no field is called \"prise\": is it price?"),
        ("sold and citty = 'Oslo'", 9, "no field is called \"citty\": is it city?"),
        ("Id = 3", 0, "is it id?"),
        ("label = 'three'", 8, "found 'three', but label is of type i64: expected a number"),
        ("price between 1 and '2'", 20, "price is of type f64: expected a number"),
        ("label in (1, 2, true)", 16, "found \"true\", but label is of type i64"),
        ("id = 'x'", 5, "id is of type u64: expected a number"),
        ("city = 3", 7, "found \"3\", but city is of type keyword: expected a text in quotes"),
        ("city", 0, "city is of type keyword: expected an operator behind it"),
        ("not (label or sold)", 5, "label is of type i64: expected an operator"),
        ("id", 0, "id is of type u64: expected an operator"),
        ("note >= 1.5", 8, "note is of type text"),
        ("sold = 1", 7, "sold is of type bool: expected true or false"),
        ("sold < true", 5, "found \"<\", but sold is of type bool: expected =, != or in"),
        ("sold between false and true", 5, "expected =, != or in"),
        ("label starts with '3'", 6, "found \"starts\", but label is of type i64"),
        ("id starts with '3'", 3, "id is of type u64: expected another operator"),
        ("made > 3", 7, "made is of type timestamp: expected a time in quotes"),
        ("made > '2024-05-01'", 7, "expected a time as \"2024-05-01T12:00:00Z\""),
        ("made in ('2024-05-01T12:00:00Z', 'x')", 33, "found 'x', but made is of type timestamp"),
    ] {
        let error = refused(text);
        assert_eq!(error.position(), position, "{error}");
        assert!(error.to_string().contains(said), "{text}: {error}");
    }
}

#[test]
fn what_is_built_is_refused_where_it_would_stand() {
    let filter = field("sold").is(true).and(field("city").eq(3).or(field("id").eq(1)));
    let error = filter.check(&fields()).unwrap_err();
    assert_eq!(error.text(), "sold and (city = 3 or id = 1)");
    assert_eq!((error.position(), error.found()), (17, "3"));
    assert!(error.to_string().contains("city is of type keyword"), "{error}");
}

#[test]
fn carets_stand_under_what_was_found() {
    let error = refused("sold and citty\t= 'Oslo'");
    assert_eq!(error.carets(), "sold and citty = 'Oslo'\n         ^^^^^");
    assert_eq!(refused("größe = ö").carets(), "größe = ö\n        ^");
    assert_eq!(refused("label =").carets(), "label =\n       ^");
    let long = format!("{} = 3 and label = 'x'{}", "l".repeat(100), " and sold".repeat(50));
    let carets = refused(&long.replace(&"l".repeat(100), "label")).carets();
    assert!(carets.contains("label = 'x'") && carets.contains("..."), "{carets}");
    let carets = refused(&long).carets();
    assert!(carets.lines().all(|line| line.chars().count() <= 82), "{carets}");
    let late = format!("{}x = 1", "sold and ".repeat(30));
    let carets = refused(&late).carets();
    let (line, under) = carets.split_once('\n').unwrap();
    assert!(line.starts_with("...") && line.ends_with("x = 1"), "{carets}");
    assert_eq!(under.find('^'), line.find("x = 1"), "{carets}");
}
