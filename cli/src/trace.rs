//! A trace: the numbers of the pages that were asked for, in order.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use crate::failure::Failure;
use crate::whole_file;

/// Longer traces are refused: 4 GiB of page numbers.
pub const MAX_REQUESTS: u64 = 1 << 30;
const REQUEST_BYTES: u64 = size_of::<u32>() as u64;

/// Page numbers, given out anew from 0 by first use: whether they were dense before does not
/// matter to a policy, but to the size of a page table.
#[derive(Debug)]
pub struct Trace {
    requests: Vec<u32>,
    distinct: u32,
}

impl Trace {
    /// Reads the little-endian numbers in the file at `path`, which is gzipped if its name ends
    /// in `.gz`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::at(path, "read the trace", &source);
        let file = BufReader::new(File::open(path).map_err(failed)?);
        let limit = MAX_REQUESTS * REQUEST_BYTES + 1;
        let mut bytes = Vec::new();
        let read = if is_gzip(path) {
            MultiGzDecoder::new(file).take(limit).read_to_end(&mut bytes)
        } else {
            file.take(limit).read_to_end(&mut bytes)
        };
        read.map_err(failed)?;
        Self::from_bytes(&bytes)
            .map_err(|reason| Failure::new(format!("{}: {reason}", path.display())))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let len_bytes = bytes.len() as u64;
        if len_bytes == 0 {
            return Err("the trace is empty; record at least one request".into());
        }
        if len_bytes > MAX_REQUESTS * REQUEST_BYTES {
            return Err(format!("more than {MAX_REQUESTS} requests; replay a part of the trace"));
        }
        let (numbers, rest) = bytes.as_chunks::<{ REQUEST_BYTES as usize }>();
        if !rest.is_empty() {
            return Err(format!(
                "{len_bytes} bytes are no whole number of page numbers of {REQUEST_BYTES} bytes; \
                 write them as little-endian u32"
            ));
        }
        Ok(numbers.iter().map(|&number| u32::from_le_bytes(number)).collect())
    }

    /// The pages in the order in which they were asked for.
    pub fn requests(&self) -> &[u32] {
        &self.requests
    }

    /// How many different pages there are. All numbers are below.
    pub fn distinct(&self) -> u32 {
        self.distinct
    }
}

impl FromIterator<u32> for Trace {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut renumbered = HashMap::new();
        let requests = numbers.into_iter().map(|number| {
            let next = renumbered.len() as u32;
            *renumbered.entry(number).or_insert(next)
        });
        let requests = requests.collect();
        Self { requests, distinct: renumbered.len() as u32 }
    }
}

/// Writes page numbers so that [`Trace::read`] reads them: whole or not at all, and in place of
/// what was there before. The same numbers give the same file.
pub fn write(path: &Path, requests: &[u32]) -> Result<(), Failure> {
    let written = whole_file::publish(path, |mut out| {
        if !is_gzip(path) {
            return write_numbers(&mut out, requests);
        }
        let mut gzip = GzBuilder::new().mtime(0).write(out, Compression::best());
        write_numbers(&mut gzip, requests)?;
        gzip.finish().map(drop)
    });
    written.map_err(|source| Failure::at(path, "write the trace", &source))
}

fn write_numbers(out: &mut impl Write, requests: &[u32]) -> io::Result<()> {
    requests.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_renumbered_by_first_use() {
        let numbers = [u32::MAX, 7, 7, 0, u32::MAX];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let trace = Trace::from_bytes(&bytes).unwrap();
        assert_eq!(trace.requests(), [0, 1, 1, 2, 0]);
        assert_eq!(trace.distinct(), 3);
        assert!(Trace::from_bytes(&bytes[1..]).is_err());
        assert!(Trace::from_bytes(&[]).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["t.u32", "t.u32.gz"] {
            let path = dir.path().join(name);
            write(&path, &[9]).unwrap();
            write(&path, &[5, u32::MAX, 5]).unwrap();
            assert_eq!(Trace::read(&path).unwrap().requests(), [0, 1, 0], "{name}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing beside them");
        let refused = write(&dir.path().join("no/such.u32"), &[5]).unwrap_err().to_string();
        assert!(refused.contains("no/such.u32"), "{refused}");
    }
}
