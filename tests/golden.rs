//! Segments of each release are read for ever: small ones are kept in `tests/golden`, a folder for
//! each release whose bytes were new, with the answers that were recorded when they were written.
//!
//! They are never written again: a test that fails here has found a release that does not read what
//! an older one wrote. When a release writes other bytes, whether by a new format or by building
//! otherwise, name it as [`NEWEST`], run
//! `cargo test --test golden -- --ignored write_the_newest`, and commit the new folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ringpool::storage::PageSize;
use ringpool::{
    Attached, Backend, BuildOptions, Columns, Element, EngineChoice, Field, FieldType, Filter,
    GivenIds, Hit, Index, Metric, NoProgress, OpenOptions, Order, Patience, Quantizer, Rescore,
    SearchParams, Segment, Value, Vectors, build_with, delete, verify,
};
use serde::{Deserialize, Serialize};

/// The release whose folder has what this code writes.
const NEWEST: &str = "0.1.0";

const POINTS: usize = 24;
const DIM: usize = 6;
const QUERIES: usize = 3;

/// What searches of a segment have found.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Answers {
    /// For each set of codes, or none, and each query the hits: their ids, and their distances' bits.
    hits: BTreeMap<String, Vec<Vec<(u64, u32)>>>,
    /// For each filter the ids of what passes it, in the order of places.
    passing: BTreeMap<String, Vec<u64>>,
    /// For each point in the order of places its id, and what it has in each field.
    rows: Vec<(u64, Vec<String>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The folders in `dir`, by name.
fn folders_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What a segment is built from, beside the vectors.
struct Recipe {
    name: &'static str,
    element: Element,
    options: BuildOptions,
    ids: Ids,
    has_fields: bool,
    /// Ids of points that are deleted.
    deleted: &'static [u64],
}

enum Ids {
    From(u64),
    Own,
}

/// Every type of elements, every metric, every kind of codes, both orders, codes beside the originals
/// and in their records, ids of both kinds, a field of each type, and deleted points.
fn recipes() -> Vec<Recipe> {
    let rabitq = |bits| Quantizer::RaBitQ { bits };
    let pq = Quantizer::Pq { bytes: 3 };
    let options = |metric, quantizers: &[Quantizer], inlined, order| BuildOptions {
        metric,
        m: 2,
        ef_construction: 16,
        quantizers: quantizers.to_vec(),
        inlined,
        order,
        page_size: PageSize::new(512).unwrap(),
        seed: 5,
        ..BuildOptions::default()
    };
    let all = [Quantizer::Sq8, Quantizer::Sq4, pq, rabitq(1), rabitq(2), rabitq(4)];
    let (sq8, sq4) = (Quantizer::Sq8, Quantizer::Sq4);
    let recipe = |name, element, options, ids, has_fields, deleted| Recipe {
        name,
        element,
        options,
        ids,
        has_fields,
        deleted,
    };
    vec![
        recipe(
            "f32-l2-everything",
            Element::F32,
            options(Metric::L2, &all, None, Order::Packed),
            Ids::Own,
            true,
            &[1_000_005, 1_000_012],
        ),
        recipe(
            "f16-cosine-inlined-sq8",
            Element::F16,
            options(Metric::Cosine, &[sq8], Some(sq8), Order::Given),
            Ids::From(1000),
            false,
            &[],
        ),
        recipe(
            "bf16-ip",
            Element::Bf16,
            options(Metric::Ip, &[rabitq(4), pq], None, Order::Packed),
            Ids::From(0),
            false,
            &[],
        ),
        recipe(
            "u8-l2-no-codes",
            Element::U8,
            options(Metric::L2, &[], None, Order::Given),
            Ids::From(0),
            false,
            &[3, 4],
        ),
        recipe(
            "i8-cosine-inlined-sq4",
            Element::I8,
            options(Metric::Cosine, &[rabitq(2), sq4], Some(sq4), Order::Packed),
            Ids::From(7),
            false,
            &[],
        ),
    ]
}

/// Whole numbers from -60 to 60, the same on every machine, that differ from one place to the next.
fn drawn(from: usize) -> impl Iterator<Item = i8> {
    (from..).map(|at| ((at as u32).wrapping_mul(2_654_435_761) >> 16) % 121).map(|v| v as i8 - 60)
}

fn vectors(element: Element) -> Vectors {
    let whole = || drawn(0).take(POINTS * DIM);
    // Quarters, so that floats are not whole and are exact in all three types.
    let floats: Vec<f32> = whole().map(|value| f32::from(value) / 4.0).collect();
    let vectors = match element {
        Element::F32 => Vectors::from_f32(DIM, floats),
        Element::F16 => Vectors::from_f32(DIM, floats).and_then(Vectors::to_f16),
        Element::Bf16 => Vectors::from_f32(DIM, floats).and_then(Vectors::to_bf16),
        Element::U8 => Vectors::from_u8(DIM, whole().map(|value| (value + 60) as u8).collect()),
        Element::I8 => Vectors::from_i8(DIM, whole().collect()),
    };
    vectors.unwrap()
}

fn queries() -> Vec<Vec<f32>> {
    let mut values = drawn(100_000).map(|value| f32::from(value) / 4.0);
    (0..QUERIES).map(|_| values.by_ref().take(DIM).collect()).collect()
}

/// A field of each type, with and without null, with each kind of index and with none.
fn fields() -> Columns {
    let mut columns = Columns::new(vec![
        Field::new("count", FieldType::I64).or_null(),
        Field::new("price", FieldType::F64),
        Field::new("sold", FieldType::Bool).or_null(),
        Field::new("city", FieldType::Keyword).or_null(),
        Field::new("note", FieldType::Text).or_null(),
        Field::new("at", FieldType::Timestamp),
        Field::new("plain", FieldType::I64).without_index(),
    ])
    .unwrap();
    for row in 0..POINTS as i64 {
        let or_null = |value| if row % 5 == 2 { Value::Null } else { value };
        let city = ["Oslo", "Bergen", "Bodø", ""][row as usize % 4];
        columns
            .push_row(&[
                or_null(Value::I64(row % 3 - 1)),
                Value::F64((12 - row) as f64 / 8.0),
                or_null(Value::Bool(row % 2 == 0)),
                or_null(Value::Keyword(city.into())),
                or_null(Value::Text("a note ".repeat(row as usize % 3))),
                Value::Timestamp((row - 4) * 86_400_000_000),
                Value::I64(i64::MIN + row),
            ])
            .unwrap();
    }
    columns
}

/// One for each way in which a field is looked at.
const FILTERS: [&str; 7] = [
    "count = 1",
    "price < -0.5 or sold",
    "city in ('Bodø', '') and not sold",
    "city starts with 'B' or note = 'a note '",
    "note is null",
    "at >= '1970-01-01T00:00:00Z' and price between 0 and 0.75",
    "plain > -9223372036854775800 and id < 1000010",
];

fn build(recipe: &Recipe, out: &Path) {
    // Neither in order nor without gaps.
    let own: Vec<u64> = (0..POINTS as u64).map(|row| 1_000_000 + (row * 7) % 31).collect();
    let ids = match recipe.ids {
        Ids::From(first) => GivenIds::From(first),
        Ids::Own => GivenIds::Each(&own),
    };
    let fields = recipe.has_fields.then(fields);
    let attached = Attached { ids, columns: fields.as_ref() };
    build_with(&vectors(recipe.element), &attached, out, &recipe.options, &NoProgress).unwrap();
    if !recipe.deleted.is_empty() {
        let report = delete(out, recipe.deleted).unwrap();
        assert_eq!(report.deleted, recipe.deleted.len() as u64);
    }
}

/// Everything that is asked of a segment, with its components where `options` put them.
fn ask(dir: &Path, options: &OpenOptions) -> Answers {
    let mut answers = Answers::default();
    let quantizers = Index::open(dir, options).unwrap().segment().manifest().quantizers.clone();
    for codes in quantizers.into_iter().chain([Quantizer::None]) {
        let options = OpenOptions { codes: Some(codes), ..options.clone() };
        let index = Index::open(dir, &options).unwrap();
        answers.hits.insert(codes.to_string(), search(&index));
        if codes == Quantizer::None {
            ask_fields(&index.segment(), &mut answers);
        }
    }
    answers
}

fn search(index: &Index) -> Vec<Vec<(u64, u32)>> {
    // By codes alone, rescored from the originals, and by as many as a recall needs.
    let rescores = [Rescore::Off, Rescore::Times(3.0), Rescore::Auto { recall: 0.9 }];
    let told = |hit: Hit| (hit.id, hit.distance.to_bits());
    let each = queries().into_iter().zip(rescores).map(|(query, rescore)| {
        let params = SearchParams { k: 5, ef: 10, rescore };
        index.search(&query, &params).unwrap().into_iter().map(told).collect()
    });
    each.collect()
}

fn ask_fields(segment: &Segment, answers: &mut Answers) {
    let all: Vec<u32> = (0..segment.manifest().points as u32).collect();
    let numbers: Vec<usize> = (0..segment.fields().len()).collect();
    let id = |place| segment.id_of(place).unwrap();
    let rows = segment.values(&all, &numbers).unwrap().into_iter().zip(&all);
    answers.rows = rows
        .map(|(row, &place)| (id(place), row.iter().map(|value| format!("{value:?}")).collect()))
        .collect();
    for text in FILTERS.iter().filter(|_| !numbers.is_empty()) {
        let filter: Filter = text.parse().unwrap();
        let passing = segment.select(&filter, &Patience::default()).unwrap();
        answers.passing.insert((*text).into(), passing.iter().map(id).collect());
    }
}

fn answers_file(release: &Path) -> PathBuf {
    release.join("answers.json")
}

#[test]
fn segments_of_every_release_are_read_and_answer_as_they_did() {
    let releases = folders_in(&folder());
    assert!(releases.contains(&folder().join(NEWEST)), "the newest is among them");
    for release in releases {
        let recorded = fs::read(answers_file(&release)).unwrap();
        let recorded: BTreeMap<String, Answers> = serde_json::from_slice(&recorded).unwrap();
        let segments = folders_in(&release);
        assert_eq!(segments.len(), recorded.len());
        for dir in segments {
            let name = dir.file_name().unwrap().to_str().unwrap();
            for engine in [EngineChoice::Auto, EngineChoice::Blocking] {
                let going_on = &mut |_, _| ControlFlow::Continue(());
                verify(&dir, engine, going_on, &mut |component, page, error| {
                    panic!("{name}: {component} page {page}: {error}")
                })
                .unwrap();
            }
            for backend in [Backend::Pool, Backend::Mmap, Backend::Direct, Backend::Memory] {
                // All by page, where the backend reads by page, and as it is by default.
                for place in [format!("all={backend}").replace("memory", "resident"), "".into()] {
                    let place = place.parse().unwrap();
                    let options = OpenOptions { backend, place, ..OpenOptions::default() };
                    assert_eq!(ask(&dir, &options), recorded[name], "{name} by {backend}");
                }
            }
        }
    }
}

/// What is in records of the originals is found there, too.
#[test]
fn inlined_components_answer_as_they_did() {
    for release in folders_in(&folder()) {
        let recorded = fs::read(answers_file(&release)).unwrap();
        let recorded: BTreeMap<String, Answers> = serde_json::from_slice(&recorded).unwrap();
        let mut found = 0;
        for (name, answers) in &recorded {
            let dir = release.join(name);
            let Some(codes) =
                Index::open(&dir, &OpenOptions::default()).unwrap().segment().manifest().inlined
            else {
                continue;
            };
            found += 1;
            let place = "graph=inlined,codes=inlined".parse().unwrap();
            let options = OpenOptions { codes: Some(codes), place, ..OpenOptions::default() };
            let index = Index::open(&dir, &options).unwrap();
            assert_eq!(search(&index), answers.hits[&codes.to_string()], "{name}");
        }
        assert!(found > 0, "{} has none", release.display());
    }
}

/// A build has no machine in it: neither its processor, nor its threads, nor its clock.
#[test]
fn the_same_vectors_give_the_same_bytes_as_on_the_machine_that_wrote_them() {
    let temporary = tempfile::tempdir().unwrap();
    let newest = folder().join(NEWEST);
    for recipe in recipes() {
        let out = temporary.path().join(recipe.name);
        build(&recipe, &out);
        assert_eq!(files_in(&out), files_in(&newest.join(recipe.name)), "{}", recipe.name);
    }
}

/// The files of a segment, each by its name with its bytes.
fn files_in(dir: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
#[ignore = "writes the golden segments of a release that has none yet"]
fn write_the_newest() {
    let release = folder().join(NEWEST);
    assert!(!release.exists(), "{} is there: it is never written again", release.display());
    fs::create_dir_all(&release).unwrap();
    let mut all = BTreeMap::new();
    for recipe in recipes() {
        let out = release.join(recipe.name);
        build(&recipe, &out);
        let options = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
        all.insert(recipe.name, ask(&out, &options));
    }
    fs::write(answers_file(&release), serde_json::to_vec(&all).unwrap()).unwrap();
}
