//! Rows of Parquet and Arrow files, written by the crates that read them.

use std::fs::File;
use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float32Array, Int32Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;

use super::*;

const ENDINGS: [&str; 3] = ["parquet", "arrow", "arrows"];

/// Writes a batch twice, so that a file has two.
fn written(folder: &Folder, ending: &str, columns: &[(&str, ArrayRef)]) -> PathBuf {
    let path = folder.0.path().join(format!("f.{ending}"));
    let named = columns.iter().map(|(name, array)| (*name, array.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(named).unwrap();
    let file = File::create(&path).unwrap();
    let batches = [&batch, &batch];
    match ending {
        "parquet" => {
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            batches.iter().for_each(|batch| writer.write(batch).unwrap());
            writer.close().unwrap();
        }
        "arrow" => {
            let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
            batches.iter().for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
        _ => {
            let mut writer = StreamWriter::try_new(file, &batch.schema()).unwrap();
            batches.iter().for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
    }
    path
}

/// What a file comes to in a segment.
fn read_back(path: &Path, points: usize) -> (Vec<Field>, Vec<Vec<Value>>) {
    let file = read(path, &[], points).unwrap();
    let folder = Folder::new();
    let out = folder.0.path().join("segment");
    let vectors = ringpool_index::Vectors::from_f32(1, vec![0.0; points]).unwrap();
    let attached = crate::Attached { columns: Some(&file.columns), ..Default::default() };
    let options = crate::BuildOptions { order: crate::Order::Given, ..Default::default() };
    crate::build_with(&vectors, &attached, &out, &options, &crate::NoProgress).unwrap();
    let index = crate::Index::open(&out, &crate::OpenOptions::default()).unwrap();
    let places: Vec<u32> = (0..points as u32).collect();
    let fields: Vec<usize> = (0..file.columns.fields().len()).collect();
    (file.columns.fields().to_vec(), index.segment().values(&places, &fields).unwrap())
}

#[test]
fn each_type_becomes_that_of_a_field() {
    let day = 86_400_000_000;
    let words: DictionaryArray<Int8Type> = [Some("b"), None, Some("a")].into_iter().collect();
    let columns: [(&str, ArrayRef); 9] = [
        ("id", Arc::new(Int32Array::from(vec![0, 1, 2]))),
        ("n", Arc::new(Int32Array::from(vec![Some(-1), None, Some(7)]))),
        ("u", Arc::new(UInt64Array::from(vec![1, 2, i64::MAX as u64]))),
        ("d", Arc::new(Float32Array::from(vec![0.5, -0.0, 1e30]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("w", Arc::new(words)),
        ("s", Arc::new(LargeStringArray::from(vec!["x", "", "ø"]))),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![0, -1, 5]).with_timezone("UTC"))),
        ("day", Arc::new(Date32Array::from(vec![0, 1, -1]))),
    ];
    let word = |word: &str| Value::Keyword(word.into());
    let rows = [
        [Value::I64(-1), Value::I64(1), Value::F64(0.5), Value::Bool(true), word("b"), word("x")],
        [Value::Null, Value::I64(2), Value::F64(-0.0), Value::Bool(false), Value::Null, word("")],
        [
            Value::I64(7),
            Value::I64(i64::MAX),
            Value::F64(f64::from(1e30_f32)),
            Value::Null,
            word("a"),
            word("ø"),
        ],
    ];
    let times = [(0, 0), (-1000, day), (5000, -day)];
    for ending in ENDINGS {
        let folder = Folder::new();
        let (fields, values) = read_back(&written(&folder, ending, &columns), 6);
        assert_eq!(fields[4], Field::new("w", FieldType::Keyword).or_null());
        assert_eq!(fields.len(), 8);
        for (row, values) in values.iter().enumerate() {
            let (t, day) = times[row % 3];
            let times = [Value::Timestamp(t), Value::Timestamp(day)];
            let expected: Vec<Value> = rows[row % 3].iter().cloned().chain(times).collect();
            assert_eq!(values, &expected, "{ending} {row}");
        }
    }
}

#[test]
fn what_no_field_is_and_what_is_damaged() {
    let folder = Folder::new();
    let list =
        ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>([Some([Some(1)])]);
    let cases: [(ArrayRef, &str); 4] = [
        (Arc::new(list), "which no field has"),
        (Arc::new(TimestampNanosecondArray::from(vec![1])), "row 0 has a time"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (Arc::new(Float32Array::from(vec![f32::NAN])), "row 0 has NaN"),
    ];
    for ending in ENDINGS {
        for (array, part) in &cases {
            let path = written(&folder, ending, &[("a", array.clone())]);
            let refused = read(&path, &[], 2).unwrap_err().to_string();
            assert!(refused.contains(part) && refused.contains("\"a\""), "{ending}: {refused}");
        }
        let names: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let path = written(&folder, ending, &[("a", names)]);
        let bytes = fs::read(&path).unwrap();
        for cut in [0, 3, bytes.len() / 2] {
            fs::write(&path, &bytes[..cut]).unwrap();
            let refused = read(&path, &[], 4).unwrap_err();
            let typed =
                matches!(refused, ColumnFileError::Arrow { .. } | ColumnFileError::Rows { .. });
            assert!(typed, "{ending} {cut}: {refused}");
        }
    }
}
