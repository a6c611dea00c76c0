//! The `ringpool` command: makes segments, deletes from them and compacts them, searches them
//! through a pool, a mapping, plain memory or straight from the disk, compares these under the same
//! memory, finds the parameters that reach a recall, makes vectors and their true neighbours, checks
//! what is on disk, measures disks, and replays traces of page numbers.
//!
//! One file a command. Each prints for people, or with `--json` one object on stdout and nothing
//! else there. Exit codes: 0 done, 1 failed with one line on stderr, 2 wrong usage.
//!
//! What is public besides [`main`] is what measured runs are made of: a child process in a memory
//! cgroup, an empty page cache, counters, plots, clustered vectors. The benchmarks of the repository
//! use it. It is no interface: it changes with the command.

mod answers;
mod build;
pub mod cgroup;
pub mod child;
mod compact;
mod compare;
mod config;
pub mod console;
mod contest;
mod delete;
mod demo;
pub mod failure;
mod fields;
mod filtering;
mod found;
pub mod generate;
mod inspect;
pub mod interrupt;
mod json;
pub mod machine;
mod options;
mod outcome;
pub mod page_cache;
mod probe;
pub mod process;
pub mod progress;
mod recorder;
mod replay;
pub mod report;
mod run;
mod search;
mod series;
mod settings;
pub mod table;
mod trace;
mod truth;
mod tune;
mod verify;
pub mod whole_file;

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

use crate::console::Console;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Vector search over pages on disk, inside a byte budget that holds.
#[derive(Parser)]
#[command(name = "ringpool", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed (one line on stderr), 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print one JSON object on stdout and nothing else there
    #[arg(long, global = true)]
    json: bool,

    /// What to compute with: auto, the widest vectors that the processor has, or plain, none.
    /// Results are the same, bit by bit
    #[arg(long, global = true, value_enum, hide_default_value = true, default_value = "auto")]
    simd: Simd,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
#[value(rename_all = "lower")]
enum Simd {
    Auto,
    Plain,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Generate(generate::GenerateArgs),
    Build(build::BuildArgs),
    Search(search::SearchArgs),
    Delete(delete::DeleteArgs),
    Compact(compact::CompactArgs),
    Compare(compare::CompareArgs),
    Config(config::ConfigArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Probe(probe::ProbeArgs),
    Replay(replay::ReplayArgs),
    Truth(truth::TruthArgs),
    Tune(tune::TuneArgs),
}

/// Runs the command of this process's arguments, and says with which code it is to exit.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    trace_to_stderr();
    match settled(cli, &matches).and_then(|cli| execute(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell it to when stderr is closed as well.
            let _ = writeln!(stderr(), "error: {failure}");
            if let Some(carets) = failure.carets().filter(|_| stderr().is_terminal()) {
                let _ = writeln!(stderr(), "\n{carets}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// With what is set elsewhere than in flags.
fn settled(mut cli: Cli, matches: &ArgMatches) -> Result<Cli, Failure> {
    let Some((_, given)) = matches.subcommand() else { return Ok(cli) };
    match &mut cli.command {
        Command::Search(args) => args.settle(given)?,
        Command::Compare(args) => _ = args.query.settle(given)?,
        Command::Inspect(args) => args.settle()?,
        _ => {}
    }
    Ok(cli)
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    if cli.simd == Simd::Plain {
        ringpool::without_wide_vectors();
    }
    let console = Console::new(cli.json, Interrupt::install()?);
    match &cli.command {
        Command::Demo(args) => demo::execute(args, &console),
        Command::Generate(args) => generate::execute(args, &console),
        Command::Build(args) => build::execute(args, &console),
        Command::Search(args) => search::execute(args, &console),
        Command::Delete(args) => delete::execute(args, &console),
        Command::Compact(args) => compact::execute(args, &console),
        Command::Compare(args) => compare::execute(args, &console),
        Command::Config(args) => config::execute(args, &console),
        Command::Inspect(args) => inspect::execute(args, &console),
        Command::Verify(args) => verify::execute(args, &console),
        Command::Probe(args) => probe::execute(args, &console),
        Command::Replay(args) => replay::execute(args, &console),
        Command::Truth(args) => truth::execute(args, &console),
        Command::Tune(args) => tune::execute(args, &console),
    }
}

/// The library's events, from the level in `RUST_LOG` on. Errors only by default: what matters
/// of the rest is in the output, and a failure is one line.
fn trace_to_stderr() {
    let level = std::env::var("RUST_LOG").ok();
    let level = level.and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_max_level(level.unwrap_or(LevelFilter::ERROR))
        .init();
}
