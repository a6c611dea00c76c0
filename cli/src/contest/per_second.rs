//! How many queries each contestant answers in each second, from an empty cache on: a run of its own
//! beside those that are compared.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;
use crate::options::Temperature;
use crate::outcome::Run;

use super::plan::Planned;
use super::{Contest, Contestant, Stage, Starter, same_answers};

/// The seconds of one contestant.
#[derive(Serialize, Clone, Debug)]
pub struct PerSecond {
    pub contestant: String,
    pub threads: u64,
    pub budget_bytes: u64,
    pub points: Vec<Second>,
}

/// A second, or what was left of the last one.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// Since the first query.
    pub end_seconds: f64,
    pub qps: f64,
}

/// The numbers of these runs follow those of the plan, of which there are fewer.
const FIRST_NUMBER: u32 = 1 << 24;

/// What it takes to run the queries again and again, and to note the seconds: the peak was 3.1 MiB above
/// that of one pass, and grew no more. The same for every contestant, and a mapping may fill it with pages.
pub const NOTING_BYTES: u64 = 4 << 20;

/// What is left of a second at the end says little when it is shorter than this.
const SHORTEST_MS: u64 = 500;

impl Contest {
    /// Runs each contestant for so long, cold, in the smallest memory and with the most threads,
    /// where what they differ by is seen best. The yardstick has no cache to fill.
    pub(super) fn series(
        &self,
        seconds: u32,
        stages: &[Stage],
        runs: &[Run],
        starter: &Starter<'_>,
    ) -> Result<Vec<PerSecond>, Failure> {
        let smallest = (0..stages.len()).min_by_key(|&number| stages[number].venue.budget_bytes());
        let stage = smallest.unwrap_or(0);
        let Stage { query, venue } = &stages[stage];
        let venue = venue.with_more(NOTING_BYTES);
        let folder = tempfile::tempdir().map_err(|error| Failure::of(&error))?;
        let (threads, temperature) = (self.most_threads(), Temperature::Cold);
        let cold = self.contestants.iter().copied().filter(|one| one.runs(temperature));
        let cold = cold.filter(|&one| one != Contestant::Memory);
        let mut series = Vec::new();
        for (number, contestant) in (FIRST_NUMBER..).zip(cold) {
            let planned = Planned { contestant, threads, temperature, stage, round: 0 };
            starter.bar.update("second by second", starter.steps, starter.steps);
            let path = folder.path().join(format!("{number}.csv"));
            let mut arguments = planned.arguments(query);
            let flags = ["--seconds".into(), seconds.to_string().into(), "--series-out".into()];
            arguments.extend(flags);
            arguments.push(OsString::from(&path));
            let report =
                venue.run(number, &planned, &arguments, &starter.program, starter.console)?;
            if let Some(first) = runs.first() {
                same_answers(&first.report, &report)?;
            }
            series.push(PerSecond {
                contestant: contestant.to_string(),
                threads: threads.into(),
                budget_bytes: venue.budget_bytes(),
                points: read(&path)?,
            });
        }
        Ok(series)
    }
}

/// What `search --series-out` has written.
fn read(path: &Path) -> Result<Vec<Second>, Failure> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| Failure::at(path, "read the seconds", &error))?;
    let wrong = || Failure::new(format!("{}: not three numbers in each line", path.display()));
    points(&text).ok_or_else(wrong)
}

fn points(text: &str) -> Option<Vec<Second>> {
    let mut points = Vec::new();
    let mut first = None;
    for line in text.lines().skip(1) {
        let mut numbers = line.split(',').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (begin, end, queries) = (next()?, next()?, next()?);
        let lasted_ms = end.saturating_sub(begin);
        let since = *first.get_or_insert(begin);
        if lasted_ms >= SHORTEST_MS {
            let end_seconds = end.saturating_sub(since) as f64 / 1e3;
            points.push(Second { end_seconds, qps: queries as f64 * 1e3 / lasted_ms as f64 });
        }
    }
    Some(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_from_the_first_and_a_short_rest_is_left_out() {
        let text = "begin_unix_ms,end_unix_ms,queries\n5000,6000,7\n6000,8000,40\n8000,8010,9\n";
        let second = |end_seconds, qps| Second { end_seconds, qps };
        assert_eq!(points(text), Some(vec![second(1.0, 7.0), second(3.0, 20.0)]));
        assert_eq!(points("head\n1,2\n"), None);
    }
}
