//! Milvus' mmap: memory stays as it is, and the data grows to twice and four times what fits into it.
//!
//! Milvus maps whole segments, so that here graph, codes and originals are all read by page. What is
//! asked is how much of the throughput is kept.

use clap::Args;
use maud::{Markup, html};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::report::curve::{self, Axis, Point, Series};
use ringpool_cli::table;
use serde::Serialize;

use super::slow_disk::limits;
use crate::contestants::Contestant;
use crate::outcome::{Fact, Outcome};
use crate::search::{DataSet, MEASURES, Paged, Task, limit_bytes};
use crate::study::Plan;
use crate::{Common, csv, page, text};

pub const NAME: &str = "milvus";

const DIM: usize = 768;
const K: usize = 10;
const EF: usize = 100;
/// How many times what fits into memory.
const TIMES: [(&str, usize); 3] = [("1x", 1), ("2x", 2), ("4x", 4)];

/// What is left at 1x and 2x by Milvus' page, which has no figure for 4x.
const PAGE_PERCENT: [f64; 2] = [100.0, 70.0];
/// By the issue: 5.07, 0.81 and 0.63 requests a second.
const ISSUE_PERCENT: [f64; 3] = [100.0, 16.0, 12.4];

const CONTESTANTS: [&str; 4] = ["mmap-normal", "mmap-random", "mmap-willneed", "pool-ring"];

/// Throughput kept when data outgrows memory, as on Milvus' mmap page
#[derive(Args)]
pub struct Milvus {
    #[command(flatten)]
    common: Common,

    /// Vectors of 768 floats that fit into memory
    #[arg(long, default_value_t = 25_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..))]
    points: u32,

    /// Queries of a run
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queries: u32,

    /// Threads that search
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,

    /// Only originals by page; graph and codes resident, whatever they take
    #[arg(long)]
    resident: bool,
}

/// What is left of a contestant's throughput.
#[derive(Serialize)]
struct Kept {
    contestant: String,
    /// Of its own at 1x: for each case, in hundredths.
    percent: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    outcome: Outcome,
    kept: Vec<Kept>,
}

impl Milvus {
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        let made = TIMES.map(|(_, times)| {
            let shape = (self.points as usize * times, DIM);
            DataSet::clustered(shape, self.queries, self.common.dir.as_deref(), console)
        });
        let sets = made.into_iter().collect::<Result<Vec<_>, Failure>>()?;
        let paged = if self.resident { Paged::Originals } else { Paged::All };
        let (pages_bytes, _) = sets[0].paged(paged)?;
        let mut files = Vec::new();
        for set in &sets {
            files.extend(set.paged(paged)?.1);
        }
        let named = self.common.contestants_or(&CONTESTANTS);
        let rehearsals = sets.iter().map(|set| {
            let rehearsed = self.task(set, paged, pages_bytes);
            limit_bytes(NAME, &named, &rehearsed, pages_bytes, console)
        });
        let case_limits = rehearsals.collect::<Result<Vec<u64>, Failure>>()?;
        let task = |contestant: &dyn Contestant, case: &str| {
            let at = TIMES.iter().position(|(name, _)| *name == case).unwrap_or(0);
            let contestant = contestant.name().into();
            Task { contestant, ..self.task(&sets[at], paged, pages_bytes) }.words()
        };
        let plan = Plan {
            scale: self.scale(pages_bytes),
            facts: facts(&case_limits),
            files,
            case_limits: case_limits.clone(),
            ..plan(&task)
        };
        self.show(plan.hold(&self.common, console)?, console)
    }

    fn show(&self, outcome: Outcome, console: &Console) -> Result<(), Failure> {
        if let Some(path) = &self.common.csv {
            csv::write(path, &outcome)?;
        }
        let kept = kept(&outcome);
        if let Some(path) = &self.common.report {
            page::write_with(path, &outcome, &plot(&kept))?;
        }
        console.show(&Shown { outcome, kept }, |shown| {
            format!("{}\n{}", text::whole(&shown.outcome), kept_table(&shown.kept))
        })
    }

    fn task(&self, data: &DataSet, paged: Paged, memory_bytes: u64) -> Task {
        Task {
            contestant: String::new(),
            segment: data.segment.clone(),
            queries: data.queries.clone(),
            paged,
            memory_bytes,
            threads: self.threads.into(),
            in_flight: 8,
            k: K,
            ef: EF,
            oversample: 4.0,
            warm: true,
            slow: false,
        }
    }

    fn scale(&self, pages_bytes: u64) -> String {
        let read = if self.resident { "the originals" } else { "graph, codes and originals" };
        format!(
            "There: a query node of unstated memory on the page, IVF_FLAT in the issue. Here: HNSW \
             with int8 codes, {} clustered vectors of {DIM} floats at 1x, and {} of memory for pages of \
             {read}: as much as these are at 1x, whatever the data.",
            table::count(self.points.into()),
            table::bytes(pages_bytes)
        )
    }
}

fn facts(case_limits: &[u64]) -> Vec<Fact> {
    vec![
        Fact {
            name: "checksums",
            value: "all check: mappings a page at its first touch, others after each read".into(),
        },
        Fact {
            name: "warm",
            value: "all queries were run once before, within the same limit; at 1x what they read then \
                    fits into memory"
                .into(),
        },
        limits(case_limits),
    ]
}

fn plan<'a>(task: &'a dyn Fn(&dyn Contestant, &str) -> Result<String, Failure>) -> Plan<'a> {
    Plan {
        name: NAME,
        title: "Data that outgrows memory",
        source: "Published: Milvus' page on mmap, https://milvus.io/docs/v2.3.x/mmap.md: 30 % lost at \
                 2x, and up to 4x stored without a significant impact; its issue 28037, \
                 https://github.com/milvus-io/milvus/issues/28037: requests a second with IVF_FLAT, 59.07 \
                 in memory.",
        scale: String::new(),
        facts: Vec::new(),
        measures: &MEASURES,
        series: &[],
        rounds: 3,
        cases: TIMES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        contestants: &CONTESTANTS,
        takes_part: |_, _| true,
        published,
        task,
        files: Vec::new(),
        limit_bytes: 0,
        case_limits: Vec::new(),
    }
}

fn published(contestant: &str, case: &str) -> Option<&'static str> {
    Some(match (contestant, case) {
        ("mmap-normal", "1x") => "issue: 5.07/s",
        ("mmap-normal", "2x") => "page: 30 % lost; issue: 0.81/s",
        ("mmap-normal", "4x") => "page: no significant impact; issue: 0.63/s",
        _ => return None,
    })
}

fn kept(outcome: &Outcome) -> Vec<Kept> {
    let qps = |contestant: &str, case: &str| {
        let mut lines = outcome.lines.iter();
        let line = lines.find(|line| line.contestant == contestant && line.case == case)?;
        Some(line.figures.first().copied().flatten()?.median)
    };
    let of = |contestant: &str| {
        let first = qps(contestant, TIMES[0].0);
        let percent = TIMES.map(|(case, _)| Some(qps(contestant, case)? / first? * 100.0));
        Kept { contestant: contestant.to_owned(), percent: percent.to_vec() }
    };
    outcome.contestants.iter().map(|one| of(one.name)).collect()
}

fn plot(kept: &[Kept]) -> Markup {
    let axis = |name, mark| Axis { name, logarithmic: false, mark };
    let series = kept.iter().map(|kept| {
        let points = TIMES.iter().zip(&kept.percent).filter_map(|((case, times), percent)| {
            let (x, y) = (*times as f64, (*percent)?);
            Some(Point {
                x,
                y,
                words: format!("{}, {case}: {y:.1} %", kept.contestant),
                chosen: false,
            })
        });
        Series { name: kept.contestant.clone(), points: points.collect() }
    });
    let published = |name: &str, ys: &[f64]| {
        let points = TIMES.iter().zip(ys).map(|((case, times), &y)| {
            let words = format!("published, {name}, {case}: {y} %");
            Point { x: *times as f64, y, words, chosen: true }
        });
        Series { name: format!("published {name}"), points: points.collect() }
    };
    let theirs = [published("page", &PAGE_PERCENT), published("issue 28037", &ISSUE_PERCENT)];
    let all: Vec<Series> = series.chain(theirs).collect();
    let (x, y) = (axis("data, times memory", None), axis("throughput kept, %", Some(100.0)));
    html! {
        section.plots {
            h2 { "Throughput kept" }
            div.grid { (curve::named_lines("Of a contestant's own at 1x, in hundredths", &x, &y, &all)) }
        }
    }
}

fn kept_table(kept: &[Kept]) -> String {
    let rows = kept.iter().map(|kept| {
        let cell = |percent: &Option<f64>| table::or_dash(percent.map(|p| format!("{p:.1} %")));
        [kept.contestant.clone()].into_iter().chain(kept.percent.iter().map(cell)).collect()
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    for (name, percent) in [("page", &PAGE_PERCENT[..]), ("issue 28037", &ISSUE_PERCENT)] {
        let cell = |at| table::or_dash(percent.get(at).map(|percent| format!("{percent:.1} %")));
        let cells = (0..TIMES.len()).map(cell);
        rows.push([format!("published: {name}")].into_iter().chain(cells).collect());
    }
    let header = ["throughput kept", TIMES[0].0, TIMES[1].0, TIMES[2].0];
    table::columns(&header, 1..header.len(), &rows)
}
