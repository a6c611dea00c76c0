//! Small segments, and folders in which copies of them are changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use ringpool::storage::{Checksums, FileKey, PageSize};
use ringpool::{
    Attached, BuildOptions, Columns, Element, FORMAT_VERSION, Field, FieldType, GivenIds, Manifest,
    Metric, NoProgress, Order, Quantizer, Value, Vectors, build_with, delete,
};
use serde_json::Value as Json;

pub const POINTS: usize = 70;
pub const DIM: usize = 6;
pub const PAGE_BYTES: usize = 512;

/// Segments of few components each: all of a segment's files are looked at for each input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One set of codes, ids of their own, deleted points.
    Plain,
    /// Every kind of codes.
    Coded,
    /// No codes, and a field of each type.
    Fielded,
    /// Neighbours and codes in the records of the originals.
    Inlined,
}

/// The files of a segment, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Those of a sound segment.
pub fn sound(kind: Kind) -> &'static Files {
    static SOUND: [OnceLock<Files>; 4] = [const { OnceLock::new() }; 4];
    SOUND[kind as usize].get_or_init(|| match kind {
        Kind::Plain => plain(),
        Kind::Coded => coded(),
        Kind::Fielded => fielded(),
        Kind::Inlined => inlined(),
    })
}

fn plain() -> Files {
    let ids: Vec<u64> = (0..POINTS as u64).map(|row| (row * 37) % 101 + (1 << 40)).collect();
    let attached = Attached::from(GivenIds::Each(&ids));
    let options = BuildOptions { quantizers: vec![Quantizer::Sq8], ..options() };
    built(Element::F32, &attached, &options, &[(1 << 40) + 37, (1 << 40) + 74])
}

fn coded() -> Files {
    let [sq4, sq8, pq] = [Quantizer::Sq4, Quantizer::Sq8, Quantizer::Pq { bytes: 3 }];
    let rabitq = [1, 2, 4].map(|bits| Quantizer::RaBitQ { bits });
    let quantizers = [&[sq8, sq4, pq], &rabitq[..]].concat();
    let options = BuildOptions { quantizers, ..options() };
    built(Element::F32, &Attached::default(), &options, &[])
}

fn fielded() -> Files {
    let columns = columns();
    let attached = Attached { columns: Some(&columns), ..Attached::default() };
    let options = BuildOptions { quantizers: Vec::new(), ..options() };
    built(Element::F32, &attached, &options, &[5, 9])
}

fn inlined() -> Files {
    let (quantizers, inlined) = (vec![Quantizer::Sq8], Some(Quantizer::Sq8));
    let (metric, order) = (Metric::Cosine, Order::Given);
    let options = BuildOptions { quantizers, inlined, metric, order, ..options() };
    built(Element::F16, &Attached::default(), &options, &[])
}

fn options() -> BuildOptions {
    let page_size = PageSize::new(PAGE_BYTES as u64).expect("a size of pages");
    BuildOptions { m: 3, ef_construction: 20, page_size, threads: 1, ..BuildOptions::default() }
}

/// A value that looks random, from -50 to 50.
fn drawn(at: usize) -> f32 {
    (at as u32).wrapping_mul(2_654_435_761).rotate_left(13) as f32 / u32::MAX as f32 * 100.0 - 50.0
}

fn built(
    element: Element,
    attached: &Attached<'_>,
    options: &BuildOptions,
    deleted: &[u64],
) -> Files {
    let values: Vec<f32> = (0..POINTS * DIM).map(drawn).collect();
    let vectors = Vectors::from_f32(DIM, values).and_then(|vectors| match element {
        Element::F16 => vectors.to_f16(),
        _ => Ok(vectors),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("segment");
    build_with(&vectors.expect("vectors"), attached, &out, options, &NoProgress)
        .expect("a segment");
    if !deleted.is_empty() {
        delete(&out, deleted).expect("some of its points deleted");
    }
    let entries = fs::read_dir(&out).expect("its folder").map(|entry| entry.expect("a file"));
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("a name");
        (name, fs::read(entry.path()).expect("its bytes"))
    };
    entries.map(file).collect()
}

/// A field of each type, with an index of each kind.
fn columns() -> Columns {
    let fields = vec![
        Field::new("number", FieldType::I64).or_null(),
        Field::new("price", FieldType::F64),
        Field::new("sold", FieldType::Bool).or_null(),
        Field::new("word", FieldType::Keyword),
        Field::new("about", FieldType::Text).or_null(),
        Field::new("at", FieldType::Timestamp),
    ];
    let mut columns = Columns::new(fields).expect("fields");
    for row in 0..POINTS as i64 {
        let or_null = |value| if row % 7 == 3 { Value::Null } else { value };
        let row = [
            or_null(Value::I64(row % 5 - 2)),
            Value::F64(row as f64 / 7.0),
            or_null(Value::Bool(row % 3 == 0)),
            Value::Keyword(format!("word {}", row % 11)),
            or_null(Value::Text("text ".repeat(row as usize % 4))),
            Value::Timestamp(row << 40),
        ];
        columns.push_row(&row).expect("a row");
    }
    columns
}

/// A folder in which one segment after another is written: only the files that differ from those
/// that are there.
struct Workplace {
    folder: tempfile::TempDir,
    written: Files,
}

thread_local! {
    static WORKPLACE: RefCell<Option<Workplace>> = const { RefCell::new(None) };
}

/// Calls `with` with a folder that has these files, and no others.
pub fn in_folder<T>(files: &Files, with: impl FnOnce(&Path) -> T) -> T {
    WORKPLACE.with_borrow_mut(|place| {
        let place = place.get_or_insert_with(|| {
            // In memory where there is such a place: files are written for each input.
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
            Workplace { folder: folder.expect("a folder"), written: Files::new() }
        });
        let names: BTreeSet<String> = place.written.keys().chain(files.keys()).cloned().collect();
        for name in names {
            let path = place.folder.path().join(&name);
            match files.get(&name) {
                None => fs::remove_file(path).expect("a file removed"),
                now if now == place.written.get(&name) => {}
                Some(bytes) => fs::write(path, bytes).expect("a file written"),
            }
        }
        place.written.clone_from(files);
        with(place.folder.path())
    })
}

/// Puts these bytes in the place of a component's, cut or filled up to its length, and makes all
/// checksums right again.
pub fn replace(files: &mut Files, component: &str, mut pages: Vec<u8>) {
    let mut manifest = json_of(files);
    let Some(described) = described(&mut manifest, component) else { return };
    let length = described["pages"].as_u64().unwrap_or(0) as usize * PAGE_BYTES;
    pages.resize(length, 0);
    let key = FileKey(described["key"].as_u64().unwrap_or(0));
    let page_size = PageSize::new(PAGE_BYTES as u64).expect("a size of pages");
    let sums = Checksums::of_pages(key, page_size, &pages).to_le_bytes();
    described["checksums_crc32c"] = crc32c::crc32c(&sums).into();
    files.insert(format!("{component}.crc"), sums);
    files.insert(format!("{component}.pages"), pages);
    files.insert("MANIFEST".into(), sealed(&serde_json::to_vec(&manifest).expect("JSON")));
    // They name the manifest by its checksum, which is another now.
    files.remove("TOMBSTONES");
}

/// Files for a manifest that was made up: as long as it says, of bytes that a sound segment has.
pub fn filled(manifest: &Manifest, json: &[u8]) -> Option<Files> {
    const MOST_BYTES: u64 = 1 << 20;
    let page_bytes = manifest.page_size.bytes();
    let mut files = Files::new();
    let mut json: Json = serde_json::from_slice(json).ok()?;
    let all: u64 = manifest.components.iter().map(|one| one.pages * page_bytes as u64).sum();
    if all > MOST_BYTES {
        return None;
    }
    for (component, described) in manifest.components.iter().zip(json["components"].as_array_mut()?)
    {
        let length = component.pages as usize * page_bytes;
        let name = component.pages_file();
        let kinds = [Kind::Plain, Kind::Coded, Kind::Fielded];
        let from = kinds.into_iter().find_map(|kind| sound(kind).get(&name));
        let mut pages: Vec<u8> = from.into_iter().flatten().copied().take(length).collect();
        pages.resize(length, 0);
        let key = FileKey(component.key);
        let sums = Checksums::of_pages(key, manifest.page_size, &pages).to_le_bytes();
        described["checksums_crc32c"] = crc32c::crc32c(&sums).into();
        files.insert(component.checksums_file(), sums);
        files.insert(component.pages_file(), pages);
    }
    files.insert("MANIFEST".into(), sealed(&serde_json::to_vec(&json).ok()?));
    Some(files)
}

/// A manifest of this JSON under a checksum that is right.
pub fn sealed(json: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c(json);
    let line = format!("ringpool-segment {FORMAT_VERSION} since=0.1.0 crc32c={crc:08x}\n");
    [line.as_bytes(), json].concat()
}

/// The checksum by which other files name a segment.
pub fn seal_of(files: &Files) -> u32 {
    let manifest = &files["MANIFEST"];
    let line = manifest.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    crc32c::crc32c(&manifest[line..])
}

fn json_of(files: &Files) -> Json {
    let manifest = &files["MANIFEST"];
    let line = manifest.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    serde_json::from_slice(&manifest[line..]).expect("a manifest's JSON")
}

fn described<'j>(manifest: &'j mut Json, component: &str) -> Option<&'j mut Json> {
    let components = manifest["components"].as_array_mut()?;
    components.iter_mut().find(|one| one["name"] == component)
}

/// `sound` with changes: each is two bytes that say where, one that says how many, and as many that
/// are put there. So an input is short however long the file is.
pub fn edited(sound: &[u8], mut edits: &[u8]) -> Vec<u8> {
    const MOST_AT_ONCE: usize = 16;
    let mut bytes = sound.to_vec();
    while let [low, high, count, rest @ ..] = edits {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len().max(1);
        let count = (usize::from(*count) % MOST_AT_ONCE + 1).min(rest.len()).min(bytes.len() - at);
        bytes[at..at + count].copy_from_slice(&rest[..count]);
        edits = &rest[count..];
        if count == 0 {
            break;
        }
    }
    bytes
}
