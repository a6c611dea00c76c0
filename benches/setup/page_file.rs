//! A file of vectors, one to a page: written once, and read by every contestant.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::storage::{Checksums, FileKey, PageSize};

/// The page of the benches.
pub const PAGE: PageSize = PageSize::KIB_4;
/// The dimensions of the vector that each page starts with: 3,136 of its 4,096 bytes.
pub const DIM: usize = 784;

const KEY: FileKey = FileKey(0x7061_6765);

/// The file, what is in it, and the checksums of its pages.
pub struct PageFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub checksums: Checksums,
}

impl PageFile {
    /// The file of `pages` pages in the folder `files`. Written if it is not there as it should
    /// be.
    pub fn in_folder(files: &Path, pages: u64) -> Self {
        let path = files.join(format!("vectors-{pages}.pages"));
        let mut bytes = vec![0; pages as usize * PAGE.bytes()];
        let mut rng = SmallRng::seed_from_u64(pages);
        for value in bytes.as_chunks_mut::<4>().0 {
            *value = rng.random::<f32>().to_le_bytes();
        }
        if fs::read(&path).ok().as_ref() != Some(&bytes) {
            let mut file = File::create(&path).expect("a file in the target folder");
            file.write_all(&bytes).expect("room for it");
            // What is dirty cannot be dropped from the page cache.
            file.sync_all().expect("a disk that takes it");
        }
        let checksums = Checksums::of_pages(KEY, PAGE, &bytes);
        Self { path, bytes, checksums }
    }

    pub fn page_count(&self) -> u64 {
        self.checksums.page_count()
    }
}
