//! `ringpool demo`: the main job, without arguments. Builds a segment from the vectors that this
//! program carries, searches it with memory for a tenth of its pages through the pool and through
//! mmap, prints the table and writes the page with the plots.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use ringpool::config::Oversample;
use ringpool::{Advice, Attached, BuildOptions, EngineChoice, Memory, Placement, Verify, vectors};

use crate::build::Sources;
use crate::console::Console;
use crate::contest::{Contest, Contestant, Mapping};
use crate::failure::Failure;
use crate::options::{QueryOptions, Switch};
use crate::settings::Elsewhere;
use crate::{build, compare, report};

/// Build from the shipped vectors, search through pool and mmap, write report.html
#[derive(Args)]
pub struct DemoArgs {
    /// Keep the segment in this folder, which must not exist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Where the page with the plots goes
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    report: PathBuf,
}

/// The share of the pages that there is memory for, in hundredths.
const MEMORY_PERCENT: f64 = 10.0;

/// Every run three times: a median, and how far the others are from it.
const REPEATS: u16 = 3;

/// What the demo calls its segment, and where its files are in the repository.
const NAME: &str = "Fashion-MNIST";
const DATA: &str = "data/fashion-mnist-12k";

/// Fashion-MNIST: 12,000 of its vectors, queries, and their true neighbours. Links in the repository,
/// files in the published crate.
const FILES: [(&str, &[u8]); 3] = [
    (BASE, include_bytes!("../data/base.bvecs.gz")),
    (QUERIES, include_bytes!("../data/query.bvecs.gz")),
    (TRUTH, include_bytes!("../data/truth.ivecs.gz")),
];
const BASE: &str = "base.bvecs.gz";
const QUERIES: &str = "query.bvecs.gz";
const TRUTH: &str = "truth.ivecs.gz";

/// Runs the command.
pub fn execute(args: &DemoArgs, console: &Console) -> Result<(), Failure> {
    // In the current folder, which is on a disk more often than the one for temporary files:
    // what is on tmpfs has no cold reads. Removed when dropped, on every way out.
    let folder = tempfile::Builder::new().prefix(".ringpool-demo-").tempdir_in(".");
    let folder = folder.map_err(|error| Failure::at(Path::new("."), "make a folder", &error))?;
    // Relative, so that the commands in the report stay short.
    let files = PathBuf::from(folder.path().file_name().unwrap_or(folder.path().as_os_str()));
    let dir = args.out.clone().unwrap_or_else(|| files.join("segment"));
    unpack(&files)?;
    let base = files.join(BASE);
    let rows = vectors::read(&base).map_err(|error| Failure::of(&error))?.to_f32();
    let sources = Sources { vectors: &base, ids: None };
    build::build(&rows, &Attached::default(), &sources, &dir, &BuildOptions::default(), console)?;
    drop(rows);
    let contest = Contest {
        query: query(&dir, &files),
        contestants: vec![
            Contestant::Pool,
            Contestant::Mmap(Mapping::Advised(Advice::WillNeed)),
            Contestant::Mmap(Mapping::Advised(Advice::Random)),
        ],
        memories: vec![Some(Memory::Percent(MEMORY_PERCENT))],
        threads: vec![1, 2],
        repeats: REPEATS,
        again: true,
        series_seconds: None,
        probes: true,
    };
    let mut outcome = contest.hold(console)?;
    // The folder is gone in a moment: name what the reader has, or makes with the first command.
    outcome.subject.dir = NAME.into();
    let (segment, files) = (dir.display().to_string(), files.display().to_string());
    for command in &mut outcome.commands {
        *command = command.replace(&segment, "SEGMENT").replace(&files, DATA);
    }
    outcome.commands.insert(0, "ringpool demo --out SEGMENT".into());
    report::write(&args.report, "Vector search in a tenth of the memory", &outcome)?;
    console.show(&outcome, |outcome| {
        let kept = args.out.iter().map(|out| format!("segment: {}\n", out.display()));
        format!(
            "{}\n{}report: {}",
            compare::text(outcome),
            kept.collect::<String>(),
            args.report.display()
        )
    })
}

fn query(dir: &Path, files: &Path) -> QueryOptions {
    QueryOptions {
        dirs: vec![dir.into()],
        queries: files.join(QUERIES),
        k: 10,
        ef: 100,
        oversample: Oversample::Times(4.0),
        recall: None,
        rescore: Switch::On,
        codes: None,
        memory: Some(Memory::Percent(MEMORY_PERCENT)),
        place: Placement::default(),
        inflight: None,
        mmap_verify: Verify::default(),
        engine: EngineChoice::default(),
        truth: Some(files.join(TRUTH)),
        elsewhere: Elsewhere::default(),
    }
}

/// Writes the shipped files where the runs can read them.
fn unpack(folder: &Path) -> Result<(), Failure> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|error| Failure::at(&path, "write", &error))?;
    }
    Ok(())
}
