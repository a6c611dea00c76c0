//! A system that is no unix, such as Windows, and takes no advice.

use std::io;
use std::ops::Range;

use memmap2::Mmap;

use crate::Advice;

pub(crate) fn advise(_map: &Mmap, _advice: Advice) -> io::Result<()> {
    Ok(())
}

pub(crate) fn will_need(_map: &Mmap, _bytes: Range<usize>) -> io::Result<()> {
    Ok(())
}

pub(crate) fn populate(_map: &Mmap) -> io::Result<()> {
    Err(io::ErrorKind::InvalidInput.into())
}

pub(crate) fn let_go(_map: &Mmap) -> io::Result<()> {
    Ok(())
}
