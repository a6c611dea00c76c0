//! Files of vectors and of ids, as the field exchanges them.
//!
//! | ending | a row | elements |
//! |---|---|---|
//! | `.fvecs` | a little-endian i32 length, then as many elements | f32 |
//! | `.bvecs` | the same | u8 |
//! | `.ivecs` | the same | i32; ids, or integers that f32 holds exactly |
//! | `.npy` | a line of a two-dimensional NumPy array, little-endian, C order | f32, f16, bf16, u8, i8; rows of ids u64, i64, u32, i32 |
//! | `.txt` | a line | the id of a point, in decimal |
//!
//! The ids of points, one for each vector, are a `.txt` or a one-dimensional `.npy`.
//!
//! NumPy itself has no bfloat16: an array of two bytes without a meaning (`V2`), which is what
//! `numpy.save` makes of one of `ml_dtypes.bfloat16`, is read as that.
//!
//! Each also with `.gz` behind it. The ending decides, nothing is guessed from the content.
//!
//! The files come from elsewhere and are not trusted: a length that stands in a file is compared
//! with what the file holds before memory is taken for it, in a compressed file memory grows only
//! with the bytes that have arrived, and everything that is wrong is a [`VectorFileError`] that
//! names the row and the byte. Offsets count the bytes after decompression. A NaN passes: whether
//! it has a meaning is the index's to say.

mod contents;
mod ending;
mod error;
mod ids;
mod npy;
mod point_ids;
mod rows;
mod whole;
mod writer;

use std::path::Path;

use ringpool_index::{Element, Vectors, VectorsError};

use contents::Contents;
use ending::{Ending, Format};
pub use error::VectorFileError;
pub use ids::{IdRows, NO_ID, expect_ids_file, read_ids, write_ids};
use npy::NpyElement;
pub use point_ids::read_point_ids;
use rows::Rows;
pub use writer::RowWriter;

type Result<T> = std::result::Result<T, VectorFileError>;

/// Reads a file of vectors, of the format that its ending names.
///
/// Elements stay as they are in the file, but for `.ivecs`, whose integers become f32.
///
/// # Errors
/// [`VectorFileError`] names what is wrong, where, and what was expected.
pub fn read(path: &Path) -> Result<Vectors> {
    let ending = Ending::of(path)?;
    let mut contents = Contents::open(path, ending.gzip)?;
    let contents = &mut contents;
    let vectors = match ending.format {
        Format::Fvecs => from_rows(rows::read(contents)?, Vectors::from_f32),
        Format::Bvecs => from_rows(rows::read(contents)?, Vectors::from_u8),
        Format::Ivecs => from_rows(exact_floats(contents)?, Vectors::from_f32),
        Format::Npy => {
            let header = npy::read_header(contents)?;
            match header.element {
                NpyElement::F32 => {
                    from_rows(npy::read_values(contents, &header)?, Vectors::from_f32)
                }
                NpyElement::F16 => {
                    from_rows(npy::read_values(contents, &header)?, Vectors::from_f16)
                }
                NpyElement::Bf16 => {
                    from_rows(npy::read_values(contents, &header)?, Vectors::from_bf16)
                }
                NpyElement::U8 => from_rows(npy::read_values(contents, &header)?, Vectors::from_u8),
                NpyElement::I8 => from_rows(npy::read_values(contents, &header)?, Vectors::from_i8),
            }
        }
    };
    vectors.map_err(|source| VectorFileError::Refused { path: path.to_owned(), source })
}

/// What a file of vectors holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many rows.
    pub rows: u64,
    /// How many values a row has.
    pub dim: usize,
    /// Their type once they are read.
    pub element: Element,
}

/// The shape of a file of vectors by its first bytes and its length, before any row is read; what
/// they claim is checked when it is. `None` for compressed rows that do not begin with a count.
///
/// # Errors
/// [`VectorFileError`] names what is wrong, where, and what was expected.
pub fn shape(path: &Path) -> Result<Option<Shape>> {
    let ending = Ending::of(path)?;
    let mut contents = Contents::open(path, ending.gzip)?;
    let (width, element) = match ending.format {
        Format::Fvecs | Format::Ivecs => (4, Element::F32),
        Format::Bvecs => (1, Element::U8),
        Format::Npy => {
            let header = npy::read_header(&mut contents)?;
            let element = match header.element {
                NpyElement::F32 => Element::F32,
                NpyElement::F16 => Element::F16,
                NpyElement::Bf16 => Element::Bf16,
                NpyElement::U8 => Element::U8,
                NpyElement::I8 => Element::I8,
            };
            return Ok(Some(Shape { rows: header.rows, dim: header.dim, element }));
        }
    };
    let shape = rows::read_shape(&mut contents, width)?;
    Ok(shape.map(|(dim, rows)| Shape { rows, dim, element }))
}

fn from_rows<T>(
    rows: Rows<T>,
    vectors: impl FnOnce(usize, Vec<T>) -> std::result::Result<Vectors, VectorsError>,
) -> std::result::Result<Vectors, VectorsError> {
    vectors(rows.dim, rows.values)
}

/// The integers of an `.ivecs` file as f32, which holds each up to 2^24 exactly.
fn exact_floats(contents: &mut Contents) -> Result<Rows<f32>> {
    const EXACT: i32 = 1 << 24;
    let rows: Rows<i32> = rows::read(contents)?;
    let wrong = rows.values.iter().position(|v| !(-EXACT..=EXACT).contains(v));
    if let Some(place) = wrong {
        return Err(VectorFileError::NotExact {
            path: contents.path().to_owned(),
            row: (place / rows.dim) as u64,
            value: rows.values[place],
        });
    }
    Ok(Rows { dim: rows.dim, values: rows.values.into_iter().map(|v| v as f32).collect() })
}

#[cfg(test)]
mod tests;
