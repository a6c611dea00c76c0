//! What a manifest says of a column, and the sections of pages that follow from it.
//!
//! A column has, section after section: where its field is nullable a bit a point, set for those
//! that have a value; then for each point its value, in 8 bytes, a bit, the number of its word, or
//! where its text is; then for keywords where each word is; then for keywords and texts a heap of
//! bytes. An index is *inverted*, for each value the points that have it as a bitmap, or of the
//! *range*, all values in order, and then their points.

use serde::{Deserialize, Serialize};

use super::{Field, FieldType, MAX_KEYWORD_BYTES, MAX_TEXT_BYTES};

/// Where a text begins in its heap, in 64 bits, and its length in 32.
pub(crate) const EXTENT_BYTES: usize = 12;
/// Whole numbers of which there are no more different ones have an inverted index, others one of
/// the range.
pub(crate) const MAX_INVERTED_KEYS: usize = 4096;
/// True and false, each with a bitmap.
const BOOL_KEYS: usize = 2;

/// A column of a segment, by its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Column {
    /// The field's name.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether points may be without a value.
    pub nullable: bool,
    /// How many are.
    pub nulls: usize,
    /// How many different values there are. Those of text are not counted.
    pub distinct: Option<usize>,
    /// The bytes of all words, or of all texts.
    pub heap_bytes: u64,
    /// Its index. None is made where no point has a value.
    pub index: Option<ColumnIndex>,
}

/// What an index of a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ColumnIndex {
    /// For each value a bitmap of the points that have it.
    Inverted {
        /// The bytes of all bitmaps.
        heap_bytes: u64,
    },
    /// All values in order, with their points.
    Range,
}

/// Which index the values of a field have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IndexKind {
    Inverted,
    Range,
}

impl IndexKind {
    /// That of so many different values; none where there are none, or where they are texts.
    pub(crate) fn of(field_type: FieldType, distinct: Option<usize>) -> Option<Self> {
        let distinct = distinct.filter(|&distinct| distinct > 0)?;
        match field_type {
            FieldType::Text => None,
            FieldType::Keyword | FieldType::Bool => Some(Self::Inverted),
            FieldType::I64 if distinct <= MAX_INVERTED_KEYS => Some(Self::Inverted),
            FieldType::I64 | FieldType::F64 | FieldType::Timestamp => Some(Self::Range),
        }
    }
}

impl ColumnIndex {
    fn kind(self) -> IndexKind {
        match self {
            Self::Inverted { .. } => IndexKind::Inverted,
            Self::Range => IndexKind::Range,
        }
    }
}

impl Column {
    /// The field that it is the column of.
    pub fn field(&self) -> Field {
        Field {
            name: self.name.clone(),
            field_type: self.field_type,
            nullable: self.nullable,
            indexed: self.index.is_some(),
        }
    }

    /// The lengths of the records of each section of the column, and how many there are.
    pub(crate) fn sections(&self, points: usize) -> Vec<(usize, usize)> {
        let bits = (1, points.div_ceil(8));
        let values = match self.field_type {
            FieldType::Bool => bits,
            _ => (self.record_bytes(), points),
        };
        let heap = (1, self.heap_bytes as usize);
        let texts = match self.field_type {
            FieldType::Keyword => vec![(EXTENT_BYTES, self.words()), heap],
            FieldType::Text => vec![heap],
            _ => Vec::new(),
        };
        let present = self.nullable.then_some(bits);
        present.into_iter().chain([values]).chain(texts).collect()
    }

    /// The same of its index.
    pub(crate) fn index_sections(&self, points: usize) -> Vec<(usize, usize)> {
        match self.index {
            None => Vec::new(),
            Some(ColumnIndex::Range) => {
                let entries = points.saturating_sub(self.nulls);
                vec![(8, entries), (4, entries)]
            }
            Some(ColumnIndex::Inverted { heap_bytes }) => {
                let keys = self.keys();
                let own = (self.field_type == FieldType::I64).then_some((8, keys));
                let bitmaps = [(EXTENT_BYTES, keys), (1, heap_bytes as usize)];
                own.into_iter().chain(bitmaps).collect()
            }
        }
    }

    /// The length of a point's record.
    pub(crate) fn record_bytes(&self) -> usize {
        match self.field_type {
            FieldType::I64 | FieldType::F64 | FieldType::Timestamp => 8,
            FieldType::Bool => 1,
            FieldType::Keyword => 4,
            FieldType::Text => EXTENT_BYTES,
        }
    }

    /// That of a record of its index: where a bitmap is, or a value.
    pub(crate) fn index_record_bytes(&self) -> usize {
        match self.index {
            Some(ColumnIndex::Inverted { .. }) => EXTENT_BYTES,
            _ => 8,
        }
    }

    /// How many words the dictionary of a keyword has.
    pub(crate) fn words(&self) -> usize {
        self.distinct.unwrap_or(0)
    }

    /// How many bitmaps an inverted index has.
    pub(crate) fn keys(&self) -> usize {
        match self.field_type {
            FieldType::Bool => BOOL_KEYS,
            _ => self.distinct.unwrap_or(0),
        }
    }

    /// Whether the numbers can be those of a column of so many points, and agree with each other.
    pub(crate) fn check(&self, points: usize) -> Result<(), String> {
        let wrong = |what: String| Err(format!("the field {:?} has {what}", self.name));
        if self.nulls > points || (self.nulls > 0 && !self.nullable) {
            return wrong(format!("{} points of {points} without a value", self.nulls));
        }
        let values = points - self.nulls;
        let fits = match (self.field_type, self.distinct) {
            (FieldType::Text, distinct) => distinct.is_none(),
            (_, None) => false,
            (FieldType::Bool, Some(distinct)) if distinct > BOOL_KEYS => false,
            (_, Some(distinct)) => distinct <= values && (distinct == 0) == (values == 0),
        };
        if !fits {
            return wrong(format!("{:?} different ones of {values} values", self.distinct));
        }
        let most = match self.field_type {
            FieldType::Keyword => self.words() as u64 * MAX_KEYWORD_BYTES as u64,
            FieldType::Text => values as u64 * MAX_TEXT_BYTES as u64,
            _ => 0,
        };
        if self.heap_bytes > most {
            return wrong(format!(
                "{} bytes of text, at most {most} are possible",
                self.heap_bytes
            ));
        }
        let Some(index) = self.index else { return Ok(()) };
        if Some(index.kind()) != IndexKind::of(self.field_type, self.distinct) {
            return wrong(format!("an index that its values cannot have: {index:?}"));
        }
        let most = self.keys() as u64 * most_bitmap_bytes(points);
        match index {
            ColumnIndex::Inverted { heap_bytes } if heap_bytes > most => {
                wrong(format!("{heap_bytes} bytes of bitmaps, at most {most} are possible"))
            }
            _ => Ok(()),
        }
    }
}

/// The longest that a bitmap of some of `points` points can be: for each 65,536 points a container
/// of 8 KiB and what says where it is, and a few bytes before these.
pub(crate) fn most_bitmap_bytes(points: usize) -> u64 {
    const CONTAINER_BYTES: u64 = 8192 + 16;
    16 + (points as u64).div_ceil(1 << 16) * CONTAINER_BYTES
}
