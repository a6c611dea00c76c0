//! `ringpool compact`: several segments rewritten as one, without their deleted points.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ringpool::storage::PageSize;
use ringpool::{
    BuildError, BuildOptions, CompactError, Compaction, Error, Manifest, Memory, Order, Quantizer,
};
use serde::Serialize;

use crate::build::Watch;
use crate::console::Console;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::options::page_size;
use crate::{process, table};

/// Rewrite segments as one, without their deleted points
#[derive(Args)]
pub struct CompactArgs {
    /// The new segment's folder; must not exist, appears whole or not at all
    out: PathBuf,

    /// The segments: alike in metric, element, dimensions and columns. Points keep their ids, of
    /// which no two may be the same. What is not said below is as in the first
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,

    /// Neighbours that a new point gets in the graph (M)
    #[arg(long, value_name = "N")]
    m: Option<usize>,

    /// Candidates that a new point's neighbours are chosen from
    #[arg(long, value_name = "N")]
    ef_construction: Option<usize>,

    /// Codes to walk the graph by, as `build` takes them; may be given several times
    #[arg(long, value_name = "CODES")]
    quantize: Vec<Quantizer>,

    /// Put each point's neighbours and their codes beside its original, or none to do without
    #[arg(long, value_name = "CODES")]
    inline: Option<Quantizer>,

    /// How points lie on disk: packed or given, which is the order of their ids
    #[arg(long, value_name = "ORDER")]
    order: Option<Order>,

    /// Size of a page: a power of two from 4KiB to 64KiB
    #[arg(long, value_name = "BYTES", value_parser = page_size)]
    page_size: Option<PageSize>,

    /// Threads that build; 0 means one a core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,

    /// Decides layers and order of insertion
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Memory that it may need, in bytes or as a share of what is left: what needs more is refused
    /// before it begins
    #[arg(long, value_name = "BYTES|N%")]
    build_memory: Option<Memory>,

    /// Remove the segments once the new one is safe on disk, unless points of theirs were deleted
    /// meanwhile
    #[arg(long)]
    remove_sources: bool,
}

/// What was made.
#[derive(Serialize)]
struct Compacted {
    out: PathBuf,
    segments: u64,
    points_before: u64,
    deleted: u64,
    points: u64,
    dimensions: usize,
    m: usize,
    ef_construction: usize,
    quantize: Vec<String>,
    inline: Option<String>,
    seed: u64,
    order: String,
    bytes: u64,
    memory_needed_bytes: u64,
    peak_rss_bytes: Option<u64>,
    sources_removed: bool,
    wall_seconds: f64,
}

/// Runs the command.
pub fn execute(args: &CompactArgs, console: &Console) -> Result<(), Failure> {
    let started = Instant::now();
    let compaction = Compaction::new(&args.dirs).map_err(failure)?;
    let options = options(args, compaction.options());
    let memory_needed_bytes = compaction.memory_bytes(&options);
    expect_room(args, compaction.points(), memory_needed_bytes)?;
    let watch = Watch { bar: console.bar(), interrupt: &console.interrupt };
    let report = compaction.build(&args.out, &options, &watch).map_err(failure)?;
    if args.remove_sources {
        compaction.remove_sources().map_err(failure)?;
    }
    let manifest = Manifest::read(&args.out).map_err(|error| Failure::of(&error))?;
    let compacted = Compacted {
        out: args.out.clone(),
        segments: args.dirs.len() as u64,
        points_before: report.points_before,
        deleted: report.deleted,
        points: manifest.points as u64,
        dimensions: manifest.dim,
        m: manifest.m,
        ef_construction: manifest.ef_construction,
        quantize: manifest.quantizers.iter().map(ToString::to_string).collect(),
        inline: manifest.inlined.map(|codes| codes.to_string()),
        seed: manifest.seed,
        order: manifest.order.to_string(),
        bytes: report.build.pages_bytes,
        memory_needed_bytes,
        peak_rss_bytes: process::peak_rss_bytes(),
        sources_removed: args.remove_sources,
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    console.show(&compacted, text)
}

/// Those of the first segment, but for what was said.
fn options(args: &CompactArgs, own: BuildOptions) -> BuildOptions {
    let quantizers = match args.quantize.is_empty() {
        true => own.quantizers,
        false => args.quantize.clone(),
    };
    let inlined = match args.inline {
        Some(Quantizer::None) => None,
        said => said.or(own.inlined),
    };
    BuildOptions {
        m: args.m.unwrap_or(own.m),
        ef_construction: args.ef_construction.unwrap_or(own.ef_construction),
        quantizers,
        inlined,
        order: args.order.unwrap_or(own.order),
        page_size: args.page_size.unwrap_or(own.page_size),
        threads: args.threads,
        seed: args.seed.unwrap_or(own.seed),
        ..own
    }
}

fn expect_room(args: &CompactArgs, points: usize, needed_bytes: u64) -> Result<(), Failure> {
    let Some(memory) = args.build_memory else { return Ok(()) };
    let bound = memory.resolve(Memory::left_bytes().unwrap_or(0));
    if needed_bytes <= bound {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}: a segment of {} points needs {} to be built, more than the {} of --build-memory: \
         compact fewer segments at a time, with a smaller --m, fewer --quantize or fewer --threads, \
         or give more memory",
        args.out.display(),
        table::count(points as u64),
        table::bytes(needed_bytes),
        table::bytes(bound)
    )))
}

fn failure(error: Error) -> Failure {
    match &error {
        Error::Compact(CompactError::Build(BuildError::Cancelled)) => Interrupt::failure(),
        Error::Compact(CompactError::Build(
            BuildError::Option { .. } | BuildError::Quantizers(_),
        )) => Failure::Usage(error.to_string()),
        error => Failure::of(error),
    }
}

fn text(compacted: &Compacted) -> String {
    let removed = if compacted.sources_removed { "; they are removed" } else { "" };
    format!(
        "{}: {} points of {} segments, {} without the {} deleted, made in {} and {} of memory{}",
        compacted.out.display(),
        table::count(compacted.points),
        table::count(compacted.segments),
        table::bytes(compacted.bytes),
        table::count(compacted.deleted),
        table::duration_us(compacted.wall_seconds * 1e6),
        table::or_dash(compacted.peak_rss_bytes.map(table::bytes)),
        removed
    )
}
