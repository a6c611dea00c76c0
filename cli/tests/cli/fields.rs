//! Fields of points from a file, and what is wrong with one.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ringpool::{Index, OpenOptions, Value};
use serde_json::json as object;

use crate::workshop::{Workshop, done, failed, json, misused, stderr};

/// A folder with 300 points and a line of fields for each.
fn shop() -> Workshop {
    let shop = Workshop::new();
    shop.points("base.fvecs", 300, 8, 1);
    let line = |row: usize| {
        let city = ["Oslo", "Bergen", "Tromsø"][row % 3];
        let mut line = object!({
            "id": row, "label": row % 10, "price": row as f64 / 4.0, "city": city,
            "sold": row.is_multiple_of(7), "added": format!("2026-11-21T20:{:02}:00Z", row % 60),
            "about": format!("{row} {}", "words ".repeat(60)),
        });
        if row % 5 == 4 {
            line["city"] = serde_json::Value::Null;
        }
        format!("{line}\n")
    };
    let lines: String = (0..300).map(line).collect();
    shop.file("fields.ndjson", lines.as_bytes());
    shop
}

const BUILD: [&str; 5] = ["build", "--vectors", "base.fvecs", "--out", "segment"];

#[test]
fn fields_are_built_listed_and_read() {
    let shop = shop();
    let flags = ["--columns", "fields.ndjson", "--column", "price:f64:noindex", "--json"];
    let built = json(&shop.ringpool(BUILD.iter().chain(&flags)));
    let found = json(&shop.ringpool(["inspect", "segment", "--json"]));
    assert_eq!(built["fields"], found["fields"]);
    let fields = built["fields"].as_array().unwrap();
    let named = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(fields.len(), 6, "{fields:?}");
    for (name, field_type, index, distinct) in [
        ("label", "i64", object!("inverted"), object!(10)),
        ("price", "f64", object!(null), object!(300)),
        ("city", "keyword", object!("inverted"), object!(3)),
        ("sold", "bool", object!("inverted"), object!(2)),
        ("added", "timestamp", object!("range"), object!(60)),
        ("about", "text", object!(null), object!(null)),
    ] {
        let field = named(name);
        assert_eq!(field["type"], field_type, "{name}");
        assert_eq!((&field["index"], &field["distinct"]), (&index, &distinct), "{name}");
        assert_eq!(field["nullable"], name == "city");
        assert!(field["bytes"].as_u64().unwrap() >= 4096, "{name}");
        assert_eq!(field["index_bytes"].as_u64().unwrap() > 0, !index.is_null(), "{name}");
    }
    assert_eq!(named("city")["nulls"], 60);
    let components = found["components"].as_array().unwrap();
    assert!(components.iter().any(|component| component["name"] == "column-2-index"));
    let text = done(&shop.ringpool(["inspect", "segment"]));
    for part in ["field", "city", "keyword", "inverted", "timestamp", "range"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    done(&shop.ringpool(["verify", "segment"]));
    let index = Index::open(shop.path("segment"), &OpenOptions::default()).unwrap();
    let segment = index.segment();
    let city = segment.field_number("city").unwrap();
    let values = segment.values(&(0..300).collect::<Vec<u32>>(), &[city]).unwrap();
    let oslo = values.iter().filter(|row| row[0] == Value::Keyword("Oslo".into())).count();
    assert_eq!(oslo, 80);
}

#[test]
fn an_id_that_is_no_row_is_left_out_with_a_note() {
    let shop = shop();
    let text = std::fs::read_to_string(shop.path("fields.ndjson")).unwrap();
    shop.file("other.ndjson", text.replace("\"id\":7,", "\"id\":77,").as_bytes());
    let output = shop.ringpool(BUILD.iter().chain(&["--columns", "other.ndjson"]));
    assert_eq!(output.status.code(), Some(0));
    let note = stderr(&output);
    assert_eq!(note.lines().count(), 1, "{note}");
    assert!(note.starts_with("note: other.ndjson: ") && note.contains("--ids"), "{note}");
}

#[test]
fn what_fields_need_is_counted() {
    let shop = shop();
    let bytes = |flags: &[&str], out: &str| {
        let args = ["build", "--vectors", "base.fvecs", "--json", "--out", out];
        let built = json(&shop.ringpool(args.iter().chain(flags)));
        built["memory_needed_bytes"].as_u64().unwrap()
    };
    let without = bytes(&[], "a");
    let with = bytes(&["--columns", "fields.ndjson"], "b");
    // The texts alone have 360 bytes each.
    assert!(with > without + 300 * 360, "{without} {with}");
    let bound = without.to_string();
    let flags = ["--columns", "fields.ndjson", "--build-memory", &bound];
    failed(&shop.ringpool(BUILD.iter().chain(&flags)), &["--build-memory", "fields"]);
}

#[test]
fn bad_fields_are_named_and_leave_nothing() {
    let shop = shop();
    let text = std::fs::read_to_string(shop.path("fields.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |line: &str| {
        let mut lines = lines.clone();
        lines[6] = line;
        lines.join("\n").into_bytes()
    };
    let huge_value = format!("{{\"about\": \"{}\"}}", "x".repeat((1 << 20) + 1));
    let huge_line = format!("{{\"about\": \"{}\"}}", "x".repeat(17 << 20));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("short.ndjson", lines[..299].join("\n").into_bytes(), &["299 rows", "300 vectors"]),
        (
            "long.ndjson",
            [text.as_bytes(), b"{}\n"].concat(),
            &["more than 300 rows", "300 vectors"],
        ),
        ("utf8.ndjson", [b"{\"a\": \"\xff\"}\n", text.as_bytes()].concat(), &["row 0", "UTF-8"]),
        ("mixed.ndjson", with("{\"label\": \"nine\"}"), &["\"label\"", "row 0", "row 6", "a text"]),
        ("nested.ndjson", with("{\"label\": [9]}"), &["row 6 (line 7)", "an array", "\"label\""]),
        (
            "twice.ndjson",
            with("{\"label\": 9, \"label\": 8}"),
            &["row 6 (line 7)", "\"label\" twice"],
        ),
        ("nan.ndjson", with("{\"price\": NaN}"), &["row 6 (line 7)", "null for NaN"]),
        (
            "i64.ndjson",
            with("{\"label\": 9223372036854775808}"),
            &["row 6", "\"label\"", "64 bits"],
        ),
        ("broken.ndjson", with("{\"label\": "), &["row 6 (line 7)", "no JSON object"]),
        ("value.ndjson", with(&huge_value), &["row 6", "\"about\"", "1048577 bytes", "cut it"]),
        ("line.ndjson", with(&huge_line), &["row 6 (line 7)", "longer than"]),
        ("name.ndjson", with("{\"a b\": 1}"), &["no field can be called \"a b\""]),
        ("cut.ndjson.gz", gzip[..gzip.len() / 2].to_vec(), &["gzip stream is damaged or cut"]),
        ("plain.ndjson.gz", text.clone().into_bytes(), &["does not start as gzip does"]),
        ("empty.ndjson", Vec::new(), &["0 rows", "300 vectors"]),
        ("other.csv", text.clone().into_bytes(), &["unknown ending", ".ndjson"]),
    ];
    for (name, bytes, parts) in cases {
        shop.file(name, bytes);
        let before = shop.contents();
        let output = shop.ringpool(BUILD.iter().chain(&["--columns", name]));
        let parts: Vec<&str> = parts.iter().copied().chain([*name]).collect();
        failed(&output, &parts);
        assert_eq!(shop.contents(), before, "{name} left something");
    }
    let before = shop.contents();
    let column = |spec: &str| {
        let flags = ["--columns", "fields.ndjson", "--column", spec];
        shop.ringpool(BUILD.iter().chain(&flags))
    };
    failed(&column("city:i64"), &["fields.ndjson", "row 0", "a text", "\"city\"", "i64"]);
    failed(&column("town:i64"), &["fields.ndjson", "\"town\""]);
    failed(&shop.ringpool(BUILD.iter().chain(&["--columns", "none.ndjson"])), &["none.ndjson"]);
    misused(&column("city"), &["NAME:TYPE"]);
    misused(&column("city:word"), &["\"word\" is no type of a field"]);
    misused(&column("about:text:index"), &["make it a keyword"]);
    misused(&shop.ringpool(BUILD.iter().chain(&["--column", "a:i64"])), &["--columns"]);
    assert_eq!(shop.contents(), before);
}

#[cfg(not(feature = "arrow"))]
#[test]
fn a_format_that_was_left_out_names_its_feature() {
    let shop = shop();
    shop.file("fields.parquet", b"PAR1");
    let before = shop.contents();
    let output = shop.ringpool(BUILD.iter().chain(&["--columns", "fields.parquet"]));
    failed(&output, &["fields.parquet", "feature \"arrow\""]);
    assert_eq!(shop.contents(), before);
}
