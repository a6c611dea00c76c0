//! What came out of a study: its runs, a line for each contestant and case, and what was the same.

use ringpool_cli::machine::Machine;
use serde::Serialize;

use crate::contestants::Contestant;
use crate::judging::{self, Line, Noise};
use crate::run::{Measure, Run};
use crate::study::Plan;
use crate::venue::Limit;

/// Something that was so in all runs.
#[derive(Serialize, Clone, Debug)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
}

#[derive(Serialize)]
pub struct Outcome {
    pub experiment: &'static str,
    pub title: &'static str,
    pub source: &'static str,
    pub scale: String,
    pub facts: Vec<Fact>,
    pub rounds: u16,
    pub memory: Limit,
    pub machine: Machine,
    pub contestants: Vec<Entrant>,
    pub measures: &'static [Measure],
    pub series: &'static [Measure],
    pub noise: Vec<Noise>,
    pub lines: Vec<Line>,
    /// The command line that made it.
    pub command: String,
    pub runs: Vec<Run>,
}

/// Who took part, and how.
#[derive(Serialize)]
pub struct Entrant {
    pub name: &'static str,
    pub manner: &'static str,
}

impl Outcome {
    pub fn new(
        plan: &Plan<'_>,
        contestants: &[&'static dyn Contestant],
        rounds: u16,
        memory: Limit,
        machine: Machine,
        runs: Vec<Run>,
    ) -> Self {
        let entrants = contestants.iter();
        let entrants = entrants.map(|one| Entrant { name: one.name(), manner: one.manner() });
        let of_case = |case| judging::noise(&runs, case, &plan.measures[0]);
        let noise: Vec<Noise> = plan.cases.iter().filter_map(|case| of_case(case)).collect();
        let pairs = plan
            .cases
            .iter()
            .flat_map(|case| contestants.iter().map(move |one| (case, one.name())));
        let lines = pairs.filter_map(|(case, name)| {
            let noise = noise.iter().find(|noise| noise.case == *case).map(|noise| noise.factor);
            let line = judging::line(&runs, case, name, plan.measures, noise)?;
            Some(Line { published: (plan.published)(name, case), ..line })
        });
        Self {
            experiment: plan.name,
            title: plan.title,
            source: plan.source,
            scale: plan.scale.clone(),
            facts: plan.facts.clone(),
            rounds,
            memory,
            machine,
            contestants: entrants.collect(),
            measures: plan.measures,
            series: plan.series,
            lines: lines.collect(),
            noise,
            command: command(),
            runs,
        }
    }

    pub fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = self.lines.iter().map(|line| line.case.as_str()).collect();
        cases.dedup();
        cases
    }

    pub fn noise_of(&self, case: &str) -> Option<f64> {
        self.noise.iter().find(|noise| noise.case == case).map(|noise| noise.factor)
    }
}

/// How this was started.
fn command() -> String {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    format!("cargo bench --bench study -- {}", arguments.join(" "))
}
