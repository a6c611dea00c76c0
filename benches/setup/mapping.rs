//! A bare mapping: what a page costs of which one knows where it is.

use std::fs::File;
use std::path::Path;

use memmap2::{Advice, Mmap};
use ringpool::storage::{PageNo, PageSize};

const PAGE: PageSize = PageSize::KIB_4;

/// Maps the file with MADV_RANDOM.
#[allow(unsafe_code)]
pub fn random(path: &Path) -> Mmap {
    let opened = File::open(path).expect("a file that was written");
    // SAFETY: the file is the benches' own, and nobody writes to it while it is mapped.
    let map = unsafe { Mmap::map(&opened) }.expect("address space");
    map.advise(Advice::Random).expect("a kernel that takes advice");
    map
}

/// A page of it, with nothing in between.
#[inline]
pub fn slice(map: &Mmap, page: PageNo) -> &[u8] {
    &map[page.0 as usize * PAGE.bytes()..][..PAGE.bytes()]
}
