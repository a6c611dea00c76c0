//! All runs as rows of CSV, for people with tools of their own: every figure of the JSON, one run a
//! row. Who ran where comes first, the rest by name; what is inside of something has its name before
//! its own. Written whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::whole_file;

use super::{Outcome, Run};

/// The columns that say which run it is.
const FIRST: [&str; 5] = ["contestant", "round", "budget_bytes", "threads", "temperature"];

/// The list of components is told apart by this key of theirs.
const NAME: &str = "component";

type Row = BTreeMap<String, String>;

/// Writes all runs to `path`, those of the pool against itself as well.
pub fn write_csv(path: &Path, outcome: &Outcome) -> Result<(), Failure> {
    let rows: Result<Vec<Row>, Failure> = outcome.runs.iter().map(row).collect();
    let rows = rows?;
    let found: BTreeSet<&str> = rows.iter().flat_map(Row::keys).map(String::as_str).collect();
    let rest = found.into_iter().filter(|name| !FIRST.contains(name));
    let names: Vec<&str> = FIRST.into_iter().chain(rest).collect();
    let written = whole_file::publish(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(&names).map_err(io::Error::from)?;
        for row in &rows {
            let cells = names.iter().map(|&name| row.get(name).map_or("", String::as_str));
            csv.write_record(cells).map_err(io::Error::from)?;
        }
        csv.flush()
    });
    written.map_err(|error| Failure::at(path, "write the runs", &error))
}

fn row(run: &Run) -> Result<Row, Failure> {
    let value = serde_json::to_value(run).map_err(|error| Failure::of(&error))?;
    let mut row = Row::new();
    put(&mut row, "", &value);
    Ok(row)
}

/// Puts what is in `value` into the row, under names that begin with `name`.
fn put(row: &mut Row, name: &str, value: &Value) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}_{key}") };
    match value {
        Value::Object(inner) => inner.iter().for_each(|(key, value)| put(row, &below(key), value)),
        Value::Array(inner) => {
            for (number, value) in inner.iter().enumerate() {
                let key = value[NAME].as_str().map_or_else(|| number.to_string(), str::to_owned);
                put(row, &below(&key), value);
            }
        }
        Value::Null => _ = row.insert(name.into(), String::new()),
        Value::String(text) => _ = row.insert(name.into(), text.clone()),
        other => _ = row.insert(name.into(), other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{again, outcome, run};

    #[test]
    fn each_run_is_a_row_with_all_of_its_figures() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        let runs = vec![run("mmap", Some("random"), "cold", 250.0), again("cold", 500.0)];
        write_csv(&path, &outcome(runs)).unwrap();
        let mut found = csv::Reader::from_path(&path).unwrap();
        let names: Vec<String> = found.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(names[..5], FIRST);
        let rows: Vec<csv::StringRecord> = found.records().map(Result::unwrap).collect();
        let cell = |row: usize, name: &str| {
            rows[row][names.iter().position(|found| found == name).unwrap()].to_owned()
        };
        assert_eq!(
            (cell(0, "contestant"), cell(1, "contestant")),
            ("mmap random".into(), "pool again".into())
        );
        assert_eq!((cell(0, "qps"), cell(1, "mmap_advice")), ("250.0".into(), String::new()));
        assert_eq!(
            (cell(0, "latency_us_p50"), cell(1, "iops")),
            ("4000.0".into(), "20480.0".into())
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let failure = write_csv(Path::new("/no/such/folder/r.csv"), &outcome(Vec::new()));
        assert!(failure.unwrap_err().to_string().starts_with("/no/such/folder/r.csv: "));
    }
}
