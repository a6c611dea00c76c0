//! What came out of a study: its runs, a line for each contestant and case, and which differences are
//! no more than noise.

use ringpool_cli::machine::Machine;
use serde::Serialize;

use crate::contestants::Contestant;
use crate::run::{Better, Measure, Run};
use crate::spread::Spread;
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

/// What the A/A pairs of a case differ by: the same contestant, once divided by the other.
#[derive(Serialize, Clone, Debug)]
pub struct Noise {
    pub case: String,
    /// The largest factor, 1 or more.
    pub factor: f64,
}

/// A contestant in a case.
#[derive(Serialize, Clone, Debug)]
pub struct Line {
    pub case: String,
    pub contestant: String,
    /// Of each measure, in their order; none where nobody measured it.
    pub figures: Vec<Option<Spread>>,
    /// How many times as good as the first contestant in the same round.
    pub ratio: Option<Spread>,
    /// Whether the difference to the first is no more than noise.
    pub within_noise: bool,
    pub published: Option<&'static str>,
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
        let noise = plan.cases.iter().filter_map(|case| noise(&runs, case, &plan.measures[0]));
        let noise: Vec<Noise> = noise.collect();
        let pairs =
            plan.cases.iter().flat_map(|case| contestants.iter().map(move |one| (case, one)));
        let lines = pairs.filter_map(|(case, one)| line(plan, &runs, &noise, case, one.name()));
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

/// How many times as good `one` is as `other`.
fn times_as_good(measure: &Measure, one: f64, other: f64) -> Option<f64> {
    let ratio = if measure.better == Better::Lower { other / one } else { one / other };
    ratio.is_finite().then_some(ratio)
}

/// 1 or more, whichever way round.
fn factor(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

fn noise(runs: &[Run], case: &str, measure: &Measure) -> Option<Noise> {
    let again = runs.iter().filter(|run| run.again && run.case == case);
    let factors = again.filter_map(|again| {
        let first = runs.iter().find(|run| {
            !run.again
                && run.case == case
                && run.round == again.round
                && run.contestant == again.contestant
        })?;
        let ratio = again.figure(measure.key)? / first.figure(measure.key)?;
        Some(factor(ratio)).filter(|factor| factor.is_finite())
    });
    let largest = Spread::of(factors)?.most;
    Some(Noise { case: case.into(), factor: largest })
}

fn line(
    plan: &Plan<'_>,
    runs: &[Run],
    noise: &[Noise],
    case: &str,
    contestant: &str,
) -> Option<Line> {
    let in_case = || runs.iter().filter(|run| run.case == case && !run.again);
    let ours: Vec<&Run> = in_case().filter(|run| run.contestant == contestant).collect();
    let reference: &str = &in_case().next()?.contestant;
    let theirs: Vec<&Run> = in_case().filter(|run| run.contestant == reference).collect();
    ours.first()?;
    let spread = |runs: &[&Run], key| Spread::of(runs.iter().filter_map(|run| run.figure(key)));
    let headline = &plan.measures[0];
    let ratios = ours.iter().zip(&theirs).filter_map(|(ours, theirs)| {
        times_as_good(headline, ours.figure(headline.key)?, theirs.figure(headline.key)?)
    });
    let ratio = Spread::of(ratios).filter(|_| contestant != reference);
    let noise = noise.iter().find(|noise| noise.case == case).map_or(1.0, |noise| noise.factor);
    let overlap = spread(&ours, headline.key)
        .zip(spread(&theirs, headline.key))
        .is_some_and(|(ours, theirs)| ours.overlaps(&theirs));
    Some(Line {
        case: case.into(),
        contestant: contestant.into(),
        figures: plan.measures.iter().map(|measure| spread(&ours, measure.key)).collect(),
        within_noise: ratio.is_some_and(|ratio| factor(ratio.median) <= noise || overlap),
        ratio,
        published: (plan.published)(contestant, case),
    })
}
