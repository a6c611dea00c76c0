//! One row a run, for people with their own tools.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use ringpool_cli::failure::Failure;
use ringpool_cli::whole_file;

use crate::outcome::Outcome;

/// Writes the runs to `path`, whole or not at all.
pub fn write(path: &Path, outcome: &Outcome) -> Result<(), Failure> {
    let written = whole_file::publish(path, |out| rows(outcome, out));
    written.map_err(|error| Failure::at(path, "write the runs", &error))
}

fn rows(outcome: &Outcome, out: &mut dyn io::Write) -> io::Result<()> {
    let keys: BTreeSet<&String> =
        outcome.runs.iter().flat_map(|run| run.measured.figures.keys()).collect();
    let fixed = ["experiment", "case", "contestant", "round", "again", "memory_enforced_by"];
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record(fixed.into_iter().chain(keys.iter().map(|key| key.as_str())))?;
    for run in &outcome.runs {
        let fixed = [
            outcome.experiment.to_owned(),
            run.case.clone(),
            run.contestant.clone(),
            run.round.to_string(),
            run.again.to_string(),
            run.memory_enforced_by.clone(),
        ];
        let figures =
            keys.iter().map(|key| run.figure(key).map_or(String::new(), |f| f.to_string()));
        rows.write_record(fixed.into_iter().chain(figures))?;
    }
    rows.flush()
}
