//! `ringpool tune`: which ef and which oversampling reach a recall, and what they cost.

pub mod smallest;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use clap::Args;
use ringpool::config::Oversample;
use ringpool::{Advice, Backend, EngineChoice, Memory, Placement, Quantizer};
use ringpool::{Rescore, SearchParams, Verify};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::options::{
    BACKEND_HELP, INFLIGHT_HELP, MAX_INFLIGHT, MEMORY_HELP, PLACE_HELP, QueryOptions, Switch,
};
use crate::run::{Worker, Workload};
use crate::search::Loaded;
use crate::settings::Elsewhere;
use crate::{report, table};

use smallest::{Search, Setting};

/// Find the ef and the oversampling that reach a recall, and draw the curve
#[derive(Args)]
pub struct TuneArgs {
    /// The segment: a folder that `build` made
    dir: PathBuf,

    /// File of query vectors
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Their true neighbours (.ivecs), as `truth` makes them
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,

    /// The recall to be reached
    #[arg(long, default_value_t = 0.95, value_name = "X", value_parser = recall)]
    recall: f64,

    /// Nearest neighbours of each query
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,

    /// Codes to walk by, of those that the segment carries, or none for the originals
    /// [default: the first that it carries]
    #[arg(long, value_name = "CODES")]
    codes: Option<Quantizer>,

    #[arg(long, default_value = "pool", help = BACKEND_HELP)]
    backend: Backend,

    #[arg(long, value_name = "PLACES", default_value_t, hide_default_value = true, help = PLACE_HELP)]
    place: Placement,

    #[arg(long, value_name = "BYTES|N%", help = MEMORY_HELP)]
    memory: Option<Memory>,

    #[arg(long, value_name = "N", help = INFLIGHT_HELP, value_parser = clap::value_parser!(u16).range(1..=MAX_INFLIGHT))]
    inflight: Option<u16>,

    /// Threads that search side by side
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=crate::search::MAX_THREADS))]
    threads: u16,

    /// Draw the curve on a page of its own
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What a pass over all queries gave.
#[derive(Serialize, Clone, Debug)]
pub struct Measured {
    pub ef: usize,
    /// `null` where nothing is rescored: by codes alone, or since walks read the originals.
    pub oversample: Option<f64>,
    /// Originals rescored a query.
    pub originals: usize,
    pub recall: f64,
    pub qps: f64,
    pub p99_us: f64,
    /// Pages read from the device a query; of a pool alone.
    pub reads_per_query: Option<f64>,
}

/// What was found.
#[derive(Serialize)]
pub struct Tuned {
    pub dir: PathBuf,
    pub queries: PathBuf,
    pub codes: String,
    pub backend: String,
    pub threads: u16,
    pub inflight: u16,
    pub k: u32,
    pub wanted_recall: f64,
    /// The fastest of `reached`.
    pub best: Measured,
    /// The smallest ef for each oversampling, the least oversampling first.
    pub reached: Vec<Measured>,
    /// Everything that was measured on the way, by oversampling and ef.
    pub curve: Vec<Measured>,
    /// A search with the best.
    pub command: String,
}

/// Runs the command.
pub fn execute(args: &TuneArgs, console: &Console) -> Result<(), Failure> {
    let query = args.query();
    let options = query.open_options(args.backend, Advice::default());
    let loaded = Loaded::load(&query, &options, None, None)?;
    let tuned = tune(args, query, &loaded, console)?;
    if let Some(path) = &args.html {
        report::write_tuning(path, &tuned)?;
    }
    console.show(&tuned, |tuned| text(args, tuned))
}

fn tune(
    args: &TuneArgs,
    mut query: QueryOptions,
    loaded: &Loaded,
    console: &Console,
) -> Result<Tuned, Failure> {
    let segment = loaded.indexes.all()[0].segment();
    let (k, points) = (args.k as usize, segment.manifest().points);
    let codes = segment.walked_by();
    let search = Search { k, points, recall: args.recall, by_codes: codes != Quantizer::None };
    let mut passes = Passes::new(args, loaded, console);
    let settings = search.run(&mut |setting| Ok(passes.measure(setting)?.recall))?;
    let reached: Vec<Measured> = settings.iter().filter_map(|&s| passes.remembered(s)).collect();
    let Some(best) = reached.iter().max_by(|a, b| a.qps.total_cmp(&b.qps)).cloned() else {
        let best = passes.curve.iter().map(|(_, measured)| measured);
        let most = best.max_by(|a, b| a.recall.total_cmp(&b.recall));
        let most = most.map_or_else(String::new, |m| format!("{:.4} at ef {}", m.recall, m.ef));
        return Err(Failure::new(format!(
            "{}: recall {} is not reached, {most} is the most: build with a larger --m or \
             --ef-construction",
            args.dir.display(),
            args.recall
        )));
    };
    query.ef = best.ef as u32;
    (query.rescore, query.oversample) = match best.oversample {
        None => (Switch::Off, query.oversample),
        Some(times) => (Switch::On, Oversample::Times(times as f32)),
    };
    let mut curve: Vec<Measured> = passes.curve.into_iter().map(|(_, measured)| measured).collect();
    curve.sort_by(|a, b| {
        let oversample = |m: &Measured| m.oversample.unwrap_or(0.0);
        oversample(a).total_cmp(&oversample(b)).then(a.ef.cmp(&b.ef))
    });
    Ok(Tuned {
        dir: args.dir.clone(),
        queries: args.queries.clone(),
        codes: codes.to_string(),
        backend: args.backend.to_string(),
        threads: args.threads,
        inflight: query.in_flight(&loaded.indexes),
        k: args.k,
        wanted_recall: args.recall,
        best,
        reached,
        curve,
        command: command(&query, args.backend),
    })
}

/// Passes over all queries, each setting once.
struct Passes<'a> {
    args: &'a TuneArgs,
    loaded: &'a Loaded,
    console: &'a Console,
    workers: Vec<Worker>,
    curve: Vec<(Setting, Measured)>,
}

impl<'a> Passes<'a> {
    fn new(args: &'a TuneArgs, loaded: &'a Loaded, console: &'a Console) -> Self {
        let workers = Worker::team(args.threads.into(), loaded.queries.len());
        Self { args, loaded, console, workers, curve: Vec::new() }
    }

    fn remembered(&self, setting: Setting) -> Option<Measured> {
        let found = self.curve.iter().find(|(measured, _)| *measured == setting);
        found.map(|(_, measured)| measured.clone())
    }

    fn measure(&mut self, setting: Setting) -> Result<Measured, Failure> {
        if let Some(measured) = self.remembered(setting) {
            return Ok(measured);
        }
        let (k, oversample) = (self.args.k as usize, setting.oversample.filter(|&x| x > 0.0));
        let rescore = oversample.map_or(Rescore::Off, |times| Rescore::Times(times as f32));
        let Loaded { indexes, queries, truth, .. } = self.loaded;
        let work = Workload {
            indexes,
            queries,
            params: SearchParams { k, ef: setting.ef, rescore },
            among: None,
            in_flight: self.args.query().in_flight(&self.loaded.indexes).into(),
            interrupt: &self.console.interrupt,
            answered: AtomicU64::new(0),
        };
        let what = format!("ef {}", setting.ef);
        let pass = work.pass(&mut self.workers, &self.console.bar(), &what)?;
        let points = indexes.live_points();
        let recall = truth.as_ref().map(|truth| pass.answers.recall(truth, k, points));
        let originals = oversample.map_or(0, |times| (k as f64 * times).ceil() as usize);
        let count = queries.len() as f64;
        let measured = Measured {
            ef: setting.ef,
            oversample,
            originals: originals.min(points),
            recall: recall.unwrap_or(0.0),
            qps: count / pass.wall.as_secs_f64(),
            p99_us: pass.latency_us.p99,
            reads_per_query: pass.stats.reads.map(|reads| reads as f64 / count),
        };
        self.curve.push((setting, measured.clone()));
        Ok(measured)
    }
}

impl TuneArgs {
    fn query(&self) -> QueryOptions {
        QueryOptions {
            dirs: vec![self.dir.clone()],
            queries: self.queries.clone(),
            k: self.k,
            ef: 100,
            oversample: Oversample::Times(4.0),
            recall: None,
            rescore: Switch::On,
            codes: self.codes,
            memory: self.memory,
            place: self.place.clone(),
            inflight: self.inflight,
            mmap_verify: Verify::default(),
            engine: EngineChoice::default(),
            truth: Some(self.truth.clone()),
            elsewhere: Elsewhere::default(),
        }
    }
}

/// The line that searches so.
fn command(query: &QueryOptions, backend: Backend) -> String {
    let words = query.search_arguments();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let line = format!("ringpool {}", words.join(" "));
    match backend {
        Backend::Pool => line,
        other => format!("{line} --backend {other}"),
    }
}

fn recall(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(recall) if recall > 0.0 && recall <= 1.0 => Ok(recall),
        _ => Err("use a decimal above 0 and up to 1".into()),
    }
}

/// The columns of a table of passes.
pub const HEADER: [&str; 7] =
    ["oversample", "originals", "ef", "recall", "QPS", "p99", "reads a query"];

/// A pass as cells of that table.
pub fn cells(measured: &Measured) -> Vec<String> {
    vec![
        table::or_dash(measured.oversample.map(|times| times.to_string())),
        table::count(measured.originals as u64),
        table::count(measured.ef as u64),
        format!("{:.4}", measured.recall),
        table::figure(measured.qps),
        table::duration_us(measured.p99_us),
        table::or_dash(measured.reads_per_query.map(table::figure)),
    ]
}

fn text(args: &TuneArgs, tuned: &Tuned) -> String {
    let rows: Vec<_> = tuned.reached.iter().map(cells).collect();
    let page = args.html.iter().map(|path| format!("\n\ncurve: {}", path.display()));
    format!(
        "{}, recall@{} of {} by codes {}, through {}: the smallest ef for each oversampling\n\n\
         {}\nThe fastest:\n  {}{}",
        tuned.dir.display(),
        tuned.k,
        tuned.wanted_recall,
        tuned.codes,
        tuned.backend,
        table::columns(&HEADER, 0..HEADER.len(), &rows),
        tuned.command,
        page.collect::<String>()
    )
}
