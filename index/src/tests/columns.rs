//! What goes into the fields of a segment comes out of them, by value and by test, wherever the
//! columns and their indexes are.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Mutex;

use proptest::prelude::*;
use ringpool_storage::{PageNo, PageSize, PageSource};

use super::*;
use crate::columns::Test;
use crate::{
    Attached, BuildError, Column, ColumnIndex, Columns, ColumnsError, Field, FieldType, Manifest,
    Order, Patience, SearchError, Selection, Value, build_with, values_of,
};

/// Where columns and indexes are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Memory,
    Pages,
    /// Columns on pages, indexes nowhere.
    Unindexed,
    Nowhere,
}

fn open_at(dir: &Path, at: Where) -> Segment {
    let opened = Segment::open(dir, &mut |file| {
        Ok(match (file.kind, at) {
            (ComponentKind::Column(_), Where::Nowhere) => Placed::Left,
            (ComponentKind::ColumnIndex(_), Where::Nowhere | Where::Unindexed) => Placed::Left,
            (ComponentKind::Column(_) | ComponentKind::ColumnIndex(_), Where::Memory) => {
                Placed::Resident(in_memory(file)?)
            }
            _ => placed(file, in_memory(file)?)?,
        })
    });
    opened.unwrap()
}

/// Rows of values, and how they are put into a segment.
#[derive(Clone, Debug)]
struct Table {
    fields: Vec<Field>,
    rows: Vec<Vec<Value>>,
    order: Order,
    page_size: usize,
}

impl Table {
    /// Builds a segment of as many vectors.
    fn build(&self, out: &Path) {
        let mut columns = Columns::new(self.fields.clone()).unwrap();
        self.rows.iter().for_each(|row| columns.push_row(row).unwrap());
        let points = self.rows.len();
        let base = as_element(3, &clustered(points, 3, 2, false, 7), Element::F32);
        let page_size = PageSize::new(self.page_size as u64).unwrap();
        let options = BuildOptions {
            m: 4,
            ef_construction: 8,
            quantizers: Vec::new(),
            order: self.order,
            page_size,
            threads: 1,
            ..BuildOptions::default()
        };
        let attached = Attached { columns: Some(&columns), ..Attached::default() };
        build_with(&base, &attached, out, &options, &NoProgress).unwrap();
    }

    /// The row of the point at each place.
    fn rows_by_place(&self, segment: &Segment) -> Vec<usize> {
        (0..self.rows.len() as u32).map(|place| segment.ids().rank(place) as usize).collect()
    }
}

/// Few of a kind, many of a kind, extremes.
fn value(field_type: FieldType) -> BoxedStrategy<Value> {
    let words = prop_oneof!["[a-c]{0,3}", "[a-z]{0,9}", Just("größe".to_owned())];
    match field_type {
        FieldType::I64 => prop_oneof![
            (-3_i64..3).prop_map(Value::I64),
            any::<i64>().prop_map(Value::I64),
            Just(Value::I64(i64::MIN)),
            Just(Value::I64(i64::MAX)),
        ]
        .boxed(),
        FieldType::F64 => prop_oneof![
            (-3_i32..3).prop_map(|value| Value::F64(f64::from(value) / 2.0)),
            proptest::num::f64::NORMAL.prop_map(Value::F64),
            Just(Value::F64(-0.0)),
        ]
        .boxed(),
        FieldType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        FieldType::Keyword => words.prop_map(Value::Keyword).boxed(),
        FieldType::Text => prop_oneof![
            words.prop_map(Value::Text),
            (0_usize..3000).prop_map(|length| Value::Text("lang ".repeat(length / 5))),
        ]
        .boxed(),
        FieldType::Timestamp => prop_oneof![
            (-3_i64..3).prop_map(Value::Timestamp),
            (-62_000_000_000_000_000_i64..253_000_000_000_000_000).prop_map(Value::Timestamp),
        ]
        .boxed(),
    }
}

fn field() -> impl Strategy<Value = (FieldType, bool, bool)> {
    (proptest::sample::select(FieldType::ALL.to_vec()), any::<bool>(), any::<bool>())
}

fn table() -> impl Strategy<Value = Table> {
    let fields = proptest::collection::vec(field(), 1..5);
    let order = proptest::sample::select(Order::ALL.to_vec());
    let page_size = proptest::sample::select(vec![512_usize, 4096]);
    (fields, 1_usize..150, order, page_size).prop_flat_map(|(fields, points, order, page_size)| {
        let cell = |&(field_type, nullable, _): &(FieldType, bool, bool)| {
            let nulls = u32::from(nullable);
            prop_oneof![
                3 => value(field_type),
                nulls => Just(if nullable { Value::Null } else { some(field_type) }),
            ]
        };
        let row: Vec<_> = fields.iter().map(cell).collect();
        let named = fields.iter().enumerate().map(|(number, &(field_type, nullable, indexed))| {
            let indexed = indexed && field_type.can_be_indexed();
            Field { name: format!("f{number}"), field_type, nullable, indexed }
        });
        let fields: Vec<Field> = named.collect();
        proptest::collection::vec(row, points).prop_map(move |rows| Table {
            fields: fields.clone(),
            rows,
            order,
            page_size,
        })
    })
}

fn some(field_type: FieldType) -> Value {
    match field_type {
        FieldType::I64 => Value::I64(0),
        FieldType::F64 => Value::F64(0.0),
        FieldType::Bool => Value::Bool(false),
        FieldType::Keyword => Value::Keyword(String::new()),
        FieldType::Text => Value::Text(String::new()),
        FieldType::Timestamp => Value::Timestamp(0),
    }
}

/// Whether a value passes, by comparing it.
fn passes(value: &Value, test: &Test<'_>) -> bool {
    use std::cmp::Ordering::{self, Greater, Less};
    let order = |a: &Value, b: &Value| -> Ordering {
        match (a, b) {
            (Value::I64(a), Value::I64(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::F64(a), Value::F64(b)) => a.partial_cmp(b).unwrap(),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            _ => a.as_str().unwrap().cmp(b.as_str().unwrap()),
        }
    };
    match (value, *test) {
        (value, Test::IsNull) => *value == Value::Null,
        (Value::Null, _) => false,
        (value, Test::Equals(values)) => values.iter().any(|other| order(value, other).is_eq()),
        (value, Test::StartsWith(prefix)) => value.as_str().unwrap().starts_with(prefix),
        (value, Test::Within(low, high)) => {
            let above = match low {
                Bound::Included(low) => order(value, low) != Less,
                Bound::Excluded(low) => order(value, low) == Greater,
                Bound::Unbounded => true,
            };
            let below = match high {
                Bound::Included(high) => order(value, high) != Greater,
                Bound::Excluded(high) => order(value, high) == Less,
                Bound::Unbounded => true,
            };
            above && below
        }
    }
}

fn selected(selection: &Selection) -> BTreeSet<u32> {
    selection.iter().collect()
}

fn bound(kind: u8, value: &Value) -> Bound<&Value> {
    match kind % 3 {
        0 => Bound::Included(value),
        1 => Bound::Excluded(value),
        _ => Bound::Unbounded,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn values_come_out_as_they_went_in(
        table in table(),
        wanted in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..40),
    ) {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("segment");
        table.build(&out);
        for at in [Where::Memory, Where::Pages] {
            let segment = open_at(&out, at);
            let names: Vec<&str> = segment.fields().iter().map(|field| &*field.name).collect();
            prop_assert_eq!(names.len(), table.fields.len());
            let rows = table.rows_by_place(&segment);
            let all: Vec<usize> = (0..table.fields.len()).collect();
            let places: Vec<u32> = (0..rows.len() as u32).collect();
            let values = segment.values(&places, &all).unwrap();
            for (value, &row) in values.iter().zip(&rows) {
                prop_assert_eq!(value, &table.rows[row]);
            }
            // Any places and fields, twice and in any order.
            for (place, field) in &wanted {
                let (place, field) = (place.index(rows.len()), field.index(all.len()));
                let found = segment.values(&[place as u32, 0], &[field, 0, field]).unwrap();
                let row = &table.rows[rows[place]];
                prop_assert_eq!(&found[0], &[row[field].clone(), row[0].clone(), row[field].clone()]);
                let points = [(&segment, place as u32), (&segment, 0)];
                let named = values_of(&points, &[names[field], "nowhere"]).unwrap();
                prop_assert_eq!(&named[0], &[row[field].clone(), Value::Null]);
                prop_assert_eq!(named.len(), 2);
            }
        }
    }

    #[test]
    fn an_index_a_scan_and_a_comparison_of_each_find_the_same(
        table in table(),
        asked in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<u8>()),
            1..20,
        ),
        foreign in value(FieldType::Keyword),
    ) {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("segment");
        table.build(&out);
        let opened = [Where::Memory, Where::Pages, Where::Unindexed].map(|at| open_at(&out, at));
        let rows = table.rows_by_place(&opened[0]);
        for (field, low, high, low_kind, high_kind) in asked {
            let field = field.index(table.fields.len());
            let field_type = table.fields[field].field_type;
            let of = |row: usize| match &table.rows[row][field] {
                Value::Null => some(field_type),
                value => value.clone(),
            };
            let values = [of(low.index(rows.len())), of(high.index(rows.len()))];
            let is_text = matches!(field_type, FieldType::Keyword | FieldType::Text);
            let text = foreign.as_str().unwrap();
            let prefix: String = match values[0].as_str() {
                Some(word) if low_kind % 2 == 0 => word.chars().take(2).collect(),
                _ => text.chars().take(1).collect(),
            };
            let other = match field_type {
                FieldType::Text => Value::Text(text.into()),
                FieldType::Keyword => foreign.clone(),
                _ => values[0].clone(),
            };
            let either = [values[0].clone(), other, values[1].clone()];
            let mut tests = vec![
                Test::IsNull,
                Test::Equals(&values[..1]),
                Test::Equals(&either),
                Test::Equals(&[]),
                Test::Within(bound(low_kind, &values[0]), bound(high_kind, &values[1])),
            ];
            if is_text {
                tests.push(Test::StartsWith(&prefix));
            }
            for test in tests {
                let expected: BTreeSet<u32> = (0_u32..).zip(&rows)
                    .filter(|&(_, &row)| passes(&table.rows[row][field], &test))
                    .map(|(place, _)| place)
                    .collect();
                for segment in &opened {
                    let found = segment.matching(field, &test, &Patience::default()).unwrap();
                    prop_assert_eq!(&selected(&found), &expected, "{:?}", test);
                }
            }
        }
    }
}

/// A field of each type, in 5,000 points.
fn wide() -> Table {
    let field = |field_type: FieldType| Field::new(field_type.to_string(), field_type).or_null();
    let row = |i: i64| {
        if i % 97 == 13 {
            return vec![Value::Null; 6];
        }
        vec![
            Value::I64(i % 5000 - 2500),
            Value::F64(i as f64 / 7.0),
            Value::Bool(i % 3 == 0),
            Value::Keyword(format!("word {}", mix(i as u64) % 4500)),
            Value::Text("x".repeat(i as usize % 40)),
            Value::Timestamp(i * 1_000_000),
        ]
    };
    let fields = FieldType::ALL.map(field).to_vec();
    Table { fields, rows: (0..5000).map(row).collect(), order: Order::Packed, page_size: 4096 }
}

#[test]
fn the_manifest_tells_what_each_column_is() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let table = wide();
    table.build(&out);
    let manifest = Manifest::read(&out).unwrap();
    let kinds: Vec<Option<ColumnIndex>> = manifest.columns.iter().map(|c| c.index).collect();
    assert_eq!(kinds[..2], [Some(ColumnIndex::Range); 2], "more whole numbers than bitmaps");
    assert!(matches!(kinds[2], Some(ColumnIndex::Inverted { .. })));
    assert!(matches!(kinds[3], Some(ColumnIndex::Inverted { .. })));
    assert_eq!(kinds[4..], [None, Some(ColumnIndex::Range)]);
    assert!(manifest.columns.iter().all(|column| column.nulls == 52));
    let distinct = |column: &Column| column.distinct;
    let counted: Vec<Option<usize>> = manifest.columns.iter().map(distinct).collect();
    assert_eq!(counted[..3], [Some(4948), Some(4948), Some(2)]);
    assert_eq!((counted[4], counted[5]), (None, Some(4948)));
    let names: Vec<String> = manifest.components.iter().map(|c| c.name.clone()).collect();
    assert_eq!(names[names.len() - 3..], ["column-4", "column-5", "column-5-index"]);
    // A dictionary too long to be kept where the rest is on pages.
    let (paged, memory) = (open_at(&out, Where::Pages), open_at(&out, Where::Memory));
    let nothing = open_at(&out, Where::Nowhere);
    assert!(paged.resident_bytes() < nothing.resident_bytes() + (200 << 10));
    assert!(memory.resident_bytes() > nothing.resident_bytes() + 5000 * (8 + 8 + 4 + 12 + 8));
    let word = [Value::Keyword("word 7".into())];
    for segment in [&paged, &memory] {
        let found = segment.matching(3, &Test::Equals(&word), &Patience::default()).unwrap();
        let places: Vec<u32> = found.iter().collect();
        assert!(!places.is_empty());
        assert!(segment.values(&places, &[3]).unwrap().iter().all(|row| row[..] == word));
    }
}

/// Remembers how many pages it was asked for at a time.
struct Counting {
    source: Arc<dyn PageSource>,
    batches: Mutex<Vec<usize>>,
}

impl PageSource for Counting {
    fn page_size(&self) -> PageSize {
        self.source.page_size()
    }

    fn page_count(&self) -> u64 {
        self.source.page_count()
    }

    fn visit(
        &self,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> ringpool_storage::Result<()> {
        self.batches.lock().unwrap().push(pages.len());
        assert!(pages.is_sorted_by(|a, b| a < b), "each page once: {pages:?}");
        self.source.visit(pages, each)
    }
}

/// Whatever the number of points and fields, each file is asked once, and that of texts once more
/// for their bytes.
#[test]
fn values_are_read_in_one_batch_of_each_file() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let mut table = wide();
    // A dictionary that is kept in memory.
    for (number, row) in table.rows.iter_mut().enumerate() {
        row[3] = Value::Keyword(format!("word {}", number % 100));
    }
    table.build(&out);
    let mut sources = Vec::new();
    let segment = Segment::open(&out, &mut |file| {
        let (source, batches) = (in_memory(file)?, Mutex::default());
        let source = Arc::new(Counting { source, batches });
        if let ComponentKind::Column(_) = file.kind {
            sources.push(source.clone());
        }
        placed(file, source)
    });
    let segment = segment.unwrap();
    sources.iter().for_each(|source| source.batches.lock().unwrap().clear());
    let places: Vec<u32> = (0..5000).step_by(97).collect();
    let fields: Vec<usize> = (0..6).collect();
    let rows = table.rows_by_place(&segment);
    let values = segment.values(&places, &fields).unwrap();
    for (values, &place) in values.iter().zip(&places) {
        assert_eq!(values, &table.rows[rows[place as usize]]);
    }
    let batches = sources.iter().map(|source| source.batches.lock().unwrap().len());
    assert_eq!(batches.collect::<Vec<_>>(), [1, 1, 1, 1, 2, 1]);
}

#[test]
fn what_was_left_out_is_named_and_searches_do_without() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let table = wide();
    table.build(&out);
    let segment = open_at(&out, Where::Nowhere);
    assert_eq!(segment.fields().len(), 6);
    let hits = segment.search(&[1.0; 3], &SearchParams::default(), &mut Scratch::default());
    assert_eq!(hits.unwrap().len(), 10);
    let named = |error: SearchError| match error {
        SearchError::FieldNotOpened { name } => name,
        other => panic!("{other}"),
    };
    assert_eq!(named(segment.values(&[0], &[0]).unwrap_err()), "i64");
    let patience = Patience::default();
    let test = Test::Within(Bound::Unbounded, Bound::Unbounded);
    for (field, name) in FieldType::ALL.iter().map(ToString::to_string).enumerate() {
        assert_eq!(named(segment.matching(field, &test, &patience).unwrap_err()), name);
        assert_eq!(named(segment.matching(field, &Test::IsNull, &patience).unwrap_err()), name);
    }
}

#[test]
fn what_cannot_be_asked() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    wide().build(&out);
    let segment = open_at(&out, Where::Pages);
    let refused = segment.values(&[0], &[6]).unwrap_err();
    assert!(matches!(refused, SearchError::NoSuchField { field: 6, fields: 6 }), "{refused}");
    for refused in [segment.values(&[5000], &[0]), values_of(&[(&segment, 5000)], &["i64"])] {
        assert!(matches!(refused, Err(SearchError::NoSuchPlace { place: 5000, points: 5000 })));
    }
    let number = [Value::I64(1)];
    for (field, test) in [
        (0, Test::StartsWith("a")),
        (1, Test::Equals(&number)),
        (2, Test::Within(Bound::Included(&number[0]), Bound::Unbounded)),
        (3, Test::Equals(&number)),
        (4, Test::Equals(&number)),
        (5, Test::Equals(&[Value::Null])),
    ] {
        let refused = segment.matching(field, &test, &Patience::default()).unwrap_err();
        assert!(matches!(refused, SearchError::FieldType { .. }), "{refused}");
    }
    let gone = std::sync::atomic::AtomicBool::new(true);
    let patience = Patience::default().unless(&gone);
    let refused = segment.matching(0, &Test::Equals(&number), &patience).unwrap_err();
    assert!(matches!(refused, SearchError::Cancelled));
    let late = Patience::default().within(std::time::Duration::ZERO);
    let refused = segment.matching(1, &Test::Equals(&[Value::F64(1.0)]), &late).unwrap_err();
    assert!(matches!(refused, SearchError::DeadlinePassed));
}

#[test]
fn columns_of_other_rows_than_the_vectors_leave_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let base = as_element(3, &clustered(50, 3, 2, false, 7), Element::F32);
    let mut columns = Columns::new(vec![Field::new("a", FieldType::I64)]).unwrap();
    (0..49).for_each(|i| columns.push_row(&[Value::I64(i)]).unwrap());
    let attached = Attached { columns: Some(&columns), ..Attached::default() };
    let options = BuildOptions::default();
    let refused = build_with(&base, &attached, &out, &options, &NoProgress).unwrap_err();
    let rows = ColumnsError::Rows { rows: 49, points: 50 };
    assert!(matches!(refused, BuildError::Columns(error) if error == rows));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

/// As many fields as there may be, with the longest names, and the longest manifest.
#[test]
fn the_most_fields_fit_a_manifest() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let name = |number: usize| format!("{:x<60}{number:04}", "");
    let field = |number| Field::new(name(number), FieldType::Timestamp).or_null();
    let fields: Vec<Field> = (0..crate::MAX_FIELDS).map(field).collect();
    let row = |at: i64| fields.iter().map(|_| Value::Timestamp(at)).collect::<Vec<_>>();
    let rows = vec![row(1), row(2)];
    let table = Table { fields: fields.clone(), rows, order: Order::Packed, page_size: 512 };
    table.build(&out);
    let segment = open_at(&out, Where::Pages);
    assert_eq!(segment.fields(), fields);
    let values = segment.values(&[0, 1], &[0, 1023]).unwrap();
    assert_eq!(values[0].len(), 2);
    let bytes = fs::metadata(out.join("MANIFEST")).unwrap().len();
    // The numbers of a segment of 2^31 points have some 60 digits more for each field.
    assert!(bytes + 60 * 1024 < 1 << 20, "{bytes}");
}

/// What is no value of a field has no effect on what is.
#[test]
fn fields_without_any_value() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let field = |field_type: FieldType| Field::new(field_type.to_string(), field_type).or_null();
    let fields = FieldType::ALL.map(field).to_vec();
    let rows = vec![vec![Value::Null; 6]; 20];
    let table = Table { fields, rows: rows.clone(), order: Order::Given, page_size: 512 };
    table.build(&out);
    let segment = open_at(&out, Where::Pages);
    let places: Vec<u32> = (0..20).collect();
    assert_eq!(segment.values(&places, &[0, 1, 2, 3, 4, 5]).unwrap(), rows);
    assert!(segment.fields().iter().all(|field| !field.indexed));
    for field in 0..6 {
        let found = |test| segment.matching(field, &test, &Patience::default()).unwrap().len();
        assert_eq!(found(Test::IsNull), 20);
        assert_eq!(found(Test::Within(Bound::Unbounded, Bound::Unbounded)), 0);
    }
}
