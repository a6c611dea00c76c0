//! Rows of ids: what a search found, or what it should have found.

use std::path::Path;

use flate2::Compression;
use ringpool_index::MAX_DIM;

use super::contents::Contents;
use super::ending::{Ending, Format};
use super::whole::WholeFile;
use super::{Result, VectorFileError, rows};

/// Rows of ids, all of one width. A row with fewer ids than that ends in -1s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdRows {
    width: usize,
    ids: Vec<i32>,
}

impl IdRows {
    /// How many ids a row has, -1s included.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a file without rows is refused")]
    pub fn len(&self) -> usize {
        self.ids.len() / self.width
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[i32]> {
        self.ids.chunks_exact(self.width)
    }

    /// The row with this number, counted from 0.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &[i32] {
        &self.ids[row * self.width..(row + 1) * self.width]
    }
}

/// Passes for a path whose ending [`write_ivecs`] can write.
///
/// # Errors
/// [`VectorFileError::NotIvecs`] for all others.
pub fn expect_ivecs(path: &Path) -> Result<()> {
    ivecs_gzip(path).map(drop)
}

/// Reads a file of ids, `.ivecs` or `.ivecs.gz`.
///
/// # Errors
/// [`VectorFileError`] names what is wrong, where, and what was expected.
pub fn read_ids(path: &Path) -> Result<IdRows> {
    let gzip = ivecs_gzip(path)?;
    let rows = rows::read::<i32>(&mut Contents::open(path, gzip)?)?;
    if let Some(place) = rows.values.iter().position(|&id| id < -1) {
        return Err(VectorFileError::NotAnId {
            path: path.to_owned(),
            row: (place / rows.dim) as u64,
            id: rows.values[place],
        });
    }
    Ok(IdRows { width: rows.dim, ids: rows.values })
}

/// Writes rows of ids, which must be of one width, to an `.ivecs` or `.ivecs.gz` file: whole or
/// not at all. A file that was there before is replaced at once.
///
/// # Errors
/// [`VectorFileError`]: a wrong ending, no rows, rows of different widths, or the system's refusal.
/// What was at `path` before is then untouched, and nothing is left beside it.
pub fn write_ivecs<R: AsRef<[i32]>>(path: &Path, rows: impl IntoIterator<Item = R>) -> Result<()> {
    let gzip = ivecs_gzip(path)?.then(Compression::best);
    let mut file = WholeFile::create(path, gzip)?;
    write_rows(&mut file, rows)?;
    file.publish()
}

fn write_rows<R: AsRef<[i32]>>(
    out: &mut WholeFile,
    rows: impl IntoIterator<Item = R>,
) -> Result<()> {
    let mut width = None;
    let mut offset = 0;
    for (row, ids) in (0..).zip(rows) {
        let ids = ids.as_ref();
        let expected = *width.get_or_insert(ids.len());
        if ids.is_empty() || ids.len() > MAX_DIM {
            let (path, found) = (out.path().to_owned(), ids.len() as i128);
            return Err(VectorFileError::Dimension { path, row, offset, found });
        }
        if ids.len() != expected {
            let (path, found) = (out.path().to_owned(), ids.len());
            return Err(VectorFileError::UnequalRows { path, row, offset, expected, found });
        }
        let words = [ids.len() as i32].into_iter().chain(ids.iter().copied());
        for word in words {
            out.write(&word.to_le_bytes())?;
        }
        offset += 4 * (ids.len() as u64 + 1);
    }
    match width {
        Some(_) => Ok(()),
        None => Err(VectorFileError::Empty { path: out.path().to_owned() }),
    }
}

/// Whether gzip is around the ids at `path`.
fn ivecs_gzip(path: &Path) -> Result<bool> {
    match Ending::of(path) {
        Ok(Ending { format: Format::Ivecs, gzip }) => Ok(gzip),
        _ => Err(VectorFileError::NotIvecs { path: path.to_owned() }),
    }
}
