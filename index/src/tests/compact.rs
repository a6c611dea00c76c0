//! Compacting is building from the live points in the order of their ids: the same bytes, whatever
//! segments they were in.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use ringpool_storage::PageSize;

use super::*;
use crate::step::Side;
use crate::{
    Attached, BuildError, Columns, CompactError, Compaction, Field, FieldType, GivenIds, IdSource,
    Manifest, Metric, Order, Phase, Value, build_with, compact,
};

/// Points with their ids.
#[derive(Clone)]
struct Given {
    dim: usize,
    element: Element,
    rows: Vec<(u64, Vec<f32>)>,
}

impl Given {
    /// So many, with ids that look random.
    fn new(rows: usize, dim: usize, element: Element, seed: u64) -> Self {
        let values = clustered(rows, dim, 5, false, seed);
        let row =
            |(row, values): (usize, &[f32])| (mix(seed << 32 | row as u64) / 4, values.to_vec());
        Self { dim, element, rows: values.chunks(dim).enumerate().map(row).collect() }
    }

    fn build(&self, out: &Path, options: &BuildOptions) {
        let ids: Vec<u64> = self.rows.iter().map(|(id, _)| *id).collect();
        let values: Vec<f32> = self.rows.iter().flat_map(|(_, row)| row).copied().collect();
        let vectors = as_element(self.dim, &values, self.element);
        build_with(&vectors, &GivenIds::Each(&ids).into(), out, options, &NoProgress).unwrap();
    }

    fn without(&self, dead: &[u64]) -> Self {
        let live = self.rows.iter().filter(|(id, _)| !dead.contains(id)).cloned();
        Self { rows: live.collect(), ..self.clone() }
    }
}

/// In order of their ids.
fn joined(parts: &[Given]) -> Given {
    let mut rows: Vec<_> = parts.iter().flat_map(|part| part.rows.clone()).collect();
    rows.sort_by_key(|(id, _)| *id);
    Given { rows, ..parts[0].clone() }
}

fn bytes_of(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> =
        names.map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect();
    files.sort();
    files
}

fn quick() -> BuildOptions {
    BuildOptions { m: 4, ef_construction: 20, ..Default::default() }
}

fn all(parent: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| parent.join(name)).collect()
}

fn paths(dirs: &[PathBuf]) -> Vec<&Path> {
    dirs.iter().map(PathBuf::as_path).collect()
}

/// Of packed and unpacked sources, with and without deleted points, of any element, with records
/// that are longer than a page, and with what is inlined.
#[test]
fn compacting_is_building_from_the_live_points() {
    let inlined = BuildOptions {
        inlined: Some(Quantizer::Sq8),
        page_size: PageSize::new(512).unwrap(),
        ..quick()
    };
    let given = BuildOptions { order: Order::Given, metric: Metric::Cosine, ..quick() };
    for (dim, element, options) in [
        (5, Element::F32, quick()),
        (5, Element::U8, given.clone()),
        (300, Element::F32, BuildOptions { page_size: PageSize::new(512).unwrap(), ..given }),
        (5, Element::F16, inlined.clone()),
        (130, Element::Bf16, inlined),
        (7, Element::I8, BuildOptions { quantizers: vec![Quantizer::Sq4], ..quick() }),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let dirs = all(parent.path(), &["a", "b", "c"]);
        let sizes = [150, 1, 90];
        let mut parts: Vec<Given> =
            (0..3).map(|i| Given::new(sizes[i], dim, element, 80 + i as u64)).collect();
        for (part, dir) in parts.iter().zip(&dirs) {
            part.build(dir, &options);
        }
        for (at, every) in [(0, 3), (2, 1)] {
            let dead: Vec<u64> = parts[at].rows.iter().map(|(id, _)| *id).step_by(every).collect();
            crate::delete(&dirs[at], &mut in_memory, &dead).unwrap();
            parts[at] = parts[at].without(&dead);
        }
        let before: Vec<_> = dirs.iter().map(|dir| bytes_of(dir)).collect();
        let [out, expected] = ["out", "expected"].map(|name| parent.path().join(name));
        let report = compact(&paths(&dirs), &mut in_memory, &out, None, &NoProgress).unwrap();
        assert_eq!((report.points_before, report.deleted), (241, 50 + 90));
        joined(&parts).build(&expected, &options);
        assert!(bytes_of(&out) == bytes_of(&expected), "{dim} {element}");
        let after: Vec<_> = dirs.iter().map(|dir| bytes_of(dir)).collect();
        assert!(before == after, "the sources stay as they are");

        let segment = open(&out).unwrap();
        let live = joined(&parts);
        assert_eq!(segment.live_points(), live.rows.len());
        assert!(live.rows.iter().all(|(id, _)| segment.has_id(*id)));
    }
}

/// Ids outlive any number of compactions, also into other options.
#[test]
fn ids_are_stable() {
    let parent = tempfile::tempdir().unwrap();
    let dirs = all(parent.path(), &["a", "b"]);
    let parts = [Given::new(100, 4, Element::F32, 1), Given::new(70, 4, Element::F32, 2)];
    for (part, dir) in parts.iter().zip(&dirs) {
        part.build(dir, &quick());
    }
    let queries = as_element(4, &clustered(9, 4, 5, false, 3), Element::F32);
    let found = |dir: &Path, k| {
        let segment = open_resident(dir).unwrap();
        segment.exact_search(&queries, k, &mut |_, _| ControlFlow::Continue(())).unwrap()
    };
    let mut expected = found(&dirs[0], 170);
    for (hits, more) in expected.iter_mut().zip(found(&dirs[1], 170)) {
        hits.extend(more);
        hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
    }
    let once = parent.path().join("once");
    compact(&paths(&dirs), &mut in_memory, &once, None, &NoProgress).unwrap();
    assert_eq!(found(&once, 170), expected);
    let twice = parent.path().join("twice");
    let options = BuildOptions { order: Order::Given, seed: 9, quantizers: vec![], ..quick() };
    compact(&[&once], &mut in_memory, &twice, Some(&options), &NoProgress).unwrap();
    assert_eq!(found(&twice, 170), expected);
    assert_eq!(Manifest::read(&twice).unwrap().order, Order::Given);
}

/// Fields go with their points, whatever the order of fields and of points in the sources.
#[test]
fn columns_are_carried_over() {
    let field = |field_type: FieldType| Field::new(field_type.to_string(), field_type);
    let fields: Vec<Field> = FieldType::ALL.map(field).to_vec();
    let value = |field_type, id: u64| match (field_type, id % 7) {
        (FieldType::I64, _) => Value::I64(id as i64 % 1000 - 300),
        (FieldType::F64, _) => Value::F64(id as f64 / 3.0),
        (FieldType::Bool, n) => Value::Bool(n % 2 == 1),
        (FieldType::Keyword, n) => Value::Keyword(format!("word {n}")),
        (FieldType::Text, n) => Value::Text("text ".repeat(n as usize)),
        (FieldType::Timestamp, _) => Value::Timestamp(id as i64 % 1_000_000),
    };
    let columns_of = |fields: &[Field], given: &Given| {
        let mut columns = Columns::new(fields.to_vec()).unwrap();
        for (id, _) in &given.rows {
            let row: Vec<Value> = fields
                .iter()
                .map(|field| match field.nullable && id % 3 == 0 {
                    true => Value::Null,
                    false => value(field.field_type, *id),
                })
                .collect();
            columns.push_row(&row).unwrap();
        }
        columns
    };
    let parent = tempfile::tempdir().unwrap();
    let dirs = all(parent.path(), &["a", "b", "out", "expected", "unlike", "bare"]);
    let build = |given: &Given, fields: &[Field], dir: &Path| {
        let ids: Vec<u64> = given.rows.iter().map(|(id, _)| *id).collect();
        let values: Vec<f32> = given.rows.iter().flat_map(|(_, row)| row).copied().collect();
        let (vectors, columns) = (as_element(4, &values, given.element), columns_of(fields, given));
        let attached = Attached { ids: GivenIds::Each(&ids), columns: Some(&columns) };
        build_with(&vectors, &attached, dir, &quick(), &NoProgress).unwrap();
    };
    let parts = [Given::new(900, 4, Element::U8, 1), Given::new(40, 4, Element::U8, 2)];
    build(&parts[0], &fields, &dirs[0]);
    let mut others = fields.clone();
    others.reverse();
    build(&parts[1], &others, &dirs[1]);
    let dead: Vec<u64> = parts[0].rows.iter().map(|(id, _)| *id).step_by(3).collect();
    crate::delete(&dirs[0], &mut in_memory, &dead).unwrap();
    compact(&paths(&dirs[..2]), &mut in_memory, &dirs[2], None, &NoProgress).unwrap();
    let live = joined(&[parts[0].without(&dead), parts[1].clone()]);
    build(&live, &fields, &dirs[3]);
    assert!(bytes_of(&dirs[2]) == bytes_of(&dirs[3]));

    // Points without a value, in one of the sources alone.
    let nullable: Vec<Field> = fields.iter().cloned().map(Field::or_null).collect();
    fs::remove_dir_all(&dirs[1]).unwrap();
    fs::remove_dir_all(&dirs[2]).unwrap();
    build(&parts[1], &nullable, &dirs[1]);
    compact(&paths(&dirs[..2]), &mut in_memory, &dirs[2], None, &NoProgress).unwrap();
    let segment = open(&dirs[2]).unwrap();
    let all: Vec<usize> = (0..6).collect();
    for (id, _) in &live.rows {
        let is_null = id % 3 == 0 && parts[1].rows.iter().any(|(other, _)| other == id);
        let expected = FieldType::ALL.map(|field_type| match is_null {
            true => Value::Null,
            false => value(field_type, *id),
        });
        let place = segment.place_of(*id).unwrap();
        assert_eq!(segment.values(&[place], &all).unwrap(), [expected]);
    }

    let mut unlike = fields.clone();
    unlike[0] = Field::new("i64", FieldType::F64);
    build(&Given::new(5, 4, Element::U8, 3), &unlike, &dirs[4]);
    build(&Given::new(5, 4, Element::U8, 4), &fields[1..], &dirs[5]);
    for (pair, part) in
        [([0, 4], "f64 in \"i64\""), ([0, 5], "no field \"i64\""), ([5, 0], "has a field \"i64\"")]
    {
        let error = Compaction::new(&pair.map(|at| &*dirs[at]), &mut in_memory).err().unwrap();
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Ids that follow each other need not be kept.
#[test]
fn segments_of_rows_that_follow_each_other_are_rows_again() {
    let parent = tempfile::tempdir().unwrap();
    let dirs = all(parent.path(), &["a", "b"]);
    let base = as_element(4, &clustered(50, 4, 5, false, 3), Element::U8);
    for (dir, first_id) in dirs.iter().zip([150, 100]) {
        build_with(&base, &GivenIds::From(first_id).into(), dir, &quick(), &NoProgress).unwrap();
    }
    let out = parent.path().join("out");
    compact(&paths(&dirs), &mut in_memory, &out, None, &NoProgress).unwrap();
    let manifest = Manifest::read(&out).unwrap();
    assert_eq!((manifest.ids, manifest.points), (IdSource::Rows { first_id: 100 }, 100));
}

#[test]
fn what_cannot_be_compacted() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let dir = |name: &str, given: &Given, options: &BuildOptions| {
        let dir = parent.path().join(name);
        given.build(&dir, options);
        dir
    };
    let base = Given::new(30, 4, Element::F32, 1);
    let first = dir("first", &base, &quick());
    let cosine = BuildOptions { metric: Metric::Cosine, ..quick() };
    let metric = dir("metric", &Given::new(30, 4, Element::F32, 2), &cosine);
    let element = dir("element", &Given::new(30, 4, Element::U8, 2), &quick());
    let dim = dir("dim", &Given::new(30, 5, Element::F32, 2), &quick());
    let refused = |dirs: &[&Path]| {
        let error = compact(dirs, &mut in_memory, &out, None, &NoProgress).unwrap_err();
        assert!(!out.exists());
        error
    };
    for (other, parts) in
        [(&metric, ["cosine", "l2"]), (&element, ["u8", "f32"]), (&dim, ["5", "4"])]
    {
        let error = refused(&[&first, other]);
        assert!(matches!(&error, CompactError::Unlike { dir, .. } if dir == other), "{error}");
        let error = error.to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let id = base.rows[7].0;
    let mut twin = Given::new(30, 4, Element::F32, 2);
    twin.rows[20].0 = id;
    let twin = dir("twin", &twin, &quick());
    let error = refused(&[&first, &twin]);
    let named = matches!(&error, CompactError::DuplicateId { id: found, dirs }
        if *found == id && dirs.contains(&first) && dirs.contains(&twin));
    assert!(named, "{error}");
    // Once it is deleted from one there is one left.
    crate::delete(&first, &mut in_memory, &[id]).unwrap();
    assert_eq!(Compaction::new(&[&first, &twin], &mut in_memory).unwrap().points(), 59);
    let all: Vec<u64> = base.rows.iter().map(|(id, _)| *id).collect();
    crate::delete(&first, &mut in_memory, &all).unwrap();
    assert!(matches!(refused(&[&first]), CompactError::Nothing));
    assert!(matches!(refused(&[]), CompactError::Nothing));
    assert!(matches!(refused(&[&out]), CompactError::Segment(_)));
}

#[test]
fn refused_or_cancelled_it_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let dirs = all(parent.path(), &["a", "b"]);
    for (dir, seed) in dirs.iter().zip([1, 2]) {
        Given::new(900, 4, Element::F32, seed).build(dir, &quick());
    }
    let entries = || fs::read_dir(parent.path()).unwrap().count();
    let (out, before) = (parent.path().join("out"), entries());
    let compaction = Compaction::new(&paths(&dirs), &mut in_memory).unwrap();
    for phase in [Phase::Read, Phase::Codes, Phase::Graph, Phase::Packing, Phase::Write] {
        let cancel = Cancel { phase, after: AtomicU64::new(1) };
        let refused = compaction.build(&mut in_memory, &out, &quick(), &cancel);
        let cancelled = matches!(refused, Err(CompactError::Build(BuildError::Cancelled)));
        assert!(cancelled, "{phase}: {refused:?}");
        assert_eq!(entries(), before, "{phase}");
    }
    let mut refused = 0_u32;
    loop {
        let left = Cell::new(refused);
        let gate = |_: &'static str, side: Side| match side {
            Side::After => Ok(()),
            Side::Before if left.replace(left.get().wrapping_sub(1)) == 0 => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        };
        let open = &mut in_memory;
        match compaction.build_gated(open, &out, &quick(), &NoProgress, &gate) {
            Ok(_) => break,
            Err(CompactError::Build(BuildError::DiskFull { .. })) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(entries(), before, "after refusal {refused}");
        refused += 1;
    }
    assert!(refused > 30 && entries() == before + 1);
    // A page that does not match its checksum.
    fs::remove_dir_all(&out).unwrap();
    let pages = dirs[1].join("vectors.pages");
    let mut bytes = fs::read(&pages).unwrap();
    bytes[100] ^= 1;
    fs::write(&pages, bytes).unwrap();
    let refused = compaction.build(&mut in_memory, &out, &quick(), &NoProgress);
    assert!(matches!(refused, Err(CompactError::Segment(_))), "{refused:?}");
    assert_eq!(entries(), before);
}

#[test]
fn sources_are_removed_unless_points_were_deleted_meanwhile() {
    let parent = tempfile::tempdir().unwrap();
    let dirs = all(parent.path(), &["a", "b"]);
    let parts = [1, 2].map(|seed| Given::new(30, 4, Element::F32, seed));
    for (part, dir) in parts.iter().zip(&dirs) {
        part.build(dir, &quick());
    }
    crate::delete(&dirs[0], &mut in_memory, &[parts[0].rows[0].0]).unwrap();
    let look = || Compaction::new(&paths(&dirs), &mut in_memory).unwrap();
    let compaction = look();
    crate::delete(&dirs[1], &mut in_memory, &[parts[1].rows[0].0]).unwrap();
    let before: Vec<_> = dirs.iter().map(|dir| bytes_of(dir)).collect();
    let refused = compaction.remove_sources().unwrap_err();
    assert!(matches!(refused, CompactError::DeletedMeanwhile { ref dir } if *dir == dirs[1]));
    assert!(before == dirs.iter().map(|dir| bytes_of(dir)).collect::<Vec<_>>());
    fs::write(dirs[1].join("notes.txt"), "mine").unwrap();
    look().remove_sources().unwrap();
    assert!(!dirs[0].exists());
    let left: Vec<_> = bytes_of(&dirs[1]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["notes.txt"]);
}
