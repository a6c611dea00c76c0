//! The lines of a file, decompressed if need be, none longer than a bound.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{ColumnFileError, Result};

/// The longest line, in bytes: sixteen of the longest texts.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// What every gzip stream starts with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const PIECE_BYTES: usize = 1 << 18;

pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    row: u64,
}

impl Lines {
    pub(super) fn open(path: &Path, gzip: bool) -> Result<Self> {
        let file = open_file(path)?;
        let mut bytes = BufReader::with_capacity(PIECE_BYTES, file);
        let reader: Box<dyn BufRead> = if gzip {
            let start = bytes.fill_buf().map_err(|source| io_error(path, "read", source))?;
            if !start.starts_with(&GZIP_MAGIC) {
                return Err(ColumnFileError::NotGzip { path: path.into() });
            }
            Box::new(BufReader::with_capacity(PIECE_BYTES, MultiGzDecoder::new(bytes)))
        } else {
            Box::new(bytes)
        };
        Ok(Self { path: path.into(), reader, line: Vec::new(), row: 0 })
    }

    /// The next line without its end, and the number of its row; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &str)>> {
        let (path, row) = (&self.path, self.row);
        self.line.clear();
        let most = MAX_LINE_BYTES as u64 + 1;
        let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.line);
        match read.map_err(|source| broken(path, row, source))? {
            0 => return Ok(None),
            read if read as u64 == most && self.line.last() != Some(&b'\n') => {
                return Err(ColumnFileError::LongLine { path: path.clone(), row });
            }
            _ => {}
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        self.row += 1;
        match str::from_utf8(&self.line) {
            Ok(line) => Ok(Some((row, line))),
            Err(e) => {
                let (path, offset) = (path.clone(), e.valid_up_to());
                Err(ColumnFileError::NotUtf8 { path, row, offset })
            }
        }
    }
}

/// Opens what is a regular file.
pub(super) fn open_file(path: &Path) -> Result<File> {
    // Asked before the open, which would wait for the writer of a FIFO.
    if !fs::metadata(path).map_err(|source| io_error(path, "open", source))?.is_file() {
        return Err(ColumnFileError::NotAFile { path: path.into() });
    }
    File::open(path).map_err(|source| io_error(path, "open", source))
}

fn broken(path: &Path, row: u64, source: std::io::Error) -> ColumnFileError {
    match source.raw_os_error() {
        Some(_) => io_error(path, "read", source),
        // Not the system's answer, so the decompressor's.
        None => ColumnFileError::CorruptGzip { path: path.into(), row, source },
    }
}

fn io_error(path: &Path, doing: &'static str, source: std::io::Error) -> ColumnFileError {
    ColumnFileError::Io { path: path.into(), doing, source }
}
