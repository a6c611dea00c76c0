//! Writing a file of vectors, a stretch of rows at a time, so that a file of any size can be made.

use std::path::Path;

use flate2::Compression;
use ringpool_index::{Element, MAX_DIM, Vectors};

use super::ending::{Ending, Format};
use super::whole::WholeFile;
use super::{Result, VectorFileError, npy};

/// A file of vectors that is being written: whole or not at all, in the format that its ending
/// names. Dropped before [`publish`](Self::publish), it leaves nothing behind.
///
/// ```
/// # use ringpool::{Element, Vectors, vectors::{self, RowWriter}};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("rows.fvecs");
/// let mut file = RowWriter::create(&path, Element::F32, 2, 3)?;
/// file.write(&Vectors::from_f32(2, vec![0.0, 0.5])?)?;
/// file.write(&Vectors::from_f32(2, vec![1.0, 1.5, 2.0, 2.5])?)?;
/// file.publish()?;
/// assert_eq!(vectors::read(&path)?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RowWriter {
    file: WholeFile,
    format: Format,
    element: Element,
    dim: usize,
    rows: u64,
    written: u64,
}

impl RowWriter {
    /// Begins a file of `rows` rows, each of `dim` values of type `element`.
    ///
    /// # Errors
    /// [`VectorFileError`]: an ending that names no format or one that cannot hold such elements,
    /// a dimension that no vector has, no rows, or the system's refusal.
    pub fn create(path: &Path, element: Element, dim: usize, rows: u64) -> Result<Self> {
        let Ending { format, gzip } = Ending::of(path)?;
        let holds = match format {
            Format::Fvecs => element == Element::F32,
            Format::Bvecs => element == Element::U8,
            Format::Ivecs => false,
            Format::Npy => true,
        };
        let path_of = || path.to_owned();
        if !holds {
            return Err(VectorFileError::Unwritable { path: path_of(), element });
        }
        if !(1..=MAX_DIM).contains(&dim) {
            let (path, found) = (path_of(), dim as i128);
            return Err(VectorFileError::Dimension { path, row: 0, offset: 0, found });
        }
        if rows == 0 {
            return Err(VectorFileError::Empty { path: path_of() });
        }
        let mut file = WholeFile::create(path, gzip.then(Compression::fast))?;
        if format == Format::Npy {
            file.write(&npy::header(npy::descr(element), rows, dim))?;
        }
        Ok(Self { file, format, element, dim, rows, written: 0 })
    }

    /// Appends rows, which must be of the file's element type and dimension.
    ///
    /// # Errors
    /// [`VectorFileError::OtherRows`] when they are not, or when there are more than were
    /// announced; or the system's refusal.
    pub fn write(&mut self, rows: &Vectors) -> Result<()> {
        let total = self.written + rows.len() as u64;
        if rows.element() != self.element || rows.dim() != self.dim || total > self.rows {
            let found = format!("{} x {} of {}", total, rows.dim(), rows.element());
            return Err(self.other_rows(found));
        }
        let length = (self.dim as i32).to_le_bytes();
        for row in 0..rows.len() {
            if self.format != Format::Npy {
                self.file.write(&length)?;
            }
            self.file.write(rows.row_bytes(row))?;
        }
        self.written = total;
        Ok(())
    }

    /// Puts the file in its place, where it replaces what was there.
    ///
    /// # Errors
    /// [`VectorFileError::OtherRows`] when fewer rows came than were announced; or the system's
    /// refusal. What was at the path before is then untouched.
    pub fn publish(self) -> Result<()> {
        if self.written != self.rows {
            let found = format!("{} x {} of {}", self.written, self.dim, self.element);
            return Err(self.other_rows(found));
        }
        self.file.publish()
    }

    fn other_rows(&self, found: String) -> VectorFileError {
        let path = self.file.path().to_owned();
        let expected = format!("{} x {} of {}", self.rows, self.dim, self.element);
        VectorFileError::OtherRows { path, expected, found }
    }
}
