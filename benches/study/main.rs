//! The study: published comparisons of mmap with reads of one's own, done again with every contestant
//! under one memory limit.
//!
//! ```sh
//! cargo bench --bench study                                   # which experiments there are
//! cargo bench --bench study -- qdrant-pr9852 --rounds 5 --report study.html
//! ```
//!
//! Each measured run is a process of its own in a memory cgroup of its own, with its files evicted
//! before; rounds take turns, and each begins with the first contestant twice, which shows how much
//! of a difference is noise. docs/fairness.md says what is enforced, and what is said where it cannot
//! be. It needs Linux, and root for the cgroups.

mod contestants;
mod csv;
mod experiments;
mod judging;
mod outcome;
mod page;
mod page_file;
mod run;
mod search;
mod slow_disk;
mod spread;
mod study;
mod text;
mod venue;

use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::interrupt::Interrupt;

use experiments::{
    cidr, failing, milvus, qdrant_article, qdrant_pr9852, slow_disk as on_slow_disk,
};

/// Published comparisons of mmap with reads of one's own, under one memory limit
#[derive(Parser)]
#[command(
    name = "study",
    after_help = "Exit codes: 0 done, 1 failed (one line on stderr), 2 wrong usage."
)]
struct Study {
    #[command(subcommand)]
    experiment: Option<Experiment>,

    /// Print one JSON object on stdout and nothing else there
    #[arg(long, global = true)]
    json: bool,

    /// What cargo says to every benchmark
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Experiment {
    QdrantPr9852(qdrant_pr9852::QdrantPr9852),
    Cidr(cidr::Cidr),
    QdrantArticle(qdrant_article::QdrantArticle),
    Milvus(milvus::Milvus),
    SlowDisk(on_slow_disk::SlowDisk),
    Failing(failing::Failing),
    /// One measured run, in a process that the study has started
    #[command(hide = true)]
    Run {
        experiment: String,
        task: String,
    },
}

/// What every experiment can be told.
#[derive(Args, Clone)]
pub struct Common {
    /// How often everything is run, interleaved; medians are quoted; each experiment has a number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_ROUNDS))]
    pub rounds: Option<u16>,

    /// Who takes part, the first being what ratios are to; each experiment has a list of its own
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub contestants: Vec<String>,

    /// The folder for files that are read: on the disk that is to be measured
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,

    /// Also write a page with plots (.html)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Also write one row a run (.csv)
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

impl Common {
    /// Who takes part, where `usual` do unless the caller says otherwise.
    pub fn contestants_or(&self, usual: &[&str]) -> Vec<String> {
        match self.contestants.as_slice() {
            [] => usual.iter().map(|name| (*name).to_owned()).collect(),
            named => named.to_vec(),
        }
    }
}

/// More are a slip of the hand.
const MAX_ROUNDS: i64 = 1000;

fn main() -> ExitCode {
    match execute(Study::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell it to when stderr is closed as well.
            let _ = writeln!(stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn execute(study: Study) -> Result<(), Failure> {
    let console = Console::new(study.json, Interrupt::install()?);
    match study.experiment {
        None => console.show(&experiments::NAMES, |_| experiments::listed()),
        Some(Experiment::QdrantPr9852(args)) => args.execute(&console),
        Some(Experiment::Cidr(args)) => args.execute(&console),
        Some(Experiment::QdrantArticle(args)) => args.execute(&console),
        Some(Experiment::Milvus(args)) => args.execute(&console),
        Some(Experiment::SlowDisk(args)) => args.execute(&console),
        Some(Experiment::Failing(args)) => args.execute(&console),
        Some(Experiment::Run { experiment, task }) => experiments::run(&experiment, &task),
    }
}
