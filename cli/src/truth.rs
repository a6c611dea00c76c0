//! `ringpool truth`: the true nearest neighbours of queries, by measuring every vector.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use ringpool::vectors;
use ringpool::{
    Backend, Error, Hit, Index, Indexes, MAX_DIM, Metric, OpenOptions, Quantizer, SearchError,
    Vectors, exact_search_while,
};
use serde::Serialize;

use crate::answers::Answers;
use crate::console::Console;
use crate::failure::Failure;
use crate::filtering::{self, Chosen, FILTER_HELP};
use crate::interrupt::Interrupt;
use crate::options::MEMORY_HELP;
use crate::progress::Bar;
use crate::table;

/// Find the true neighbours of queries by brute force, on all cores
#[derive(Args)]
#[command(group = clap::ArgGroup::new("base").required(true))]
pub struct TruthArgs {
    /// File of vectors: .fvecs .bvecs .ivecs .npy, each also with .gz
    #[arg(long, value_name = "FILE", group = "base", requires = "metric")]
    vectors: Option<PathBuf>,

    /// A segment instead, whose pages are read through the backend
    #[arg(long, value_name = "DIR", group = "base")]
    segment: Option<PathBuf>,

    /// File of query vectors
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// What near means: l2, ip or cosine; a segment has its own
    #[arg(long, conflicts_with = "segment")]
    metric: Option<Metric>,

    /// Neighbours of each query
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_DIM as i64))]
    k: u32,

    #[arg(long, value_name = "FILTER", help = FILTER_HELP, conflicts_with = "vectors")]
    filter: Option<String>,

    /// Where their ids go, nearest first, ties by lower id, -1 where there are fewer: .ivecs for ids
    /// up to 2^31 - 1, or .npy, of u64; each also with .gz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// What a segment's pages are read through: pool, mmap, direct or memory
    #[arg(long, default_value = "pool", conflicts_with = "vectors")]
    backend: Backend,

    #[arg(long, value_name = "BYTES|N%", help = MEMORY_HELP, conflicts_with = "vectors")]
    memory: Option<ringpool::Memory>,
}

/// What was found.
#[derive(Serialize)]
struct Found {
    out: PathBuf,
    queries: u64,
    k: u32,
    points: u64,
    /// What of them the filter let pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    selected: Option<u64>,
    dimensions: usize,
    metric: String,
    /// `null` over a file.
    backend: Option<String>,
    wall_seconds: f64,
    answers_crc32c: String,
}

/// Runs the command.
pub fn execute(args: &TruthArgs, console: &Console) -> Result<(), Failure> {
    let started = Instant::now();
    // First of all: who named a file that nobody could write need not wait for it.
    vectors::expect_ids_file(&args.out).map_err(|error| Failure::of(&error))?;
    let queries = read(&args.queries)?;
    let k = args.k as usize;
    let base = measure(args, &queries, k, console)?;
    let answers = Answers(base.found.map_err(|error| refusal(&error, &args.queries))?);
    answers.write_ids(&args.out, k)?;
    let found = Found {
        out: args.out.clone(),
        queries: queries.len() as u64,
        k: args.k,
        points: base.points as u64,
        selected: base.selected.map(|selected| selected as u64),
        dimensions: queries.dim(),
        metric: base.metric.to_string(),
        backend: args.segment.as_ref().map(|_| args.backend.to_string()),
        wall_seconds: started.elapsed().as_secs_f64(),
        answers_crc32c: format!("{:08x}", answers.crc32c()),
    };
    console.show(&found, text)
}

/// What was compared with the queries, and what came of it.
struct Base {
    found: Result<Vec<Vec<Hit>>, SearchError>,
    points: usize,
    selected: Option<usize>,
    metric: Metric,
}

/// Measures all vectors of the file or the segment.
fn measure(
    args: &TruthArgs,
    queries: &Vectors,
    k: usize,
    console: &Console,
) -> Result<Base, Failure> {
    let bar = console.bar();
    let progress = &mut progress(&bar, &console.interrupt);
    if let Some(path) = &args.vectors {
        let base = read(path)?;
        let metric = args.metric.unwrap_or(Metric::L2);
        let found = exact_search_while(&base, queries, metric, k, progress);
        return Ok(Base { found, points: base.len(), selected: None, metric });
    }
    let Some(dir) = &args.segment else {
        return Err(Failure::Usage("give --vectors or --segment".into()));
    };
    let filter = args.filter.as_deref().map(filtering::read).transpose()?;
    let options = OpenOptions {
        backend: args.backend,
        memory: args.memory,
        codes: Some(Quantizer::None),
        ..OpenOptions::default()
    };
    let index = Index::open(dir, &options).map_err(|error| Failure::of(&error))?;
    let segment = index.segment();
    let (points, metric) = (segment.manifest().points, segment.manifest().metric);
    let indexes = Indexes::from(index);
    let by = |filter| Chosen::by(filter, &indexes, &console.interrupt);
    let chosen = filter.map(by).transpose()?;
    let among = chosen.as_ref().map(|chosen| &chosen.selections[..]);
    let found = indexes.snapshot().exact_search_among(queries, k, among, progress);
    let found = match found {
        Err(Error::Search(error)) => Err(error),
        Err(other) => return Err(Failure::of(&other)),
        Ok(found) => Ok(found),
    };
    Ok(Base { found, points, selected: chosen.as_ref().map(Chosen::selected), metric })
}

fn read(path: &Path) -> Result<Vectors, Failure> {
    vectors::read(path).map_err(|error| Failure::of(&error))
}

/// Tells the bar how far exact search is, and ends it on Ctrl-C.
pub fn progress<'a>(
    bar: &'a Bar,
    interrupt: &'a Interrupt,
) -> impl FnMut(u64, u64) -> ControlFlow<()> + Send + 'a {
    move |done, total| {
        bar.update("measuring vectors", done, total);
        if interrupt.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Why there are no exact answers to the queries of a file.
pub fn refusal(error: &SearchError, queries: &Path) -> Failure {
    match error {
        SearchError::Cancelled => Interrupt::failure(),
        SearchError::Query { .. } | SearchError::Dimension { .. } => {
            Failure::new(format!("{}: {error}", queries.display()))
        }
        other => Failure::of(other),
    }
}

fn text(found: &Found) -> String {
    let points = match found.selected {
        Some(selected) => {
            format!("{} selected of {}", table::count(selected), table::count(found.points))
        }
        None => table::count(found.points),
    };
    format!(
        "{}: the {} nearest of {points} points for {} queries ({}), found in {}",
        found.out.display(),
        table::count(found.k.into()),
        table::count(found.queries),
        found.metric,
        table::duration_us(found.wall_seconds * 1e6)
    )
}
