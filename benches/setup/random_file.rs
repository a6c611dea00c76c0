//! A large file of random bytes, which is made once and then only read.
//!
//! It lies where the other files of the benches lie, 1 GiB of it. `RINGPOOL_BENCH_FILE=/path` sets
//! another one, on the disk that is to be measured: what is there is read as it is, whatever it
//! holds, and otherwise it is made, with `RINGPOOL_BENCH_SIZE=8GiB`.

use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpool::Memory;
use ringpool::storage::PageSize;

use super::run;

/// The page of the file.
pub const PAGE: PageSize = PageSize::KIB_4;

const SIZE_BYTES: u64 = 1 << 30;
/// For a run that only shows that the bench works.
const SMALL_BYTES: u64 = 16 << 20;

/// The file.
pub struct RandomFile {
    pub path: PathBuf,
    pub page_count: u64,
}

impl RandomFile {
    /// The file that was asked for, made if it is not there.
    pub fn ready() -> Self {
        let measured = run::is_measured();
        let size_bytes = if measured { size_bytes() } else { SMALL_BYTES };
        let given = env::var_os("RINGPOOL_BENCH_FILE").filter(|_| measured);
        let path = given
            .map_or_else(|| run::files().join(format!("random-{size_bytes}.bytes")), PathBuf::from);
        if !path.exists() {
            make(&path, size_bytes);
        }
        let len_bytes = fs::metadata(&path).expect("a file that can be read").len();
        Self { path, page_count: len_bytes / PAGE.bytes() as u64 }
    }
}

fn size_bytes() -> u64 {
    let word = env::var("RINGPOOL_BENCH_SIZE").ok();
    word.map_or(SIZE_BYTES, |word| match word.parse() {
        Ok(Memory::Bytes(bytes)) => PAGE.pages_for(bytes) * PAGE.bytes() as u64,
        Ok(Memory::Percent(_)) => panic!("RINGPOOL_BENCH_SIZE: a share of nothing: write 8GiB"),
        Err(error) => panic!("RINGPOOL_BENCH_SIZE: {error}"),
    })
}

/// Writes the file beside its place first: what is in its place is whole.
fn make(path: &Path, size_bytes: u64) {
    eprintln!("making {}, {} MiB, once", path.display(), size_bytes >> 20);
    let unfinished = path.with_extension("unfinished");
    let file = File::create(&unfinished).expect("a folder that can be written to");
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut rng = SmallRng::seed_from_u64(size_bytes);
    let mut page = vec![0; PAGE.bytes()];
    for _ in 0..size_bytes / PAGE.bytes() as u64 {
        rng.fill_bytes(&mut page);
        file.write_all(&page).expect("room for it");
    }
    let file = file.into_inner().expect("room for it");
    // What is dirty cannot be dropped from the page cache.
    file.sync_all().expect("a disk that takes it");
    fs::rename(&unfinished, path).expect("a folder that can be written to");
}
