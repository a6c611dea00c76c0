//! A checksum for each page, kept in an array beside the pages.
//!
//! CRC32C over the file's key, the page's number and the page's bytes. The key makes a page that
//! was read from the wrong file, and the number one that was read from the wrong place, as visible
//! as a flipped bit. The array stands beside the pages, not in them: a header of four bytes would
//! push a vector of 1,024 floats over two pages.

use std::sync::Arc;

use crate::{Error, PageNo, PageSize, Result};

/// What keys the checksums of one file: pages of another file never match.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct FileKey(pub u64);

/// The checksums of all pages of one file. Clones share the array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums {
    key: FileKey,
    crcs: Arc<[u32]>,
}

impl Checksums {
    /// The checksum of one page of the file with this key.
    #[inline]
    pub fn of_page(key: FileKey, page: PageNo, bytes: &[u8]) -> u32 {
        let mut prefix = [0; 16];
        prefix[..8].copy_from_slice(&key.0.to_le_bytes());
        prefix[8..].copy_from_slice(&page.0.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&prefix), bytes)
    }

    /// The checksums of `bytes`, read as pages. A last page that is not full counts as padded
    /// with zeros.
    pub fn of_pages(key: FileKey, size: PageSize, bytes: &[u8]) -> Self {
        let mut padded = vec![0; size.bytes()];
        let crcs = bytes.chunks(size.bytes()).enumerate().map(|(no, chunk)| {
            let page = PageNo(no as u64);
            if chunk.len() == size.bytes() {
                return Self::of_page(key, page, chunk);
            }
            padded[..chunk.len()].copy_from_slice(chunk);
            Self::of_page(key, page, &padded)
        });
        Self { key, crcs: crcs.collect() }
    }

    /// The checksums `crcs`, one a page in page order, of the file with this key.
    pub fn new(key: FileKey, crcs: impl Into<Arc<[u32]>>) -> Self {
        Self { key, crcs: crcs.into() }
    }

    /// Reads the array back from its bytes on disk: little-endian, four a page.
    /// `None` when the bytes are no whole number of checksums.
    pub fn from_le_bytes(key: FileKey, bytes: &[u8]) -> Option<Self> {
        let (crcs, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then(|| {
            Self::new(key, crcs.iter().map(|crc| u32::from_le_bytes(*crc)).collect::<Vec<_>>())
        })
    }

    /// The array's bytes on disk: little-endian, four a page.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect()
    }

    /// What keys them.
    pub fn key(&self) -> FileKey {
        self.key
    }

    /// How many pages have a checksum.
    pub fn page_count(&self) -> u64 {
        self.crcs.len() as u64
    }

    /// The memory that the array takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        size_of_val(&*self.crcs) as u64
    }

    /// Passes when `bytes` are what was written as `page` of this file.
    ///
    /// # Errors
    /// [`Error::Checksum`] when they are not, [`Error::NoSuchPage`] past the last page.
    #[inline]
    pub fn verify(&self, file: &Arc<str>, page: PageNo, bytes: &[u8]) -> Result<()> {
        let found = Self::of_page(self.key, page, bytes);
        match usize::try_from(page.0).ok().and_then(|no| self.crcs.get(no)) {
            Some(&expected) if expected == found => Ok(()),
            Some(&expected) => Err(Error::Checksum { file: file.clone(), page, expected, found }),
            None => Err(Error::NoSuchPage { file: file.clone(), page, pages: self.page_count() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FileKey = FileKey(7);

    #[test]
    fn every_flipped_bit_is_seen() {
        let size = PageSize::new(512).unwrap();
        let mut bytes: Vec<u8> = (0..1024).map(|i| (i * 7) as u8).collect();
        let sums = Checksums::of_pages(KEY, size, &bytes);
        let file: Arc<str> = "f".into();
        for bit in 0..512 * 8 {
            bytes[512 + bit / 8] ^= 1 << (bit % 8);
            let verdict = sums.verify(&file, PageNo(1), &bytes[512..]);
            assert!(matches!(verdict, Err(Error::Checksum { page: PageNo(1), .. })), "bit {bit}");
            bytes[512 + bit / 8] ^= 1 << (bit % 8);
        }
        sums.verify(&file, PageNo(1), &bytes[512..]).unwrap();
    }

    #[test]
    fn a_page_from_elsewhere_is_seen() {
        let bytes = [5; 512];
        let here = Checksums::of_page(KEY, PageNo(0), &bytes);
        assert_ne!(here, Checksums::of_page(KEY, PageNo(1), &bytes), "another page");
        assert_ne!(here, Checksums::of_page(FileKey(8), PageNo(0), &bytes), "another file");
    }

    #[test]
    fn a_short_last_page_counts_as_padded() {
        let size = PageSize::new(512).unwrap();
        let mut padded = vec![9; 700];
        let short = Checksums::of_pages(KEY, size, &padded);
        padded.resize(1024, 0);
        assert_eq!(short, Checksums::of_pages(KEY, size, &padded));
        assert_eq!(Checksums::from_le_bytes(KEY, &short.to_le_bytes()), Some(short));
        assert_eq!(Checksums::from_le_bytes(KEY, &[1, 2, 3]), None);
    }
}
