//! Segments changed at random under checksums that are right again, so that every change reaches
//! the parsers: each is refused with a typed error, or searched with hits that are possible.
//!
//! `RINGPOOL_MUTATIONS=100000 cargo test --release -p ringpool-index --lib mutated` tries more than
//! a plain `cargo test`. A case is its number: one that fails is tried alone by
//! `RINGPOOL_MUTATION=NUMBER`.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rayon::prelude::*;
use ringpool_storage::{Checksums, FileKey, PageSize};
use serde_json::Value as Json;

use super::*;
use crate::columns::Test;
use crate::manifest::MANIFEST;
use crate::quantizer::expect_possible;
use crate::{
    Attached, ColumnIndex, Columns, Component, Field, FieldType, Manifest, Metric, Order, Patience,
    Quantizer, Rescore, SearchError, Value, build_with,
};

/// Cases of a plain `cargo test`.
const CASES: u64 = 5_000;
/// A lie about sizes that would need longer files is not told.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Every way of making codes that segments can carry.
fn quantizers() -> Vec<Quantizer> {
    let rabitq = [1, 2, 4].map(|bits| Quantizer::RaBitQ { bits });
    let others = [Quantizer::Sq8, Quantizer::Sq4, Quantizer::Pq { bytes: 4 }];
    [&others[..], &rabitq].concat()
}

#[test]
fn mutated_segments_are_refused_or_give_possible_hits() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases: Range<u64> = match number("RINGPOOL_MUTATION") {
        Some(case) => case..case + 1,
        None => 0..number("RINGPOOL_MUTATIONS").unwrap_or(CASES),
    };
    let subjects = subjects();
    let numbers: Vec<u64> = cases.collect();
    let tried =
        numbers.par_iter().map_init(Workplace::new, |place, &case| place.run(&subjects, case));
    let outcomes: Vec<Outcome> = tried.collect();
    let count = |outcome| outcomes.iter().filter(|&&found| found == outcome).count();
    let (refused, searched) = (count(Outcome::Refused), count(Outcome::Searched));
    println!("{refused} refused, {searched} searched");
    // Otherwise mutations would be too coarse or too fine to find anything.
    let enough = outcomes.len() / 10;
    assert!(refused >= enough && searched >= enough, "{refused} refused, {searched} searched");
}

/// What came of a mutated segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Refused,
    Searched,
}

/// A segment's files, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Small segments of several kinds: also vectors over several pages, and codes of all kinds.
fn subjects() -> Vec<Files> {
    let kinds = [
        (Metric::L2, Element::F32, 12, quantizers()),
        (Metric::Cosine, Element::F16, 9, quantizers()),
        (Metric::Ip, Element::I8, 8, quantizers()),
        (Metric::L2, Element::U8, 16, Vec::new()),
        (Metric::Cosine, Element::F32, 200, quantizers()),
    ];
    let columns = columns(90);
    let subject = |((metric, element, dim, quantizers), order): ((_, _, usize, _), _)| {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("segment");
        let base = as_element(dim, &clustered(90, dim, 5, false, 41), element);
        let page_size = PageSize::new(512).unwrap();
        let options =
            BuildOptions { metric, m: 3, page_size, quantizers, order, ..BuildOptions::default() };
        // Where there are few components there are fields, one of each type.
        let columns = options.quantizers.is_empty().then_some(&columns);
        build_with(
            &base,
            &Attached { columns, ..Attached::default() },
            &out,
            &options,
            &NoProgress,
        )
        .unwrap();
        let entries = fs::read_dir(&out).unwrap().map(Result::unwrap);
        let file = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        };
        entries.map(file).collect()
    };
    kinds.into_iter().zip(Order::ALL.into_iter().cycle()).map(subject).collect()
}

/// A field of each type, some without a value in some points.
fn columns(points: i64) -> Columns {
    let field = |(number, field_type): (usize, FieldType)| {
        let field = Field::new(field_type.to_string(), field_type);
        if number % 2 == 0 { field.or_null() } else { field }
    };
    let fields = FieldType::ALL.into_iter().enumerate().map(field).collect();
    let mut columns = Columns::new(fields).unwrap();
    for row in 0..points {
        let or_null = |value| if row % 7 == 3 { Value::Null } else { value };
        let row = [
            or_null(Value::I64(row % 12 - 6)),
            Value::F64(row as f64 / 7.0),
            or_null(Value::Bool(row % 3 == 0)),
            Value::Keyword(format!("word {}", row % 11)),
            or_null(Value::Text("text ".repeat(row as usize % 9))),
            Value::Timestamp(row << 40),
        ];
        columns.push_row(&row).unwrap();
    }
    columns
}

/// A folder of one thread's own, and what it has written there.
struct Workplace {
    folder: tempfile::TempDir,
    written: Files,
}

impl Workplace {
    fn new() -> Self {
        // In memory where there is such a place: files are written a few hundred thousand times.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { folder: folder.unwrap(), written: Files::new() }
    }

    fn run(&mut self, subjects: &[Files], case: u64) -> Outcome {
        let mut draw = Draw(case);
        let mut mutant = Mutant(subjects[draw.below(subjects.len())].clone());
        let mut lies = Vec::new();
        for _ in 0..=draw.below(3) {
            lies.push(mutant.mutate(&mut draw));
        }
        let dir: PathBuf = self.folder.path().into();
        for (name, bytes) in mutant.0 {
            // What other segments have left here belongs to nobody.
            if self.written.get(&name) != Some(&bytes) {
                fs::write(dir.join(&name), &bytes).unwrap();
                self.written.insert(name, bytes);
            }
        }
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&dir, &mut draw)));
        judged.unwrap_or_else(|_| panic!("case {case}: {lies:?}"))
    }
}

/// Numbers that look random and are always the same for a case.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

struct Mutant(Files);

impl Mutant {
    /// Changes something, and says what.
    fn mutate(&mut self, draw: &mut Draw) -> &'static str {
        // A manifest that was spoilt before has no components to be resealed.
        let manifest = self.manifest();
        match (draw.below(12), manifest) {
            (0..=4, Some(manifest)) => {
                let component = draw.below(manifest.components.len());
                self.pages(manifest, component, draw);
                "pages"
            }
            (5..=7, Some(manifest)) => {
                self.shape(manifest, draw);
                "shape"
            }
            (8, Some(manifest)) => {
                self.checksums(manifest, draw);
                "checksums"
            }
            (9 | 10, _) => {
                self.json(draw);
                "manifest"
            }
            _ => {
                self.any_byte(draw);
                "a byte"
            }
        }
    }

    fn manifest(&self) -> Option<Manifest> {
        Manifest::parse(Path::new(MANIFEST), &self.0[MANIFEST]).ok()
    }

    /// Changes words, bytes or stretches of a component, and makes all checksums right again.
    fn pages(&mut self, mut manifest: Manifest, component: usize, draw: &mut Draw) {
        let points = manifest.points as u32;
        let words = [
            0,
            1,
            2,
            7,
            points - 1,
            points,
            points + 1,
            1 << 31,
            u32::MAX,
            f32::NAN.to_bits(),
            f32::INFINITY.to_bits(),
            f32::NEG_INFINITY.to_bits(),
            f32::MAX.to_bits(),
            f32::MIN_POSITIVE.to_bits(),
            (-0.0_f32).to_bits(),
            1_f32.to_bits(),
        ];
        let bytes = self.file(manifest.components[component].pages_file());
        for _ in 0..=draw.below(4) {
            if bytes.len() < 4 {
                return; // Another mutation has cut the file.
            }
            let (at, from) = (draw.below(bytes.len()), draw.below(bytes.len()));
            match draw.below(4) {
                0 => bytes[at] = draw.next() as u8,
                1 => {
                    let at = (at / 4 * 4).min(bytes.len() - 4);
                    bytes[at..at + 4].copy_from_slice(&draw.of(&words).to_le_bytes());
                }
                2 => {
                    let length = draw.below(64).min(bytes.len() - at.max(from));
                    bytes.copy_within(from..from + length, at);
                }
                _ => {
                    let length = draw.below(600).min(bytes.len() - at);
                    bytes[at..at + length].fill(draw.of(&[0, 1, 0x7F, 0xFF]));
                }
            }
        }
        self.seal(&mut manifest);
    }

    /// Tells another shape, and makes the files fit it.
    fn shape(&mut self, mut manifest: Manifest, draw: &mut Draw) {
        let near = |value: usize, draw: &mut Draw| {
            draw.of(&[1, 2, value - 1, value + 1, value / 2, 2 * value, 0, 600]).max(1)
        };
        match draw.below(if manifest.columns.is_empty() { 10 } else { 16 }) {
            10.. => column(&mut manifest, draw, &near),
            0 => manifest.element = draw.of(&Element::ALL),
            1 => manifest.metric = draw.of(&Metric::ALL),
            2 => manifest.dim = near(manifest.dim, draw),
            3 => {
                manifest.points = near(manifest.points, draw);
                manifest.layers[0] = manifest.points;
            }
            4 => manifest.m = near(manifest.m, draw),
            5 => manifest.page_size = PageSize::new(512 << draw.below(4)).unwrap(),
            6 => manifest.entry_point = draw.below(manifest.points + 1) as u32,
            7 => match draw.below(3) {
                0 => manifest.layers.truncate(1),
                1 => manifest.layers.push(near(manifest.layers[manifest.layers.len() - 1], draw)),
                _ => {
                    let layer = draw.below(manifest.layers.len());
                    manifest.layers[layer] = near(manifest.layers[layer], draw);
                }
            },
            8 => manifest.order = draw.of(&Order::ALL),
            _ => {
                manifest.quantizers.truncate(draw.below(3));
                let more = draw.of(&quantizers());
                if !manifest.quantizers.contains(&more) {
                    manifest.quantizers.push(more);
                }
            }
        }
        if expect_possible(&manifest.quantizers, manifest.dim).is_err() {
            return;
        }
        let kinds = manifest.kinds();
        let describe = |kind: ComponentKind| Component {
            kind,
            name: kind.name(),
            key: 7,
            pages: manifest.pages_of(kind),
            record_bytes: manifest.record_bytes_of(kind),
            checksums_crc32c: 0,
        };
        let components: Vec<Component> = kinds.into_iter().map(describe).collect();
        let page_bytes = manifest.page_size.bytes() as u64;
        if components.iter().any(|component| component.pages * page_bytes > MAX_FILE_BYTES) {
            return;
        }
        manifest.components = components;
        self.seal(&mut manifest);
    }

    /// Makes files as long as the manifest says, and all checksums right.
    fn seal(&mut self, manifest: &mut Manifest) {
        let page_size = manifest.page_size;
        for component in &mut manifest.components {
            let length = component.pages as usize * page_size.bytes();
            let bytes = self.file(component.pages_file());
            let again: Vec<u8> = bytes.iter().copied().cycle().take(length).collect();
            *bytes = if again.is_empty() { vec![0; length] } else { again };
            let sums = Checksums::of_pages(FileKey(component.key), page_size, bytes).to_le_bytes();
            component.checksums_crc32c = crc32c::crc32c(&sums);
            self.0.insert(component.checksums_file(), sums);
        }
        self.0.insert(MANIFEST.into(), manifest.to_bytes().unwrap());
    }

    /// Changes the checksums of pages, under a manifest that vouches for them.
    fn checksums(&mut self, mut manifest: Manifest, draw: &mut Draw) {
        let component = draw.below(manifest.components.len());
        let component = &mut manifest.components[component];
        let sums = self.file(component.checksums_file());
        let at = draw.below(sums.len());
        if let Some(byte) = sums.get_mut(at) {
            *byte ^= 1 << draw.below(8);
        }
        component.checksums_crc32c = crc32c::crc32c(sums);
        self.0.insert(MANIFEST.into(), manifest.to_bytes().unwrap());
    }

    /// Changes a value, a key or a letter of the manifest's JSON under a right checksum.
    fn json(&mut self, draw: &mut Draw) {
        let text = self.0[MANIFEST].clone();
        let end = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
        let mut json = text[end..].to_vec();
        match (draw.below(4), serde_json::from_slice::<Json>(&json)) {
            (0, _) | (_, Err(_)) => {
                let at = draw.below(json.len());
                if let Some(byte) = json.get_mut(at) {
                    *byte = draw.of(b"0123456789-.eE\"{}[],:\0\xFF ");
                }
            }
            (_, Ok(mut value)) => {
                let steps = draw.below(4) + 1;
                change(&mut value, steps, draw);
                json = serde_json::to_vec_pretty(&value).unwrap();
            }
        }
        let crc = crc32c::crc32c(&json);
        let version = crate::FORMAT_VERSION;
        let line = format!("ringpool-segment {version} since=0.1.0 crc32c={crc:08x}\n");
        let mut bytes = line.into_bytes();
        bytes.append(&mut json);
        self.0.insert(MANIFEST.into(), bytes);
    }

    /// Changes, cuts or grows any file, and tells no checksum.
    fn any_byte(&mut self, draw: &mut Draw) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        let bytes = self.file(draw.of(&names));
        let at = draw.below(bytes.len());
        match draw.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.extend(vec![0; at]),
            _ if bytes.is_empty() => {}
            _ => bytes[at] ^= 1 << draw.below(8),
        }
    }

    /// A file's bytes; an empty file where there is none.
    fn file(&mut self, name: String) -> &mut Vec<u8> {
        self.0.entry(name).or_default()
    }
}

/// Tells another shape of a column.
fn column(manifest: &mut Manifest, draw: &mut Draw, near: &dyn Fn(usize, &mut Draw) -> usize) {
    let at = draw.below(manifest.columns.len());
    let column = &mut manifest.columns[at];
    match draw.below(7) {
        0 => column.nulls = near(column.nulls.max(1), draw),
        1 => column.distinct = Some(near(column.distinct.unwrap_or(9).max(1), draw)),
        2 => column.distinct = None,
        3 => column.heap_bytes = near(column.heap_bytes.max(1) as usize, draw) as u64,
        4 => column.field_type = draw.of(&FieldType::ALL),
        5 => column.nullable = !column.nullable,
        _ => {
            let inverted = ColumnIndex::Inverted { heap_bytes: near(300, draw) as u64 };
            column.index = draw.of(&[None, Some(ColumnIndex::Range), Some(inverted)]);
        }
    }
}

/// Goes up to so many steps into the value, and changes what it finds there.
fn change(value: &mut Json, steps: usize, draw: &mut Draw) {
    match value {
        Json::Object(map) if steps > 0 && !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = draw.of(&keys);
            match draw.below(8) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert("surprise".into(), Json::Bool(true))),
                _ => change(&mut map[&key], steps - 1, draw),
            }
        }
        Json::Array(items) if steps > 0 && !items.is_empty() => {
            let at = draw.below(items.len());
            match draw.below(8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.swap(0, at),
                _ => change(&mut items[at], steps - 1, draw),
            }
        }
        _ => {
            let near = value.as_u64().unwrap_or(4096);
            *value = draw.of(&[
                Json::from(near.wrapping_add(1)),
                Json::from(near.wrapping_sub(1)),
                Json::from(near / 2),
                Json::from(0),
                Json::from(-1),
                Json::from(1_u64 << 31),
                Json::from(1_u64 << 32),
                Json::from(u64::MAX),
                Json::from(0.5),
                Json::from(1e300),
                Json::from("l2"),
                Json::from("../graph"),
                Json::from("pq:3"),
                Json::from("rabitq:2"),
                Json::from("vectors"),
                Json::Null,
                Json::from(vec![near; 40]),
            ]);
        }
    }
}

/// Opens and searches what lies in `dir`; panics where that is neither refused nor possible.
fn judge(dir: &Path, draw: &mut Draw) -> Outcome {
    // Any of the codes, or none of them.
    let (mut others, resident) = (draw.below(3), draw.below(2) == 0);
    let opened = Segment::open(dir, &mut |file| {
        Ok(match file.kind {
            ComponentKind::Vectors if resident => Placed::Resident(in_memory(file)?),
            ComponentKind::Vectors | ComponentKind::Column(_) | ComponentKind::ColumnIndex(_) => {
                Placed::Paged(in_memory(file)?)
            }
            ComponentKind::Graph | ComponentKind::Ids | ComponentKind::OwnIds => {
                Placed::Resident(in_memory(file)?)
            }
            ComponentKind::Codes(_) if others == 0 => {
                others = usize::MAX;
                Placed::Resident(in_memory(file)?)
            }
            ComponentKind::Codes(_) => {
                others -= 1;
                Placed::Left
            }
        })
    });
    let segment = match opened {
        Ok(segment) => segment,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Outcome::Refused;
        }
    };
    let (dim, points) = (segment.manifest().dim, segment.manifest().points);
    let values = uniform(draw.next() >> 40).take(dim).map(|value| 100.0 * value);
    let values: Vec<f32> = values.chain(vec![0.0; dim]).chain(vec![1e30; dim]).collect();
    let queries = Vectors::from_f32(dim, values).unwrap();
    let exact = segment.exact_search(&queries, points, &mut |_, _| ControlFlow::Continue(()));
    let exact = exact.unwrap();
    let rescore = draw.of(&[Rescore::Off, Rescore::Times(1.0), Rescore::Times(3.5)]);
    let params = SearchParams { k: 1 + draw.below(12), ef: 1 + draw.below(40), rescore };
    let measured = rescore != Rescore::Off || segment.walked_by() == Quantizer::None;
    let mut scratch = Scratch::default();
    for (i, exact) in exact.iter().enumerate() {
        let hits = segment.search(&row(&queries, i), &params, &mut scratch).unwrap();
        assert!((1..=params.k).contains(&hits.len()), "{} hits", hits.len());
        let order = |a: &Hit, b: &Hit| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id));
        assert!(hits.windows(2).all(|pair| order(&pair[0], &pair[1]).is_lt()), "{hits:?}");
        for hit in hits {
            assert!(!hit.distance.is_nan() && segment.has_id(hit.id), "{hit:?}");
            let true_distance = exact.iter().find(|other| other.id == hit.id).unwrap().distance;
            let same = hit.distance.to_bits() == true_distance.to_bits();
            assert!(same || !measured, "{hit:?} is at {true_distance}");
        }
    }
    judge_fields(&segment, points);
    Outcome::Searched
}

/// Reads and tests every field: values of its type, points that there are, or a typed error.
fn judge_fields(segment: &Segment, points: usize) {
    let places: Vec<u32> = (0..points as u32).collect();
    let possible = |error: SearchError| {
        assert!(matches!(error, SearchError::Component { .. }), "{error}");
    };
    for (number, field) in segment.fields().iter().enumerate() {
        match segment.values(&places, &[number]) {
            Err(error) => possible(error),
            Ok(rows) => {
                assert!(rows.iter().all(|row| {
                    row[0].field_type().is_none_or(|found| found == field.field_type)
                }))
            }
        }
        let value = match field.field_type {
            FieldType::I64 => Value::I64(1),
            FieldType::F64 => Value::F64(1.5),
            FieldType::Bool => Value::Bool(true),
            FieldType::Keyword => Value::Keyword("word 2".into()),
            FieldType::Text => Value::Text("text ".into()),
            FieldType::Timestamp => Value::Timestamp(3 << 40),
        };
        let equal = [value.clone()];
        let past = Test::Within(Bound::Excluded(&value), Bound::Unbounded);
        for test in [Test::IsNull, Test::Equals(&equal), past] {
            match segment.matching(number, &test, &Patience::default()) {
                Err(error) => possible(error),
                Ok(found) => assert!(found.points() == points && found.len() <= points),
            }
        }
    }
}
