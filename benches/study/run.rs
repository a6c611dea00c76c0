//! One measured run: what a child prints, and what is known of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a child measured, by the keys of its experiment's measures.
#[derive(Serialize, Deserialize, Clone, Default, Debug)]
pub struct Measured {
    pub figures: BTreeMap<String, f64>,
    /// What passed in each second, by the same sort of keys; empty where it is not asked.
    #[serde(default)]
    pub seconds: Vec<BTreeMap<String, f64>>,
    /// What was read, as a number: the same for all contestants of a case, or somebody read wrong.
    #[serde(default)]
    pub answer: Option<u64>,
}

/// A run of a study.
#[derive(Serialize, Clone, Debug)]
pub struct Run {
    pub contestant: String,
    pub case: String,
    pub round: u16,
    /// Whether it is the second of the pair that shows the noise.
    pub again: bool,
    pub memory_enforced_by: String,
    #[serde(flatten)]
    pub measured: Measured,
}

/// A column: its key, its name with a unit, and which way is good.
#[derive(Serialize, Clone, Copy, Debug)]
pub struct Measure {
    pub key: &'static str,
    pub name: &'static str,
    pub better: Better,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
    /// It explains, and nobody wins by it.
    Neither,
}

impl Measure {
    pub const fn higher(key: &'static str, name: &'static str) -> Self {
        Self { key, name, better: Better::Higher }
    }

    pub const fn lower(key: &'static str, name: &'static str) -> Self {
        Self { key, name, better: Better::Lower }
    }

    pub const fn told(key: &'static str, name: &'static str) -> Self {
        Self { key, name, better: Better::Neither }
    }
}

impl Run {
    pub fn figure(&self, key: &str) -> Option<f64> {
        self.measured.figures.get(key).copied()
    }
}
