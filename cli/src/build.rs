//! `ringpool build`: makes a segment from a file of vectors.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use ringpool::storage::PageSize;
use ringpool::{
    BuildError, BuildOptions, BuildReport, Manifest, Metric, Phase, Progress, Quantizer,
};
use ringpool::{Vectors, vectors};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::options::page_size;
use crate::progress::Bar;
use crate::table;

/// Make a segment from a file of vectors
#[derive(Args)]
pub struct BuildArgs {
    /// File of vectors: .fvecs .bvecs .ivecs .npy, each also with .gz
    #[arg(long, value_name = "FILE")]
    vectors: PathBuf,

    /// The segment's folder; must not exist, appears whole or not at all
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// What near means: l2, ip or cosine
    #[arg(long, default_value = "l2")]
    metric: Metric,

    /// Neighbours that a new point gets in the graph (M)
    #[arg(long, default_value_t = 16, value_name = "N")]
    m: usize,

    /// Candidates that a new point's neighbours are chosen from
    #[arg(long, default_value_t = 200, value_name = "N")]
    ef_construction: usize,

    /// Codes to walk the graph by: sq8, sq4, pq:BYTES, rabitq:1, rabitq:2, rabitq:4 or none. May be
    /// given several times; `search --codes` chooses, the first is its default
    #[arg(long, default_value = "sq8", value_name = "CODES")]
    quantize: Vec<Quantizer>,

    /// How the originals are stored
    #[arg(long, value_enum, default_value = "as-given")]
    element: StoredElement,

    /// Size of a page: a power of two from 4KiB to 64KiB
    #[arg(long, default_value = "4KiB", value_name = "BYTES", value_parser = page_size)]
    page_size: PageSize,

    /// Threads that build; 0 means one a core. The same bytes come out with any number
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,

    /// Decides layers and order of insertion
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum StoredElement {
    /// As they are in the file
    AsGiven,
    /// Widened to floats of 32 bits
    F32,
    /// Narrowed to floats of 16 bits, rounded to the nearest: 11 bits are kept
    F16,
    /// Narrowed to the upper half of a float of 32 bits, rounded to the nearest: 8 bits are kept
    Bf16,
}

/// What was built.
#[derive(Serialize)]
struct Built {
    out: PathBuf,
    points: u64,
    dimensions: usize,
    element: String,
    metric: String,
    m: usize,
    ef_construction: usize,
    quantize: Vec<String>,
    seed: u64,
    page_size_bytes: usize,
    bytes: u64,
    /// Points that nothing led to and that were linked at the end.
    linked_points: u64,
    codes_seconds: f64,
    graph_seconds: f64,
    write_seconds: f64,
    wall_seconds: f64,
}

/// Runs the command.
pub fn execute(args: &BuildArgs, console: &Console) -> Result<(), Failure> {
    let started = Instant::now();
    let given = vectors::read(&args.vectors).map_err(|error| Failure::of(&error))?;
    let rows = match args.element {
        StoredElement::AsGiven => Ok(given),
        StoredElement::F32 => Ok(given.to_f32()),
        StoredElement::F16 => given.to_f16(),
        StoredElement::Bf16 => given.to_bf16(),
    };
    let rows = rows.map_err(|error| Failure::of(&error))?;
    let options = BuildOptions {
        metric: args.metric,
        m: args.m,
        ef_construction: args.ef_construction,
        quantizers: args.quantize.clone(),
        page_size: args.page_size,
        threads: args.threads,
        seed: args.seed,
    };
    let report = build(&rows, &args.vectors, &args.out, &options, console)?;
    let manifest = Manifest::read(&args.out).map_err(|error| Failure::of(&error))?;
    let files = manifest.component_files(&args.out).map_err(|error| Failure::of(&error))?;
    let bytes = files.iter().map(|file| file.pages * file.page_size.bytes() as u64);
    let built = Built {
        out: args.out.clone(),
        points: manifest.points as u64,
        dimensions: manifest.dim,
        element: manifest.element.to_string(),
        metric: manifest.metric.to_string(),
        m: manifest.m,
        ef_construction: manifest.ef_construction,
        quantize: manifest.quantizers.iter().map(ToString::to_string).collect(),
        seed: manifest.seed,
        page_size_bytes: args.page_size.bytes(),
        bytes: bytes.sum(),
        linked_points: report.linked_points as u64,
        codes_seconds: report.codes_time.as_secs_f64(),
        graph_seconds: report.graph_time.as_secs_f64(),
        write_seconds: report.write_time.as_secs_f64(),
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    console.show(&built, text)
}

/// Builds `out` from `rows`, which were read from `file`, with a bar and with an ear for Ctrl-C.
pub fn build(
    rows: &Vectors,
    file: &std::path::Path,
    out: &std::path::Path,
    options: &BuildOptions,
    console: &Console,
) -> Result<BuildReport, Failure> {
    let watch = Watch { bar: console.bar(), interrupt: &console.interrupt };
    match ringpool::build(rows, out, options, &watch) {
        Ok(report) => Ok(report),
        Err(BuildError::Cancelled) => Err(Interrupt::failure()),
        Err(error @ (BuildError::Option { .. } | BuildError::Quantizers(_))) => {
            Err(Failure::Usage(error.to_string()))
        }
        // These two are about what is in the file, which the library has not seen.
        Err(error @ (BuildError::NotFinite { .. } | BuildError::Empty)) => {
            Err(Failure::new(format!("{}: {error}", file.display())))
        }
        Err(error) => Err(Failure::of(&error)),
    }
}

/// Passes the build's steps on to the bar, and Ctrl-C to the build.
struct Watch<'a> {
    bar: Bar,
    interrupt: &'a Interrupt,
}

impl Progress for Watch<'_> {
    fn report(&self, phase: Phase, done: u64, total: u64) -> ControlFlow<()> {
        let what = match phase {
            Phase::Codes => "quantizing vectors",
            Phase::Graph => "building the graph",
            Phase::Write => "writing bytes",
        };
        self.bar.update(what, done, total);
        if self.interrupt.asked() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn text(built: &Built) -> String {
    let linked = match built.linked_points {
        0 => String::new(),
        points => format!("; {} that nothing led to were linked", table::count(points)),
    };
    format!(
        "{}: {} points of {} dimensions ({}, {}), {} in pages of {}, built in {}{linked}",
        built.out.display(),
        table::count(built.points),
        built.dimensions,
        built.element,
        built.metric,
        table::bytes(built.bytes),
        table::bytes(built.page_size_bytes as u64),
        table::duration_us(built.wall_seconds * 1e6)
    )
}
