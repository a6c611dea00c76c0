//! Pages of each component, changed under checksums that are right again.

use std::path::Path;

use ringpool::Quantizer;

use super::chosen;
use super::judging::{judge, judge_alike, judge_fields};
use super::segments::{Kind, edited, in_folder, replace, sound};

/// The graph, of either kind of segment.
pub fn graph(input: &[u8]) {
    let Some((kind, edits)) = chosen(input, &[Kind::Plain, Kind::Inlined]) else { return };
    change(kind, "graph", edits, |dir| judge_alike(dir, Quantizer::Sq8));
}

/// Each set of codes.
pub fn codes(input: &[u8]) {
    const CODES: [(Kind, &str, Quantizer); 7] = [
        (Kind::Coded, "codes-sq8", Quantizer::Sq8),
        (Kind::Coded, "codes-sq4", Quantizer::Sq4),
        (Kind::Coded, "codes-pq-3", Quantizer::Pq { bytes: 3 }),
        (Kind::Coded, "codes-rabitq-1", Quantizer::RaBitQ { bits: 1 }),
        (Kind::Coded, "codes-rabitq-2", Quantizer::RaBitQ { bits: 2 }),
        (Kind::Coded, "codes-rabitq-4", Quantizer::RaBitQ { bits: 4 }),
        (Kind::Inlined, "codes-sq8", Quantizer::Sq8),
    ];
    let Some(((kind, component, codes), edits)) = chosen(input, &CODES) else { return };
    change(kind, component, edits, |dir| judge(dir, codes));
}

/// The originals, with neighbours and codes in their records or alone.
pub fn originals(input: &[u8]) {
    let Some((kind, edits)) = chosen(input, &[Kind::Inlined, Kind::Plain]) else { return };
    let codes = if kind == Kind::Inlined { Quantizer::Sq8 } else { Quantizer::None };
    change(kind, "vectors", edits, |dir| judge_alike(dir, codes));
}

/// Ranks, or ids that were given.
pub fn ids(input: &[u8]) {
    let Some((component, edits)) = chosen(input, &["ids", "own-ids"]) else { return };
    change(Kind::Plain, component, edits, |dir| judge_alike(dir, Quantizer::Sq8));
}

/// The column of a field of each type.
pub fn columns(input: &[u8]) {
    let all = ["column-0", "column-1", "column-2", "column-3", "column-4", "column-5"];
    let Some((component, edits)) = chosen(input, &all) else { return };
    change(Kind::Fielded, component, edits, judge_fields);
}

/// The index of a field, inverted or of the range.
pub fn column_indexes(input: &[u8]) {
    let all =
        ["column-0-index", "column-1-index", "column-2-index", "column-3-index", "column-5-index"];
    let Some((component, edits)) = chosen(input, &all) else { return };
    change(Kind::Fielded, component, edits, judge_fields);
}

fn change(kind: Kind, component: &str, edits: &[u8], judge: impl FnOnce(&Path)) {
    let mut files = sound(kind).clone();
    let pages = edited(&files[&format!("{component}.pages")], edits);
    replace(&mut files, component, pages);
    in_folder(&files, judge);
}
