//! Filters asked of whole segments: what is selected is what passes, wherever columns and indexes are,
//! and in whatever order points lie.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::*;
use crate::filter::tests::drawn::{filter, passes, row};
use crate::filter::tests::fields;
use crate::{Attached, Columns, Filter, Order, Patience, SearchError, Value, build_with, field};

const POINTS: usize = 300;
const FILTERS: usize = 400;

/// Whether columns and indexes are in memory.
fn open_at(dir: &Path, in_memory_too: bool) -> Segment {
    let opened = Segment::open(dir, &mut |file| match file.kind {
        ComponentKind::Column(_) | ComponentKind::ColumnIndex(_) if !in_memory_too => {
            Ok(Placed::Paged(in_memory(file)?))
        }
        _ => Ok(Placed::Resident(in_memory(file)?)),
    });
    opened.unwrap()
}

fn built(rows: &[Vec<Value>], order: Order, out: &Path) {
    let mut columns = Columns::new(fields()).unwrap();
    rows.iter().for_each(|row| columns.push_row(row).unwrap());
    let base = as_element(4, &clustered(rows.len(), 4, 5, false, 3), Element::F32);
    let options = BuildOptions { m: 4, ef_construction: 10, order, ..BuildOptions::default() };
    let attached = Attached { columns: Some(&columns), ..Attached::default() };
    build_with(&base, &attached, out, &options, &NoProgress).unwrap();
}

#[test]
fn what_is_selected_is_what_passes_in_every_order_and_place() {
    let mut runner = TestRunner::deterministic();
    let drawn = proptest::collection::vec(row(), POINTS).new_tree(&mut runner).unwrap();
    let rows = drawn.current();
    let dir = tempfile::tempdir().unwrap();
    let segments: Vec<Segment> = [Order::Given, Order::Packed]
        .into_iter()
        .flat_map(|order| {
            let out = dir.path().join(order.to_string());
            built(&rows, order, &out);
            [true, false].map(|in_memory_too| open_at(&out, in_memory_too))
        })
        .collect();
    let mut partial = 0;
    for _ in 0..FILTERS {
        let expression = filter().new_tree(&mut runner).unwrap().current();
        let expected: Vec<u64> = (0..POINTS as u64)
            .filter(|&row| passes(&expression, row, &rows[row as usize]))
            .collect();
        partial += usize::from(!expected.is_empty() && expected.len() < POINTS);
        let filter = Filter::from(expression);
        for segment in &segments {
            let selection = segment.select(&filter, &Patience::default());
            let selection = selection.unwrap_or_else(|error| panic!("{filter}: {error}"));
            let mut ids: Vec<u64> =
                selection.iter().map(|place| segment.id_of(place).unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(ids, expected, "{filter}");
        }
    }
    assert!(partial > FILTERS / 4, "{partial} filters select some points and leave others");
}

#[test]
fn a_segment_without_fields_has_ids() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("segment");
    let base = as_element(4, &clustered(50, 4, 5, false, 3), Element::F32);
    build(&base, &out, &BuildOptions::default(), &NoProgress).unwrap();
    let segment = open(&out).unwrap();
    let chosen = segment.select(&field("id").between(7, 9.5), &Patience::default()).unwrap();
    assert_eq!(chosen.len(), 3);
    // As one that follows another of 40 points.
    for (filter, expected) in [
        (field("id").between(39, 41), 2),
        (field("id").le(39), 0),
        (field("id").is_in([0, 40, 89, 90]), 2),
        (field("id").ge(80), 10),
        (!field("id").ge(80), 40),
    ] {
        let chosen = segment.select_from(&filter, 40, &Patience::default()).unwrap();
        assert_eq!(chosen.len(), expected, "{filter}");
    }
    segment.delete(&[8, 9, 10]).unwrap();
    let chosen = segment.select(&field("id").between(7, 9.5), &Patience::default()).unwrap();
    assert_eq!(chosen.iter().map(|place| segment.id_of(place).unwrap()).collect::<Vec<_>>(), [7]);
    let refused = segment.select(&field("label").eq(3), &Patience::default()).unwrap_err();
    let SearchError::Filter(error) = refused else { panic!("{refused}") };
    assert_eq!((error.position(), error.found()), (0, "label"));
}
