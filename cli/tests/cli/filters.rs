//! Filters and fields on the command line, on 2,000 points with fields.

use std::fs;

use serde_json::Value;

use crate::workshop::{Workshop, done, failed, json, one_line};

const CITIES: [&str; 4] = ["Oslo", "Bergen", "Tromsø", "Bodø"];

/// A folder as that of `Workshop::with_segment`, whose points have fields: `label` is the row
/// modulo 10, `city` one of four, `sold` true where 3 divides the row, `price` half the row, and
/// null in every fifth row.
fn shop() -> Workshop {
    let shop = Workshop::new();
    shop.points("base.fvecs", 2000, 24, 1);
    shop.points("query.fvecs", 40, 24, 2);
    let row = |i: usize| {
        let price =
            if i.is_multiple_of(5) { "null".into() } else { format!("{:.1}", i as f64 / 2.0) };
        let (city, label, sold) = (CITIES[i % 4], i % 10, i.is_multiple_of(3));
        format!(
            "{{\"label\": {label}, \"city\": \"{city}\", \"sold\": {sold}, \"price\": {price}}}\n"
        )
    };
    shop.file("fields.ndjson", (0..2000).map(row).collect::<String>().as_bytes());
    let build = ["build", "--vectors", "base.fvecs", "--columns", "fields.ndjson"];
    done(&shop.ringpool(build.iter().chain(&["--out", "segment"])));
    shop
}

fn passes(row: u64) -> bool {
    let price = (!row.is_multiple_of(5)).then_some(row as f64 / 2.0);
    row % 4 < 2 && price.is_some_and(|price| price < 700.5) && !row.is_multiple_of(3)
}

const FILTER: &str = r#"city in ("Oslo", "Bergen") and price < 700.5 and not sold"#;

#[test]
fn hits_are_points_that_pass_with_their_fields() {
    let shop = shop();
    let flags = ["--filter", FILTER, "--fields", "price, city,label", "--json"];
    let run = json(&shop.search(&flags));
    let selected = (0..2000).filter(|&row| passes(row)).count();
    assert_eq!(run["filter"], FILTER);
    assert_eq!(run["selected"], selected);
    assert_eq!(run["selectivity"], selected as f64 / 2000.0);
    assert!(run["filter_us"].as_f64().unwrap() > 0.0 && run["fields_us"].as_f64().unwrap() > 0.0);
    let answers = run["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 40);
    for hits in answers {
        let hits = hits.as_array().unwrap();
        assert_eq!(hits.len(), 10);
        for hit in hits {
            let row = hit["id"].as_u64().unwrap();
            assert!(passes(row), "{hit}");
            let fields = serde_json::json!({
                "price": row as f64 / 2.0, "city": CITIES[row as usize % 4], "label": row % 10,
            });
            assert_eq!(hit["fields"], fields);
        }
        let distances: Vec<f64> =
            hits.iter().map(|hit| hit["distance"].as_f64().unwrap()).collect();
        assert!(distances.is_sorted(), "{distances:?}");
    }
    let text = done(&shop.search(&flags[..4]));
    for part in [FILTER, "selected", "price", "Oslo"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_filtered_truth_is_what_filtered_searches_are_held_against() {
    let shop = shop();
    let truth = ["truth", "--segment", "segment", "--queries", "query.fvecs", "--k", "10"];
    let out = ["--out", "truth.ivecs", "--filter", FILTER, "--json"];
    let made = json(&shop.ringpool(truth.iter().chain(&out)));
    assert_eq!(made["selected"], (0..2000).filter(|&row| passes(row)).count());
    let flags = ["--filter", FILTER, "--truth", "truth.ivecs", "--json"];
    assert!(json(&shop.search(&flags))["recall"].as_f64().unwrap() > 0.95);
    let exact = json(&shop.search(&[&flags[..], &["--exact"]].concat()));
    assert_eq!(exact["recall"], 1.0);
    assert_eq!(exact["answers_crc32c"], made["answers_crc32c"]);
    // Also where everything is elsewhere, and read by blocking threads.
    let memory = [&flags[..], &["--exact", "--backend", "memory"]].concat();
    assert_eq!(json(&shop.search(&memory))["answers_crc32c"], made["answers_crc32c"]);
    // The truth of all points is not that of some.
    let all = ["--out", "all.ivecs"];
    done(&shop.ringpool(truth.iter().chain(&all)));
    failed(&shop.search(&["--filter", FILTER, "--truth", "all.ivecs"]), &["all.ivecs", "--filter"]);
}

#[test]
fn hits_are_written_a_line_a_query() {
    let shop = shop();
    done(&shop.search(&["--fields", "city,price", "--hits-out", "hits.ndjson", "--k", "3"]));
    let text = fs::read_to_string(shop.path("hits.ndjson")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 40);
    for (query, line) in lines.iter().enumerate() {
        assert_eq!(line["query"], query);
        let hits = line["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 3);
        for hit in hits {
            let row = hit["id"].as_u64().unwrap();
            assert_eq!(hit["fields"]["city"], CITIES[row as usize % 4]);
            assert_eq!(hit["fields"]["price"].is_null(), row % 5 == 0);
        }
    }
    // Without fields there are ids and distances.
    done(&shop.search(&["--hits-out", "bare.ndjson", "--k", "3"]));
    let text = fs::read_to_string(shop.path("bare.ndjson")).unwrap();
    assert!(text.lines().count() == 40 && !text.contains("city"), "{text}");
    failed(&shop.search(&["--hits-out", "nowhere/hits.ndjson"]), &["nowhere/hits.ndjson"]);
}

#[test]
fn a_filter_that_selects_nothing_gives_no_hits() {
    let shop = shop();
    for more in [&[][..], &["--exact"], &["--threads", "2"]] {
        let flags = ["--filter", "label = 11", "--fields", "city", "--json"];
        let run = json(&shop.search(&[&flags[..], more].concat()));
        assert_eq!((&run["selected"], &run["selectivity"]), (&0.into(), &0.0.into()));
        let answers = run["answers"].as_array().unwrap();
        assert!(answers.len() == 40 && answers.iter().all(|hits| hits == &serde_json::json!([])));
    }
}

#[test]
fn ids_of_two_segments_are_those_that_hits_tell() {
    let shop = shop();
    let args = ["search", "segment", "segment", "--queries", "query.fvecs", "--json", "--filter"];
    let run =
        json(&shop.ringpool(args.iter().chain(&["id >= 1990 and id < 2010", "--fields", "label"])));
    assert_eq!((&run["selected"], &run["selectivity"]), (&20.into(), &0.005.into()));
    for hit in run["answers"].as_array().unwrap().iter().flat_map(|hits| hits.as_array().unwrap()) {
        let id = hit["id"].as_u64().unwrap();
        assert!((1990..2010).contains(&id), "{hit}");
        assert_eq!(hit["fields"]["label"], id % 10);
    }
}

#[test]
fn wrong_filters_and_fields_are_wrong_usage() {
    let shop = shop();
    let before = shop.contents();
    for (flag, text, said) in [
        ("--filter", "label == 3", "--filter, byte 6: found \"==\", expected an operator"),
        ("--filter", "prise < 3", "--filter, byte 0: no field is called \"prise\": is it price?"),
        ("--filter", "city = 3", "city is of type keyword: expected a text in quotes"),
        ("--filter", "label = 3 and", "--filter, byte 13: found the end, expected a field"),
        ("--filter", "label in (1,\n2", "byte 14: found the end"),
        ("--fields", "price,ctiy", "--fields, byte 6: no field is called \"ctiy\": is it city?"),
        ("--fields", "price, ,city", "--fields, byte 7: found nothing, expected a field"),
        ("--fields", "", "--fields, byte 0: found nothing, expected a field"),
    ] {
        let line = one_line(&shop.search(&[flag, text, "--hits-out", "hits.ndjson"]), 2);
        assert!(line.contains(said), "{text}: {line}");
    }
    let truth = ["truth", "--segment", "segment", "--queries", "query.fvecs", "--out", "t.ivecs"];
    let line = one_line(&shop.ringpool(truth.iter().chain(&["--filter", "labl = 3"])), 2);
    assert!(line.contains("is it label?"), "{line}");
    assert_eq!(shop.contents(), before);
    let bare = Workshop::with_segment();
    let line = one_line(&bare.search(&["--fields", "city"]), 2);
    assert!(line.contains("has no fields"), "{line}");
    let line = one_line(&bare.search(&["--filter", "city = 'Oslo'"]), 2);
    assert!(line.contains("no field is called \"city\": is it id?"), "{line}");
    done(&bare.search(&["--filter", "id < 1000"]));
}
