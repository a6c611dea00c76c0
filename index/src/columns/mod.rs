//! Scalar fields: what points have beside their vectors, kept on pages like everything else.
//!
//! A field is a component of its segment, its column: the values of all points in the order of
//! places, so that what is near in space is near on disk here, too. An index of a field is another
//! component. Both are read by page, from whatever source they were opened with.
//!
//! ```text
//!   rows ─▶ Columns ─▶ Laid ─▶ pages ─▶ OpenColumn ─▶ values of points
//!                                         │   ▲
//!                                 index ──┘   └── Test ─▶ ranges of keys ─▶ Selection
//! ```

mod cells;
mod dictionary;
mod error;
mod field;
mod given;
mod index;
mod key;
mod laid;
mod matching;
mod open;
mod part;
mod ranges;
mod read;
mod scan;
mod stored;
mod test;
mod timestamp;
mod value;
mod wave;

pub use error::ColumnsError;
pub use field::{Field, FieldType, MAX_FIELD_NAME_BYTES, MAX_FIELDS};
pub use given::{Columns, MAX_KEYWORD_BYTES, MAX_TEXT_BYTES};
pub(crate) use laid::{Laid, Rows};
pub(crate) use open::OpenColumn;
pub(crate) use read::read_cells;
pub use read::{values_of, values_of_within};
pub use stored::{Column, ColumnIndex};
pub(crate) use test::Test;
pub use timestamp::parse_timestamp;
pub use value::Value;
