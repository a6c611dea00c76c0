//! `--fields` and `--hits-out`: the hits of each query with the values of their fields.
//!
//! They are read when all queries are answered, those of a query in one batch, through whatever the
//! columns were opened with.

use std::collections::{BTreeMap, HashMap};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ringpool::{Hit, Snapshot, Value};
use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::{table, whole_file};

/// Queries whose hits are shown to people.
const SHOWN_QUERIES: usize = 3;
/// The characters of a value that are shown to them.
const SHOWN_CHARS: usize = 48;

/// What is wanted of the hits beside ids and distances.
#[derive(Args)]
pub struct FoundOptions {
    /// Fields whose values come with the hits, as name,price: under `hits` of --json, as a table of
    /// the first queries otherwise
    #[arg(long, value_name = "NAMES")]
    pub fields: Option<String>,

    /// Write the hits of each query with their --fields, one JSON object a line (.ndjson)
    #[arg(long, value_name = "FILE")]
    pub hits_out: Option<PathBuf>,
}

/// A hit with the values of its fields.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FoundHit {
    pub id: u64,
    pub distance: f32,
    pub fields: BTreeMap<String, serde_json::Value>,
}

/// A line of `--hits-out`.
#[derive(Serialize)]
struct Line<'a> {
    query: usize,
    hits: &'a [FoundHit],
}

/// All hits of all queries, and how long it took to read their fields.
pub struct Found {
    pub queries: Vec<Vec<FoundHit>>,
    pub took: Duration,
    names: Vec<String>,
}

impl FoundOptions {
    /// The fields that are asked for, where these are fields of the segments.
    ///
    /// # Errors
    /// When one is not: with its position.
    pub fn names(&self, snapshot: &Snapshot) -> Result<Vec<String>, Failure> {
        let Some(text) = &self.fields else { return Ok(Vec::new()) };
        let known: Vec<String> = snapshot.fields().into_iter().map(|field| field.name).collect();
        let (mut names, mut at) = (Vec::new(), 0);
        for word in text.split(',') {
            let name = word.trim();
            if !known.iter().any(|known| known == name) {
                let at = at + (word.len() - word.trim_start().len());
                return Err(unknown(name, at, &known));
            }
            if !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
            at += word.len() + 1;
        }
        Ok(names)
    }

    /// Whether anything is wanted.
    pub fn are_wanted(&self) -> bool {
        self.fields.is_some() || self.hits_out.is_some()
    }
}

fn unknown(name: &str, at: usize, known: &[String]) -> Failure {
    let likeness = |known: &&String| strsim::damerau_levenshtein(name, known);
    let line = match known.iter().min_by_key(likeness) {
        Some(_) if name.is_empty() => {
            format!("--fields, byte {at}: found nothing, expected a field: {}", known.join(", "))
        }
        Some(nearest) => {
            format!("--fields, byte {at}: no field is called {name:?}: is it {nearest}?")
        }
        None => format!(
            "--fields, byte {at}: the segment has no fields: build it with --columns, or leave \
             --fields out"
        ),
    };
    Failure::Usage(line)
}

impl Found {
    /// Reads these fields of all hits.
    pub fn read(
        answers: &Answers,
        names: Vec<String>,
        snapshot: &Snapshot,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let refused = |error: ringpool::Error| Failure::of(&error);
        let fields: Vec<&str> = names.iter().map(String::as_str).collect();
        let ids = answers.0.iter().flatten().map(|hit| hit.id);
        let places: HashMap<u64, _> = match fields.is_empty() {
            true => HashMap::new(),
            false => snapshot.places(&ids.collect::<Vec<_>>()),
        };
        let mut queries = Vec::with_capacity(answers.0.len());
        for hits in &answers.0 {
            interrupt.check()?;
            let values = match fields.is_empty() {
                true => vec![Vec::new(); hits.len()],
                false => {
                    let at = hits.iter().map(|hit| places.get(&hit.id).copied());
                    let at: Option<Vec<_>> = at.collect();
                    let gone = || Failure::new("a hit is gone: was it deleted meanwhile?");
                    snapshot.values(&at.ok_or_else(gone)?, &fields).map_err(refused)?
                }
            };
            let with_fields = hits.iter().zip(values).map(|(hit, row)| found(hit, &names, &row));
            queries.push(with_fields.collect());
        }
        Ok(Self { queries, took: begun.elapsed(), names })
    }

    /// Writes a line a query.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let written = whole_file::publish(path, |out| {
            self.queries.iter().enumerate().try_for_each(|(query, hits)| {
                let line = serde_json::to_string(&Line { query, hits })?;
                writeln!(out, "{line}")
            })
        });
        written.map_err(|error| Failure::at(path, "write", &error))
    }

    /// The hits of the first queries, for people.
    pub fn table(&self) -> String {
        let mut header = vec!["query", "id", "distance"];
        header.extend(self.names.iter().map(String::as_str));
        let shown = self.queries.iter().enumerate().take(SHOWN_QUERIES);
        let rows = shown.flat_map(|(query, hits)| {
            hits.iter().map(move |hit| {
                let mut row = vec![query.to_string(), hit.id.to_string(), hit.distance.to_string()];
                row.extend(self.names.iter().map(|name| shown_value(&hit.fields[name])));
                row
            })
        });
        table::columns(&header, 0..3, &rows.collect::<Vec<_>>())
    }
}

fn found(hit: &Hit, names: &[String], row: &[Value]) -> FoundHit {
    let json = |value: &Value| serde_json::to_value(value).unwrap_or_default();
    let fields = names.iter().cloned().zip(row.iter().map(json)).collect();
    FoundHit { id: hit.id, distance: hit.distance, fields }
}

/// A value on one line, cut where it is long.
fn shown_value(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = line.take(SHOWN_CHARS).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}
