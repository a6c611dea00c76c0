//! Makes the slice of Fashion-MNIST that is shipped in `data/`: the first rows of the published
//! vectors and queries, and the exact nearest neighbours within them.
//!
//! ```sh
//! cargo run --release --example make_fashion_slice -- BASE QUERY OUT_DIR \
//!     [--base-rows 12000] [--query-rows 500]
//! ```
//!
//! BASE and QUERY are `.bvecs` or `.bvecs.gz` files of 784 pixels a row. The same input gives the
//! same bytes: no time stamp goes into the files, and ties in the truth go to the lower id.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::{Compression, GzBuilder};
use ringpool::vectors::{self, IdRows};
use ringpool::{Element, Metric, Vectors, exact_search};

/// How many neighbours the truth lists for each query.
const TRUTH_WIDTH: usize = 100;

const USAGE: &str = "make_fashion_slice BASE QUERY OUT_DIR [--base-rows N] [--query-rows N]";

struct Arguments {
    base: PathBuf,
    query: PathBuf,
    out_dir: PathBuf,
    base_rows: usize,
    query_rows: usize,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("usage: {USAGE}");
        return ExitCode::from(2);
    };
    match make_slice(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make_fashion_slice: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make_slice(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let base = first_rows(&arguments.base, arguments.base_rows)?;
    let query = first_rows(&arguments.query, arguments.query_rows)?;
    let truth: Vec<Vec<u64>> = exact_search(&base, &query, Metric::L2, TRUTH_WIDTH)?
        .iter()
        .map(|hits| hits.iter().map(|hit| hit.id).collect())
        .collect();

    let out_dir = &arguments.out_dir;
    fs::create_dir_all(out_dir).map_err(|e| format!("{}: {e}", out_dir.display()))?;
    write_bvecs(&out_dir.join("base.bvecs.gz"), &base)?;
    write_bvecs(&out_dir.join("query.bvecs.gz"), &query)?;
    let truth_path = out_dir.join("truth.ivecs.gz");
    vectors::write_ids(&truth_path, &truth)?;

    let written: IdRows = vectors::read_ids(&truth_path)?;
    println!(
        "{}: {} vectors, {} queries, the {} nearest of each",
        out_dir.display(),
        base.len(),
        written.len(),
        written.width()
    );
    Ok(())
}

/// The first `rows` rows of a file of bytes.
fn first_rows(path: &Path, rows: usize) -> Result<Vectors, Box<dyn Error>> {
    let all = vectors::read(path)?;
    if all.element() != Element::U8 || all.len() < rows {
        let (path, found) = (path.display(), all.len());
        return Err(format!("{path}: {rows} rows of bytes are wanted; it has {found} rows").into());
    }
    let pixels = (0..rows).flat_map(|row| all.row_bytes(row).iter().copied());
    Ok(Vectors::from_u8(all.dim(), pixels.collect())?)
}

fn write_bvecs(path: &Path, vectors: &Vectors) -> Result<(), Box<dyn Error>> {
    let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut gzip = GzBuilder::new().mtime(0).write(file, Compression::best());
    for row in 0..vectors.len() {
        gzip.write_all(&(vectors.dim() as i32).to_le_bytes())?;
        gzip.write_all(vectors.row_bytes(row))?;
    }
    gzip.finish()?.sync_all()?;
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut base_rows, mut query_rows) = (12_000, 500);
    let mut paths = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--base-rows" => base_rows = arguments.next()?.parse().ok()?,
            "--query-rows" => query_rows = arguments.next()?.parse().ok()?,
            flag if flag.starts_with('-') => return None,
            path => paths.push(PathBuf::from(path)),
        }
    }
    let [base, query, out_dir] = paths.try_into().ok()?;
    Some(Arguments { base, query, out_dir, base_rows, query_rows })
}
