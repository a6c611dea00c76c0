//! What is run, in which order: rounds in which everybody has a turn.

use std::ffi::OsString;

use crate::options::{QueryOptions, Temperature};

use super::{Contest, Contestant};

/// One run of the plan.
#[derive(Clone, Copy)]
pub struct Planned {
    pub contestant: Contestant,
    pub threads: u16,
    pub temperature: Temperature,
    /// Of the stages, by its number.
    pub stage: usize,
    /// From 1 on.
    pub round: u16,
}

impl Planned {
    /// What it is called in errors.
    pub fn label(&self) -> String {
        let plural = if self.threads == 1 { "" } else { "s" };
        let temperature = self.temperature.word();
        format!("{}, {temperature}, {} thread{plural}", self.contestant, self.threads)
    }

    /// Its command line.
    pub fn arguments(&self, query: &QueryOptions) -> Vec<OsString> {
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

/// All runs in order. The contestants of one setting follow each other, and the rounds too, so that
/// a slow minute of the machine hits all alike.
pub fn of(contest: &Contest) -> Vec<Planned> {
    let mut plan = Vec::new();
    for round in 1..=contest.repeats {
        for stage in 0..contest.memories.len() {
            for &threads in &contest.threads {
                for temperature in [Temperature::Cold, Temperature::Warm] {
                    let taking_part = contest.taking_part(stage);
                    let able = taking_part.filter(|contestant| contestant.runs(temperature));
                    let run =
                        |contestant| Planned { contestant, threads, temperature, stage, round };
                    plan.extend(able.map(run));
                }
            }
        }
    }
    plan
}
