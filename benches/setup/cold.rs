//! Cold reads: dropping a file from the page cache, and proof that the disk was read.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// Drops what the kernel holds of the file at `path`. It keeps pages that are mapped or dirty:
/// unmap the file first, and sync it once it is written.
pub fn evict(path: &Path) {
    let file = File::open(path).expect("the bench has written this file");
    fadvise(&file, 0, None, Advice::DontNeed).expect("a regular file takes advice");
}

/// The bytes that this process has had read from disks so far, by whatever means; `None` where
/// the kernel does not tell.
fn disk_read_bytes() -> Option<u64> {
    let counts = fs::read_to_string("/proc/self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok())
}

/// Counts what is read from disks while a cold bench runs.
pub struct DiskReads(Option<u64>);

impl DiskReads {
    /// Counts from now on.
    pub fn start() -> Self {
        Self(disk_read_bytes())
    }

    /// How many bytes were read since the start; `None` where the kernel does not tell.
    pub fn bytes(&self) -> Option<u64> {
        Some(disk_read_bytes()? - self.0?)
    }
}
