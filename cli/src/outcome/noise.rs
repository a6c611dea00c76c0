//! The machine's noise: what the pool differs by from itself within one round.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::{Run, Setting};

/// The A/A runs of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    pub setting: Setting,
    /// The QPS of the second run divided by that of the first, for each round.
    pub ratios: Vec<f64>,
    /// The furthest of them from 1, either way, as a factor: from 1 on.
    pub factor: f64,
}

impl Noise {
    /// Of those runs that are in this setting; `None` without a pair.
    pub fn of(runs: &[Run], setting: Setting) -> Option<Self> {
        let of_setting = |run: &&Run| run.setting() == setting;
        let first = runs.iter().filter(of_setting).filter(|run| run.contestant == "pool");
        let second = |first: &Run| {
            let pair = |run: &&Run| run.again && run.round == first.round;
            let second = runs.iter().filter(of_setting).find(pair)?;
            Some(second.report.qps / first.report.qps)
        };
        let ratios: Vec<f64> = first.filter_map(second).collect();
        let factor = ratios.iter().map(|&ratio| away(ratio)).reduce(f64::max)?;
        Some(Self { setting, ratios, factor })
    }

    /// Whether a ratio is no further from 1 than the pool is from itself.
    pub fn covers(&self, ratio: f64) -> bool {
        away(ratio) <= self.factor
    }
}

/// How far a ratio is from 1, as a factor.
fn away(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

impl Serialize for Noise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Noise", 5)?;
        object.serialize_field("budget_bytes", &self.setting.budget_bytes)?;
        object.serialize_field("threads", &self.setting.threads)?;
        object.serialize_field("temperature", self.setting.temperature.word())?;
        object.serialize_field("ratios", &self.ratios)?;
        object.serialize_field("factor", &self.factor)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{again, in_round, run};

    #[test]
    fn the_furthest_pair_counts_whichever_way() {
        let runs = vec![
            in_round(1, run("pool", None, "cold", 100.0)),
            in_round(1, again("cold", 102.0)),
            in_round(2, run("pool", None, "cold", 100.0)),
            in_round(2, again("cold", 80.0)),
        ];
        let noise = Noise::of(&runs, runs[0].setting()).unwrap();
        assert_eq!(noise.ratios, [1.02, 0.8]);
        assert!((noise.factor - 1.25).abs() < 1e-9);
        assert!(
            noise.covers(1.2) && noise.covers(0.81) && !noise.covers(1.3) && !noise.covers(0.7)
        );
    }

    #[test]
    fn without_a_pair_there_is_no_figure() {
        let runs = vec![run("pool", None, "cold", 100.0), again("warm", 100.0)];
        assert_eq!(Noise::of(&runs, runs[0].setting()), None);
    }
}
