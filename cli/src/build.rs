//! `ringpool build`: makes a segment from a file of vectors.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use ringpool::storage::PageSize;
use ringpool::vectors::{self, Shape};
use ringpool::{
    Attached, BuildError, BuildOptions, BuildReport, Element, GivenIds, MAX_POINTS, Manifest,
    Memory, Metric, Order, Phase, Progress, Quantizer, Vectors,
};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::fields::{self, FieldFlags, FieldLine};
use crate::interrupt::Interrupt;
use crate::options::page_size;
use crate::progress::Bar;
use crate::{process, table};

/// Make a segment from a file of vectors
#[derive(Args)]
pub struct BuildArgs {
    /// File of vectors: .fvecs .bvecs .ivecs .npy, each also with .gz
    #[arg(long, value_name = "FILE")]
    vectors: PathBuf,

    /// The segment's folder; must not exist, appears whole or not at all
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// File of the vectors' ids, one for each: .npy of u64 or i64, or .txt with one a line, each
    /// also with .gz [default: 0, 1, 2 and so on]
    #[arg(long, value_name = "FILE", conflicts_with = "first_id")]
    ids: Option<PathBuf>,

    /// Id of the first vector; each has the next
    #[arg(long, default_value_t = 0, value_name = "N")]
    first_id: u64,

    #[command(flatten)]
    fields: FieldFlags,

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

    /// Put each point's neighbours and their codes, one of --quantize, beside its original: a walk
    /// through pages then reads one record a hop, for 2M codes a point more on disk
    #[arg(long, value_name = "CODES")]
    inline: Option<Quantizer>,

    /// How the originals are stored
    #[arg(long, value_enum, default_value = "as-given")]
    element: StoredElement,

    /// How points lie on disk: packed, near each other what is near in space, or as given. Searches
    /// find the same
    #[arg(long, default_value = "packed", value_name = "ORDER")]
    order: Order,

    /// Size of a page: a power of two from 4KiB to 64KiB
    #[arg(long, default_value = "4KiB", value_name = "BYTES", value_parser = page_size)]
    page_size: PageSize,

    /// Threads that build; 0 means one a core. The same bytes come out with any number
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,

    /// Memory that the build may need, in bytes or as a share of what is left: what needs more is
    /// refused before it begins
    #[arg(long, value_name = "BYTES|N%")]
    build_memory: Option<Memory>,

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
    inline: Option<String>,
    seed: u64,
    order: String,
    page_size_bytes: usize,
    /// What points have beside their vectors.
    fields: Vec<FieldLine>,
    bytes: u64,
    /// What the build was to need at most, as `--build-memory` counts it.
    memory_needed_bytes: u64,
    /// The most that was resident.
    peak_rss_bytes: Option<u64>,
    /// Points that nothing led to and that were linked at the end.
    linked_points: u64,
    codes_seconds: f64,
    graph_seconds: f64,
    packing_seconds: f64,
    write_seconds: f64,
    wall_seconds: f64,
}

/// Runs the command.
pub fn execute(args: &BuildArgs, console: &Console) -> Result<(), Failure> {
    let started = Instant::now();
    let options = BuildOptions {
        metric: args.metric,
        m: args.m,
        ef_construction: args.ef_construction,
        quantizers: args.quantize.clone(),
        inlined: args.inline,
        order: args.order,
        page_size: args.page_size,
        threads: args.threads,
        seed: args.seed,
    };
    let ids = args.ids.as_ref().map(|path| vectors::read_point_ids(path)).transpose();
    let ids = ids.map_err(|error| Failure::of(&error))?;
    let given = ids.as_deref().map_or(GivenIds::From(args.first_id), GivenIds::Each);
    let attached = Attached::from(given);
    let shape = vectors::shape(&args.vectors).map_err(|error| Failure::of(&error))?;
    if let Some(shape) = shape {
        expect_room(args, &options, &attached, shape)?;
    }
    let given = vectors::read(&args.vectors).map_err(|error| Failure::of(&error))?;
    let (rows, dim, element) = (given.len() as u64, given.dim(), given.element());
    let fields = args.fields.read(given.len(), console)?;
    let attached = Attached { columns: fields.as_ref().map(|file| &file.columns), ..attached };
    let shape = Shape { rows, dim, element };
    let memory_needed_bytes = expect_room(args, &options, &attached, shape)?;
    let rows = match args.element {
        StoredElement::AsGiven => Ok(given),
        StoredElement::F32 => Ok(given.to_f32()),
        StoredElement::F16 => given.to_f16(),
        StoredElement::Bf16 => given.to_bf16(),
    };
    let rows = rows.map_err(|error| Failure::of(&error))?;
    let sources = Sources { vectors: &args.vectors, ids: args.ids.as_deref() };
    let report = build(&rows, &attached, &sources, &args.out, &options, console)?;
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
        inline: manifest.inlined.map(|codes| codes.to_string()),
        seed: manifest.seed,
        order: manifest.order.to_string(),
        page_size_bytes: args.page_size.bytes(),
        fields: fields::lines(&manifest),
        bytes: bytes.sum(),
        memory_needed_bytes,
        peak_rss_bytes: process::peak_rss_bytes(),
        linked_points: report.linked_points as u64,
        codes_seconds: report.codes_time.as_secs_f64(),
        graph_seconds: report.graph_time.as_secs_f64(),
        packing_seconds: report.packing_time.as_secs_f64(),
        write_seconds: report.write_time.as_secs_f64(),
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    console.show(&built, text)
}

/// What the build will need, if it is no more than it may.
fn expect_room(
    args: &BuildArgs,
    options: &BuildOptions,
    attached: &Attached<'_>,
    shape: Shape,
) -> Result<u64, Failure> {
    let element = match args.element {
        StoredElement::AsGiven => shape.element,
        StoredElement::F32 => Element::F32,
        StoredElement::F16 => Element::F16,
        StoredElement::Bf16 => Element::Bf16,
    };
    let points = usize::try_from(shape.rows).unwrap_or(usize::MAX).min(MAX_POINTS);
    let possible = options.check(shape.dim);
    possible.map_err(|error| Failure::Usage(error.to_string()))?;
    let needed = options.memory(shape.dim, points, element);
    let attached_bytes = attached.memory_bytes();
    let peak_bytes = needed.peak_bytes() + attached_bytes;
    let Some(memory) = args.build_memory else { return Ok(peak_bytes) };
    let bound = memory.resolve(Memory::left_bytes().unwrap_or(0));
    if peak_bytes <= bound {
        return Ok(peak_bytes);
    }
    let left = bound.saturating_sub(attached_bytes);
    let fits = options.points_within(shape.dim, points, element, left);
    Err(Failure::new(format!(
        "{}: building {} vectors needs {} (vectors {}, codes {}, graph {}, fields {}, the rest beside them), \
         more than the {} of --build-memory, in which {} of them fit: build fewer at a time, with a \
         smaller --m, fewer --quantize or fewer --threads, or give more memory",
        args.vectors.display(),
        table::count(points as u64),
        table::bytes(peak_bytes),
        table::bytes(needed.vectors_bytes),
        table::bytes(needed.codes_bytes),
        table::bytes(needed.graph_bytes),
        table::bytes(attached_bytes),
        table::bytes(bound),
        table::count(fits as u64)
    )))
}

/// The files that a segment is built from.
pub struct Sources<'a> {
    pub vectors: &'a Path,
    pub ids: Option<&'a Path>,
}

/// Builds `out` from `rows` and what is attached to them, which were read from these files, with a
/// bar and with an ear for Ctrl-C.
pub fn build(
    rows: &Vectors,
    attached: &Attached<'_>,
    sources: &Sources<'_>,
    out: &std::path::Path,
    options: &BuildOptions,
    console: &Console,
) -> Result<BuildReport, Failure> {
    let watch = Watch { bar: console.bar(), interrupt: &console.interrupt };
    match ringpool::build_with(rows, attached, out, options, &watch) {
        Ok(report) => Ok(report),
        Err(BuildError::Cancelled) => Err(Interrupt::failure()),
        Err(
            error @ (BuildError::Option { .. }
            | BuildError::Quantizers(_)
            | BuildError::FirstId { .. }),
        ) => Err(Failure::Usage(error.to_string())),
        // These two are about what is in the file, which the library has not seen.
        Err(error @ (BuildError::NotFinite { .. } | BuildError::Empty)) => {
            Err(Failure::new(format!("{}: {error}", sources.vectors.display())))
        }
        Err(
            error @ (BuildError::IdCount { .. }
            | BuildError::DuplicateId { .. }
            | BuildError::IdTooLarge { .. }),
        ) => {
            let file = sources.ids.unwrap_or(sources.vectors);
            Err(Failure::new(format!("{}: {error}", file.display())))
        }
        Err(error) => Err(Failure::of(&error)),
    }
}

/// Passes the build's steps on to the bar, and Ctrl-C to the build.
pub struct Watch<'a> {
    pub bar: Bar,
    pub interrupt: &'a Interrupt,
}

impl Progress for Watch<'_> {
    fn report(&self, phase: Phase, done: u64, total: u64) -> ControlFlow<()> {
        let what = match phase {
            Phase::Read => "reading pages",
            Phase::Codes => "quantizing vectors",
            Phase::Graph => "building the graph",
            Phase::Packing => "packing points",
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
    let fields = match built.fields.len() {
        0 => String::new(),
        1 => " and a field".into(),
        fields => format!(" and {fields} fields"),
    };
    format!(
        "{}: {} points of {} dimensions ({}, {}){fields}, {} in pages of {}, built in {} and {} of \
         memory (at most {} was to be needed){linked}",
        built.out.display(),
        table::count(built.points),
        built.dimensions,
        built.element,
        built.metric,
        table::bytes(built.bytes),
        table::bytes(built.page_size_bytes as u64),
        table::duration_us(built.wall_seconds * 1e6),
        table::or_dash(built.peak_rss_bytes.map(table::bytes)),
        table::bytes(built.memory_needed_bytes)
    )
}
