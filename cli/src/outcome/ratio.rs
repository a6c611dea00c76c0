//! The pool against one other contestant: a ratio, and whether it names a winner.

use serde::Serialize;

use super::{Line, Noise};
use crate::table;

/// Closer than this to 1, a ratio names no winner.
const EVEN: f64 = 0.02;

/// The pool against one other contestant.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Ratio {
    pub threads: u64,
    pub temperature: String,
    pub against: String,
    pub pool_qps: f64,
    pub other_qps: f64,
    /// The pool's QPS divided by the other's.
    pub ratio: f64,
    /// `pool`, the other's name, or `even`: less than 2 % apart, spreads that overlap, or no
    /// further apart than the pool is from itself.
    pub winner: String,
    /// Whether the other ran under the same limit.
    pub other_limited: bool,
    pub budget_bytes: u64,
    /// What the pool differs by from itself there, as a factor; `None` without an A/A run.
    pub noise_factor: Option<f64>,
    pub within_noise: bool,
}

impl Ratio {
    /// Of two lines of one setting.
    pub fn new(pool: &Line<'_>, other: &Line<'_>, noise: Option<&Noise>) -> Self {
        let (pool_qps, other_qps) = (pool.median.report.qps, other.median.report.qps);
        let ratio = pool_qps / other_qps;
        let repeated = pool.repeats > 1 && other.repeats > 1;
        let overlap = pool.qps_min <= other.qps_max && other.qps_min <= pool.qps_max;
        let within_noise = noise.is_some_and(|noise| noise.covers(ratio));
        let winner = if is_close(ratio) || within_noise || (repeated && overlap) {
            "even"
        } else if ratio > 1.0 {
            &pool.name
        } else {
            &other.name
        };
        Self {
            threads: pool.median.report.threads,
            temperature: pool.median.report.temperature.clone(),
            against: other.name.clone(),
            pool_qps,
            other_qps,
            ratio,
            winner: winner.into(),
            other_limited: other.median.report.memory_enforced_by.starts_with("cgroup"),
            budget_bytes: pool.median.budget_bytes,
            noise_factor: noise.map(|noise| noise.factor),
            within_noise,
        }
    }

    /// Who won, in words, or why nobody did.
    pub fn verdict(&self) -> String {
        let unlimited = if self.other_limited { "" } else { " (which ran unlimited)" };
        let winner = match self.winner.as_str() {
            "even" if is_close(self.ratio) => "even".into(),
            "even" if self.within_noise => "even: within the noise".into(),
            "even" => "even: the spreads overlap".into(),
            winner => format!("{winner} wins"),
        };
        winner + unlimited
    }

    /// The figure, marked where it is within the noise.
    pub fn figure(&self) -> String {
        let mark = if self.within_noise { "~" } else { "" };
        match self.ratio {
            ratio if ratio < 10.0 => format!("{mark}{ratio:.2}"),
            ratio => format!("{mark}{}", table::figure(ratio)),
        }
    }
}

fn is_close(ratio: f64) -> bool {
    (ratio - 1.0).abs() < EVEN
}
