//! The bytes of a file, decompressed if need be, in order and with their offset.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use half::{bf16, f16};
use ringpool_index::MAX_DIM;

use super::{Result, VectorFileError};

/// How many bytes are read and converted at a time: the longest row of the widest element.
const PIECE_BYTES: usize = MAX_DIM * size_of::<f32>();

/// What every gzip stream starts with. The rest of its header is the decompressor's to judge.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An element as it stands in a file.
pub(super) trait LittleEndian: Sized {
    /// Appends the elements in `bytes`, which hold a whole number of them.
    fn append_from(bytes: &[u8], out: &mut Vec<Self>);
}

macro_rules! little_endian {
    ($($number:ty),*) => {$(
        impl LittleEndian for $number {
            fn append_from(bytes: &[u8], out: &mut Vec<Self>) {
                let (elements, rest) = bytes.as_chunks();
                debug_assert!(rest.is_empty());
                out.extend(elements.iter().map(|element| Self::from_le_bytes(*element)));
            }
        }
    )*};
}
little_endian!(f32, f16, bf16, u8, i8, i32, u32, i64, u64);

/// A file that is being read from its start to its end.
pub(super) struct Contents {
    path: PathBuf,
    stream: Stream,
    len: Option<u64>,
    piece: Box<[u8]>,
}

/// The decompressed bytes, and how many have been taken.
struct Stream {
    reader: Box<dyn Read>,
    offset: u64,
}

impl Contents {
    pub(super) fn open(path: &Path, gzip: bool) -> Result<Self> {
        let refused = |doing| move |source| io_error(path, doing, source);
        // Asked before the open, which would wait for the writer of a FIFO.
        if !fs::metadata(path).map_err(refused("open"))?.is_file() {
            let path = path.to_owned();
            return Err(VectorFileError::NotAFile { path });
        }
        let file = File::open(path).map_err(refused("open"))?;
        let len = file.metadata().map_err(refused("stat"))?.len();
        if len == 0 {
            let path = path.to_owned();
            return Err(VectorFileError::Empty { path });
        }
        let mut bytes = BufReader::with_capacity(PIECE_BYTES, file);
        if !gzip {
            return Ok(Self::new(path, Box::new(bytes), Some(len)));
        }
        let start = bytes.fill_buf().map_err(refused("read"))?;
        if !start.starts_with(&GZIP_MAGIC) {
            let path = path.to_owned();
            return Err(VectorFileError::NotGzip { path });
        }
        Ok(Self::new(path, Box::new(MultiGzDecoder::new(bytes)), None))
    }

    fn new(path: &Path, reader: Box<dyn Read>, len: Option<u64>) -> Self {
        Self {
            path: path.to_owned(),
            stream: Stream { reader, offset: 0 },
            len,
            piece: vec![0; PIECE_BYTES].into(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes have been read.
    pub(super) fn offset(&self) -> u64 {
        self.stream.offset
    }

    /// How many bytes are left; `None` in a compressed file, where nobody knows.
    pub(super) fn left(&self) -> Option<u64> {
        self.len.map(|len| len.saturating_sub(self.offset()))
    }

    /// Reads until `out` is full or the file ends; says how many bytes were had.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize> {
        let filled = self.stream.fill(out);
        filled.map_err(|e| self.broken(e))
    }

    /// Appends the next `count` elements to `out`. `part` names them in the error of a file that
    /// ends before they do. Memory is taken a piece at a time, as the bytes arrive.
    pub(super) fn append<T: LittleEndian>(
        &mut self,
        count: u64,
        out: &mut Vec<T>,
        part: impl Fn() -> String,
    ) -> Result<()> {
        let (start, expected) = (self.offset(), count.saturating_mul(size_of::<T>() as u64));
        let mut left = expected;
        while left > 0 {
            let want = left.min(PIECE_BYTES as u64) as usize;
            let filled = self.stream.fill(&mut self.piece[..want]);
            if filled.map_err(|e| self.broken(e))? < want {
                return Err(self.truncated(part(), start, expected));
            }
            self.reserve(out, (want / size_of::<T>()) as u64)?;
            T::append_from(&self.piece[..want], out);
            left -= want as u64;
        }
        Ok(())
    }

    /// Makes room for `count` elements that are known to be in the file, or have arrived.
    pub(super) fn reserve<T>(&self, out: &mut Vec<T>, count: u64) -> Result<()> {
        let reserved = usize::try_from(count).map(|count| out.try_reserve(count));
        match reserved {
            Ok(Ok(())) => Ok(()),
            _ => Err(VectorFileError::OutOfMemory {
                path: self.path.clone(),
                bytes: (out.len() as u64)
                    .saturating_add(count)
                    .saturating_mul(size_of::<T>() as u64),
            }),
        }
    }

    /// The file has ended within the part that starts at `start`.
    pub(super) fn truncated(&self, part: String, start: u64, expected: u64) -> VectorFileError {
        VectorFileError::Truncated {
            path: self.path.clone(),
            part,
            offset: start,
            expected_bytes: expected,
            found_bytes: self.offset() - start,
        }
    }

    fn broken(&self, source: std::io::Error) -> VectorFileError {
        let (path, offset) = (self.path.clone(), self.offset());
        match source.raw_os_error() {
            Some(_) => io_error(&self.path, "read", source),
            // Not the system's answer, so the decompressor's.
            None => VectorFileError::CorruptGzip { path, offset, source },
        }
    }
}

impl Stream {
    fn fill(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            match self.reader.read(&mut out[filled..]) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}

/// The system's refusal of something that was done to `path`.
pub(super) fn io_error(
    path: &Path,
    doing: &'static str,
    source: std::io::Error,
) -> VectorFileError {
    VectorFileError::Io { path: path.to_owned(), doing, source }
}
