//! `ringpool search`: runs queries through one backend and says what it took.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use ringpool::{
    Advice, Backend, Filter, Index, Indexes, MAX_DIM, OpenOptions, Part, Place, Quantizer, Through,
    Warm, segments_in, vectors,
};

use crate::answers::Truth;
use crate::console::Console;
use crate::failure::Failure;
use crate::filtering::{self, Chosen, FILTER_HELP};
use crate::found::{Found, FoundOptions};
use crate::interrupt::Interrupt;
use crate::json::{ComponentReport, LoadReport, RunReport};
use crate::options::{BACKEND_HELP, QueryOptions, Temperature};
use crate::progress::Bar;
use crate::recorder::Recorder;
use crate::run::{Pass, Queries, Worker, Workload};
use crate::series::Series;
use crate::{page_cache, process, table};

/// Run queries through one backend
#[derive(Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub(crate) query: QueryOptions,

    #[arg(long, default_value = "pool", help = BACKEND_HELP)]
    pub(crate) backend: Backend,

    /// What the kernel is told about a mapping: willneed (the best), random or normal
    #[arg(long, default_value = "willneed")]
    pub(crate) mmap_advice: Advice,

    /// Threads that search side by side; one by default, so that figures compare
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: u16,

    /// Measure every vector instead of walking the graph: the true neighbours, slowly
    #[arg(long)]
    exact: bool,

    #[arg(long, value_name = "FILTER", help = FILTER_HELP)]
    filter: Option<String>,

    #[command(flatten)]
    found: FoundOptions,

    /// What is in memory when the clock starts
    #[arg(long, value_enum, default_value = "as-is")]
    temperature: Temperature,

    /// Write the ids found, k a query, -1 where there are fewer: .ivecs for ids up to 2^31 - 1, or
    /// .npy, of u64; each also with .gz
    #[arg(long, value_name = "FILE")]
    ids_out: Option<PathBuf>,

    /// Write which pages of the originals were asked for, in order: a trace for `replay` (.u32 or
    /// .u32.gz)
    #[arg(long, value_name = "FILE")]
    trace_out: Option<PathBuf>,

    /// Run the queries again and again for so long; what is reported is the last time
    #[arg(long, value_name = "N", requires = "series_out", conflicts_with = "exact", value_parser = clap::value_parser!(u32).range(1..=MAX_SECONDS))]
    seconds: Option<u32>,

    /// Write how many queries were answered in each second (.csv)
    #[arg(long, value_name = "FILE", requires = "seconds")]
    series_out: Option<PathBuf>,

    /// Runs the queries and prints the memory that cannot be dropped, as JSON
    #[arg(long, hide = true)]
    load_only: bool,
}

/// More threads than this are a slip of the hand.
pub const MAX_THREADS: i64 = 1024;

/// More seconds than a day has are a slip of the hand.
const MAX_SECONDS: i64 = 24 * 3600;

/// Runs the command.
pub fn execute(args: &SearchArgs, console: &Console) -> Result<(), Failure> {
    args.query.check()?;
    if args.ids_out.is_some() && args.query.k as usize > MAX_DIM {
        return Err(Failure::Usage(format!(
            "--k {} is more than the {} ids that a row of --ids-out may have",
            args.query.k, MAX_DIM
        )));
    }
    if args.trace_out.is_some() {
        args.query.dir()?; // Pages of two files cannot be told apart in a trace.
    }
    if args.exact && args.query.inflight.is_some() {
        return Err(Failure::Usage(
            "--inflight does not go with --exact, which measures all queries at once".into(),
        ));
    }
    let filter = args.filter.as_deref().map(filtering::read).transpose()?;
    let mut options = args.query.open_options(args.backend, args.mmap_advice);
    if args.exact {
        options.codes = Some(Quantizer::None); // Exact search has no use for any.
    }
    if args.load_only {
        options.populate = Some(Warm::None); // Frames that are not used are no need.
    }
    let recorder = Recorder::default();
    let noting = args.trace_out.is_some().then_some(&recorder);
    let filter = filter.map(|filter| (filter, &console.interrupt));
    let loaded = Loaded::load(&args.query, &options, noting, filter)?;
    let names = args.found.names(&loaded.indexes.snapshot())?;
    let pass = loaded.run(args, &recorder, console)?;
    if args.load_only {
        let text = |load: &LoadReport| table::bytes(load.anonymous_bytes);
        return console.show(&loaded.load_report(&pass)?, text);
    }
    if let Some(path) = &args.trace_out {
        recorder.write(path)?;
    }
    if let Some(path) = &args.ids_out {
        pass.answers.write_ids(path, args.query.k as usize)?;
    }
    let mut report = loaded.report(args, &pass);
    let found = args.found.are_wanted().then(|| {
        let snapshot = loaded.indexes.snapshot();
        Found::read(&pass.answers, names, &snapshot, &console.interrupt)
    });
    let found = found.transpose()?;
    if let Some((found, path)) = found.as_ref().zip(args.found.hits_out.as_ref()) {
        found.write(path)?;
    }
    let mut shown = String::new();
    if let Some(found) = found.filter(|_| args.found.fields.is_some()) {
        report.fields_us = Some(found.took.as_secs_f64() * 1e6);
        shown = found.table();
        report.answers = Some(found.queries);
    }
    loaded.indexes.close().map_err(|error| Failure::of(&error))?;
    console.show(&report, |report| format!("{}\n{shown}", text(args, report)))
}

/// Everything that a run needs, read before the clock starts.
pub struct Loaded {
    pub indexes: Indexes,
    pub queries: Queries,
    /// What the filter has selected.
    pub chosen: Option<Chosen>,
    pub truth: Option<Truth>,
}

impl Loaded {
    /// Opens the segments, evaluates the filter and reads queries and truth. What is asked of the
    /// originals goes through the recorder, where there is one.
    pub fn load(
        query: &QueryOptions,
        options: &OpenOptions,
        noting: Option<&Recorder>,
        filter: Option<(Filter, &Interrupt)>,
    ) -> Result<Self, Failure> {
        let (dirs, file) = (&query.dirs, &query.queries);
        // Before the index: while they are widened they take their memory twice, and a pool's
        // frames are charged to a limited group when it opens.
        let rows = vectors::read(file).map_err(|error| Failure::of(&error))?;
        let queries = Queries::new(&rows);
        let (asked, asked_dim) = (rows.len(), rows.dim());
        drop(rows);
        let indexes = match noting {
            Some(recorder) => {
                let recorder = recorder.clone();
                let through: Through = Arc::new(move |source| recorder.before(source));
                Index::open_through(query.dir()?, options, through).map(Indexes::from)
            }
            None => open(dirs, options),
        };
        let indexes = indexes.map_err(|error| Failure::of(&error))?;
        let segment = indexes.all()[0].segment();
        let manifest = segment.manifest();
        if asked_dim != manifest.dim {
            return Err(Failure::new(format!(
                "{}: queries of {} dimensions, but the vectors in {} have {}: use queries made \
                 like the vectors",
                file.display(),
                asked_dim,
                dirs[0].display(),
                manifest.dim
            )));
        }
        let by = |(filter, interrupt)| Chosen::by(filter, &indexes, interrupt);
        let chosen = filter.map(by).transpose()?;
        let (truth, k) = (query.truth.as_ref(), query.k as usize);
        let read = |path| Truth::read(path, asked, &indexes, chosen.as_ref(), k);
        let truth = truth.map(|path| read(path)).transpose()?;
        Ok(Self { indexes, queries, chosen, truth })
    }

    /// The measured pass, after whatever the temperature asks for.
    fn run(
        &self,
        args: &SearchArgs,
        recorder: &Recorder,
        console: &Console,
    ) -> Result<Pass, Failure> {
        let work = Workload {
            indexes: &self.indexes,
            queries: &self.queries,
            params: args.query.params(),
            among: self.chosen.as_ref().map(|chosen| &chosen.selections[..]),
            in_flight: args.query.in_flight(&self.indexes).into(),
            interrupt: &console.interrupt,
            answered: AtomicU64::new(0),
        };
        let series = args
            .seconds
            .zip(args.series_out.clone())
            .map(|(seconds, path)| Series { lasts: Duration::from_secs(seconds.into()), path });
        let bar = console.bar();
        let mut workers = Worker::team(args.threads.into(), self.queries.len());
        let mut pass = |what: &str, bar: &Bar| {
            let pass = match args.exact {
                true => work.exact_pass(args.threads.into(), bar),
                false => work.pass(&mut workers, bar, what),
            };
            pass.map_err(|failure| in_file(failure, &args.query))
        };
        match args.temperature {
            Temperature::AsIs => {}
            Temperature::Cold => page_cache::evict(&self.indexes.paged_files())?,
            Temperature::Warm => drop(pass("warming up", &bar)?),
        }
        recorder.begin(); // Without what warmed up.
        match series {
            Some(series) => series.over(&work.answered, || pass("searching", &bar)),
            None => pass("searching", &bar),
        }
    }

    fn report(&self, args: &SearchArgs, pass: &Pass) -> RunReport {
        let (queries, k) = (self.queries.len(), args.query.k as usize);
        let wall_seconds = pass.wall.as_secs_f64();
        // What is said of one is so for all: they are opened alike.
        let all = self.indexes.all();
        let index = &all[0];
        let placement = index.placement();
        let mapped = placement.iter().any(|(_, &place)| place == Place::Mmap);
        let faults = mapped.then_some(pass.counters.major_faults);
        // Of what is mapped, and of all else.
        let reads = pass.stats.reads.map_or(faults, |reads| Some(reads + faults.unwrap_or(0)));
        let backend = match placement.get(&Part::Vectors) {
            None | Some(Place::Resident | Place::Inlined) => "memory".into(),
            Some(paged) => paged.word().into(),
        };
        let all_points = self.indexes.live_points();
        let selected = self.chosen.as_ref().map(Chosen::selected);
        let points = selected.unwrap_or(all_points);
        // Of nothing there is no share.
        let truth = self.truth.as_ref().filter(|_| points > 0);
        let recall = truth.map(|truth| pass.answers.recall(truth, k, points));
        let held = page_cache::held_bytes(&self.indexes.paged_files());
        RunReport {
            backend,
            temperature: args.temperature.word().into(),
            mmap_advice: mapped.then(|| args.mmap_advice.to_string()),
            engine: pass.stats.engine.clone(),
            engine_reason: pass.stats.engine_reason.clone(),
            direct_io: pass.stats.direct_io,
            memory_enforced_by: match self.indexes.pool() {
                Some(_) => "pool".into(),
                None => "none".into(),
            },
            queries: queries as u64,
            threads: args.threads.into(),
            k: args.query.k.into(),
            recall,
            qps: queries as f64 / wall_seconds,
            latency_us: pass.latency_us,
            cpu_seconds: pass.counters.cpu_seconds,
            wall_seconds,
            reads,
            read_bytes: pass.counters.read_bytes,
            reads_per_query: reads.map(|reads| reads as f64 / queries as f64),
            originals_per_query: (index.segment().walked_by() != Quantizer::None)
                .then(|| pass.originals as f64 / queries as f64),
            hits: pass.stats.hits,
            misses: pass.stats.misses,
            evictions: pass.stats.evictions,
            memory_budget_bytes: Some(self.indexes.memory_budget_bytes()),
            peak_rss_bytes: process::peak_rss_bytes(),
            page_cache_bytes: held.as_ref().ok().copied(),
            page_cache_reason: held.err(),
            mmap_verify: mapped.then(|| args.query.mmap_verify.to_string()),
            answers_crc32c: format!("{:08x}", pass.answers.crc32c()),
            place: placement.to_string(),
            resident_bytes: self.indexes.resident_bytes(),
            components: components(&self.indexes),
            segments: all.len() as u64,
            inflight: (!args.exact).then(|| args.query.in_flight(&self.indexes).into()),
            filter: self.chosen.as_ref().map(|chosen| chosen.filter.to_string()),
            selected: selected.map(|selected| selected as u64),
            selectivity: selected.map(|selected| selected as f64 / all_points as f64),
            filter_us: self.chosen.as_ref().map(|chosen| chosen.took.as_secs_f64() * 1e6),
            fields_us: None,
            answers: None,
        }
    }

    fn load_report(&self, pass: &Pass) -> Result<LoadReport, Failure> {
        let files = self.indexes.paged_files();
        let lengths = files.iter().map(|path| {
            let length = std::fs::metadata(path).map(|metadata| metadata.len());
            length.map_err(|error| Failure::at(path, "read its length", &error))
        });
        let unknown = || Failure::new("/proc/self/status: does not say what is resident (RssAnon)");
        let undroppable = pass.undroppable.ok_or_else(unknown)?;
        let budget_bytes = self.indexes.memory_budget_bytes();
        // Each read of a pool fills a frame; before the first eviction, one that was not touched.
        let page_size = self.indexes.all()[0].segment().manifest().page_size;
        let pool_reads = self.indexes.pool().and(pass.stats.reads).unwrap_or(0);
        let filled_bytes = pool_reads * page_size.bytes() as u64;
        let frame_bytes = filled_bytes.min(budget_bytes);
        Ok(LoadReport {
            anonymous_bytes: undroppable.anonymous_bytes.saturating_sub(frame_bytes),
            page_table_bytes: undroppable.page_table_bytes,
            budget_bytes,
            paged_bytes: lengths.sum::<Result<u64, Failure>>()?,
            paged_files: files,
        })
    }
}

/// Opens segments; of a folder that is none, those that are in it.
fn open(dirs: &[PathBuf], options: &OpenOptions) -> Result<Indexes, ringpool::Error> {
    match dirs {
        [folder] if segments_in(folder).is_ok_and(|found| !found.is_empty()) => {
            Indexes::open_folder(folder, options)
        }
        dirs => Indexes::open(dirs, options),
    }
}

/// What the pool did for each component that is in it, in all segments.
fn components(indexes: &Indexes) -> Vec<ComponentReport> {
    let mut reports: Vec<ComponentReport> = Vec::new();
    for (kind, file) in indexes.all().iter().flat_map(|index| index.pool_files()) {
        let (stats, component) = (file.stats(), kind.name());
        let at = reports.iter().position(|report| report.component == component);
        let at = at.unwrap_or_else(|| {
            reports.push(ComponentReport { component, ..ComponentReport::default() });
            reports.len() - 1
        });
        let report = &mut reports[at];
        report.pages += stats.pages;
        report.resident_pages += stats.resident as u64;
        report.hits += stats.hits;
        report.misses += stats.misses;
        report.reads += stats.reads;
    }
    reports
}

/// A query without an answer is named with its file.
fn in_file(failure: Failure, query: &QueryOptions) -> Failure {
    match failure {
        Failure::Failed(line) if line.starts_with("query ") => {
            Failure::new(format!("{}: {line}", query.queries.display()))
        }
        other => other,
    }
}

/// The report for people.
fn text(args: &SearchArgs, run: &RunReport) -> String {
    let latency = &run.latency_us;
    let us = table::duration_us;
    let counted = |figure: Option<u64>| table::or_dash(figure.map(table::count));
    let sized = |figure: Option<u64>| table::or_dash(figure.map(table::bytes));
    let mut rows = vec![
        ("QPS", table::figure(run.qps)),
        ("latency p50", us(latency.p50)),
        ("latency p95", us(latency.p95)),
        ("latency p99", us(latency.p99)),
        ("latency p99.9", us(latency.p999)),
        ("latency max", us(latency.max)),
        ("processor time", us(run.cpu_seconds * 1e6)),
        ("read from disk", sized(run.read_bytes)),
        ("reads a query", table::or_dash(run.reads_per_query.map(table::figure))),
        ("originals a query", table::or_dash(run.originals_per_query.map(table::figure))),
        ("page hits", counted(run.hits)),
        ("page misses", counted(run.misses)),
        ("evictions", counted(run.evictions)),
        ("places", run.place.clone()),
        ("resident", table::bytes(run.resident_bytes)),
        ("memory for pages", sized(run.memory_budget_bytes)),
        ("held to it by", run.memory_enforced_by.clone()),
        ("peak RSS", sized(run.peak_rss_bytes)),
        ("page cache", sized(run.page_cache_bytes)),
    ];
    let optional = [
        ("page cache unknown", run.page_cache_reason.clone()),
        ("engine", run.engine.clone()),
        ("engine because", run.engine_reason.clone()),
        ("direct I/O", run.direct_io.map(|direct| if direct { "yes" } else { "no" }.into())),
        ("mmap advice", run.mmap_advice.clone()),
        ("mmap verifies", run.mmap_verify.clone()),
        ("filter", run.filter.clone()),
        ("selected", run.selected.zip(run.selectivity).map(|(n, share)| Chosen::text(n, share))),
        ("filter took", run.filter_us.map(us)),
        ("fields took", run.fields_us.map(us)),
        ("ids written to", args.ids_out.as_ref().map(|path| path.display().to_string())),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, text)| Some((name, text?))));
    if let Some(recall) = run.recall {
        rows.insert(0, ("recall", format!("{recall:.4} (recall@{})", run.k)));
    }
    let plural = if run.threads == 1 { "" } else { "s" };
    let in_flight = match run.inflight {
        Some(inflight @ 2..) => format!(" with {inflight} in flight"),
        _ => String::new(),
    };
    let segments = match run.segments {
        1 => String::new(),
        more => format!(" of {more} segments"),
    };
    format!(
        "{} {}queries{segments} through {}, {}, {} thread{plural}{in_flight}, k {}\n\n{}",
        table::count(run.queries),
        if args.exact { "exact " } else { "" },
        run.backend,
        run.temperature,
        run.threads,
        run.k,
        table::pairs(&rows)
    )
}
