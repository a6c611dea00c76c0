//! What texts mean, and what they are written as.

use super::parsed;
use crate::filter::{FilterProblem, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_TESTS};
use crate::{Filter, field};

#[test]
fn a_text_is_what_is_built() {
    for (text, built) in [
        ("label = 3", field("label").eq(3)),
        ("label!=3", field("label").ne(3)),
        ("price<20.5", field("price").lt(20.5)),
        ("price <= -1", field("price").le(-1)),
        ("price > 1e3", field("price").gt(1000.0)),
        ("price >= 18446744073709551615", field("price").ge(u64::MAX)),
        ("city in ('Oslo',\"Bergen\")", field("city").is_in(["Oslo", "Bergen"])),
        ("city not in ('Oslo')", field("city").is_not_in(["Oslo"])),
        ("city in ()", field("city").is_in([""; 0])),
        ("price between 1 and 2.5", field("price").between(1, 2.5)),
        ("city starts with 'O'", field("city").starts_with("O")),
        ("city is null", field("city").is_null()),
        ("city is not null", field("city").is_not_null()),
        ("sold", field("sold").is(true)),
        ("sold = TRUE", field("sold").is(true)),
        ("sold = false", field("sold").is(false)),
        ("NOT sold", !field("sold").is(true)),
        ("! sold", !field("sold").is(true)),
        ("not not sold", field("sold").is(true)),
        ("`in` In (1)", field("in").is_in([1])),
        ("`a\\`b c` = 1", field("a`b c").eq(1)),
        ("((label = 1))", field("label").eq(1)),
        ("id < 5", field("id").lt(5)),
        ("a.b-c_9 = 1", field("a.b-c_9").eq(1)),
        ("größe = 1", field("größe").eq(1)),
        ("note = 'a\\u{e9}\\n\\\\\\'\"'", field("note").eq("aé\n\\'\"")),
    ] {
        assert_eq!(parsed(text), built, "{text}");
        assert_eq!(parsed(&built.to_string()), built, "{built}");
    }
}

#[test]
fn not_binds_tighter_than_and_and_that_than_or() {
    let [a, b, c] = ["a", "b", "c"].map(|name| move || field(name).is(true));
    assert_eq!(parsed("a or b and c"), a().or(b().and(c())));
    assert_eq!(parsed("a and b or c"), a().and(b()).or(c()));
    assert_eq!(parsed("(a or b) and c"), a().or(b()).and(c()));
    assert_eq!(parsed("not a and b"), (!a()).and(b()));
    assert_eq!(parsed("not (a and b)"), !a().and(b()));
    assert_eq!(parsed("x between 1 and 2 and b"), field("x").between(1, 2).and(b()));
    // Chains are flat, whichever way they were put together.
    assert_eq!(parsed("a and (b and c)"), a().and(b()).and(c()));
    assert_eq!(a().or(b().or(c())).to_string(), "a or b or c");
    assert_eq!(parsed("not (a or not b)").to_string(), "not (a or not b)");
}

#[test]
fn a_filter_names_its_fields() {
    let filter = parsed("price < 3 and not (city = 'Oslo' or price > 1) and `a b`");
    assert_eq!(filter.fields(), ["a b", "city", "price"]);
}

#[test]
fn serde_has_it_as_text() {
    let filter = parsed("price<3 and sold");
    let json = serde_json::to_string(&filter).unwrap();
    assert_eq!(json, "\"price < 3 and sold\"");
    assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), filter);
    let refused = serde_json::from_str::<Filter>("\"price <\"").unwrap_err().to_string();
    assert!(refused.contains("byte 7"), "{refused}");
}

fn problem(text: &str) -> FilterProblem {
    text.parse::<Filter>().unwrap_err().problem().clone()
}

#[test]
fn limits_are_kept_by_texts() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{}a{}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [("(", ")"), ("not ", ""), ("!", ""), ("not (b or ", ")")] {
        let (each, most) = (if open.len() > 4 { 2 } else { 1 }, MAX_FILTER_DEPTH);
        assert!(nested(most / each, open, close).parse::<Filter>().is_ok(), "{open}");
        assert_eq!(problem(&nested(most + 1, open, close)), FilterProblem::TooDeep);
        // Far more than any stack would take.
        assert_eq!(problem(&nested(50_000, open, close)), FilterProblem::TooDeep);
    }
    assert_eq!(problem(&"(".repeat(MAX_FILTER_BYTES)), FilterProblem::TooDeep);
    let many = |tests: usize| vec!["a"; tests].join(" and ");
    assert!(many(MAX_FILTER_TESTS).parse::<Filter>().is_ok());
    assert_eq!(problem(&many(MAX_FILTER_TESTS + 1)), FilterProblem::TooManyTests);
    let list = |values: usize| format!("a in ({})", vec!["1"; values].join(","));
    assert!(list(1 << 16).parse::<Filter>().is_ok());
    assert_eq!(problem(&list((1 << 16) + 1)), FilterProblem::TooManyValues);
    let long = |bytes: usize| format!("a{}", " ".repeat(bytes - 1));
    assert!(long(MAX_FILTER_BYTES).parse::<Filter>().is_ok());
    assert_eq!(problem(&long(MAX_FILTER_BYTES + 1)), FilterProblem::TooLong);
}

#[test]
fn limits_are_kept_by_what_is_built() {
    let refused = |filter: &Filter| filter.check(&[]).unwrap_err().problem().clone();
    let mut deep = field("id").eq(1);
    for i in 0..100_000 {
        deep = if i % 2 == 0 { deep.or(field("id").eq(2)) } else { deep.and(field("id").eq(3)) };
    }
    assert_eq!(refused(&deep), FilterProblem::TooDeep);
    assert_eq!(refused(&!deep.or(field("id").eq(7))), FilterProblem::TooDeep);
    let mut deepest = field("id").eq(0);
    for i in 0..MAX_FILTER_DEPTH {
        deepest = !deepest.and(field("id").eq(i as u64));
        if (i + 1) * 2 > MAX_FILTER_DEPTH {
            break;
        }
        assert_eq!(deepest.check(&[]), Ok(()), "{i}");
        assert_eq!(parsed(&deepest.to_string()), deepest);
    }
    assert_eq!(refused(&deepest), FilterProblem::TooDeep);
    let wide = (0..5000_u64).map(|i| field("id").eq(i)).reduce(Filter::or).unwrap();
    assert_eq!(refused(&wide), FilterProblem::TooManyTests);
    assert_eq!(refused(&field("id").is_in(0..100_000_u64)), FilterProblem::TooManyValues);
    let long = field("id").eq("x".repeat(MAX_FILTER_BYTES));
    assert_eq!(refused(&long), FilterProblem::TooLong);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = field("price").lt(number).check(&super::fields()).unwrap_err();
        assert_eq!(error.position(), 8, "{error}");
    }
}
