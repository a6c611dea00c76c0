//! The files that are read: made once, whole or not at all, and kept from study to study.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::whole_file;

/// How much is written between two looks at Ctrl-C.
const CHUNK_BYTES: u64 = 1 << 20;

/// Where the files of the study are unless the caller says otherwise.
pub fn folder(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("study");
    let folder = given.map_or(beside, Path::to_owned);
    let made = fs::create_dir_all(&folder);
    made.map_err(|error| Failure::at(&folder, "make the folder", &error))?;
    Ok(folder)
}

/// A file of `size_bytes` in `folder`, of floats between 0 and 1.
pub fn floats(folder: &Path, size_bytes: u64, console: &Console) -> Result<PathBuf, Failure> {
    let path = folder.join(format!("floats-{size_bytes}.f32"));
    if fs::metadata(&path).is_ok_and(|found| found.len() == size_bytes) {
        return Ok(path);
    }
    let bar = console.bar();
    let mut rng = SmallRng::seed_from_u64(size_bytes);
    let mut chunk = vec![0; CHUNK_BYTES as usize];
    let written = whole_file::publish(&path, |out| {
        let mut left_bytes = size_bytes;
        while left_bytes > 0 {
            if console.interrupt.asked() {
                return Err(io::Error::other("interrupted"));
            }
            bar.update("making the file", size_bytes - left_bytes, size_bytes);
            for value in chunk.as_chunks_mut::<4>().0 {
                *value = rng.random::<f32>().to_le_bytes();
            }
            let part = left_bytes.min(CHUNK_BYTES);
            out.write_all(&chunk[..part as usize])?;
            left_bytes -= part;
        }
        Ok(())
    });
    console.interrupt.check()?;
    written.map_err(|error| Failure::at(&path, "write it (it takes its size in room)", &error))?;
    Ok(path)
}
