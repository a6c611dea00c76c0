//! The ladder over depths, its knee, and the depth that the engine finds by itself.

use ringpool::uring::{EngineOptions, Rung};
use serde::Serialize;

use crate::failure::Failure;

use super::in_words;
use super::load::{Figures, Load};
use super::pages::RandomPages;
use super::subject::Subject;
use super::watch::Watch;

/// The knee is the smallest depth with so much of the best rate.
const KNEE_SHARE: f64 = 0.95;

/// How long the engine may look for its depth before it is measured,
const SETTLING_SECONDS: f64 = 6.0;
/// unless a depth is measured for less than a tenth of that: who wants it quick gets it quick.
const SETTLING_STEPS: f64 = 10.0;

/// What the disk gave at one depth.
#[derive(Serialize, Clone, Debug)]
pub struct Step {
    pub queue_depth: u32,
    #[serde(flatten)]
    pub figures: Figures,
    /// How it was read; the kernel may refuse a large ring what it allowed a small one.
    #[serde(serialize_with = "in_words")]
    pub rung: Rung,
    /// Whether the memory was registered with the ring.
    pub registered_memory: bool,
}

impl Step {
    /// Keeps `options.max_in_flight` reads going, no more and no fewer, for so many seconds.
    pub fn measure(
        subject: &Subject,
        options: EngineOptions,
        pages: &mut RandomPages,
        seconds: f64,
        watch: &Watch,
    ) -> Result<Self, Failure> {
        let mut load = Load::start(subject, options)?;
        let (figures, _) = load.run(pages, ramp_seconds(seconds), seconds, watch)?;
        Ok(Self {
            queue_depth: options.max_in_flight,
            figures,
            rung: load.opened.rung,
            registered_memory: load.registered_memory,
        })
    }
}

/// What the engine reaches when it is left to choose its depth.
#[derive(Serialize, Clone, Debug)]
pub struct Adapted {
    /// Where it settled: the median over the reads, of which some try other depths.
    pub depth: u32,
    #[serde(flatten)]
    pub figures: Figures,
    /// How long it was under load before it was measured.
    pub settling_seconds: f64,
}

impl Adapted {
    /// Lets the engine find its depth below `options.max_in_flight`, then measures it.
    pub fn measure(
        subject: &Subject,
        options: EngineOptions,
        pages: &mut RandomPages,
        seconds: f64,
        watch: &Watch,
    ) -> Result<Self, Failure> {
        let settling_seconds = settling_seconds(seconds);
        let mut load = Load::start(subject, options)?;
        let (figures, depth) = load.run(pages, settling_seconds, seconds, watch)?;
        Ok(Self { depth, figures, settling_seconds })
    }
}

/// 1, 2, 4 and so on up to `deepest`, a power of two.
pub fn depths(deepest: u32) -> impl Iterator<Item = u32> {
    (0..=deepest.ilog2()).map(|power| 1 << power)
}

/// The smallest depth that gives nearly as much as the best. `ladder` has at least one step.
pub fn knee(ladder: &[Step]) -> &Step {
    let enough = KNEE_SHARE * best_iops(ladder);
    ladder.iter().find(|step| step.figures.iops >= enough).unwrap_or(&ladder[0])
}

/// The highest rate of the ladder.
pub fn best_iops(ladder: &[Step]) -> f64 {
    ladder.iter().map(|step| step.figures.iops).fold(0.0, f64::max)
}

/// How long all of a probe takes, lone reads and all, where a depth is measured for `step_seconds`.
pub fn seconds(deepest: u32, step_seconds: f64) -> f64 {
    let steps = depths(deepest).count() as f64 * (step_seconds + ramp_seconds(step_seconds));
    step_seconds + steps + settling_seconds(step_seconds) + step_seconds
}

/// How long a depth is under load before it is measured.
fn ramp_seconds(seconds: f64) -> f64 {
    0.1 * seconds
}

fn settling_seconds(seconds: f64) -> f64 {
    SETTLING_SECONDS.min(SETTLING_STEPS * seconds)
}
