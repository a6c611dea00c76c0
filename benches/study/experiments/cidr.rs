//! CIDR'22: random and sequential reads of a file larger than memory, second by second.

use clap::Args;
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use serde::{Deserialize, Serialize};

use crate::Common;
use crate::run::Measured;

pub const NAME: &str = "cidr";

/// Random and sequential reads while memory fills, as in CIDR'22
#[derive(Args)]
pub struct Cidr {
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize, Deserialize)]
pub struct Task {}

impl Cidr {
    pub fn execute(&self, _console: &Console) -> Result<(), Failure> {
        let _ = &self.common;
        Err(Failure::new("cidr: not yet"))
    }
}

pub fn run(_task: &Task) -> Result<Measured, Failure> {
    Err(Failure::new("cidr: not yet"))
}
