//! Searches on a disk of which some pages cannot be read. Each ends with a typed error that names the
//! file and the page, or with the very ids and distances of the sound run: nothing else is right.
//!
//! Each contestant runs in a process of its own, since a mapping is ended by a signal. What became of
//! every query is counted, and a wrong answer fails the experiment, whoever gave it.

use std::ffi::OsString;
use std::io::{Write, stdout};

use clap::Args;
use ringpool::storage::conformance::skipped;
use ringpool_cli::child::{Place, Program};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::table;
use serde::{Deserialize, Serialize};

use crate::contestants;
use crate::search::{DataArgs, Opened, Paged, Queries, Task, search};
use crate::slow_disk::{Behaviour, Disks, Faults, Pace};

pub const NAME: &str = "failing";

/// Each read takes so long.
const LATENCY_US: u64 = 100;
/// The file whose pages fail: graph and codes are loaded before.
const FILE: &str = "vectors.pages";

const CONTESTANTS: [&str; 7] = [
    "pool-ring",
    "pool-blocking",
    "direct-ring",
    "mmap-random",
    "mmap-willneed",
    "buffered-ring",
    "pread-threads",
];

/// Searches on a disk whose reads fail: a typed error or the right ids, and nothing else
#[derive(Args)]
pub struct Failing {
    #[command(flatten)]
    data: DataArgs,

    /// Who takes part
    #[arg(long, value_delimiter = ',', default_values = CONTESTANTS, value_name = "LIST")]
    contestants: Vec<String>,

    /// Shares of the pages that fail, in hundredths
    #[arg(long, value_delimiter = ',', default_value = "0.01,0.1,1,10", value_name = "LIST")]
    shares: Vec<f64>,

    /// Each share with so many draws of the pages
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,

    /// Queries of a run
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    queries: u32,

    /// Where there can be no slow disk, say why and be content
    #[arg(long)]
    or_skip: bool,

    /// The folder for files that are read
    #[arg(long, value_name = "FOLDER")]
    dir: Option<std::path::PathBuf>,
}

/// What a child found: for each query the number of its answer, or why there is none.
#[derive(Serialize, Deserialize)]
struct Answers(Vec<Result<u32, String>>);

/// What became of a contestant's queries, over all draws of one share.
#[derive(Serialize, Default)]
struct Row {
    contestant: String,
    fail_percent: f64,
    right: u64,
    /// Failed with an error that names the file and a page.
    named: u64,
    /// Failed with another one.
    unnamed: u64,
    wrong: u64,
    /// Runs that ended without answers, and how.
    runs_ended: u64,
    ended_by: Option<String>,
    /// The first error.
    error: Option<String>,
}

#[derive(Serialize)]
struct Outcome {
    experiment: &'static str,
    data: String,
    queries: usize,
    seeds: u32,
    rows: Vec<Row>,
}

impl Failing {
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        let data = self.data.or_shipped(self.queries, self.dir.as_deref(), console)?;
        let (bytes, _) = data.paged(Paged::Originals)?;
        let task = Task {
            contestant: CONTESTANTS[0].into(),
            segment: data.segment.clone(),
            queries: data.queries.clone(),
            paged: Paged::Originals,
            memory_bytes: bytes / 10,
            threads: 4,
            in_flight: 8,
            k: 10,
            ef: 100,
            oversample: 4.0,
            warm: false,
            slow: false,
        };
        let (program, disks) = (Program::this()?, Disks::over(&data.segment));
        if let Err(failure) = disks.next(&Behaviour::default())
            && self.or_skip
        {
            skipped(failure.to_string());
            return Ok(());
        }
        let Answers(sound) = answers(&program, &task, console)?;
        let trial = Trial { program, disks, task, sound, console };
        let mut rows = Vec::new();
        for &fail_percent in &self.shares {
            for contestant in &self.contestants {
                rows.push(trial.row(contestant, fail_percent, self.seeds)?);
            }
        }
        let wrong: u64 = rows.iter().map(|row| row.wrong).sum();
        let failures: u64 = rows.iter().map(Row::failures).sum();
        let (queries, seeds) = (trial.sound.len(), self.seeds);
        let outcome = Outcome { experiment: NAME, data: data.name, queries, seeds, rows };
        console.show(&outcome, text)?;
        match wrong {
            0 if failures == 0 => Err(Failure::new(
                "no read failed, so that nothing was tried: ask for more --queries or --shares",
            )),
            0 => Ok(()),
            _ => Err(Failure::new(format!("{wrong} answers were wrong: see the table, report it"))),
        }
    }
}

/// What every row is made with.
struct Trial<'a> {
    program: Program,
    disks: Disks,
    task: Task,
    /// The answers of the disk without failures.
    sound: Vec<Result<u32, String>>,
    console: &'a Console,
}

impl Trial<'_> {
    /// A contestant where this share of the pages fails, in so many draws.
    fn row(&self, contestant: &str, fail_percent: f64, seeds: u32) -> Result<Row, Failure> {
        contestants::named(contestant)?;
        let mut row = Row { contestant: contestant.into(), fail_percent, ..Row::default() };
        for seed in 0..u64::from(seeds) {
            let pace = Pace { latency_us: LATENCY_US, jitter_us: 0, seed };
            let faults = Faults { fail_percent, fail_file: Some(FILE.into()) };
            let segment = self.disks.next(&Behaviour { pace, faults })?;
            let task = Task { contestant: contestant.into(), segment, ..self.task.clone() };
            let answers = answers(&self.program, &task, self.console);
            row.count(&self.sound, answers, self.console)?;
        }
        Ok(row)
    }
}

fn answers(program: &Program, task: &Task, console: &Console) -> Result<Answers, Failure> {
    let arguments = ["run", NAME, &task.words()?].map(OsString::from);
    let place = Place { label: &task.contestant, group: None, limit_bytes: 0 };
    program.run(&arguments, &place, &console.interrupt)
}

/// Does one run, and prints what became of each query.
pub fn run(task: &Task) -> Result<(), Failure> {
    let queries = Queries::read(&task.queries)?;
    let opened = Opened::open(task)?;
    let searched = search(&opened.segment, &queries, task)?;
    let became = searched.found.into_iter().map(|found| match (found.crc32c(), found.hits) {
        (_, Err(line)) => Err(line),
        (crc, Ok(_)) => Ok(crc.unwrap_or_default()),
    });
    let object = serde_json::to_string(&Answers(became.collect()));
    let object = object.map_err(|error| Failure::of(&error))?;
    let printed = writeln!(stdout(), "{object}");
    printed.map_err(|error| Failure::new(format!("stdout: cannot write: {error}")))
}

impl Row {
    /// How often something failed as it should.
    fn failures(&self) -> u64 {
        self.named + self.unnamed + self.runs_ended
    }

    fn count(
        &mut self,
        sound: &[Result<u32, String>],
        answers: Result<Answers, Failure>,
        console: &Console,
    ) -> Result<(), Failure> {
        let answers = match answers {
            Ok(Answers(answers)) => answers,
            Err(failure) => {
                console.interrupt.check()?;
                self.runs_ended += 1;
                self.ended_by.get_or_insert_with(|| failure.to_string());
                return Ok(());
            }
        };
        // A query without an outcome is as wrong as one with another.
        self.wrong += sound.len().abs_diff(answers.len()) as u64;
        for (sound, answer) in sound.iter().zip(answers) {
            match answer {
                Ok(crc) if Ok(crc) == *sound => self.right += 1,
                Ok(_) => self.wrong += 1,
                Err(line) => {
                    let names = line.contains(FILE) && line.contains("page ");
                    *(if names { &mut self.named } else { &mut self.unnamed }) += 1;
                    self.error.get_or_insert(line);
                }
            }
        }
        Ok(())
    }
}

fn text(outcome: &Outcome) -> String {
    let count = table::count;
    let rows = outcome.rows.iter().map(|row| {
        vec![
            row.contestant.clone(),
            format!("{} %", row.fail_percent),
            count(row.right),
            count(row.named),
            count(row.unnamed),
            count(row.wrong),
            format!("{} of {}", row.runs_ended, outcome.seeds),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header = [
        "contestant",
        "pages that fail",
        "right",
        "error names file and page",
        "other errors",
        "wrong",
        "runs that were ended",
    ];
    let mut text = format!(
        "{}: {} queries of 10 neighbours, 40 originals each, 4 threads; {} draws of the pages of \
         {FILE} that fail\n{}",
        outcome.data,
        count(outcome.queries as u64),
        outcome.seeds,
        table::columns(&header, 1..header.len(), &rows)
    );
    for (what, of) in [("ended by", said as Said), ("first error", first_error)] {
        let mut told: Vec<&str> = Vec::new();
        for row in &outcome.rows {
            if let Some(line) = of(row).filter(|_| !told.contains(&row.contestant.as_str())) {
                text.push_str(&format!("{}, {what}: {line}\n", row.contestant));
                told.push(&row.contestant);
            }
        }
    }
    text
}

type Said = fn(&Row) -> Option<&str>;

fn said(row: &Row) -> Option<&str> {
    row.ended_by.as_deref()
}

fn first_error(row: &Row) -> Option<&str> {
    row.error.as_deref()
}
