//! Rows of ids: what a search found, or what it should have found.

use std::path::Path;

use flate2::Compression;
use ringpool_index::MAX_DIM;

use super::contents::Contents;
use super::ending::{Ending, Format};
use super::npy::{self, Integers};
use super::whole::WholeFile;
use super::{Result, VectorFileError, rows};

/// What a row with fewer ids than it is wide ends in: no point has it. In files it is -1, and in
/// those of unsigned numbers the largest.
pub const NO_ID: u64 = u64::MAX;

/// Rows of ids, all of one width. A row with fewer ids than that ends in [`NO_ID`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdRows {
    width: usize,
    ids: Vec<u64>,
}

impl IdRows {
    /// How many ids a row has, [`NO_ID`]s included.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a file without rows is refused")]
    pub fn len(&self) -> usize {
        self.ids.len() / self.width
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.ids.chunks_exact(self.width)
    }

    /// The row with this number, counted from 0.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &[u64] {
        &self.ids[row * self.width..(row + 1) * self.width]
    }
}

/// Passes for a path whose ending [`write_ids`] can write.
///
/// # Errors
/// [`VectorFileError::NotIds`] for all others.
pub fn expect_ids_file(path: &Path) -> Result<()> {
    ending_of(path).map(drop)
}

/// Reads a file of rows of ids: `.ivecs`, or `.npy` of whole numbers of 32 or 64 bits, each also
/// with `.gz`.
///
/// # Errors
/// [`VectorFileError`] names what is wrong, where, and what was expected.
pub fn read_ids(path: &Path) -> Result<IdRows> {
    let ending = ending_of(path)?;
    let contents = &mut Contents::open(path, ending.gzip)?;
    let (width, integers) = if ending.format == Format::Npy {
        let ([_, width], integers) = npy::read_integers(contents)?;
        let Some(width) = usize::try_from(width).ok().filter(|&width| width <= MAX_DIM) else {
            let (path, found) = (path.to_owned(), width.into());
            return Err(VectorFileError::Dimension { path, row: 0, offset: 0, found });
        };
        (width, integers)
    } else {
        let rows = rows::read::<i32>(contents)?;
        (rows.dim, Integers::Signed(rows.values.into_iter().map(i64::from).collect()))
    };
    let ids = match integers {
        Integers::Unsigned(ids) => ids,
        Integers::Signed(ids) => match ids.iter().position(|&id| id < -1) {
            // -1 becomes the largest.
            None => ids.into_iter().map(|id| id as u64).collect(),
            Some(place) => {
                let row = (place / width) as u64;
                return Err(VectorFileError::NotAnId { path: path.into(), row, id: ids[place] });
            }
        },
    };
    Ok(IdRows { width, ids })
}

/// Writes rows of ids, which must be of one width, to a file that [`read_ids`] reads: whole or not
/// at all. A file that was there before is replaced at once. `.npy` files are of unsigned numbers
/// of 64 bits.
///
/// # Errors
/// [`VectorFileError`]: a wrong ending, no rows, rows of different widths, an id that `.ivecs` does
/// not hold, or the system's refusal. What was at `path` before is then untouched, and nothing is
/// left beside it.
pub fn write_ids<R: AsRef<[u64]>>(
    path: &Path,
    rows: impl IntoIterator<Item = R, IntoIter: ExactSizeIterator>,
) -> Result<()> {
    let Ending { format, gzip } = ending_of(path)?;
    let rows = rows.into_iter();
    let mut out = WholeFile::create(path, gzip.then(Compression::best))?;
    let (count, mut width, mut offset) = (rows.len() as u64, None, 0);
    for (row, ids) in (0..).zip(rows) {
        let ids = ids.as_ref();
        if width.is_none() && format == Format::Npy {
            out.write(&npy::header("<u8", count, ids.len()))?;
        }
        expect_width(path, row, offset, ids.len(), *width.get_or_insert(ids.len()))?;
        offset += match format {
            Format::Npy => write_wide(&mut out, ids)?,
            _ => write_narrow(&mut out, row, ids)?,
        };
    }
    match width {
        Some(_) => out.publish(),
        None => Err(VectorFileError::Empty { path: path.to_owned() }),
    }
}

fn expect_width(path: &Path, row: u64, offset: u64, found: usize, expected: usize) -> Result<()> {
    let path = || path.to_owned();
    if found == 0 || found > MAX_DIM {
        let found = found as i128;
        return Err(VectorFileError::Dimension { path: path(), row, offset, found });
    }
    if found != expected {
        return Err(VectorFileError::UnequalRows { path: path(), row, offset, expected, found });
    }
    Ok(())
}

fn write_wide(out: &mut WholeFile, ids: &[u64]) -> Result<u64> {
    ids.iter().try_for_each(|id| out.write(&id.to_le_bytes()))?;
    Ok(8 * ids.len() as u64)
}

fn write_narrow(out: &mut WholeFile, row: u64, ids: &[u64]) -> Result<u64> {
    out.write(&(ids.len() as i32).to_le_bytes())?;
    for &id in ids {
        let narrow = match id {
            NO_ID => -1,
            id => i32::try_from(id).map_err(|_| VectorFileError::IdTooLarge {
                path: out.path().to_owned(),
                row,
                id,
            })?,
        };
        out.write(&narrow.to_le_bytes())?;
    }
    Ok(4 * (ids.len() as u64 + 1))
}

fn ending_of(path: &Path) -> Result<Ending> {
    match Ending::of(path) {
        Ok(ending @ Ending { format: Format::Ivecs | Format::Npy, .. }) => Ok(ending),
        _ => Err(VectorFileError::NotIds { path: path.to_owned() }),
    }
}
