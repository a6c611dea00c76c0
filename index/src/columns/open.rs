//! A column of an open segment, and its index: each in memory, on pages, or left out.

use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use super::part::Part;
use super::{Column, ColumnIndex, Field, FieldType};
use crate::layout::Records;
use crate::patient_source::PatientSource;
use crate::{ComponentFile, Patience, Placed, SearchError, SegmentError};

/// A dictionary, or where the bitmaps of an index are, is kept in memory also where the rest is
/// read by page, if it is no longer than this: it is wanted by each who reads a value.
const SMALL_BYTES: u64 = 64 << 10;

/// A column of an open segment. Clones share what was opened.
#[derive(Clone)]
pub(crate) struct OpenColumn {
    pub(crate) field: Field,
    pub(crate) column: Column,
    pub(crate) values: Option<Arc<ValueParts>>,
    pub(crate) index: Option<Arc<IndexParts>>,
}

/// The sections of a column.
pub(crate) struct ValueParts {
    /// A bit a point, set where it has a value; none where each has.
    pub(crate) present: Option<Part>,
    /// A record a point, or a bit.
    pub(crate) points: Part,
    /// Where each word of a dictionary is.
    pub(crate) words: Option<Part>,
    /// The bytes of words or texts.
    pub(crate) heap: Option<Part>,
}

/// The sections of an index.
pub(crate) enum IndexParts {
    Inverted {
        /// The values in order, where they are no numbers of words, nor false and true.
        keys: Option<Part>,
        /// Where each bitmap is.
        bitmaps: Part,
        heap: Part,
    },
    Range {
        /// In order.
        values: Part,
        places: Part,
    },
}

/// Makes parts of one file's sections.
struct Sections<'f> {
    file: &'f ComponentFile,
    path: Arc<Path>,
    placed: Placed,
    rest: std::vec::IntoIter<Records>,
    patience: Patience<'f>,
}

impl OpenColumn {
    /// One of which nothing was opened yet.
    pub(crate) fn closed(column: &Column) -> Self {
        Self { field: column.field(), column: column.clone(), values: None, index: None }
    }

    /// Takes the column itself from where it was put, in place of what was opened before.
    pub(crate) fn take_values(
        &mut self,
        file: &ComponentFile,
        placed: Placed,
        sections: Vec<Records>,
        patience: Patience<'_>,
    ) -> Result<(), SegmentError> {
        self.values = None;
        let Some(mut sections) = Sections::of(file, placed, sections, patience)? else {
            return Ok(());
        };
        let present = self.column.nullable.then(|| sections.next()).transpose()?;
        let points = sections.next()?;
        let field_type = self.column.field_type;
        let words = (field_type == FieldType::Keyword).then(|| sections.small()).transpose()?;
        let heap = match field_type {
            FieldType::Keyword => Some(sections.small()?),
            FieldType::Text => Some(sections.next()?),
            _ => None,
        };
        self.values = Some(Arc::new(ValueParts { present, points, words, heap }));
        Ok(())
    }

    /// Takes its index from where it was put, in place of what was opened before.
    pub(crate) fn take_index(
        &mut self,
        file: &ComponentFile,
        placed: Placed,
        sections: Vec<Records>,
        patience: Patience<'_>,
    ) -> Result<(), SegmentError> {
        self.index = None;
        let Some(mut sections) = Sections::of(file, placed, sections, patience)? else {
            return Ok(());
        };
        let index = match self.column.index {
            None => return Ok(()),
            Some(ColumnIndex::Inverted { .. }) => {
                let has_keys = self.column.field_type == FieldType::I64;
                let keys = has_keys.then(|| sections.small()).transpose()?;
                let (bitmaps, heap) = (sections.small()?, sections.next()?);
                IndexParts::Inverted { keys, bitmaps, heap }
            }
            Some(ColumnIndex::Range) => {
                let (values, places) = (sections.next()?, sections.next()?);
                IndexParts::Range { values, places }
            }
        };
        self.index = Some(Arc::new(index));
        Ok(())
    }

    /// Its values, where they were opened.
    pub(crate) fn opened(&self) -> Result<&ValueParts, SearchError> {
        let name = || self.field.name.clone();
        self.values.as_deref().ok_or_else(|| SearchError::FieldNotOpened { name: name() })
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let values = self.values.iter().flat_map(|parts| {
            let others = [&parts.present, &parts.words, &parts.heap].into_iter().flatten();
            others.chain([&parts.points])
        });
        let index: Vec<&Part> = match self.index.as_deref() {
            None => Vec::new(),
            Some(IndexParts::Inverted { keys, bitmaps, heap }) => {
                keys.iter().chain([bitmaps, heap]).collect()
            }
            Some(IndexParts::Range { values, places }) => vec![values, places],
        };
        values.chain(index).map(Part::resident_bytes).sum()
    }
}

impl<'f> Sections<'f> {
    /// None where the file was left out.
    fn of(
        file: &'f ComponentFile,
        placed: Placed,
        sections: Vec<Records>,
        patience: Patience<'f>,
    ) -> Result<Option<Self>, SegmentError> {
        let (path, rest) = (file.path.as_path().into(), sections.into_iter());
        match placed {
            Placed::Left => Ok(None),
            Placed::Inlined(_) => {
                let reason = "fields are inlined nowhere: put them elsewhere";
                Err(SegmentError::Placement { path: file.path.clone(), reason })
            }
            placed => Ok(Some(Self { file, path, placed, rest, patience })),
        }
    }

    /// The next section, where the file is.
    fn next(&mut self) -> Result<Part, SegmentError> {
        self.part(false)
    }

    /// The next section, in memory if it is small.
    fn small(&mut self) -> Result<Part, SegmentError> {
        self.part(true)
    }

    fn part(&mut self, is_kept_small: bool) -> Result<Part, SegmentError> {
        let missing = || SegmentError::Component {
            path: self.file.path.clone(),
            reason: "it has fewer sections than its kind".into(),
        };
        let records = self.rest.next().ok_or_else(missing)?;
        let (path, patience) = (&*self.file.path, self.patience);
        let load = |source: &dyn PageSource| {
            let source = PatientSource { source, path, patience };
            Ok(Part::load(&source, records, &self.path)?)
        };
        match &self.placed {
            Placed::Paged(source) if is_kept_small && records.bytes() <= SMALL_BYTES => {
                load(&**source)
            }
            Placed::Paged(source) => Ok(Part::paged(source.clone(), records, &self.path)),
            Placed::Resident(source) | Placed::Inlined(source) => load(&**source),
            Placed::Left => Err(missing()),
        }
    }
}
