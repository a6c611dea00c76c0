//! Fields of points through every backend: the values that were given, whatever is in memory.

use ringpool::{
    Attached, Backend, BuildOptions, Columns, Field, FieldType, Index, NoProgress, OpenOptions,
    SearchError, Value, Vectors, build_with, values_of,
};

const POINTS: usize = 3000;

fn row(seed: usize, number: usize) -> Vec<Value> {
    let mixed = (number * 7919 + seed * 104_729) % 10_007;
    vec![
        Value::I64(mixed as i64 - 5000),
        if number % 9 == 4 { Value::Null } else { Value::F64(mixed as f64 / 3.0) },
        Value::Keyword(format!("word {}", mixed % 2500)),
        Value::Text("text ".repeat(mixed % 300)),
        Value::Bool(mixed.is_multiple_of(2)),
    ]
}

/// A segment whose fields take a few hundred pages, most of them texts.
fn segment(dir: &std::path::Path, seed: usize) {
    let mut columns = Columns::new(vec![
        Field::new("number", FieldType::I64),
        Field::new("price", FieldType::F64).or_null(),
        Field::new("word", FieldType::Keyword),
        Field::new("about", FieldType::Text),
        Field::new(format!("own-{seed}"), FieldType::Bool),
    ])
    .unwrap();
    (0..POINTS).for_each(|number| columns.push_row(&row(seed, number)).unwrap());
    let values = (0..POINTS).flat_map(|i| [(i as f32).cos(), (i as f32).sin(), i as f32 / 100.0]);
    let vectors = Vectors::from_f32(3, values.collect()).unwrap();
    let options = BuildOptions { m: 4, ef_construction: 20, ..BuildOptions::default() };
    let attached = Attached { columns: Some(&columns), ..Attached::default() };
    build_with(&vectors, &attached, dir, &options, &NoProgress).unwrap();
}

#[test]
fn values_are_those_that_were_given_through_every_backend() {
    let parent = tempfile::tempdir().unwrap();
    let dirs = [0, 1].map(|seed| {
        let dir = parent.path().join(seed.to_string());
        segment(&dir, seed);
        dir
    });
    for backend in [Backend::Pool, Backend::Mmap, Backend::Direct, Backend::Memory] {
        // A pool for few of the pages.
        let memory = Some("512KiB".parse().unwrap());
        let options = OpenOptions { backend, memory, ..OpenOptions::default() };
        let opened = dirs.each_ref().map(|dir| Index::open(dir, &options).unwrap());
        let segments = opened.each_ref().map(|index| index.segment());
        let names = ["about", "word", "number", "price", "own-1", "nowhere"];
        for first in (0..POINTS as u32).step_by(37) {
            let places = (first..first + 20).filter(|&place| (place as usize) < POINTS);
            let points: Vec<_> = places.map(|place| (place as usize % 2, place)).collect();
            let asked: Vec<_> =
                points.iter().map(|&(seed, place)| (&*segments[seed], place)).collect();
            let found = values_of(&asked, &names).unwrap();
            for (values, &(seed, place)) in found.iter().zip(&points) {
                let id = segments[seed].id_of(place).unwrap();
                let mut row = row(seed, id as usize);
                let own = row.pop().filter(|_| seed == 1).unwrap_or_default();
                let [number, price, word, about] = row.try_into().unwrap();
                assert_eq!(
                    values[..],
                    [about, word, number, price, own, Value::Null],
                    "{backend:?}"
                );
            }
        }
        let all: Vec<u32> = (0..POINTS as u32).collect();
        let values = segments[0].values(&all, &[3, 0]).unwrap();
        for (values, &place) in values.iter().zip(&all) {
            let row = row(0, segments[0].id_of(place).unwrap() as usize);
            assert_eq!(values[..], [row[3].clone(), row[0].clone()]);
        }
    }
}

/// A page that is not as it was written is an error that names its file, through every backend.
#[test]
fn a_damaged_page_of_a_column_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("segment");
    segment(&dir, 0);
    let path = dir.join("column-3.pages");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let all: Vec<u32> = (0..POINTS as u32).collect();
    for backend in [Backend::Pool, Backend::Mmap, Backend::Direct] {
        let options = OpenOptions { backend, ..OpenOptions::default() };
        let index = Index::open(&dir, &options).unwrap();
        let segment = index.segment();
        for fields in [&[3][..], &[3, 0, 1]] {
            let error = segment.values(&all, fields).unwrap_err();
            assert!(matches!(error, SearchError::Pages(_)), "{error}");
            assert!(error.to_string().contains("column-3"), "{error}");
        }
        assert_eq!(segment.values(&all, &[0, 1, 2]).unwrap().len(), POINTS);
    }
    let options = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
    assert!(Index::open(&dir, &options).is_err());
}
