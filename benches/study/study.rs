//! An experiment as data, and how it is run: rounds in which contestants take turns.
//!
//! Each round begins with the first contestant twice, the A/A pair: both are the same, so that what
//! they differ by is noise. The others follow, in an order that moves on by one from round to round.

use std::path::PathBuf;

use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::machine::Machine;

use crate::contestants::{self, Contestant};
use crate::outcome::{Fact, Outcome};
use crate::run::{Measure, Run};
use crate::venue::Venue;
use crate::{Common, csv, page, text};

/// What an experiment is.
pub struct Plan<'a> {
    /// Its word on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// What was published, by whom and where.
    pub source: &'static str,
    /// How this differs from what was published: sizes, disk, processors.
    pub scale: String,
    /// What else one must know to judge it.
    pub facts: Vec<Fact>,
    /// The columns; the first is what ratios are made of.
    pub measures: &'static [Measure],
    /// What is drawn second by second.
    pub series: &'static [Measure],
    /// How often everything is run, unless the caller says otherwise.
    pub rounds: u16,
    /// Kinds of run: a contestant's row is for each of them.
    pub cases: Vec<String>,
    /// Who takes part unless the caller says otherwise.
    pub contestants: &'static [&'static str],
    /// Whether a contestant takes part in a case.
    pub takes_part: fn(&dyn Contestant, &str) -> bool,
    /// The published figure of a contestant in a case, in words.
    pub published: fn(contestant: &str, case: &str) -> Option<&'static str>,
    /// What a child is told.
    pub task: &'a dyn Fn(&dyn Contestant, &str) -> Result<String, Failure>,
    /// What is evicted before each run.
    pub files: Vec<PathBuf>,
    pub limit_bytes: u64,
    /// Of each case, where they are not the same.
    pub case_limits: Vec<u64>,
}

/// One run of the plan.
struct Planned {
    contestant: &'static dyn Contestant,
    case: String,
    round: u16,
    again: bool,
}

impl Plan<'_> {
    /// Runs all of it, and shows and writes what came out.
    pub fn execute(&self, common: &Common, console: &Console) -> Result<(), Failure> {
        let outcome = self.hold(common, console)?;
        if let Some(path) = &common.csv {
            csv::write(path, &outcome)?;
        }
        if let Some(path) = &common.report {
            page::write(path, &outcome)?;
        }
        console.show(&outcome, |outcome| {
            let written = common.report.iter().chain(&common.csv);
            let written = written.map(|path| format!("\nwritten: {}", path.display()));
            text::whole(outcome) + &written.collect::<String>()
        })
    }

    /// Runs all of it.
    pub fn hold(&self, common: &Common, console: &Console) -> Result<Outcome, Failure> {
        let contestants = self.contestants(common)?;
        let rounds = common.rounds.unwrap_or(self.rounds);
        let planned = self.planned(&contestants, rounds);
        let most_bytes = self.case_limits.iter().copied().max().unwrap_or(self.limit_bytes);
        let mut venue = Venue::new(most_bytes, console)?;
        let bar = console.bar();
        let mut runs = Vec::with_capacity(planned.len());
        for (number, planned) in planned.iter().enumerate() {
            let label = format!("{}, {}", planned.contestant.name(), planned.case);
            bar.update(&label, number as u64, runs.capacity() as u64);
            let task = (self.task)(planned.contestant, &planned.case)?;
            venue.limit_to(self.limit_of(&planned.case));
            let measured = venue.run(&label, self.name, &task, &self.files)?;
            runs.push(Run {
                contestant: planned.contestant.name().into(),
                case: planned.case.clone(),
                round: planned.round,
                again: planned.again,
                memory_enforced_by: venue.limit().memory_enforced_by,
                measured,
            });
            same_answers(&runs)?;
        }
        venue.limit_to(most_bytes);
        let machine = Machine::with_files_at(&self.files[0]);
        Ok(Outcome::new(self, &contestants, rounds, venue.limit(), machine, runs))
    }

    /// The limit of a run of this case.
    fn limit_of(&self, case: &str) -> u64 {
        let mut limits = self.cases.iter().zip(&self.case_limits);
        limits.find(|(name, _)| *name == case).map_or(self.limit_bytes, |(_, &limit)| limit)
    }

    fn contestants(&self, common: &Common) -> Result<Vec<&'static dyn Contestant>, Failure> {
        let named: Vec<&str> = common.contestants.iter().map(String::as_str).collect();
        let names = if named.is_empty() { self.contestants } else { &named };
        names.iter().map(|name| contestants::named(name)).collect()
    }

    fn planned(&self, contestants: &[&'static dyn Contestant], rounds: u16) -> Vec<Planned> {
        let mut planned = Vec::new();
        for round in 0..rounds {
            for case in &self.cases {
                let mut taking: Vec<_> = contestants.to_vec();
                taking.retain(|one| (self.takes_part)(*one, case));
                let Some((&first, others)) = taking.split_first() else { continue };
                let mut others = others.to_vec();
                let turn = usize::from(round) % others.len().max(1);
                others.rotate_left(turn);
                let pair = [(first, false), (first, true)];
                let all = pair.into_iter().chain(others.into_iter().map(|one| (one, false)));
                planned.extend(all.map(|(contestant, again)| Planned {
                    contestant,
                    case: case.clone(),
                    round,
                    again,
                }));
            }
        }
        planned
    }
}

/// All runs of a case have read the same.
fn same_answers(runs: &[Run]) -> Result<(), Failure> {
    let Some((last, earlier)) = runs.split_last() else { return Ok(()) };
    let first = earlier.iter().find(|run| run.case == last.case && run.measured.answer.is_some());
    match first {
        Some(first) if first.measured.answer != last.measured.answer => Err(Failure::new(format!(
            "{}, {}: read something else than {} did ({:?}, {:?}): report it",
            last.contestant,
            last.case,
            first.contestant,
            last.measured.answer,
            first.measured.answer
        ))),
        _ => Ok(()),
    }
}
