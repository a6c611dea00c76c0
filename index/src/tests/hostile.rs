//! Segments that somebody damaged, by accident or with care.

use std::ops::Bound;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, iter};

use proptest::prelude::*;
use ringpool_storage::{Checksums, FileKey};

use super::{as_element, clustered, in_memory, open, open_resident, row, search_all};
use crate::columns::Test;
use crate::manifest::MANIFEST;
use crate::{
    Attached, BuildOptions, Column, ColumnIndex, Columns, Component, ComponentKind, Element,
    FORMAT_VERSION, Field, FieldType, Hit, MAX_POINTS, Manifest, Metric, NoProgress, Patience,
    Quantizer, SearchError, SearchParams, Segment, SegmentError, Value, Vectors, build, build_with,
};

struct Specimen {
    folder: tempfile::TempDir,
    base: Vectors,
    hits: Vec<Vec<Hit>>,
}

/// One segment for all tests, which copy it.
fn specimen() -> &'static Specimen {
    static SPECIMEN: OnceLock<Specimen> = OnceLock::new();
    SPECIMEN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let base = as_element(24, &clustered(600, 24, 6, false, 31), Element::F32);
        let out = folder.path().join("segment");
        let options = BuildOptions { m: 4, ..Default::default() };
        let attached = Attached { columns: Some(&columns(600)), ..Attached::default() };
        build_with(&base, &attached, &out, &options, &NoProgress).unwrap();
        let hits = search_all(&open(&out).unwrap(), &base, &SearchParams::default());
        Specimen { folder, base, hits }
    })
}

/// Fields of as many points, with an index of each kind.
fn columns(points: i64) -> Columns {
    let fields = vec![
        Field::new("label", FieldType::I64),
        Field::new("price", FieldType::F64),
        Field::new("city", FieldType::Keyword).or_null(),
        Field::new("note", FieldType::Text),
    ];
    let mut columns = Columns::new(fields).unwrap();
    for row in 0..points {
        let city = match row % 4 {
            3 => Value::Null,
            city => Value::Keyword(["Oslo", "Bergen", "Bodø"][city as usize].into()),
        };
        let note = Value::Text(format!("note {row}"));
        let row = [Value::I64(row % 10), Value::F64(row as f64 / 8.0), city, note];
        columns.push_row(&row).unwrap();
    }
    columns
}

/// A copy to be damaged.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("segment");
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(specimen().folder.path().join("segment")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    (parent, dir)
}

fn names() -> Vec<String> {
    let dir = specimen().folder.path().join("segment");
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (_parent, dir) = copy();
    for name in names() {
        let path = dir.join(&name);
        let good = fs::read(&path).unwrap();
        let all = name == MANIFEST;
        let step = if all { 1 } else { (good.len() / 150).max(1) };
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            assert!(open(&dir).is_err(), "byte {at} of {name}");
        }
        fs::write(&path, &good).unwrap();
    }
    let hits = search_all(&open(&dir).unwrap(), &specimen().base, &SearchParams::default());
    assert_eq!(hits, specimen().hits);
}

#[test]
fn cut_grown_missing_and_odd_files() {
    let (_parent, dir) = copy();
    for name in names() {
        let path = dir.join(&name);
        let good = fs::read(&path).unwrap();
        for bytes in [0, 1, good.len() / 2, good.len() - 1, good.len() + 1, good.len() + 4096] {
            let resized: Vec<u8> =
                good.iter().copied().chain(iter::repeat(0)).take(bytes).collect();
            fs::write(&path, resized).unwrap();
            match (open(&dir).unwrap_err(), name == MANIFEST) {
                (SegmentError::Manifest { .. }, true) | (SegmentError::Length { .. }, false) => {}
                (other, _) => panic!("{name} of {bytes} bytes: {other}"),
            }
        }
        fs::remove_file(&path).unwrap();
        match (open(&dir).unwrap_err(), name == MANIFEST) {
            (SegmentError::NotASegment { .. }, true) | (SegmentError::Missing { .. }, false) => {}
            (other, _) => panic!("{name} missing: {other}"),
        }
        let elsewhere = dir.join("elsewhere");
        fs::write(&elsewhere, &good).unwrap();
        symlink(&elsewhere, &path).unwrap();
        expect_not_regular(&dir, &path);
        fs::create_dir(&path).unwrap();
        expect_not_regular(&dir, &path);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        expect_not_regular(&dir, &path);
        fs::write(&path, &good).unwrap();
    }
    open(&dir).unwrap();
}

fn expect_not_regular(dir: &Path, path: &Path) {
    let error = open(dir).unwrap_err();
    assert!(matches!(error, SegmentError::NotRegular { .. }), "{error}");
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Changes a component's bytes and makes all checksums right again.
fn rewrite(dir: &Path, kind: ComponentKind, change: impl FnOnce(&Manifest, &mut [u8])) {
    let mut manifest = Manifest::read(dir).unwrap();
    let position = manifest.components.iter().position(|c| c.kind == kind).unwrap();
    let path = dir.join(manifest.components[position].pages_file());
    let mut bytes = fs::read(&path).unwrap();
    change(&manifest, &mut bytes);
    fs::write(&path, &bytes).unwrap();
    let component = &mut manifest.components[position];
    let key = FileKey(component.key);
    let crcs = Checksums::of_pages(key, manifest.page_size, &bytes).to_le_bytes();
    component.checksums_crc32c = crc32c::crc32c(&crcs);
    fs::write(dir.join(component.checksums_file()), crcs).unwrap();
    fs::write(dir.join(MANIFEST), manifest.to_bytes().unwrap()).unwrap();
}

/// Changes the manifest's words and makes its checksum right again.
fn rewrite_manifest(dir: &Path, from: &str, to: &str) {
    let path = dir.join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    let (_, json) = text.split_once('\n').unwrap();
    assert!(json.contains(from), "{from} in {json}");
    let json = json.replacen(from, to, 1);
    let crc = crc32c::crc32c(json.as_bytes());
    let line = format!("ringpool-segment {FORMAT_VERSION} since=0.1.0 crc32c={crc:08x}\n");
    fs::write(path, line + &json).unwrap();
}

#[test]
fn manifests_that_lie() {
    let manifest = Manifest::read(&specimen().folder.path().join("segment")).unwrap();
    let entry = format!("\"entry_point\": {}", manifest.entry_point);
    let last = manifest.layers.len() - 1;
    let layers = format!("{}\n  ]", manifest.layers[last]);
    let lies = [
        ("\"dim\": 24", "\"dim\": 0"),
        ("\"dim\": 24", "\"dim\": 65537"),
        ("\"dim\": 24", "\"dim\": -24"),
        ("\"dim\": 24", "\"dim\": 25"),
        ("\"dim\": 24", "\"dim\": 24.0"),
        ("\"dim\": 24", "\"dim\": 24, \"dim\": 24"),
        ("\"points\": 600", "\"points\": 0"),
        ("\"points\": 600", "\"points\": 601"),
        ("\"points\": 600", "\"points\": 18446744073709551615"),
        ("\"points\": 600", "\"points\": 18446744073709551616"),
        ("\"m\": 4", "\"m\": 1"),
        ("\"m\": 4", "\"m\": 18446744073709551615"),
        ("\"page_size\": 4096", "\"page_size\": 4095"),
        ("\"page_size\": 4096", "\"page_size\": 0"),
        ("\"page_size\": 4096", "\"page_size\": 8192"),
        ("\"order\": \"packed\"", "\"order\": \"given\""),
        ("\"order\": \"packed\"", "\"order\": \"shuffled\""),
        ("\"sq8\"", "\"none\""),
        ("\"sq8\"", "\"pq\""),
        ("\"metric\": \"l2\"", "\"metric\": \"l3\""),
        ("\"name\": \"graph\"", "\"name\": \"../graph\""),
        ("\"name\": \"graph\"", "\"name\": \"/etc/passwd\""),
        ("\"name\": \"graph\"", "\"name\": \"vectors\""),
        ("\"kind\": \"graph\"", "\"kind\": \"vectors\""),
        ("\"layers\": [", "\"layers\": [ 600,"),
        ("\"layers\": [\n    600,", "\"layers\": ["),
        (&layers, "0\n  ]"),
        (&layers, "601\n  ]"),
        (&entry, "\"entry_point\": 600"),
        ("{", "{ \"surprise\": 1,"),
        ("\"name\": \"label\"", "\"name\": \"id\""),
        ("\"name\": \"label\"", "\"name\": \"city\""),
        ("\"name\": \"label\"", "\"name\": \"../label\""),
        ("\"name\": \"label\"", "\"name\": \"\""),
        ("\"type\": \"i64\"", "\"type\": \"text\""),
        ("\"type\": \"i64\"", "\"type\": \"f64\""),
        ("\"type\": \"i64\"", "\"type\": \"u64\""),
        ("\"nullable\": false", "\"nullable\": true"),
        ("\"nullable\": true", "\"nullable\": false"),
        ("\"nulls\": 0", "\"nulls\": 1"),
        ("\"nulls\": 150", "\"nulls\": 601"),
        ("\"nulls\": 150", "\"nulls\": 600"),
        ("\"distinct\": 10", "\"distinct\": 0"),
        ("\"distinct\": 10", "\"distinct\": 601"),
        ("\"distinct\": 10", "\"distinct\": null"),
        ("\"distinct\": 10", "\"distinct\": 18446744073709551615"),
        ("\"heap_bytes\": 0", "\"heap_bytes\": 1"),
        ("\"heap_bytes\": 0", "\"heap_bytes\": 18446744073709551615"),
        ("\"index\": \"range\"", "\"index\": null"),
        ("\"index\": \"range\"", "\"index\": {\"inverted\": {\"heap_bytes\": 9}}"),
        ("\"index\": null", "\"index\": \"range\""),
        ("\"column\": 0", "\"column\": 1"),
        ("\"column\": 0", "\"column\": 65536"),
        ("\"name\": \"column-0\"", "\"name\": \"column-0-index\""),
    ];
    for (from, to) in lies {
        let (_parent, dir) = copy();
        rewrite_manifest(&dir, from, to);
        let error = open(&dir).unwrap_err();
        assert!(matches!(error, SegmentError::Manifest { .. }), "{to}: {error}");
    }
}

/// No sum of lengths is larger than a number holds.
#[test]
fn components_that_no_disk_holds_are_refused() {
    let mut manifest = Manifest::read(&specimen().folder.path().join("segment")).unwrap();
    manifest.points = MAX_POINTS;
    manifest.layers = vec![MAX_POINTS];
    let word = manifest.columns.iter().find(|column| column.name == "city").unwrap();
    // As many words as points, and for each the longest bitmap that there is.
    let heap_bytes = MAX_POINTS as u64 * (16 + (1 << 15) * 8208);
    let index = Some(ColumnIndex::Inverted { heap_bytes });
    let widest =
        Column { nullable: false, nulls: 0, distinct: Some(MAX_POINTS), index, ..word.clone() };
    let named = |i: usize| Column { name: format!("field-{i}"), ..widest.clone() };
    for (columns, fits) in [(1, true), (30, false), (1024, false)] {
        manifest.columns = (0..columns).map(named).collect();
        let component = |kind: ComponentKind| Component {
            kind,
            name: kind.name(),
            key: 7,
            pages: manifest.pages_of(kind),
            record_bytes: manifest.record_bytes_of(kind),
            checksums_crc32c: 0,
        };
        manifest.components = manifest.kinds().into_iter().map(component).collect();
        let parsed = Manifest::parse(Path::new("M"), &manifest.to_bytes().unwrap());
        match (parsed, fits) {
            (Ok(_), true) => {}
            (Err(SegmentError::Manifest { reason, .. }), false) => {
                assert!(reason.contains("are longer than"), "{reason}");
            }
            (other, _) => panic!("{columns}: {other:?}"),
        }
    }
}

/// What a segment of a later release is, by its first line or by what it needs.
#[test]
fn a_later_release_is_named() {
    let changed = |from: &str, to: &str| {
        let (_parent, dir) = copy();
        rewrite_manifest(&dir, from, to);
        open(&dir)
    };
    let required = "\"required_features\": []";
    let sparse = "\"required_features\": [{\"name\": \"sparse\", \"since\": \"0.3.0\", \"of\": 1}]";
    // Whatever else it brings along.
    for more in ["", ", \"sparse\": {\"rows\": [1, 2]}", ", \"dim\": \"many\""] {
        let error = changed(required, &format!("{sparse}{more}")).unwrap_err();
        let says = error.to_string();
        assert!(
            matches!(&error, SegmentError::UnknownFeature { feature, since, .. }
                if feature == "sparse" && since.to_string() == "0.3.0"),
            "{error}"
        );
        assert!(says.contains("which ringpool 0.3.0 and later know"), "{says}");
    }
    let optional = "\"optional_features\": []";
    let ignored = "\"optional_features\": [{\"name\": \"x\", \"since\": \"9.0.0\", \"of\": [1]}]";
    assert_eq!(changed(optional, ignored).unwrap().manifest().optional_features.len(), 1);
    let long = format!("{{\"name\": \"{}\", \"since\": \"0.3.0\"}}", "x".repeat(65));
    let many = vec!["{\"name\": \"x\", \"since\": \"0.3.0\"}"; 65].join(", ");
    for wrong in [
        "{\"name\": \"sparse\", \"since\": \"0.0.1\"}",
        "{\"name\": \"sparse\", \"since\": \"later\"}",
        "{\"name\": \"../x\", \"since\": \"0.3.0\"}",
        "{\"name\": \"\", \"since\": \"0.3.0\"}",
        "{\"name\": \"sparse\"}",
        "\"sparse\"",
        &long,
        &many,
    ] {
        let error = changed(required, &format!("\"required_features\": [{wrong}]")).unwrap_err();
        assert!(matches!(error, SegmentError::Manifest { .. }), "{wrong}: {error}");
        assert!(error.to_string().len() < 500, "{error}");
    }
}

#[test]
fn another_version_is_named() {
    let (_parent, dir) = copy();
    let text = fs::read_to_string(dir.join(MANIFEST)).unwrap();
    let own = format!("{FORMAT_VERSION} since=0.1.0");
    for (found, part) in [
        ("6 since=0.2.0", "is of format 6, which ringpool 0.2.0 and later read"),
        ("4", "of format 4, from before the first release"),
        ("6", "names no later release"),
        ("6 since=0.1.0", "names no later release"),
        ("5 since=0.2.0", "it was changed"),
        ("5", "it was changed"),
        ("0", "does not begin"),
        ("x", "does not begin"),
        ("+5 since=0.1.0", "does not begin"),
    ] {
        let changed = text.replacen(&own, found, 1);
        fs::write(dir.join(MANIFEST), changed).unwrap();
        let error = open(&dir).unwrap_err();
        let newer = found == "6 since=0.2.0";
        assert_eq!(newer, matches!(error, SegmentError::NewerVersion { .. }), "{error}");
        assert!(error.to_string().contains(part), "{found}: {error}");
    }
    // Nothing but its first line is read of a later one.
    fs::write(dir.join(MANIFEST), b"ringpool-segment 9 since=1.2.3 sealed\n\xff\xfe").unwrap();
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("ringpool 1.2.3 and later"), "{error}");
}

#[test]
fn graphs_that_lie() {
    let put = |word: usize, value: u32| {
        move |bytes: &mut [u8]| bytes[4 * word..][..4].copy_from_slice(&value.to_le_bytes())
    };
    let upper =
        |manifest: &Manifest| manifest.sections(ComponentKind::Graph)[1].first_page as usize;
    type Lie<'a> = &'a dyn Fn(&Manifest, &mut [u8]);
    let lies: [(&str, Lie<'_>); 5] = [
        ("a gap", &|_, bytes| put(0, u32::MAX)(bytes)),
        ("an id", &|_, bytes| put(1, 600)(bytes)),
        ("a huge id", &|_, bytes| put(1, u32::MAX - 1)(bytes)),
        ("an upper point", &|m, bytes| put(upper(m) * 1024, 599)(bytes)),
        ("an upper id", &|m, bytes| {
            put(upper(m) * 1024 + 1, 1)(bytes);
            // No point twice: one of the two is not in the layer.
            put(upper(m) * 1024 + 2, 600)(bytes);
        }),
    ];
    for (what, lie) in lies {
        let (_parent, dir) = copy();
        rewrite(&dir, ComponentKind::Graph, lie);
        let error = open(&dir).unwrap_err();
        assert!(matches!(error, SegmentError::Component { .. }), "{what}: {error}");
    }
}

#[test]
fn codes_that_lie() {
    // The deviation is on a page of its own, then come the step and the offsets.
    let deviation = [(0, f32::NAN), (1, f32::NAN), (1, f32::INFINITY), (1, -1.0)];
    let steps = [(1024, 0.0), (1024, -1.0), (1024, f32::NAN), (1024, f32::INFINITY)];
    for (word, value) in deviation.into_iter().chain(steps).chain([(1031, f32::NAN)]) {
        let (_parent, dir) = copy();
        rewrite(&dir, ComponentKind::Codes(Quantizer::Sq8), |_, bytes: &mut [u8]| {
            bytes[4 * word..][..4].copy_from_slice(&f32::to_le_bytes(value));
        });
        let error = open(&dir).unwrap_err();
        assert!(matches!(error, SegmentError::Component { .. }), "{error}");
    }
}

#[test]
fn ids_that_lie() {
    for (place, id) in [(0, 600), (599, u32::MAX), (300, 1 << 31)] {
        let (_parent, dir) = copy();
        rewrite(&dir, ComponentKind::Ids, |_, bytes| {
            bytes[4 * place..][..4].copy_from_slice(&id.to_le_bytes());
        });
        let error = open(&dir).unwrap_err().to_string();
        let expected = format!("place {place} has the rank {id}, expected one below 600");
        assert!(error.contains(&expected), "{error}");
    }
    let (_parent, dir) = copy();
    rewrite(&dir, ComponentKind::Ids, |_, bytes| bytes.copy_within(40..44, 80));
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, SegmentError::Component { .. }), "{error}");
    assert!(error.to_string().contains("is at place 20 and one before"), "{error}");
}

/// What a reader of fields is told of bytes that no build writes, each found when it is read.
#[test]
fn columns_that_lie() {
    use ComponentKind::{Column, ColumnIndex};
    type Ask<'a> = &'a dyn Fn(&Segment) -> Result<(), SearchError>;
    let all: Vec<u32> = (0..600).collect();
    let values = |field: usize| {
        let all = all.clone();
        move |segment: &Segment| segment.values(&all, &[field]).map(drop)
    };
    let matching = |field: usize, asked: Value| {
        move |segment: &Segment| {
            let test = Test::Within(Bound::Included(&asked), Bound::Unbounded);
            segment.matching(field, &test, &Patience::default()).map(drop)
        }
    };
    let words = u64::from(u32::MAX).to_le_bytes();
    let (far, nan) = (u64::MAX.to_le_bytes(), f64::NAN.to_le_bytes());
    // Of many places, since some have no value.
    let many = [0xff; 64];
    let place = 600_u32.to_le_bytes();
    // The component, its section, a byte there and what it becomes.
    type Lie<'a> = (ComponentKind, usize, usize, &'a [u8], Ask<'a>, &'a str);
    let lies: [Lie<'_>; 10] = [
        (Column(1), 0, 8, &nan, &values(1), "NaN"),
        (Column(2), 1, 4 * 40, &many, &values(2), "the word 4294967295 of 3"),
        (Column(2), 2, 0, &far, &values(2), "begin at 18446744073709551615"),
        (Column(2), 2, 8, &words[..4], &values(2), "4294967295 bytes begin at 0"),
        (Column(2), 3, 0, b"\xff", &values(2), "utf-8"),
        (Column(3), 0, 0, &far, &values(3), "begin at 18446744073709551615"),
        (Column(3), 1, 5, b"\xff", &values(3), "utf-8"),
        (ColumnIndex(0), 1, 8, &words[..4], &matching(0, Value::I64(0)), "4294967295 bytes"),
        (ColumnIndex(0), 2, 0, &[0xff; 16], &matching(0, Value::I64(0)), "a bitmap of points"),
        (ColumnIndex(1), 1, 0, &place, &matching(1, Value::F64(0.0)), "the place 600"),
    ];
    for (kind, section, at, lie, ask, part) in lies {
        let (_parent, dir) = copy();
        rewrite(&dir, kind, |manifest, bytes| {
            let first = manifest.sections(kind)[section].first_page as usize;
            bytes[4096 * first + at..][..lie.len()].copy_from_slice(lie);
        });
        for segment in [open(&dir).unwrap(), open_resident(&dir).unwrap()] {
            let error = ask(&segment).expect_err(part);
            assert!(matches!(error, SearchError::Component { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains(part) && error.contains(&kind.name()), "{part}: {error}");
        }
    }
}

/// Two components' files swapped, each with its own checksums: the keys differ.
#[test]
fn pages_of_another_segment_do_not_pass() {
    let (_parent, dir) = copy();
    let other = tempfile::tempdir().unwrap();
    let out = other.path().join("segment");
    let base = as_element(24, &clustered(600, 24, 6, false, 32), Element::F32);
    let options = BuildOptions { m: 4, ..Default::default() };
    build(&base, &out, &options, &NoProgress).unwrap();
    fs::copy(out.join("vectors.pages"), dir.join("vectors.pages")).unwrap();
    assert!(matches!(open(&dir), Err(SegmentError::Pages(_))));
    fs::copy(out.join("vectors.crc"), dir.join("vectors.crc")).unwrap();
    assert!(matches!(open(&dir), Err(SegmentError::Checksums { .. })));
}

#[test]
fn a_source_of_the_wrong_shape_is_refused() {
    let dir = specimen().folder.path().join("segment");
    let refused = Segment::open(&dir, &mut |file| {
        let mut wrong = file.clone();
        wrong.page_size = ringpool_storage::PageSize::new(2048).unwrap();
        wrong.checksums =
            Checksums::of_pages(FileKey(0), wrong.page_size, &fs::read(&file.path).unwrap());
        super::placed(file, in_memory(&wrong)?)
    });
    assert!(matches!(refused, Err(SegmentError::Component { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_bytes_are_no_manifest(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Manifest::parse(Path::new("M"), &bytes).is_err());
        let crc = crc32c::crc32c(&bytes);
        let line = format!("ringpool-segment {FORMAT_VERSION} since=0.1.0 crc32c={crc:08x}\n");
        let mut sealed = line.into_bytes();
        sealed.extend(bytes);
        prop_assert!(Manifest::parse(Path::new("M"), &sealed).is_err());
    }

    /// Damage under right checksums: an error, or hits that are sorted and exist.
    #[test]
    fn sealed_damage_never_panics(
        kind in prop_oneof![
            (0_u16..4).prop_map(ComponentKind::Column), (0_u16..3).prop_map(ComponentKind::ColumnIndex),
            Just(ComponentKind::Graph), Just(ComponentKind::Ids), Just(ComponentKind::Codes(Quantizer::Sq8)), Just(ComponentKind::Vectors)],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (_parent, dir) = copy();
        rewrite(&dir, kind, |_, bytes| {
            for (at, value) in &changes {
                bytes[at.index(bytes.len())] = *value;
            }
        });
        if let (Ok(segment), Ok(resident)) = (open(&dir), open_resident(&dir)) {
            let mut scratch = crate::Scratch::default();
            for i in 0..20 {
                let query = row(&specimen().base, i);
                let params = SearchParams::default();
                let hits = segment.search(&query, &params, &mut scratch).unwrap();
                prop_assert_eq!(&hits, &resident.search(&query, &params, &mut scratch).unwrap());
                prop_assert!(hits.len() <= 10 && hits.iter().all(|hit| hit.id < 600));
                prop_assert_eq!(segment.manifest().metric, Metric::L2);
            }
        }
    }
}
