//! The fields of the live points of several segments.
//!
//! They are read where they lie, source after source and place after place, so that each page is
//! read once; and put into the order of the new rows field by field, so that beside all of them no
//! more than one field is in memory twice.

use super::Source;
use crate::columns::{OpenColumn, read_cells};
use crate::points::OpenSource;
use crate::{
    Column, Columns, CompactError, ComponentKind, Field, FieldType, Patience, Placed, SearchError,
    SegmentError, Value,
};

/// Values that are read at once.
const VALUES_AT_ONCE: usize = 1 << 14;

/// The fields of the first of these, nullable where those of any are; passes where all have the
/// same, in any order.
pub(super) fn fields_of(sources: &[Source]) -> Result<Vec<Field>, CompactError> {
    let Some(first) = sources.first() else { return Ok(Vec::new()) };
    let mut fields: Vec<Field> = first.points.manifest.columns.iter().map(Column::field).collect();
    for source in sources {
        let columns = &source.points.manifest.columns;
        let unlike = |reason: String| CompactError::Unlike { dir: source.dir.clone(), reason };
        for field in &mut fields {
            let own = columns.iter().find(|column| column.name == field.name);
            let name = &field.name;
            let own = own.ok_or_else(|| unlike(format!("has no field {name:?}, as the first")))?;
            if own.field_type != field.field_type {
                let (found, expected) = (own.field_type, field.field_type);
                return Err(unlike(format!("has {found} in {name:?}, and the first {expected}")));
            }
            field.nullable |= own.nullable;
        }
        let is_new = |column: &&Column| fields.iter().all(|field| field.name != column.name);
        if let Some(column) = columns.iter().find(is_new) {
            let name = &column.name;
            return Err(unlike(format!("has a field {name:?}, and the first has none")));
        }
    }
    Ok(fields)
}

/// What all of them take until they are written, nearly, from what manifests tell.
pub(super) fn memory_bytes(sources: &[Source]) -> u64 {
    /// A word in a table, beside its bytes.
    const WORD_BYTES: u64 = 96;
    /// A value that is sorted for its index, and as it is written.
    const SORTED_BYTES: u64 = 40;
    let (mut all, mut points, mut largest) = (0, 0, 0);
    for source in sources {
        let live = source.live() as u64;
        points += live;
        for column in &source.points.manifest.columns {
            let value = match column.field_type {
                FieldType::Bool => 1,
                FieldType::Keyword => 4,
                _ => 8,
            };
            let words = match column.field_type {
                FieldType::Keyword => WORD_BYTES * column.distinct.unwrap_or(0) as u64,
                _ => 0,
            };
            // Arrays that grow take up to twice what is in them.
            let bytes = 2 * (live * (value + 1) + column.heap_bytes) + words;
            all += bytes;
            largest = bytes.max(largest);
        }
    }
    let sorted = if all > 0 { points * SORTED_BYTES } else { 0 };
    all + largest + sorted
}

/// The pages of the columns of a source.
pub(super) fn pages(source: &Source) -> u64 {
    let components = source.points.manifest.components.iter();
    let columns = components.filter(|component| matches!(component.kind, ComponentKind::Column(_)));
    columns.map(|component| component.pages).sum()
}

/// Reads the fields of the live points, in the order of their new rows; `heard` is told how many
/// pages are done.
pub(super) fn read(
    sources: &[Source],
    fields: &[Field],
    open: &mut OpenSource<'_>,
    heard: &mut dyn FnMut(u64) -> Result<(), CompactError>,
) -> Result<Columns, CompactError> {
    let refused = |error| CompactError::Build(crate::BuildError::Columns(error));
    let mut columns = Columns::new(fields.to_vec()).map_err(refused)?;
    let live: usize = sources.iter().map(Source::live).sum();
    // For each new row the number of its point in the order in which points are read.
    let (mut order, mut count, mut done) = (vec![0; live], 0, 0);
    for source in sources {
        let opened = source.open_columns(fields, open)?;
        let points = source.points.manifest.points;
        let places: Vec<u32> =
            (0..points as u32).filter(|&place| !source.dead.contains(place)).collect();
        for stretch in places.chunks((VALUES_AT_ONCE / fields.len().max(1)).max(1)) {
            heard(done + pages(source) * u64::from(stretch[0]) / points as u64)?;
            let cells = |&place: &u32| opened.iter().map(move |column| (column, place));
            let cells: Vec<_> = stretch.iter().flat_map(cells).collect();
            let values: Vec<Value> = read_cells(&cells, &Patience::default()).map_err(in_source)?;
            for (row, &place) in values.chunks(fields.len()).zip(stretch) {
                columns.push_row(row).map_err(refused)?;
                order[source.row(place)] = count;
                count += 1;
            }
        }
        done += pages(source);
    }
    Ok(columns.in_order(&order))
}

impl Source {
    /// The columns of these fields, to be read by page.
    fn open_columns(
        &self,
        fields: &[Field],
        open: &mut OpenSource<'_>,
    ) -> Result<Vec<OpenColumn>, SegmentError> {
        let manifest = &self.points.manifest;
        let mut opened = Vec::with_capacity(fields.len());
        for field in fields {
            let mut numbered = (0..).zip(&manifest.columns);
            // Both are there: the fields are those of all sources.
            let Some((number, column)) = numbered.find(|(_, column)| column.name == field.name)
            else {
                continue;
            };
            let kind = ComponentKind::Column(number);
            let Some(file) = self.points.files.iter().find(|file| file.kind == kind) else {
                continue;
            };
            let mut one = OpenColumn::closed(column);
            let (placed, patience) = (Placed::Paged(open(file)?), Patience::default());
            one.take_values(file, placed, manifest.sections(kind), patience)?;
            opened.push(one);
        }
        Ok(opened)
    }
}

fn in_source(error: SearchError) -> CompactError {
    match error {
        SearchError::Pages(error) => CompactError::Segment(error.into()),
        SearchError::Component { path, reason } => {
            CompactError::Segment(SegmentError::Component { path, reason })
        }
        other => CompactError::Fields(other),
    }
}
