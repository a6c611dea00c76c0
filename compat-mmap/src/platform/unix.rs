//! The unixes: madvise(2), through the crate that maps.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;

use memmap2::{Mmap, UncheckedAdvice};

use crate::Advice;

/// Says how the whole mapping will be read.
pub(crate) fn advise(map: &Mmap, advice: Advice) -> io::Result<()> {
    map.advise(match advice {
        Advice::Random | Advice::WillNeed => memmap2::Advice::Random,
        Advice::Normal => memmap2::Advice::Normal,
    })
}

/// Starts to read whole pages of the system's.
pub(crate) fn will_need(map: &Mmap, bytes: Range<usize>) -> io::Result<()> {
    map.advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len())
}

/// Reads all of it before this returns.
#[cfg(target_os = "linux")]
pub(crate) fn populate(map: &Mmap) -> io::Result<()> {
    map.advise(memmap2::Advice::PopulateRead)
}

/// Reads all of it before this returns, which only Linux does.
#[cfg(not(target_os = "linux"))]
pub(crate) fn populate(_map: &Mmap) -> io::Result<()> {
    Err(io::ErrorKind::InvalidInput.into())
}

/// Unmaps what was touched.
pub(crate) fn let_go(map: &Mmap) -> io::Result<()> {
    // SAFETY: the mapping is shared, of a file, and nobody writes through it, so that no page
    // has bytes which are not the file's: whoever looks again, at slices that were handed out
    // before as well, finds the same.
    unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) }
}
