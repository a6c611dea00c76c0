//! `ringpool inspect`: what is in a segment.

use std::path::PathBuf;

use clap::Args;
use ringpool::{
    Backend, FORMAT_VERSION, IdSource, Index, Manifest, Memory, OpenOptions, Place, Placement,
    Plan, Quantizer,
};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::fields::{self, FieldLine};
use crate::options::{MEMORY_HELP, PLACE_HELP};
use crate::settings::{Elsewhere, collection_of, expect_known};
use crate::table;

/// Show what is in a segment
#[derive(Args)]
pub struct InspectArgs {
    /// The segment: a folder that `build` made
    dir: PathBuf,

    /// Read a sample of 1,000 originals and measure how far the codes' distances are from theirs
    #[arg(long)]
    measure: bool,

    #[arg(long, value_name = "PLACES", default_value_t, hide_default_value = true, help = PLACE_HELP)]
    place: Placement,

    #[arg(long, value_name = "BYTES|N%", help = MEMORY_HELP)]
    memory: Option<Memory>,

    #[command(flatten)]
    elsewhere: Elsewhere,

    /// Through what is read that has no place of its own: what is set elsewhere.
    #[arg(skip)]
    backend: Backend,

    /// Codes to walk by, of those that the segment carries, or none for the originals
    /// [default: the first that it carries]
    #[arg(long, value_name = "CODES")]
    codes: Option<Quantizer>,
}

/// Originals that `--measure` reads.
const SAMPLE: usize = 1000;

#[derive(Serialize)]
struct Contents {
    version: u64,
    metric: String,
    element: String,
    dimensions: usize,
    points: u64,
    /// Of these not deleted.
    live: u64,
    /// And deleted: they take their room until the segment is compacted.
    deleted: u64,
    m: usize,
    ef_construction: usize,
    quantize: Vec<String>,
    /// The codes that stand beside each original with its neighbours, if any do.
    inline: Option<String>,
    seed: u64,
    order: String,
    /// `rows` where ids are the rows' numbers, from `first_id` on, or `given`.
    ids: &'static str,
    first_id: Option<u64>,
    components: Vec<ComponentLine>,
    /// What points have beside their vectors.
    fields: Vec<FieldLine>,
    /// Of each set of codes, where it was to be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    codes_error: Option<Vec<ErrorLine>>,
    /// What an open segment keeps in memory whatever the budget.
    resident_bytes: u64,
    /// What is read by page; a share in `--memory` is of this, or of what is in the pool.
    paged_bytes: u64,
    /// What all components keep in memory beside the pool, about.
    memory_bytes: u64,
    /// What the pool may use; where nothing is in one, what one would have had.
    memory_budget_bytes: u64,
}

#[derive(Serialize)]
struct ComponentLine {
    name: String,
    file: PathBuf,
    pages: u64,
    page_size_bytes: usize,
    bytes: u64,
    /// Of its pages, for each vector.
    bytes_per_vector: f64,
    /// Read once at open and kept; else read page by page, or not at all.
    resident: bool,
    /// Where a search has it; none where no search by these codes opens it.
    place: Option<String>,
    /// What it keeps in memory whatever the budget, about.
    memory_bytes: u64,
    /// What of the pool's budget is spent on its page table and checksums.
    table_bytes: u64,
}

impl InspectArgs {
    /// Takes what is set elsewhere where no flag says it.
    pub fn settle(&mut self) -> Result<(), Failure> {
        expect_known(std::slice::from_ref(&self.dir), &self.place)?;
        let settings = self.elsewhere.settings(|flags| {
            flags.placement = self.place.clone();
            flags.memory.budget = self.memory;
        })?;
        let options = settings.open_options(collection_of(&self.dir));
        (self.place, self.memory, self.backend) = (options.place, options.memory, options.backend);
        self.elsewhere.memory_total = options.total_bytes.map(Memory::Bytes);
        Ok(())
    }
}

/// Runs the command.
pub fn execute(args: &InspectArgs, console: &Console) -> Result<(), Failure> {
    let manifest = Manifest::read(&args.dir).map_err(|error| Failure::of(&error))?;
    let files = manifest.component_files(&args.dir).map_err(|error| Failure::of(&error))?;
    let live = ringpool::live_points(&args.dir).map_err(|error| Failure::of(&error))?;
    let options = OpenOptions {
        place: args.place.clone(),
        codes: args.codes,
        memory: args.memory,
        backend: args.backend,
        total_bytes: args.elsewhere.memory_total.map(|total| total.resolve(0)),
        ..OpenOptions::default()
    };
    let plan = Plan::new(&[&args.dir], &options).map_err(|error| Failure::of(&error))?;
    let planned = plan.segments.iter().flatten();
    let components: Vec<ComponentLine> = files
        .into_iter()
        .zip(planned)
        .map(|(file, planned)| ComponentLine {
            bytes: planned.bytes,
            bytes_per_vector: planned.bytes as f64 / manifest.points as f64,
            name: file.name,
            file: file.path,
            pages: file.pages,
            page_size_bytes: file.page_size.bytes(),
            resident: planned.place == Some(Place::Resident),
            place: planned.place.map(|place| place.to_string()),
            memory_bytes: planned.resident_bytes,
            table_bytes: planned.table_bytes,
        })
        .collect();
    let bytes_where = |is_resident| {
        let opened = components.iter().filter(|line| line.place.is_some());
        opened.filter(|line| line.resident == is_resident).map(|line| line.bytes).sum()
    };
    let first_id = match manifest.ids {
        IdSource::Rows { first_id } => Some(first_id),
        IdSource::Given => None,
    };
    let contents = Contents {
        version: FORMAT_VERSION,
        metric: manifest.metric.to_string(),
        element: manifest.element.to_string(),
        dimensions: manifest.dim,
        points: manifest.points as u64,
        live: live as u64,
        deleted: (manifest.points - live) as u64,
        m: manifest.m,
        ef_construction: manifest.ef_construction,
        quantize: manifest.quantizers.iter().map(ToString::to_string).collect(),
        inline: manifest.inlined.map(|codes| codes.to_string()),
        seed: manifest.seed,
        order: manifest.order.to_string(),
        ids: if first_id.is_some() { "rows" } else { "given" },
        first_id,
        resident_bytes: bytes_where(true),
        memory_bytes: plan.resident_bytes(),
        memory_budget_bytes: plan.memory_budget_bytes,
        paged_bytes: bytes_where(false),
        components,
        fields: fields::lines(&manifest),
        codes_error: args.measure.then(|| measure(args, &manifest)).transpose()?,
    };
    console.show(&contents, |contents| text(args, contents))
}

/// How far the distances of one set of codes are from exact ones.
#[derive(Serialize)]
struct ErrorLine {
    codes: String,
    /// Distances that were compared.
    pairs: usize,
    /// Mean squared error over the variance of the exact distances; `null` where all are equal.
    squared: Option<f64>,
    /// Mean error over their standard deviation.
    bias: Option<f64>,
}

fn measure(args: &InspectArgs, manifest: &Manifest) -> Result<Vec<ErrorLine>, Failure> {
    let line = |&quantizer: &Quantizer| {
        let options = OpenOptions { codes: Some(quantizer), ..OpenOptions::default() };
        let index = Index::open(&args.dir, &options).map_err(|error| Failure::of(&error))?;
        let error = index.segment().codes_error(SAMPLE).map_err(|error| Failure::of(&error))?;
        Ok(ErrorLine {
            codes: quantizer.to_string(),
            pairs: error.map_or(0, |error| error.pairs),
            squared: error.map(|error| error.squared),
            bias: error.map(|error| error.bias),
        })
    };
    manifest.quantizers.iter().map(line).collect()
}

fn text(args: &InspectArgs, contents: &Contents) -> String {
    let facts = [
        ("format", format!("version {}", contents.version)),
        (
            "points",
            format!(
                "{} of {} dimensions, {}",
                table::count(contents.points),
                contents.dimensions,
                contents.element
            ),
        ),
        (
            "deleted",
            format!("{}, {} are left", table::count(contents.deleted), table::count(contents.live)),
        ),
        ("metric", contents.metric.clone()),
        (
            "graph",
            format!(
                "M {}, ef_construction {}, seed {}",
                contents.m, contents.ef_construction, contents.seed
            ),
        ),
        ("order", contents.order.clone()),
        (
            "ids",
            contents.first_id.map_or("given".into(), |first_id| format!("rows from {first_id} on")),
        ),
        ("codes", codes(&contents.quantize)),
        ("inlined", contents.inline.clone().unwrap_or_else(|| "nothing".into())),
        ("kept in memory", table::bytes(contents.resident_bytes)),
        ("read by page", table::bytes(contents.paged_bytes)),
        ("in memory beside the pool", table::bytes(contents.memory_bytes)),
        ("memory for pages", table::bytes(contents.memory_budget_bytes)),
    ];
    let row = |line: &ComponentLine| {
        vec![
            line.name.clone(),
            line.place.clone().unwrap_or_else(|| "not opened".into()),
            table::count(line.pages),
            table::bytes(line.page_size_bytes as u64),
            table::bytes(line.bytes),
            table::figure(line.bytes_per_vector),
            match line.table_bytes {
                0 => table::bytes(line.memory_bytes),
                spent => format!(
                    "{} + {} of the pool",
                    table::bytes(line.memory_bytes),
                    table::bytes(spent)
                ),
            },
        ]
    };
    let rows: Vec<_> = contents.components.iter().map(row).collect();
    format!(
        "{}\n\n{}\n{}{}{}",
        args.dir.display(),
        table::pairs(&facts),
        table::columns(
            &["component", "place", "pages", "page", "bytes", "bytes a vector", "in memory"],
            2..7,
            &rows
        ),
        fields::text(&contents.fields),
        contents.codes_error.as_deref().map_or_else(String::new, errors)
    )
}

fn errors(lines: &[ErrorLine]) -> String {
    let share = |value: Option<f64>| table::or_dash(value.map(|value| format!("{value:.2e}")));
    let row = |line: &ErrorLine| {
        vec![
            line.codes.clone(),
            table::count(line.pairs as u64),
            share(line.squared),
            share(line.bias),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let header = ["distances by", "pairs", "squared error", "bias"];
    format!(
        "\n{}\nSquared error: of a distance, relative to the variance of distances. Bias: in their \
         standard deviations.",
        table::columns(&header, 1..4, &rows)
    )
}

fn codes(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
