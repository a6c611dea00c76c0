//! What the disk gave before anybody ran: what no contestant can go beyond.

use serde::Serialize;

use crate::probe::Step;

/// A ladder of queue depths, or the reason why there is none.
#[derive(Serialize, Clone, Debug)]
pub struct Disk {
    /// Random reads of a page of the originals, so many at once; empty where it was not measured.
    pub ladder: Vec<Step>,
    pub unmeasured_reason: Option<String>,
}

impl Disk {
    /// What a probe has found.
    pub fn found(ladder: Result<Vec<Step>, String>) -> Self {
        match ladder {
            Ok(ladder) => Self { ladder, unmeasured_reason: None },
            Err(reason) => Self { ladder: Vec::new(), unmeasured_reason: Some(reason) },
        }
    }

    /// The most reads a second at any depth.
    pub fn best_iops(&self) -> Option<f64> {
        self.ladder.iter().map(|step| step.figures.iops).reduce(f64::max)
    }
}
