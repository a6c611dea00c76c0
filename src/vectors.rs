//! Files of vectors and of ids, as the field exchanges them.
//!
//! | ending | a row | elements |
//! |---|---|---|
//! | `.fvecs` | a little-endian i32 length, then as many elements | f32 |
//! | `.bvecs` | the same | u8 |
//! | `.ivecs` | the same | i32; ids, or integers that f32 holds exactly |
//! | `.npy` | a line of a two-dimensional NumPy array, little-endian, C order | f32, f16, bf16, u8, i8 |
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
mod rows;
mod whole;
mod writer;

use std::path::Path;

use ringpool_index::{Vectors, VectorsError};

use contents::Contents;
use ending::{Ending, Format};
pub use error::VectorFileError;
pub use ids::{IdRows, expect_ivecs, read_ids, write_ivecs};
use npy::NpyElement;
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
