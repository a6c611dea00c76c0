//! Page numbers and page sizes.

use std::fmt;

/// The number of a page within its file, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PageNo(pub u64);

impl fmt::Display for PageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A page's size in bytes: a power of two from 512 bytes to 64 KiB.
///
/// Files on disk use 4 KiB and more; the smaller sizes serve simulated devices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageSize {
    shift: u8,
}

/// A number of bytes that no page can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page of {0} bytes is not possible: use a power of two from 512 to 65536")]
pub struct PageSizeError(pub u64);

impl PageSize {
    /// 4,096 bytes: the smallest page that every disk reads in one piece.
    pub const KIB_4: Self = Self { shift: 12 };
    /// 16,384 bytes.
    pub const KIB_16: Self = Self { shift: 14 };
    /// 65,536 bytes, the largest.
    pub const KIB_64: Self = Self { shift: 16 };

    /// The page size of `bytes` bytes.
    ///
    /// # Errors
    /// When `bytes` is no power of two from 512 to 65,536.
    pub const fn new(bytes: u64) -> std::result::Result<Self, PageSizeError> {
        if bytes.is_power_of_two() && bytes >= 512 && bytes <= 65_536 {
            Ok(Self { shift: bytes.trailing_zeros() as u8 })
        } else {
            Err(PageSizeError(bytes))
        }
    }

    /// The size in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        1 << self.shift
    }

    /// Where `page` starts in its file, in bytes; `None` past the last offset a file can have.
    #[inline]
    pub const fn offset_bytes(self, page: PageNo) -> Option<u64> {
        let offset = page.0 << self.shift;
        if offset >> self.shift == page.0 && offset <= i64::MAX as u64 {
            Some(offset)
        } else {
            None
        }
    }

    /// How many pages hold `bytes` bytes; the last one may be partly used.
    #[inline]
    pub const fn pages_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(1 << self.shift)
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::KIB_4
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            bytes if bytes < 1024 => write!(f, "{bytes} B"),
            bytes => write!(f, "{} KiB", bytes / 1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        for bytes in [0, 1, 256, 511, 4095, 4097, 12_288, 131_072, u64::MAX] {
            assert_eq!(PageSize::new(bytes), Err(PageSizeError(bytes)));
        }
        for shift in 9..=16 {
            assert_eq!(PageSize::new(1 << shift).unwrap().bytes(), 1 << shift);
        }
    }

    #[test]
    fn offsets_stop_where_files_stop() {
        let size = PageSize::KIB_4;
        assert_eq!(size.offset_bytes(PageNo(3)), Some(12_288));
        assert_eq!(size.offset_bytes(PageNo(u64::MAX >> 12)), None);
        assert_eq!(size.offset_bytes(PageNo(u64::MAX)), None);
        assert_eq!(size.pages_for(0), 0);
        assert_eq!(size.pages_for(4097), 2);
        assert_eq!(size.pages_for(u64::MAX), 1 << 52);
    }
}
