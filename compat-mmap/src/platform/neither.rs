//! A system that is no unix, such as Windows, and takes no advice.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use crate::Advice;

pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Links are followed here.
pub(crate) fn is_of_a_link(_error: &io::Error) -> bool {
    false
}

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
