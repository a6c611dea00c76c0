//! The ids of points: one for each vector of a file, in their order.

use std::path::Path;

use super::contents::Contents;
use super::ending::{Ending, Format};
use super::npy::{self, Integers};
use super::{Result, VectorFileError};

/// How much of a text is looked at at once.
const PIECE_BYTES: usize = 1 << 16;

/// Reads the ids of points: a `.npy` of one dimension of whole numbers of 32 or 64 bits, or a
/// `.txt` with one number a line, each also with `.gz`.
///
/// # Errors
/// [`VectorFileError`] names what is wrong, where, and what was expected.
pub fn read_point_ids(path: &Path) -> Result<Vec<u64>> {
    if let Some(gzip) = text_gzip(path) {
        return read_text(&mut Contents::open(path, gzip)?);
    }
    let gzip = match Ending::of(path) {
        Ok(Ending { format: Format::Npy, gzip }) => gzip,
        _ => return Err(VectorFileError::NotPointIds { path: path.to_owned() }),
    };
    let ([_], integers) = npy::read_integers(&mut Contents::open(path, gzip)?)?;
    match integers {
        Integers::Unsigned(ids) => Ok(ids),
        Integers::Signed(ids) => match ids.iter().position(|&id| id < 0) {
            None => Ok(ids.into_iter().map(|id| id as u64).collect()),
            Some(row) => {
                let (path, id) = (path.to_owned(), ids[row]);
                Err(VectorFileError::NotAnId { path, row: row as u64, id })
            }
        },
    }
}

/// Whether gzip is around a text; none where it is no text.
fn text_gzip(path: &Path) -> Option<bool> {
    let name = path.file_name()?.to_string_lossy();
    let plain = name.strip_suffix(".gz");
    plain.unwrap_or(&name).ends_with(".txt").then_some(plain.is_some())
}

fn read_text(contents: &mut Contents) -> Result<Vec<u64>> {
    let (mut ids, mut line, mut number) = (Vec::new(), 1, None);
    let mut has_returned = false;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let had = contents.fill(&mut piece)?;
        for &byte in &piece[..had] {
            let wrong = |contents: &Contents| {
                let path = contents.path().to_owned();
                VectorFileError::IdLine { path, line }
            };
            match byte {
                b'0'..=b'9' if !has_returned => {
                    let digit = u64::from(byte - b'0');
                    let longer = number.unwrap_or(0_u64).checked_mul(10);
                    let longer = longer.and_then(|number| number.checked_add(digit));
                    number = Some(longer.ok_or_else(|| wrong(contents))?);
                }
                b'\r' if !has_returned => has_returned = true,
                b'\n' => {
                    let id = number.take().ok_or_else(|| wrong(contents))?;
                    contents.reserve(&mut ids, 1)?;
                    ids.push(id);
                    (line, has_returned) = (line + 1, false);
                }
                _ => return Err(wrong(contents)),
            }
        }
        if had < piece.len() {
            // The last line may lack its end.
            ids.extend(number);
            return match ids.is_empty() {
                true => Err(VectorFileError::Empty { path: contents.path().to_owned() }),
                false => Ok(ids),
            };
        }
    }
}
