//! The same queries through several backends under the same memory: each run a child process in
//! a memory cgroup of its own, all with one limit.
//!
//! The limit is the memory that a run cannot do without when everything is loaded and all queries
//! were run (anonymous memory and its page tables, measured in a rehearsal: the most that any
//! contestant needs besides its pages), plus the budget for pages, plus a headroom for the kernel. A pool
//! keeps its frames in the budget. A mapping keeps its pages in the page cache, which is charged
//! to the group as well and is dropped to stay within the limit. The `memory` backend holds all
//! originals, so that it cannot run inside: it is the yardstick, and runs without a limit.

use std::ffi::OsString;
use std::path::PathBuf;

use ringpool::{Advice, Backend, Manifest, Memory, OpenOptions, Part, Placement, Plan};

use crate::cgroup::{Group, Hierarchy};
use crate::child::{Place, Program};
use crate::console::Console;
use crate::failure::Failure;
use crate::json::{LoadReport, RunReport};
use crate::machine::Machine;
use crate::options::{QueryOptions, Temperature};
use crate::outcome::{Outcome, SameMemory, Subject};
use crate::page_cache;

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
    pub threads: Vec<u16>,
    /// How often the whole is repeated; the repeats are interleaved, so that a slow minute of the
    /// machine hits all alike.
    pub repeats: u16,
}

/// One backend as it takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contestant {
    Pool,
    Mmap(Advice),
    Direct,
    Memory,
}

impl Contestant {
    /// The contestants for these backends; a mapping takes part once for each advice.
    pub fn all(backends: &[Backend], advices: &[Advice]) -> Vec<Self> {
        let of = |backend: &Backend| match backend {
            Backend::Pool => vec![Self::Pool],
            Backend::Mmap => advices.iter().copied().map(Self::Mmap).collect(),
            Backend::Direct => vec![Self::Direct],
            Backend::Memory => vec![Self::Memory],
        };
        let mut all: Vec<Self> = Vec::new();
        for contestant in backends.iter().flat_map(of) {
            if !all.contains(&contestant) {
                all.push(contestant);
            }
        }
        all
    }

    fn backend(self) -> Backend {
        match self {
            Self::Pool => Backend::Pool,
            Self::Mmap(_) => Backend::Mmap,
            Self::Direct => Backend::Direct,
            Self::Memory => Backend::Memory,
        }
    }

    fn arguments(self) -> Vec<OsString> {
        let mut line = vec!["--backend".into(), self.backend().to_string().into()];
        if let Self::Mmap(advice) = self {
            line.extend(["--mmap-advice".into(), advice.to_string().into()]);
        }
        line
    }
}

/// One run of the plan.
struct Planned {
    contestant: Contestant,
    threads: u16,
    temperature: Temperature,
}

impl Planned {
    fn label(&self) -> String {
        let name = match self.contestant {
            Contestant::Mmap(advice) => format!("mmap {advice}"),
            other => other.backend().to_string(),
        };
        let plural = if self.threads == 1 { "" } else { "s" };
        format!("{name}, {}, {} thread{plural}", self.temperature.word(), self.threads)
    }

    fn arguments(&self, query: &QueryOptions) -> Vec<OsString> {
        // What is read by page is read through the contestant, whatever it is.
        let place = query.place.clone().through(self.contestant.backend());
        let mut line = QueryOptions { place, ..query.clone() }.search_arguments();
        line.extend(self.contestant.arguments());
        let temperature = self.temperature.word();
        let flags =
            ["--threads", &self.threads.to_string(), "--temperature", temperature, "--json"];
        line.extend(flags.map(OsString::from));
        line
    }
}

impl Contest {
    /// The places that were asked for, and for graph and codes those that they have by default out
    /// here: inside of a limited group less is left, and they would go elsewhere.
    fn walked_in_one_place(&self) -> Result<Placement, Failure> {
        let QueryOptions { place, codes, memory, dirs, .. } = &self.query;
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

    /// Holds the contest.
    ///
    /// # Errors
    /// The first run that fails, by its name; or when two runs do not give the same answers.
    pub fn hold(&self, console: &Console) -> Result<Outcome, Failure> {
        let manifest = Manifest::read(self.query.dir()?).map_err(|error| Failure::of(&error))?;
        let program = Program::this()?;
        let bar = console.bar();
        let plan = self.plan();
        let steps = plan.len() as u64 + 1;
        bar.update("rehearsal", 0, steps);
        let load = self.rehearse(&program, console)?;
        let query = QueryOptions {
            // Bytes, not a share: inside of a limited group a default would come out smaller.
            memory: Some(Memory::Bytes(load.budget_bytes)),
            place: self.walked_in_one_place()?,
            ..self.query.clone()
        };
        let venue = Venue::new(&load, self.most_threads());
        let mut runs = Vec::with_capacity(plan.len());
        for (number, planned) in (0_u32..).zip(&plan) {
            bar.update(&planned.label(), u64::from(number) + 1, steps);
            runs.push(venue.run(number, planned, &query, &program, console)?);
            same_answers(&runs)?;
        }
        let distinct = &plan[..plan.len() / usize::from(self.repeats)];
        Ok(Outcome {
            subject: Subject::new(&query, &manifest)?,
            memory: venue.described(&load),
            runs,
            machine: Machine::with_files_at(query.dir()?),
            commands: distinct.iter().map(|planned| line(&planned.arguments(&query))).collect(),
        })
    }

    fn most_threads(&self) -> u16 {
        self.threads.iter().copied().max().unwrap_or(1)
    }

    /// All runs in order: contestants of one kind of run follow each other.
    fn plan(&self) -> Vec<Planned> {
        let mut plan = Vec::new();
        for _ in 0..self.repeats {
            for &threads in &self.threads {
                for temperature in [Temperature::Cold, Temperature::Warm] {
                    plan.extend(self.contestants.iter().map(|&contestant| Planned {
                        contestant,
                        threads,
                        temperature,
                    }));
                }
            }
        }
        plan
    }

    /// Runs the queries once through each contestant that will be limited, without a limit and
    /// with the most threads of the plan: what the neediest takes besides its pages.
    fn rehearse(&self, program: &Program, console: &Console) -> Result<LoadReport, Failure> {
        let mut most: Option<LoadReport> = None;
        // How a mapping is advised makes no difference to what else it needs, only to how long
        // it takes.
        let mapped = Contestant::Mmap(Advice::WillNeed);
        let maps = self.contestants.iter().any(|one| matches!(one, Contestant::Mmap(_)));
        let pools = self.contestants.contains(&Contestant::Pool);
        let needy = [(Contestant::Pool, pools || !maps), (mapped, maps)];
        for (contestant, _) in needy.into_iter().filter(|(_, takes_part)| *takes_part) {
            let planned = Planned {
                contestant,
                threads: self.most_threads(),
                temperature: Temperature::AsIs,
            };
            let mut arguments = planned.arguments(&self.query);
            arguments.push("--load-only".into());
            let label = format!("rehearsal of {}", planned.label());
            let place = Place { label: &label, group: None, limit_bytes: 0 };
            let load: LoadReport = program.run(&arguments, &place, &console.interrupt)?;
            let more = most.get_or_insert_with(|| load.clone());
            more.anonymous_bytes = more.anonymous_bytes.max(load.anonymous_bytes);
            more.page_table_bytes = more.page_table_bytes.max(load.page_table_bytes);
        }
        most.ok_or_else(|| Failure::Usage("--backends names nobody".into()))
    }
}

/// Where the runs take place: with a limit, or without one and with the reason.
struct Venue {
    hierarchy: Result<Hierarchy, String>,
    limit_bytes: u64,
    headroom_bytes: u64,
    paged_files: Vec<PathBuf>,
}

impl Venue {
    fn new(load: &LoadReport, threads: u16) -> Self {
        let headroom_bytes = HEADROOM_BYTES + HEADROOM_THREAD_BYTES * u64::from(threads);
        let undroppable_bytes = load.anonymous_bytes + load.page_table_bytes;
        let limit_bytes = undroppable_bytes + load.budget_bytes + headroom_bytes;
        let hierarchy = Hierarchy::of_this_process();
        // One group is made and removed, to know before the first run.
        let hierarchy = hierarchy.and_then(|hierarchy| {
            hierarchy.make_group(0, limit_bytes)?;
            Ok(hierarchy)
        });
        Self { hierarchy, limit_bytes, headroom_bytes, paged_files: load.paged_files.clone() }
    }

    fn run(
        &self,
        number: u32,
        planned: &Planned,
        query: &QueryOptions,
        program: &Program,
        console: &Console,
    ) -> Result<RunReport, Failure> {
        // Pages that somebody else brought into the cache are charged to somebody else: a warm
        // run over those would not be limited at all.
        page_cache::evict(&self.paged_files)?;
        let label = planned.label();
        let group = self.group_for(planned.contestant, number);
        let group = group.map_err(|reason| {
            Failure::new(format!("{label}: cannot make a memory cgroup any more: {reason}"))
        })?;
        let place = Place { label: &label, group: group.as_ref(), limit_bytes: self.limit_bytes };
        let arguments = planned.arguments(query);
        let mut run: RunReport = program.run(&arguments, &place, &console.interrupt)?;
        if let Some(group) = &group {
            run.memory_enforced_by = group.version().word().into();
        }
        Ok(run)
    }

    fn group_for(&self, contestant: Contestant, number: u32) -> Result<Option<Group>, String> {
        match (&self.hierarchy, contestant) {
            (_, Contestant::Memory) | (Err(_), _) => Ok(None),
            (Ok(hierarchy), _) => hierarchy.make_group(number, self.limit_bytes).map(Some),
        }
    }

    fn described(&self, load: &LoadReport) -> SameMemory {
        let limited = self.hierarchy.is_ok();
        let version = self.hierarchy.as_ref().map(Hierarchy::version);
        SameMemory {
            limit_bytes: limited.then_some(self.limit_bytes),
            anonymous_bytes: load.anonymous_bytes,
            page_table_bytes: load.page_table_bytes,
            budget_bytes: load.budget_bytes,
            headroom_bytes: self.headroom_bytes,
            paged_bytes: load.paged_bytes,
            memory_enforced_by: version.map_or("none", |version| version.word()).into(),
            unlimited_reason: self.hierarchy.as_ref().err().cloned(),
        }
    }
}

/// Fails when the last run found something else than the first.
fn same_answers(runs: &[RunReport]) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return Ok(());
    };
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
fn line(arguments: &[OsString]) -> String {
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
    fn each_contestant_takes_part_once() {
        let backends = [Backend::Mmap, Backend::Pool, Backend::Mmap];
        let all = Contestant::all(&backends, &[Advice::WillNeed, Advice::Random]);
        let mmap = Contestant::Mmap;
        assert_eq!(all, [mmap(Advice::WillNeed), mmap(Advice::Random), Contestant::Pool]);
    }

    #[test]
    fn lines_survive_a_shell() {
        let arguments = ["search", "my dir", "it's", "--memory", "10%", ""];
        let shown = line(&arguments.map(OsString::from));
        assert_eq!(shown, r"ringpool search 'my dir' 'it'\''s' --memory 10% ''");
    }
}
