//! What is searched: vectors of a folder, or clustered ones that are made, as a segment that is built
//! once and kept from study to study.
//!
//! Vectors are widened to f32, as those of the published comparisons are. The segment carries int8
//! codes (sq8), M 16, ef_construction 200.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use ringpool::vectors::{self, RowWriter};
use ringpool::{BuildOptions, Element, Manifest, Metric, Phase, Progress, Vectors, build};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::generate::{Clusters, Draw};
use ringpool_cli::progress::Bar;

use super::opened::{CODES, Paged};
use crate::page_file;

/// Decides the clustered vectors.
const SEED: u64 = 0;
/// How wide a cluster is: its standard deviation, where that of the centres is 1.
const SPREAD: f64 = 0.5;
/// Points of a cluster.
const CLUSTER_POINTS: usize = 100;

/// Which vectors.
#[derive(Args, Clone)]
pub struct DataArgs {
    /// A folder with base.* and query.* (.fvecs, .bvecs or .npy, also .gz) to search instead
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,

    /// What near means in it: l2, ip or cosine
    #[arg(long, default_value = "l2", value_name = "METRIC", requires = "data")]
    metric: Metric,
}

/// A segment, and queries for it.
pub struct DataSet {
    /// For people.
    pub name: String,
    pub segment: PathBuf,
    pub queries: PathBuf,
    pub points: usize,
    pub dim: usize,
}

impl DataArgs {
    /// The folder that was named, or else the vectors that lie in the repository, with so many
    /// queries if there are.
    pub fn or_shipped(
        &self,
        queries: u32,
        dir: Option<&Path>,
        console: &Console,
    ) -> Result<DataSet, Failure> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
        let folder = self.data.as_deref().unwrap_or(&shipped);
        DataSet::of_folder(folder, self.metric, queries, dir, console)
    }

    /// The folder that was named, or else `points` clustered vectors of `dim` values.
    pub fn or_clustered(
        &self,
        shape: (usize, usize),
        queries: u32,
        dir: Option<&Path>,
        console: &Console,
    ) -> Result<DataSet, Failure> {
        match &self.data {
            Some(folder) => DataSet::of_folder(folder, self.metric, queries, dir, console),
            None => DataSet::clustered(shape, queries, dir, console),
        }
    }
}

impl DataSet {
    /// The vectors in `folder`.
    fn of_folder(
        folder: &Path,
        metric: Metric,
        queries: u32,
        dir: Option<&Path>,
        console: &Console,
    ) -> Result<Self, Failure> {
        let name = folder.file_name().map_or("data".into(), |name| name.to_string_lossy());
        let read = |stem| {
            let rows = vectors::read(&file_of(folder, stem)?);
            rows.map(Vectors::to_f32).map_err(|error| Failure::of(&error))
        };
        let own = page_file::folder(dir)?;
        let segment = own.join(format!("{name}-{metric}.segment"));
        let manifest = built(&segment, metric, || read("base"), console)?;
        let path = own.join(format!("{name}.queries-{queries}.fvecs"));
        asked(&path, || first(&read("query")?, queries as usize))?;
        Ok(Self::of(&manifest, name.into_owned(), segment, path))
    }

    /// Clustered vectors, the same on any machine.
    pub fn clustered(
        (points, dim): (usize, usize),
        queries: u32,
        dir: Option<&Path>,
        console: &Console,
    ) -> Result<Self, Failure> {
        let name = format!("clustered-{points}x{dim}");
        let folder = page_file::folder(dir)?;
        let segment = folder.join(format!("{name}.segment"));
        let path = folder.join(format!("{name}.queries-{queries}.fvecs"));
        let clusters = || Clusters::draw(dim, points.div_ceil(CLUSTER_POINTS), SPREAD, SEED);
        let rows = |draw, rows| {
            let made = clusters().rows(draw, 0..rows, Element::F32);
            made.map_err(|error| Failure::of(&error))
        };
        let base = || rows(Draw::Base, points as u64);
        let manifest = built(&segment, Metric::L2, base, console)?;
        asked(&path, || rows(Draw::Query, queries.into()))?;
        Ok(Self::of(&manifest, name, segment, path))
    }

    fn of(manifest: &Manifest, name: String, segment: PathBuf, queries: PathBuf) -> Self {
        Self { name, segment, queries, points: manifest.points, dim: manifest.dim }
    }

    /// The bytes of the pages that are read at search time, and the files that they are in.
    pub fn paged(&self, paged: Paged) -> Result<(u64, Vec<PathBuf>), Failure> {
        let manifest = Manifest::read(&self.segment).map_err(|error| Failure::of(&error))?;
        let page_bytes = manifest.page_size.bytes() as u64;
        let read = manifest.components.iter().filter(|one| paged.has(one.kind));
        let (mut bytes, mut files) = (0, Vec::new());
        for component in read {
            bytes += component.pages * page_bytes;
            files.push(self.segment.join(component.pages_file()));
        }
        Ok((bytes, files))
    }
}

/// The manifest of the segment at `path`, which is built where there is none.
fn built(
    path: &Path,
    metric: Metric,
    base: impl FnOnce() -> Result<Vectors, Failure>,
    console: &Console,
) -> Result<Manifest, Failure> {
    if !path.exists() {
        let options = BuildOptions { metric, quantizers: vec![CODES], ..BuildOptions::default() };
        let shown = Shown { bar: console.bar(), console };
        build(&base()?, path, &options, &shown).map_err(|error| Failure::of(&error))?;
    }
    Manifest::read(path).map_err(|error| Failure::of(&error))
}

/// The build to whoever waits for it, and Ctrl-C to the build.
struct Shown<'a> {
    bar: Bar,
    console: &'a Console,
}

impl Progress for Shown<'_> {
    fn report(&self, phase: Phase, done: u64, total: u64) -> ControlFlow<()> {
        self.bar.update(&phase.to_string(), done, total);
        match self.console.interrupt.asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Puts a file of queries at `path` where there is none: no more than a run reads, since what it
/// takes to read them is not in its limit.
fn asked(path: &Path, rows: impl FnOnce() -> Result<Vectors, Failure>) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let rows = &rows()?;
    let refused = |error: &dyn std::error::Error| Failure::of(error);
    let file = RowWriter::create(path, rows.element(), rows.dim(), rows.len() as u64);
    let mut file = file.map_err(|error| refused(&error))?;
    file.write(rows).map_err(|error| refused(&error))?;
    file.publish().map_err(|error| refused(&error))
}

/// The first `count` rows, or as many as there are.
fn first(rows: &Vectors, count: usize) -> Result<Vectors, Failure> {
    let mut values = vec![0.0; rows.len().min(count) * rows.dim()];
    for (row, out) in values.chunks_exact_mut(rows.dim()).enumerate() {
        rows.row_f32(row, out);
    }
    Vectors::from_f32(rows.dim(), values).map_err(|error| Failure::of(&error))
}

/// The file of vectors in `folder` whose name begins with `stem` and a dot.
fn file_of(folder: &Path, stem: &str) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder);
    let entries = entries.map_err(|error| Failure::at(folder, "look into it", &error))?;
    let prefix = format!("{stem}.");
    let named = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix)
    });
    named.ok_or_else(|| Failure::new(format!("{}: has no {stem}.*", folder.display())))
}
