//! What the kernel's page cache holds of a file, and how to make it let go.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use memmap2::{Mmap, MmapOptions};
use rustix::fs::{Access, Advice, access, fadvise};

use crate::failure::Failure;

/// How much of a file is asked about at once: bounds the mapping and its answer.
const WINDOW_BYTES: u64 = 1 << 30;

/// How often eviction is tried. Pages on their way into the cache are missed the first time.
const EVICTION_TRIES: u32 = 10;

/// How long between two tries.
const EVICTION_PAUSE: Duration = Duration::from_millis(10);

/// How many bytes of `files` are in the page cache, or why the kernel will not tell.
pub fn held_bytes(files: &[PathBuf]) -> Result<u64, String> {
    files.iter().map(|path| held_of(path)).sum()
}

/// Drops `files` from the page cache, so that the next read goes to the disk.
///
/// # Errors
/// When pages stay: the figures of a cold run would not be cold.
pub fn evict(files: &[PathBuf]) -> Result<(), Failure> {
    files.iter().try_for_each(|path| evict_one(path))
}

fn evict_one(path: &Path) -> Result<(), Failure> {
    let refused =
        |error: &dyn std::error::Error| Failure::at(path, "drop it from the page cache", error);
    let file = File::open(path).map_err(|error| refused(&error))?;
    let mut held = 0;
    for _ in 0..EVICTION_TRIES {
        // No length: to the end of the file.
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| refused(&error))?;
        // Where the kernel will not tell what it holds, the request is all that can be done.
        held = held_of(path).unwrap_or(0);
        if held == 0 {
            return Ok(());
        }
        thread::sleep(EVICTION_PAUSE);
    }
    Err(Failure::new(format!(
        "{}: {held} bytes stay in the page cache, so that a run would not be cold: end other \
         processes that map the file, and keep it on a disk, not on tmpfs",
        path.display()
    )))
}

fn held_of(path: &Path) -> Result<u64, String> {
    let shown = path.display();
    let reason = |error: io::Error| format!("{shown}: {error}");
    // Since 5.2 the kernel calls every page resident to those who could not write the file.
    if access(path, Access::WRITE_OK).is_err() {
        return Err(format!("{shown}: the kernel tells only who may write the file"));
    }
    let file = File::open(path).map_err(reason)?;
    let length = file.metadata().map_err(reason)?.len();
    let mut held = 0;
    let mut start = 0;
    while start < length {
        let window = WINDOW_BYTES.min(length - start);
        held += held_in(&file, start, window).map_err(reason)?;
        start += window;
    }
    Ok(held)
}

/// How many of `length` bytes from `start` on are cached.
fn held_in(file: &File, start: u64, length: u64) -> io::Result<u64> {
    let page = procfs::page_size();
    // SAFETY: the mapping is only asked about, its bytes are never read. A file that is cut
    // meanwhile therefore raises no signal.
    let map: Mmap = unsafe { MmapOptions::new().offset(start).len(length as usize).map(file)? };
    let mut resident = vec![0_u8; (length.div_ceil(page)) as usize];
    debug_assert_eq!(map.as_ptr().addr() as u64 % page, 0, "mappings start on a page");
    // SAFETY: the address is the start of a mapping of `length` bytes that lives until the end of
    // this function, and the answer has one byte for each of its pages.
    let code =
        unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), resident.as_mut_ptr()) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    let pages = resident.iter().filter(|flags| **flags & 1 == 1).count() as u64;
    Ok((pages * page).min(length))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Seek, SeekFrom};

    use super::*;

    #[test]
    fn cached_bytes_are_counted_and_evicted() {
        // Beside the test's binary: the folder for temporary files may be on tmpfs.
        let binary = std::env::current_exe().unwrap();
        let dir = tempfile::tempdir_in(binary.parent().unwrap()).unwrap();
        let path = dir.path().join("f");
        fs::write(&path, vec![7; 100_000]).unwrap();
        let mut file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        let files = [path];

        evict(&files).unwrap();
        assert_eq!(held_bytes(&files), Ok(0));

        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(held_bytes(&files), Ok(100_000));
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = [PathBuf::from("/no/such/file")];
        assert!(held_bytes(&missing).unwrap_err().contains("/no/such/file"));
        assert!(evict(&missing).unwrap_err().to_string().contains("/no/such/file"));
    }
}
