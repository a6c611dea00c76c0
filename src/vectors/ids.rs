//! Rows of ids: what a search found, or what it should have found.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use ringpool_index::MAX_DIM;
use tempfile::NamedTempFile;

use super::contents::{Contents, io_error};
use super::ending::{Ending, Format};
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
    let gzip = ivecs_gzip(path)?;
    let refused = |doing| move |source| io_error(path, doing, source);
    let folder = folder_of(path);
    let mut beside = tempfile::Builder::new();
    beside.prefix(".ringpool-").suffix(".partial");
    // As for any new file, the umask decides; a temporary file's own default is private.
    beside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = beside.tempfile_in(&folder).map_err(refused("create a file beside it"))?;
    let mut out = BufWriter::new(file);
    let file = if gzip {
        // Without a time stamp, so that the same rows give the same file.
        let mut gzip = GzBuilder::new().mtime(0).write(out, Compression::best());
        write_rows(path, rows, &mut gzip)?;
        out = gzip.finish().map_err(refused("write"))?;
        out.into_inner()
    } else {
        write_rows(path, rows, &mut out)?;
        out.into_inner()
    };
    let file: NamedTempFile = file.map_err(|e| io_error(path, "write", e.into_error()))?;
    file.as_file().sync_all().map_err(refused("sync"))?;
    file.persist(path).map_err(|e| io_error(path, "rename into place", e.error))?;
    let folder = File::open(folder).map_err(refused("open its folder"))?;
    folder.sync_all().map_err(refused("sync its folder"))
}

fn write_rows<R: AsRef<[i32]>>(
    path: &Path,
    rows: impl IntoIterator<Item = R>,
    out: &mut impl Write,
) -> Result<()> {
    let mut width = None;
    let mut offset = 0;
    for (row, ids) in (0..).zip(rows) {
        let ids = ids.as_ref();
        let expected = *width.get_or_insert(ids.len());
        if ids.is_empty() || ids.len() > MAX_DIM {
            let (path, found) = (path.to_owned(), ids.len() as i128);
            return Err(VectorFileError::Dimension { path, row, offset, found });
        }
        if ids.len() != expected {
            let (path, found) = (path.to_owned(), ids.len());
            return Err(VectorFileError::UnequalRows { path, row, offset, expected, found });
        }
        let words = [ids.len() as i32].into_iter().chain(ids.iter().copied());
        for word in words {
            let written = out.write_all(&word.to_le_bytes());
            written.map_err(|source| io_error(path, "write", source))?;
        }
        offset += 4 * (ids.len() as u64 + 1);
    }
    match width {
        Some(_) => Ok(()),
        None => Err(VectorFileError::Empty { path: path.to_owned() }),
    }
}

/// The folder that `path` is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether gzip is around the ids at `path`.
fn ivecs_gzip(path: &Path) -> Result<bool> {
    match Ending::of(path) {
        Ok(Ending { format: Format::Ivecs, gzip }) => Ok(gzip),
        _ => Err(VectorFileError::NotIvecs { path: path.to_owned() }),
    }
}
