//! `ringpool config`: what is in force, and where each value came from.

use clap::Args;
use ringpool::config::InForce;
use ringpool::{Memory, Placement};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::options::{MEMORY_HELP, PLACE_HELP};
use crate::settings::Elsewhere;
use crate::table;

/// Show what is set, and where: flags before RINGPOOL_ variables before the file
#[derive(Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    elsewhere: Elsewhere,

    #[arg(long, value_name = "PLACES", default_value_t, hide_default_value = true, help = PLACE_HELP)]
    place: Placement,

    #[arg(long, value_name = "BYTES|N%", help = MEMORY_HELP)]
    memory: Option<Memory>,
}

#[derive(Serialize)]
struct Shown {
    settings: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    key: String,
    /// `null` where nothing is set and nothing holds by default.
    value: Option<String>,
    /// `flags`, `environment`, the file's name, or `default`.
    source: String,
    unit: &'static str,
    consequence: &'static str,
}

/// Runs the command.
pub fn execute(args: &ConfigArgs, console: &Console) -> Result<(), Failure> {
    let settings = args.elsewhere.settings(|flags| {
        flags.placement = args.place.clone();
        flags.memory.budget = args.memory;
    })?;
    let line = |InForce { key, name, value, source, .. }: InForce| Line {
        key: name,
        value: Some(value).filter(|value| !value.is_empty()),
        source: source.map_or_else(|| "default".into(), |source| source.to_string()),
        unit: key.unit,
        consequence: key.consequence,
    };
    let shown = Shown { settings: settings.in_force().into_iter().map(line).collect() };
    console.show(&shown, |shown| {
        let row = |line: &Line| {
            let value = line.value.clone().unwrap_or_else(|| "-".into());
            vec![line.key.clone(), value, line.source.clone(), line.unit.into()]
        };
        let rows: Vec<_> = shown.settings.iter().map(row).collect();
        table::columns(&["key", "value", "set by", "unit"], 0..0, &rows)
    })
}
