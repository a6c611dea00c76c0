use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use ringpool_index::FieldType;

use super::*;

#[cfg(feature = "arrow")]
mod arrow;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn rows(text: &str) -> usize {
    text.lines().count()
}

fn fields_of(text: &str, specs: &[&str]) -> std::result::Result<Vec<Field>, String> {
    let folder = Folder::new();
    let path = folder.file("f.ndjson", text);
    let specs: Vec<ColumnSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    match read(&path, &specs, rows(text)) {
        Ok(file) => Ok(file.columns.fields().to_vec()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("f.ndjson: "), "{text}");
            Err(text)
        }
    }
}

#[test]
fn a_fields_type_follows_from_all_rows() {
    let text = r#"
{"n": 1, "d": 1, "b": true, "w": "Oslo", "t": "2026-11-21T20:00:00Z", "s": "2026-11-21T20:00:00Z"}
{"n": -2, "d": 2.5, "b": false, "w": "Bergen", "t": "2026-11-21T20:00:00.5+01:00", "s": "today"}
{"d": 1e3, "w": null, "b": true, "t": "1969-12-31T23:59:59Z", "s": "\u00f8l", "late": 7}
"#
    .trim_start();
    let fields = fields_of(text, &[]).unwrap();
    let expected = [
        Field::new("n", FieldType::I64).or_null(),
        Field::new("d", FieldType::F64),
        Field::new("b", FieldType::Bool),
        Field::new("w", FieldType::Keyword).or_null(),
        Field::new("t", FieldType::Timestamp),
        Field::new("s", FieldType::Keyword),
        Field::new("late", FieldType::I64).or_null(),
    ];
    assert_eq!(fields, expected);
    let specs = ["n:f64", "w:text", "t:keyword:noindex", "n:i64:noindex"];
    let fields = fields_of(text, &specs).unwrap();
    assert_eq!(fields[0], Field::new("n", FieldType::I64).or_null().without_index());
    assert_eq!(fields[3], Field::new("w", FieldType::Text).or_null());
    assert_eq!(fields[4], Field::new("t", FieldType::Keyword).without_index());
}

#[test]
fn texts_are_keywords_where_few_are_different() {
    let of = |words: usize, rows: usize| {
        let line = |row: usize| format!("{{\"w\": \"word {}\"}}\n", row % words);
        let text: String = (0..rows).map(line).collect();
        fields_of(&text, &[]).unwrap()[0].field_type
    };
    assert_eq!(of(FEW_WORDS, FEW_WORDS), FieldType::Keyword);
    assert_eq!(of(FEW_WORDS + 1, FEW_WORDS + 1), FieldType::Text);
    assert_eq!(of(400, 400 * ROWS_A_WORD), FieldType::Keyword);
    assert_eq!(of(400, 400 * ROWS_A_WORD - 1), FieldType::Text);
    let long = |bytes: usize| fields_of(&format!("{{\"w\": \"{}\"}}", "x".repeat(bytes)), &[]);
    assert_eq!(long(MAX_FEW_WORD_BYTES).unwrap()[0].field_type, FieldType::Keyword);
    assert_eq!(long(MAX_FEW_WORD_BYTES + 1).unwrap()[0].field_type, FieldType::Text);
}

#[test]
fn ids_are_no_field() {
    let ids = |text: &str| {
        let folder = Folder::new();
        let file = read(&folder.file("f.jsonl", text), &[], rows(text)).unwrap();
        assert!(file.columns.fields().len() <= 1);
        file.ids
    };
    assert_eq!(ids("{\"a\": 1}\n{\"a\": 1}"), IdKey::Absent);
    assert_eq!(ids("{\"id\": 0, \"a\": 1}\n{\"a\": 1, \"id\": 1}\n"), IdKey::Rows);
    for others in [
        "{\"id\": 1}\n{\"id\": 0}",
        "{\"id\": 0}\n{}",
        "{}\n{\"id\": 1}",
        "{\"id\": \"0\"}",
        "{\"id\": 0}\n{\"id\": 1.0}",
        "{\"id\": [0]}",
    ] {
        assert_eq!(ids(others), IdKey::Others, "{others}");
    }
}

#[test]
fn compressed_or_not_the_values_are_the_same() {
    let text = "{\"a\": 1}\r\n{\"a\": 2}";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let folder = Folder::new();
    for path in [folder.file("a.ndjson", text), folder.file("a.ndjson.gz", &bytes)] {
        let file = read(&path, &[], 2).unwrap();
        assert_eq!((file.columns.rows(), file.columns.fields().len()), (2, 1));
    }
    let cut = folder.file("cut.jsonl.gz", &bytes[..bytes.len() - 9]);
    let refused = read(&cut, &[], 2).unwrap_err();
    assert!(matches!(refused, ColumnFileError::CorruptGzip { .. }), "{refused}");
    let plain = folder.file("plain.jsonl.gz", text);
    assert!(matches!(read(&plain, &[], 2), Err(ColumnFileError::NotGzip { .. })));
}

#[test]
fn what_is_wrong_is_named_with_row_and_field() {
    let good = r#"{"a": 1, "b": "x"}"#;
    let large = "9223372036854775808";
    for (line, parts) in [
        (r#"{"a": 1.5, "b": 7}"#, &["field \"b\" has a text in row 0 and a number in row 1"][..]),
        (r#"{"a": true}"#, &["\"a\"", "a number in row 0 and true or false in row 1"]),
        (r#"{"a": [1]}"#, &["row 1 (line 2) has an array in field \"a\""]),
        (r#"{"a": {"b": {}}}"#, &["row 1 (line 2) has an object in field \"a\""]),
        (r#"{"a": 1, "a": 1}"#, &["row 1 (line 2) has \"a\" twice"]),
        (r#"{"id": 1, "id": 1}"#, &["row 1 (line 2) has \"id\" twice"]),
        (r#"{"a": NaN}"#, &["row 1 (line 2) is no JSON object", "column 7", "null for NaN"]),
        (r#"{"a": 1e999}"#, &["row 1 has 1e999 in field \"a\"", "64 bits"]),
        (r#"{"a": 9223372036854775808}"#, &["row 1 has", large, "\"a\"", "--column a:f64"]),
        (r#"{"a": 1} {"a": 1}"#, &["row 1 (line 2) is no JSON object"]),
        (r#"{"a": 1"#, &["row 1 (line 2) is no JSON object: EOF while parsing an object"]),
        (r#"[1]"#, &["expected an object"]),
        (r#"7"#, &["expected an object"]),
        (r#""#, &["row 1 (line 2) is no JSON object: it is empty"]),
        (r#"{"b": "\ud800"}"#, &["row 1 (line 2)", "\"b\""]),
        (r#"{"größe": 1}"#, &["no field can be called \"größe\""]),
        (r#"{"": 1}"#, &["no field can be called \"\""]),
        (r#"{"c": null}"#, &["field \"c\" is null in every row", "--column c:TYPE"]),
    ] {
        let refused = fields_of(&format!("{good}\n{line}\n{good}\n"), &[]).unwrap_err();
        parts.iter().for_each(|part| assert!(refused.contains(part), "{line}: {refused}"));
    }
}

#[test]
fn what_does_not_go_with_its_spec() {
    let text = "{\"a\": 1, \"t\": \"x\", \"l\": 9223372036854775808, \"n\": null}\n";
    for (spec, parts) in [
        ("a:bool", &["row 0 has a whole number in field \"a\", which is to be bool"][..]),
        ("a:keyword", &["a whole number", "keyword"]),
        ("t:i64", &["a text", "i64"]),
        ("t:timestamp", &["\"x\"", "\"t\"", "no timestamp"]),
        ("l:timestamp", &["a whole number", "timestamp"]),
        ("b:i64", &["no row has the field \"b\"", "is it \"a\"?"]),
        ("id:i64", &["no row has the field \"id\""]),
    ] {
        let refused = fields_of(text, &["l:f64", "n:text", spec]).unwrap_err();
        parts.iter().for_each(|part| assert!(refused.contains(part), "{spec}: {refused}"));
    }
    let fields = fields_of(text, &["l:f64", "n:bool", "a:timestamp"]).unwrap();
    assert_eq!(fields[3], Field::new("n", FieldType::Bool).or_null());
}

#[test]
fn other_rows_than_vectors_are_refused() {
    let folder = Folder::new();
    let path = folder.file("f.ndjson", "{\"a\": 1}\n{\"a\": 2}\n");
    for (points, part) in [(1, "more than 1 rows"), (3, "2 rows where there are 3 vectors")] {
        let refused = read(&path, &[], points).unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    let empty = folder.file("empty.ndjson", "");
    assert!(matches!(read(&empty, &[], 1), Err(ColumnFileError::Rows { .. })));
}

#[test]
fn too_much_of_anything() {
    let folder = Folder::new();
    let refused = |text: &str| read(&folder.file("f.ndjson", text), &[], rows(text)).unwrap_err();
    let many: Vec<String> =
        (0..=ringpool_index::MAX_FIELDS).map(|i| format!("\"f{i}\": 1")).collect();
    let error = refused(&format!("{{{}}}", many.join(",")));
    assert!(matches!(error, ColumnFileError::TooManyFields { row: 0, .. }), "{error}");
    let error = refused(&format!("{{\"a\": \"{}\"}}", "x".repeat((1 << 20) + 1)));
    assert!(
        error.to_string().contains("row 0 has a text of 1048577 bytes in field \"a\""),
        "{error}"
    );
    let error = refused(&format!("{{\"a\": 1}}\n{{\"a\": \"{}\"}}", "x".repeat(MAX_LINE_BYTES)));
    assert!(matches!(error, ColumnFileError::LongLine { row: 1, .. }), "{error}");
}

#[test]
fn bytes_that_are_no_text_and_files_that_are_none() {
    let folder = Folder::new();
    let path = folder.file("f.ndjson", b"{\"a\": \"x\"}\n{\"a\": \"\xff\"}\n");
    let refused = read(&path, &[], 2).unwrap_err();
    assert!(matches!(refused, ColumnFileError::NotUtf8 { row: 1, offset: 7, .. }), "{refused}");
    let missing = folder.0.path().join("missing.ndjson");
    assert!(matches!(read(&missing, &[], 2), Err(ColumnFileError::Io { .. })));
    let other = folder.file("f.csv", "a");
    assert!(matches!(read(&other, &[], 2), Err(ColumnFileError::UnknownEnding { .. })));
    let inner = folder.0.path().join("folder.ndjson");
    fs::create_dir(&inner).unwrap();
    assert!(matches!(read(&inner, &[], 2), Err(ColumnFileError::NotAFile { .. })));
    #[cfg(not(feature = "arrow"))]
    for name in ["f.parquet", "f.arrow", "f.arrows"] {
        let refused = read(&folder.file(name, "PAR1"), &[], 2).unwrap_err();
        assert!(refused.to_string().contains("feature \"arrow\""), "{refused}");
    }
}
