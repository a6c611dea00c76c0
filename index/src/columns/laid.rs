//! Columns laid out for their pages: from rows as they were given to sections in the order of
//! places.

use std::io;

use roaring::RoaringBitmap;

use super::cells::{Cell, Cells};
use super::key;
use super::stored::IndexKind;
use super::{Column, ColumnIndex, Field, FieldType};

/// A column that is about to be written.
pub(crate) struct Laid<'a> {
    /// What the manifest says of it.
    pub(crate) column: Column,
    cells: &'a Cells,
    rows: Rows<'a>,
    /// The words of keywords in their order,
    words: Vec<&'a str>,
    /// and for each word, by its number as it came, its place among them.
    codes: Vec<u32>,
    /// The different values of whole numbers that have an inverted index, in order.
    keys: Vec<i64>,
    /// The bitmaps of an inverted index: where each begins, and at the end all of them end.
    bitmaps: Vec<usize>,
    bitmaps_heap: Vec<u8>,
}

/// The row of the point at each place.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) points: usize,
    /// Where places are other than rows.
    pub(crate) order: Option<&'a [u32]>,
}

impl Rows<'_> {
    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.points).map(|place| self.order.map_or(place, |order| order[place] as usize))
    }
}

impl<'a> Laid<'a> {
    /// Sorts words, counts, and makes an inverted index where one is due.
    pub(crate) fn lay(field: &Field, cells: &'a Cells, rows: Rows<'a>) -> io::Result<Self> {
        let sorted = cells.sorted_words();
        let mut codes = vec![0; sorted.len()];
        for (code, &(_, number)) in (0..).zip(&sorted) {
            codes[number as usize] = code;
        }
        let words: Vec<&str> = sorted.into_iter().map(|(word, _)| word).collect();
        let texts = |cell| match cell {
            Cell::Text(text) => text.len() as u64,
            _ => 0,
        };
        let heap_bytes = match field.field_type {
            FieldType::Keyword => words.iter().map(|word| word.len() as u64).sum(),
            _ => rows.iter().filter_map(|row| cells.get(row)).map(texts).sum(),
        };
        let nulls = rows.iter().filter(|&row| cells.get(row).is_none()).count();
        let column = Column {
            name: field.name.clone(),
            field_type: field.field_type,
            nullable: field.nullable,
            nulls,
            distinct: None,
            heap_bytes,
            index: None,
        };
        let (keys, bitmaps, bitmaps_heap) = (Vec::new(), Vec::new(), Vec::new());
        let mut laid = Self { column, cells, rows, words, codes, keys, bitmaps, bitmaps_heap };
        laid.count();
        if field.indexed {
            laid.index()?;
        }
        Ok(laid)
    }

    /// Counts the different values.
    fn count(&mut self) {
        self.column.distinct = match self.column.field_type {
            FieldType::Text => None,
            FieldType::Keyword => Some(self.words.len()),
            _ => {
                let mut keys: Vec<u64> = self.cells().map(|cell| self.key(cell)).collect();
                keys.sort_unstable();
                keys.dedup();
                Some(keys.len())
            }
        };
    }

    fn index(&mut self) -> io::Result<()> {
        let kind = IndexKind::of(self.column.field_type, self.column.distinct);
        self.column.index = match kind {
            None => None,
            Some(IndexKind::Range) => Some(ColumnIndex::Range),
            Some(IndexKind::Inverted) => {
                if self.column.field_type == FieldType::I64 {
                    let numbers = self.cells().filter_map(|cell| match cell {
                        Cell::I64(value) => Some(value),
                        _ => None,
                    });
                    self.keys = numbers.collect();
                    self.keys.sort_unstable();
                    self.keys.dedup();
                }
                self.invert()?;
                Some(ColumnIndex::Inverted { heap_bytes: self.bitmaps_heap.len() as u64 })
            }
        };
        Ok(())
    }

    fn invert(&mut self) -> io::Result<()> {
        let mut places = vec![RoaringBitmap::new(); self.column.keys()];
        for (place, row) in (0..).zip(self.rows.iter()) {
            if let Some(cell) = self.cells.get(row) {
                places[self.number(cell)].insert(place);
            }
        }
        for bitmap in &mut places {
            bitmap.optimize();
            self.bitmaps.push(self.bitmaps_heap.len());
            bitmap.serialize_into(&mut self.bitmaps_heap)?;
        }
        self.bitmaps.push(self.bitmaps_heap.len());
        Ok(())
    }

    /// What goes into each section of the column.
    pub(crate) fn sections(&self) -> Vec<Vec<u8>> {
        let rows = || self.rows.iter().map(|row| self.cells.get(row));
        let mut sections = Vec::new();
        if self.column.nullable {
            sections.push(bits(rows().map(|cell| cell.is_some())));
        }
        match self.column.field_type {
            FieldType::Bool => {
                sections.push(bits(rows().map(|cell| cell == Some(Cell::Bool(true)))))
            }
            FieldType::I64 | FieldType::F64 | FieldType::Timestamp => {
                let word = |cell: Option<Cell<'_>>| cell.map_or([0; 8], |cell| bytes_of(cell));
                sections.push(rows().flat_map(word).collect());
            }
            FieldType::Keyword => {
                let code = |cell| match cell {
                    Some(Cell::Word(number)) => self.codes[number as usize],
                    _ => 0,
                };
                sections.push(rows().flat_map(|cell| code(cell).to_le_bytes()).collect());
                sections.push(extents(self.words.iter().map(|word| word.len())));
                sections.push(self.words.concat().into_bytes());
            }
            FieldType::Text => {
                let text = |cell| match cell {
                    Some(Cell::Text(text)) => text,
                    _ => "",
                };
                sections.push(extents(rows().map(|cell| text(cell).len())));
                sections.push(rows().flat_map(|cell| text(cell).bytes()).collect());
            }
        }
        sections
    }

    /// What goes into each section of its index.
    pub(crate) fn index_sections(&self) -> Vec<Vec<u8>> {
        match self.column.index {
            None => Vec::new(),
            Some(ColumnIndex::Inverted { .. }) => {
                let keys = self.keys.iter().flat_map(|key| key.to_le_bytes()).collect();
                let own = (self.column.field_type == FieldType::I64).then_some(keys);
                let lengths = self.bitmaps.windows(2).map(|pair| pair[1] - pair[0]);
                let bitmaps = [extents(lengths), self.bitmaps_heap.clone()];
                own.into_iter().chain(bitmaps).collect()
            }
            Some(ColumnIndex::Range) => {
                let rows = (0_u32..).zip(self.rows.iter());
                let cells = rows.filter_map(|(place, row)| Some((self.cells.get(row)?, place)));
                let mut pairs: Vec<(u64, u32, [u8; 8])> =
                    cells.map(|(cell, place)| (self.key(cell), place, bytes_of(cell))).collect();
                pairs.sort_unstable();
                let values = pairs.iter().flat_map(|&(.., value)| value).collect();
                let places = pairs.iter().flat_map(|&(_, place, _)| place.to_le_bytes()).collect();
                vec![values, places]
            }
        }
    }

    /// The values that there are.
    fn cells(&self) -> impl Iterator<Item = Cell<'a>> + '_ {
        self.rows.iter().filter_map(|row| self.cells.get(row))
    }

    fn key(&self, cell: Cell<'_>) -> u64 {
        match cell {
            Cell::I64(value) => key::of_i64(value),
            Cell::F64(value) => key::of_f64(value),
            Cell::Bool(value) => u64::from(value),
            Cell::Word(number) => self.codes[number as usize].into(),
            Cell::Text(_) => 0,
        }
    }

    /// Which bitmap of an inverted index a value's points are in.
    fn number(&self, cell: Cell<'_>) -> usize {
        match cell {
            Cell::I64(value) => self.keys.partition_point(|&key| key < value),
            other => self.key(other) as usize,
        }
    }
}

/// A value of 8 bytes as it lies on pages.
fn bytes_of(cell: Cell<'_>) -> [u8; 8] {
    match cell {
        Cell::I64(value) => value.to_le_bytes(),
        Cell::F64(value) => value.to_le_bytes(),
        Cell::Bool(_) | Cell::Word(_) | Cell::Text(_) => [0; 8],
    }
}

/// Bits put into bytes, the first in the lowest.
fn bits(set: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, is_set) in set.enumerate() {
        if i % 8 == 0 {
            bytes.push(0);
        }
        bytes[i / 8] |= u8::from(is_set) << (i % 8);
    }
    bytes
}

/// Where texts of these lengths are when they are put end to end.
fn extents(lengths: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut start = 0_u64;
    let mut bytes = Vec::new();
    for length in lengths {
        bytes.extend(start.to_le_bytes());
        bytes.extend((length as u32).to_le_bytes());
        start += length as u64;
    }
    bytes
}
