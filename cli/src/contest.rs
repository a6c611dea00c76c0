//! The same queries through several backends under the same memory: each run a child process in
//! a memory cgroup of its own, all with one limit.
//!
//! The limit is the memory that a run cannot do without when everything is loaded and all queries
//! were run (anonymous memory and its page tables, measured in a rehearsal: the most that any
//! contestant needs besides its pages), plus the budget for pages, plus a headroom for the kernel. A pool
//! keeps its frames in the budget. A mapping keeps its pages in the page cache, which is charged
//! to the group as well and is dropped to stay within the limit. The `memory` backend holds all
//! originals, so that it cannot run inside: it is the yardstick, and runs without a limit.
//!
//! With several memories each is a stage of its own, with its own rehearsal and its own limit.

mod contestant;
mod per_second;
mod plan;
mod venue;

use std::ffi::OsString;

use ringpool::{Advice, Manifest, Memory, OpenOptions, Part, Placement, Plan};

use crate::child::{Place, Program};
use crate::console::Console;
use crate::failure::Failure;
use crate::json::{LoadReport, RunReport};
use crate::machine::Machine;
use crate::options::{QueryOptions, Temperature};
use crate::outcome::{Disk, Outcome, Run, Subject};
use crate::probe;
use crate::progress::Bar;

pub use contestant::{Contestant, Mapping};
pub use per_second::{NOTING_BYTES, PerSecond, Second};
pub use plan::Planned;
use venue::Venue;

/// What the kernel charges to a group besides: up to 256 KiB a processor that it charges ahead
/// of use, the ring, open files. The same for every backend. With a quarter of a MiB every pool was
/// killed on two processors, with half of one some were, and with a whole one a pool in some
/// hundreds of runs.
pub const HEADROOM_BYTES: u64 = 3 << 19;

/// What it charges for each thread: its stack in the kernel, what the scheduler keeps of it, and a
/// kilobyte or so for each of the 128 reads that it may have in flight.
pub const HEADROOM_THREAD_BYTES: u64 = 160 << 10;

/// What is run, and how often.
pub struct Contest {
    pub query: QueryOptions,
    pub contestants: Vec<Contestant>,
    /// Memory for pages, each with a limit of its own; `None` is the default.
    pub memories: Vec<Option<Memory>>,
    pub threads: Vec<u16>,
    /// How often the whole is repeated, in rounds.
    pub repeats: u16,
    /// Whether the pool runs twice in each round.
    pub again: bool,
    /// How long each contestant runs once more, for its queries in each second.
    pub series_seconds: Option<u32>,
    /// Whether the disk is measured before anybody runs.
    pub probes: bool,
}

/// One memory: what everybody is asked there, and where.
struct Stage {
    query: QueryOptions,
    venue: Venue,
}

/// Whom runs are started by, and who watches.
struct Starter<'a> {
    program: Program,
    console: &'a Console,
    bar: Bar,
    steps: u64,
}

impl Contest {
    /// Holds the contest.
    ///
    /// # Errors
    /// The first run that fails, by its name; or when two runs do not give the same answers.
    pub fn hold(&self, console: &Console) -> Result<Outcome, Failure> {
        let manifest = Manifest::read(self.query.dir()?).map_err(|error| Failure::of(&error))?;
        let plan = plan::of(self);
        let steps = (plan.len() + self.memories.len()) as u64;
        let starter = Starter { program: Program::this()?, console, bar: console.bar(), steps };
        let mut stages = Vec::with_capacity(self.memories.len());
        for (number, memory) in (0..).zip(&self.memories) {
            starter.bar.update("rehearsal", number, steps);
            stages.push(self.stage(*memory, &starter)?);
        }
        let disk = self.disk(&stages[0], &manifest, console)?;
        let runs = self.runs(&plan, &stages, &manifest, &starter)?;
        let series = match self.series_seconds {
            Some(seconds) => self.series(seconds, &stages, &runs, &starter)?,
            None => Vec::new(),
        };
        let first = plan.iter().filter(|planned| planned.round == 1);
        let told = first.filter(|planned| planned.contestant != Contestant::PoolAgain);
        let command = |planned: &Planned| line(&planned.arguments(&stages[planned.stage].query));
        Ok(Outcome {
            subject: Subject::new(&stages[0].query, &manifest)?,
            memories: stages.iter().map(|stage| stage.venue.described()).collect(),
            runs,
            series,
            disk,
            machine: Machine::with_files_at(self.query.dir()?),
            commands: told.map(command).collect(),
            command: None,
        })
    }

    /// All runs of the plan.
    fn runs(
        &self,
        plan: &[Planned],
        stages: &[Stage],
        manifest: &Manifest,
        starter: &Starter<'_>,
    ) -> Result<Vec<Run>, Failure> {
        let page_bytes = manifest.page_size.bytes() as u64;
        let mut runs: Vec<Run> = Vec::with_capacity(plan.len());
        for (number, planned) in (0_u32..).zip(plan) {
            let done = u64::from(number) + self.memories.len() as u64;
            starter.bar.update(&planned.label(), done, starter.steps);
            let Stage { query, venue } = &stages[planned.stage];
            let arguments = planned.arguments(query);
            let report =
                venue.run(number, planned, &arguments, &starter.program, starter.console)?;
            if let Some(first) = runs.first() {
                same_answers(&first.report, &report)?;
            }
            runs.push(Run::new(planned, venue.budget_bytes(), page_bytes, report));
        }
        Ok(runs)
    }

    /// Who runs in a stage, in the order of a round. The yardstick has no limit, so that it runs in
    /// the first stage alone.
    fn taking_part(&self, stage: usize) -> impl Iterator<Item = Contestant> {
        let again = self.again && self.contestants.contains(&Contestant::Pool);
        let limited =
            move |contestant: &Contestant| stage == 0 || *contestant != Contestant::Memory;
        let all = self.contestants.iter().copied().filter(limited);
        all.chain(again.then_some(Contestant::PoolAgain))
    }

    fn most_threads(&self) -> u16 {
        self.threads.iter().copied().max().unwrap_or(1)
    }

    /// A rehearsal with this memory, and the limit that follows from it.
    fn stage(&self, memory: Option<Memory>, starter: &Starter<'_>) -> Result<Stage, Failure> {
        let query = QueryOptions { memory, ..self.query.clone() };
        let load = self.rehearse(&query, starter)?;
        let place = walked_in_one_place(&query)?;
        // Bytes, not a share: inside of a limited group a default would come out smaller.
        let memory = Some(Memory::Bytes(load.budget_bytes));
        let venue = Venue::new(load, self.most_threads());
        Ok(Stage { query: QueryOptions { memory, place, ..query }, venue })
    }

    /// Runs the queries once through each contestant that will be limited, without a limit and
    /// with the most threads of the plan: what the neediest takes besides its pages.
    fn rehearse(&self, query: &QueryOptions, starter: &Starter<'_>) -> Result<LoadReport, Failure> {
        let mut most: Option<LoadReport> = None;
        // How a mapping is advised makes no difference to what else it needs, only to how long
        // it takes.
        let mapped = Contestant::Mmap(Mapping::Advised(Advice::WillNeed));
        let maps = self.contestants.iter().any(|one| matches!(one, Contestant::Mmap(_)));
        let pools = self.contestants.contains(&Contestant::Pool);
        let needy = [(Contestant::Pool, pools || !maps), (mapped, maps)];
        for (contestant, _) in needy.into_iter().filter(|(_, takes_part)| *takes_part) {
            let planned = Planned {
                contestant,
                threads: self.most_threads(),
                temperature: Temperature::AsIs,
                stage: 0,
                round: 1,
            };
            let mut arguments = planned.arguments(query);
            arguments.push("--load-only".into());
            let label = format!("rehearsal of {}", planned.label());
            let place = Place { label: &label, group: None, limit_bytes: 0 };
            let interrupt = &starter.console.interrupt;
            let load: LoadReport = starter.program.run(&arguments, &place, interrupt)?;
            let more = most.get_or_insert_with(|| load.clone());
            more.anonymous_bytes = more.anonymous_bytes.max(load.anonymous_bytes);
            more.page_table_bytes = more.page_table_bytes.max(load.page_table_bytes);
        }
        most.ok_or_else(|| Failure::Usage("--backends names nobody".into()))
    }

    /// What the disk under the originals gives, if it is asked and can be.
    fn disk(&self, stage: &Stage, manifest: &Manifest, console: &Console) -> Result<Disk, Failure> {
        let file = stage.venue.paged_files().first();
        match file.filter(|_| self.probes) {
            Some(file) => {
                let found = probe::ladder_of(file, manifest.page_size, console);
                // Ctrl-C is the contest's end; a disk that cannot be measured is not.
                console.interrupt.check()?;
                Ok(Disk::found(found.map_err(|failure| failure.to_string())))
            }
            None => Ok(Disk::found(Err("not asked for".into()))),
        }
    }
}

/// The places that were asked for, and for graph and codes those that they have by default out
/// here: inside of a limited group less is left, and they would go elsewhere.
fn walked_in_one_place(query: &QueryOptions) -> Result<Placement, Failure> {
    let QueryOptions { place, codes, memory, dirs, .. } = query;
    let options = OpenOptions {
        place: place.clone(),
        codes: *codes,
        memory: *memory,
        ..OpenOptions::default()
    };
    let plan = Plan::new(dirs, &options).map_err(|error| Failure::of(&error))?.placement();
    let walked = [Part::Graph, Part::Codes(None)].into_iter();
    let unsaid = walked.filter(|part| place.of(part).is_none());
    let found = unsaid.filter_map(|part| Some((part.clone(), *plan.get(&part)?)));
    Ok(found.fold(place.clone(), |all, (part, found)| all.with(part, found)))
}

/// Fails when a run found something else than the first.
fn same_answers(first: &RunReport, last: &RunReport) -> Result<(), Failure> {
    if first.answers_crc32c == last.answers_crc32c {
        return Ok(());
    }
    let name =
        |run: &RunReport| format!("{} ({}, {} threads)", run.backend, run.temperature, run.threads);
    Err(Failure::new(format!(
        "{} and {} do not give the same answers (checksums {} and {}): one of them is wrong; run \
         verify, and report it",
        name(first),
        name(last),
        first.answers_crc32c,
        last.answers_crc32c
    )))
}

/// A command line that a shell reads back as it was.
pub fn line(arguments: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=%+:@".contains(c);
    let word = |argument: &OsString| match argument.to_string_lossy() {
        text if !text.is_empty() && text.chars().all(plain) => text.into_owned(),
        text => format!("'{}'", text.replace('\'', r"'\''")),
    };
    let words: Vec<String> = arguments.iter().map(word).collect();
    format!("ringpool {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_a_shell() {
        let arguments = ["search", "my dir", "it's", "--memory", "10%", ""];
        let shown = line(&arguments.map(OsString::from));
        assert_eq!(shown, r"ringpool search 'my dir' 'it'\''s' --memory 10% ''");
    }
}
