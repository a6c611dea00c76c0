//! The rows of `.fvecs`, `.bvecs` and `.ivecs`: each its length, then its elements.

use ringpool_index::MAX_DIM;

use super::contents::{Contents, LittleEndian};
use super::{Result, VectorFileError};

/// The bytes of the length before each row.
const LENGTH_BYTES: usize = size_of::<i32>();

/// Rows of one length, one after the other.
pub(super) struct Rows<T> {
    pub(super) dim: usize,
    pub(super) values: Vec<T>,
}

/// The dimension of the rows and how many there are; `None` in a compressed file, whose length
/// nobody knows.
pub(super) fn read_shape(contents: &mut Contents, width: usize) -> Result<Option<(usize, u64)>> {
    let Some(dim) = read_length(contents, 0)? else {
        let path = contents.path().to_owned();
        return Err(VectorFileError::Empty { path });
    };
    let row_bytes = (LENGTH_BYTES + dim * width) as u64;
    Ok(contents.left().map(|left| (dim, (left + LENGTH_BYTES as u64) / row_bytes)))
}

/// Reads all rows. There is at least one, and it has at least one element.
pub(super) fn read<T: LittleEndian>(contents: &mut Contents) -> Result<Rows<T>> {
    let Some(dim) = read_length(contents, 0)? else {
        let path = contents.path().to_owned();
        return Err(VectorFileError::Empty { path });
    };
    let mut values = Vec::new();
    if let Some(left) = contents.left() {
        // The length just read is as true as the file is long: a wrong one reserves less than the
        // file's own size, and the next row tells.
        let row_bytes = (LENGTH_BYTES + dim * size_of::<T>()) as u64;
        let rows = (left + LENGTH_BYTES as u64) / row_bytes;
        contents.reserve(&mut values, rows * dim as u64)?;
    }
    let mut row = 0;
    loop {
        contents.append(dim as u64, &mut values, || format!("row {row}"))?;
        row += 1;
        let offset = contents.offset();
        match read_length(contents, row)? {
            None => return Ok(Rows { dim, values }),
            Some(found) if found == dim => {}
            Some(found) => {
                return Err(VectorFileError::UnequalRows {
                    path: contents.path().to_owned(),
                    row,
                    offset,
                    expected: dim,
                    found,
                });
            }
        }
    }
}

/// The length of the row that starts here; `None` at the file's end.
fn read_length(contents: &mut Contents, row: u64) -> Result<Option<usize>> {
    let offset = contents.offset();
    let mut length = [0; LENGTH_BYTES];
    match contents.fill(&mut length)? {
        0 => return Ok(None),
        LENGTH_BYTES => {}
        _ => {
            let part = format!("the length of row {row}");
            return Err(contents.truncated(part, offset, LENGTH_BYTES as u64));
        }
    }
    let found = i32::from_le_bytes(length);
    match usize::try_from(found) {
        Ok(dim) if (1..=MAX_DIM).contains(&dim) => Ok(Some(dim)),
        _ => Err(VectorFileError::Dimension {
            path: contents.path().to_owned(),
            row,
            offset,
            found: found.into(),
        }),
    }
}
