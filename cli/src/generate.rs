//! `ringpool generate`: clustered vectors of any number, and queries from the same clusters.
//!
//! Real sets end at some size, and larger ones are not always to be had. Rows are made, written
//! and forgotten a few MiB at a time, so that the memory needed is that of the cluster centres.

mod clusters;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use ringpool::vectors::RowWriter;
use ringpool::{Element, MAX_DIM, MAX_POINTS};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::table;

pub use clusters::{Clusters, Draw};

/// Make a file of clustered vectors of any size
#[derive(Args)]
pub struct GenerateArgs {
    /// How many vectors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_POINTS as u64))]
    n: u64,

    /// Values a vector
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_DIM as i64))]
    dim: u32,

    /// Clusters that they lie in
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    clusters: u32,

    /// Decides everything: the same seed gives the same bytes on any machine
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,

    /// Where they go: .fvecs, .bvecs or .npy, each also with .gz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// How many queries, drawn from the same clusters and independent of the vectors
    #[arg(long, value_name = "N", requires = "queries_out", value_parser = clap::value_parser!(u64).range(1..=MAX_POINTS as u64))]
    queries: Option<u64>,

    /// Where the queries go
    #[arg(long, value_name = "FILE", requires = "queries")]
    queries_out: Option<PathBuf>,

    /// Type of a value: f32, f16, bf16, u8 or i8 [default: u8 in .bvecs, else f32]
    #[arg(long)]
    element: Option<Element>,

    /// This share of the queries goes to a fifth of the clusters, as 0.8 for a skew of 80 to 20
    /// [default: all clusters alike]
    #[arg(long, value_name = "X", requires = "queries", value_parser = skew)]
    skew: Option<f64>,

    /// How wide a cluster is: its standard deviation, where that of the centres is 1
    #[arg(long, default_value_t = 0.5, value_name = "X", value_parser = spread)]
    spread: f64,
}

/// What was written.
#[derive(Serialize)]
struct Generated {
    out: PathBuf,
    points: u64,
    dimensions: u32,
    element: String,
    clusters: u32,
    spread: f64,
    seed: u64,
    bytes: u64,
    queries_out: Option<PathBuf>,
    queries: u64,
    skew: Option<f64>,
    wall_seconds: f64,
}

/// Values that are made and written at a time: 4 MiB of f32.
const VALUES_AT_ONCE: usize = 1 << 20;
/// The most memory that the centres may take.
const MAX_CENTRES_BYTES: u64 = 1 << 30;

/// Runs the command.
pub fn execute(args: &GenerateArgs, console: &Console) -> Result<(), Failure> {
    let started = Instant::now();
    let centres_bytes = u64::from(args.clusters) * u64::from(args.dim) * size_of::<f32>() as u64;
    if centres_bytes > MAX_CENTRES_BYTES {
        return Err(Failure::Usage(format!(
            "--clusters {}: their centres would take {}; at most {} are possible with --dim {}",
            args.clusters,
            table::bytes(centres_bytes),
            MAX_CENTRES_BYTES / (u64::from(args.dim) * size_of::<f32>() as u64),
            args.dim
        )));
    }
    let element = args.element.unwrap_or_else(|| default_element(&args.out));
    let create = |path, rows| {
        let file = RowWriter::create(path, element, args.dim as usize, rows);
        file.map_err(|error| Failure::of(&error))
    };
    // Both before the first row: a refusal is not waited for.
    let mut base = create(&args.out, args.n)?;
    let queries = args.queries_out.as_deref().zip(args.queries);
    let mut query_file = queries.map(|(path, rows)| create(path, rows)).transpose()?;
    let (dim, clusters) = (args.dim as usize, args.clusters as usize);
    let clusters = Clusters::draw(dim, clusters, args.spread, args.seed).skewed(args.skew);
    let bar = console.bar();
    fill(&mut base, &clusters, (Draw::Base, args.n), element, console, &bar)?;
    if let (Some(file), Some((_, rows))) = (&mut query_file, queries) {
        fill(file, &clusters, (Draw::Query, rows), element, console, &bar)?;
    }
    for file in [Some(base), query_file].into_iter().flatten() {
        file.publish().map_err(|error| Failure::of(&error))?;
    }
    drop(bar);
    let length = std::fs::metadata(&args.out);
    let length = length.map_err(|error| Failure::at(&args.out, "read its length", &error))?;
    let generated = Generated {
        out: args.out.clone(),
        points: args.n,
        dimensions: args.dim,
        element: element.to_string(),
        clusters: args.clusters,
        spread: args.spread,
        seed: args.seed,
        bytes: length.len(),
        queries_out: args.queries_out.clone(),
        queries: args.queries.unwrap_or(0),
        skew: args.skew,
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    console.show(&generated, text)
}

/// Writes `rows` rows of the kind that `draw` names, until Ctrl-C.
fn fill(
    file: &mut RowWriter,
    clusters: &Clusters,
    (draw, rows): (Draw, u64),
    element: Element,
    console: &Console,
    bar: &Bar,
) -> Result<(), Failure> {
    let at_once = (VALUES_AT_ONCE / clusters.dim()).max(1);
    for first in (0..rows).step_by(at_once) {
        console.interrupt.check()?;
        let count = (rows - first).min(at_once as u64);
        let made = clusters.rows(draw, first..first + count, element);
        let written = made.map_err(|error| Failure::of(&error))?;
        file.write(&written).map_err(|error| Failure::of(&error))?;
        bar.update(draw.what(), first + count, rows);
    }
    Ok(())
}

fn default_element(out: &Path) -> Element {
    let name = out.to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".bvecs") { Element::U8 } else { Element::F32 }
}

fn spread(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(spread) if spread.is_finite() && (0.0..=1e3).contains(&spread) => Ok(spread),
        _ => Err("use a decimal from 0 to 1000".into()),
    }
}

fn skew(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(skew) if (0.0..=1.0).contains(&skew) => Ok(skew),
        _ => Err("use a decimal from 0 to 1".into()),
    }
}

fn text(made: &Generated) -> String {
    let queries = made.queries_out.iter().map(|path| {
        format!(
            "\n{}: {} queries from the same clusters",
            path.display(),
            table::count(made.queries)
        )
    });
    format!(
        "{}: {} vectors of {} dimensions ({}) in {} clusters, {}, made in {}{}",
        made.out.display(),
        table::count(made.points),
        made.dimensions,
        made.element,
        table::count(made.clusters.into()),
        table::bytes(made.bytes),
        table::duration_us(made.wall_seconds * 1e6),
        queries.collect::<String>()
    )
}
