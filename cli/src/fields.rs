//! Fields of points: the flags that give them to a build, and what a segment says of them.

use std::path::PathBuf;

use clap::Args;
use ringpool::columns::{self, ColumnFile, ColumnSpec, IdKey};
use ringpool::{ColumnIndex, ComponentKind, Manifest};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::table;

/// Where the fields of points come from.
#[derive(Args)]
pub struct FieldFlags {
    /// File of fields, a row for each vector: .ndjson or .jsonl, each also with .gz; .parquet and
    /// .arrow where the program was built with the feature arrow
    #[arg(long, value_name = "FILE")]
    pub columns: Option<PathBuf>,

    /// What a field is, whatever it looks like: i64, f64, bool, keyword, text or timestamp, and
    /// whether it is to have an index, as all but texts have. May be given several times
    #[arg(long, value_name = "NAME:TYPE[:index|:noindex]", requires = "columns")]
    pub column: Vec<ColumnSpec>,
}

impl FieldFlags {
    /// The fields for so many vectors, if any were given.
    pub fn read(&self, points: usize, console: &Console) -> Result<Option<ColumnFile>, Failure> {
        let Some(path) = &self.columns else { return Ok(None) };
        let file = columns::read(path, &self.column, points);
        let file = file.map_err(|error| Failure::of(&error))?;
        if file.ids == IdKey::Others {
            console.note(&format!(
                "{}: the key \"id\" is left out; ids of points are given by --ids",
                path.display()
            ));
        }
        Ok(Some(file))
    }
}

/// A field of a segment.
#[derive(Serialize)]
pub struct FieldLine {
    name: String,
    #[serde(rename = "type")]
    field_type: String,
    nullable: bool,
    /// Points without a value.
    nulls: u64,
    /// Different values; none of text, which are not counted.
    distinct: Option<u64>,
    /// `inverted`, `range` or none.
    index: Option<&'static str>,
    /// Of the pages of its column, and of its index.
    bytes: u64,
    index_bytes: u64,
}

/// The fields of a segment.
pub fn lines(manifest: &Manifest) -> Vec<FieldLine> {
    let bytes_of = |kind| {
        let components = manifest.components.iter().filter(|component| component.kind == kind);
        let pages: u64 = components.map(|component| component.pages).sum();
        pages * manifest.page_size.bytes() as u64
    };
    let line = |(number, column): (u16, &ringpool::Column)| FieldLine {
        name: column.name.clone(),
        field_type: column.field_type.to_string(),
        nullable: column.nullable,
        nulls: column.nulls as u64,
        distinct: column.distinct.map(|distinct| distinct as u64),
        index: column.index.map(|index| match index {
            ColumnIndex::Inverted { .. } => "inverted",
            ColumnIndex::Range => "range",
        }),
        bytes: bytes_of(ComponentKind::Column(number)),
        index_bytes: bytes_of(ComponentKind::ColumnIndex(number)),
    };
    (0..).zip(&manifest.columns).map(line).collect()
}

/// The fields as a table; nothing where there are none.
pub fn text(lines: &[FieldLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let row = |line: &FieldLine| {
        vec![
            line.name.clone(),
            line.field_type.clone(),
            if line.nullable { table::count(line.nulls) } else { "-".into() },
            table::or_dash(line.distinct.map(table::count)),
            table::bytes(line.bytes),
            line.index.unwrap_or("none").into(),
            table::bytes(line.index_bytes),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let header = ["field", "type", "nulls", "distinct", "bytes", "index", "bytes of it"];
    format!("\n{}", table::columns(&header, 2..5, &rows))
}
