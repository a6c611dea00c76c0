//! What the fuzz targets do with the bytes that they are given.
//!
//! A checksum hides everything that lies behind it: an input that was changed anywhere would be refused
//! by it, and the fuzzer would learn nothing else. So each target here makes the checksums right again
//! before the bytes are read. What it then says of them is the same for all: they are refused with a
//! typed error, or what they hold is possible; nothing panics, and where a component is makes no
//! difference.
//!
//! One file is for each kind of reader; `segments` makes what they change.

mod files;
mod judging;
mod manifests;
mod pages;
mod segments;
mod tombstones;

pub use files::{field_files, filters, hot_set, vector_files};
pub use manifests::manifest;
pub use pages::{codes, column_indexes, columns, graph, ids, originals};
pub use tombstones::tombstones;

/// A target: it takes any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the names of their files and of the folders of their seeds.
pub const TARGETS: [(&str, Target); 12] = [
    ("manifest", manifest),
    ("graph", graph),
    ("codes", codes),
    ("originals", originals),
    ("ids", ids),
    ("columns", columns),
    ("column_indexes", column_indexes),
    ("tombstones", tombstones),
    ("hot_set", hot_set),
    ("vector_files", vector_files),
    ("field_files", field_files),
    ("filters", filters),
];

/// The first byte of an input, by which a target chooses, and the others.
fn chosen<'a, T: Copy>(input: &'a [u8], choices: &[T]) -> Option<(T, &'a [u8])> {
    let (&first, rest) = input.split_first()?;
    Some((choices[usize::from(first) % choices.len()], rest))
}
