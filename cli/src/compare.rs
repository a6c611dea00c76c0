//! `ringpool compare`: the same queries through each backend, cold and warm, under the same
//! memory.

use std::path::PathBuf;

use clap::Args;
use ringpool::{Advice, Backend};

use crate::console::Console;
use crate::contest::{Contest, Contestant};
use crate::failure::Failure;
use crate::json::RunReport;
use crate::options::QueryOptions;
use crate::outcome::{Line, Outcome, Ratio, SameMemory};
use crate::search::MAX_THREADS;
use crate::{report, table};

/// Run the same queries through each backend, cold and warm, under the same memory
#[derive(Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub(crate) query: QueryOptions,

    /// Who takes part; memory holds everything and runs without a limit, as the yardstick
    #[arg(long, default_value = "pool,mmap,memory", value_delimiter = ',', value_name = "LIST")]
    backends: Vec<Backend>,

    /// What the kernel is told about a mapping: willneed (the best), random, normal; a mapping
    /// takes part once for each
    #[arg(long, default_value = "willneed", value_delimiter = ',', value_name = "LIST")]
    mmap_advice: Vec<Advice>,

    /// Numbers of threads that search side by side
    #[arg(long, default_value = "1,2,8", value_delimiter = ',', value_name = "LIST", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Vec<u16>,

    /// How often everything is run, interleaved; medians are quoted
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_REPEATS))]
    repeats: u16,

    /// Also write a page with plots (.html)
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// More repeats than this are a slip of the hand.
const MAX_REPEATS: i64 = 1000;

/// Runs the command.
pub fn execute(args: &CompareArgs, console: &Console) -> Result<(), Failure> {
    args.query.check()?;
    args.query.dir()?;
    let mut threads = args.threads.clone();
    threads.dedup();
    let contest = Contest {
        query: args.query.clone(),
        contestants: Contestant::all(&args.backends, &args.mmap_advice),
        threads,
        repeats: args.repeats,
    };
    let outcome = contest.hold(console)?;
    if let Some(path) = &args.report {
        report::write(path, "Pool, mmap and memory, side by side", &outcome)?;
    }
    console.show(&outcome, |outcome| {
        let written = args.report.iter().map(|path| format!("\nreport: {}", path.display()));
        text(outcome) + &written.collect::<String>()
    })
}

/// The outcome for people: what was the same, a table for each number of threads, who won.
pub fn text(outcome: &Outcome) -> String {
    let mut text = format!("{}\n\n{}\n", subject(outcome), same_memory(&outcome.memory));
    if outcome.runs.iter().any(|run| run.backend == "memory") {
        text.push_str(YARDSTICK);
        text.push('\n');
    }
    for threads in outcome.threads() {
        let lines = ["cold", "warm"].iter().flat_map(|t| outcome.lines(threads, t));
        let rows: Vec<_> = lines.map(|line| cells(&line)).collect();
        text.push_str(&format!(
            "\n{}\n{}",
            threads_of(threads),
            table::columns(&HEADER, 2..HEADER.len(), &rows)
        ));
    }
    let ratios = outcome.ratios();
    if !ratios.is_empty() {
        text.push_str("\nQPS of the pool divided by that of the other:\n");
        let rows: Vec<_> = ratios.iter().map(verdict).collect();
        text.push_str(&table::columns(&["threads", "", "against", "ratio", ""], 3..4, &rows));
    }
    text
}

/// What the `memory` backend is there for.
pub const YARDSTICK: &str = "The memory backend holds all originals in plain arrays and ran \
                             without the limit: the yardstick of what no storage at all gives.";

/// The columns of the table, here and in the report.
pub const HEADER: [&str; 11] = [
    "backend",
    "",
    "QPS",
    "min-max",
    "p50",
    "p99",
    "reads/query",
    "read MiB",
    "CPU s",
    "peak RSS",
    "page cache",
];

/// What was searched, and how well, in one sentence.
pub fn subject(outcome: &Outcome) -> String {
    let subject = &outcome.subject;
    let recall = outcome.recall().map(|recall| format!("recall@{} {recall:.4}, ", subject.k));
    format!(
        "{}: {} points of {} dimensions ({}, {}); k {}, ef {}, oversample {}; {}the same answers \
         in every run, bit by bit",
        subject.dir.display(),
        table::count(subject.points),
        subject.dimensions,
        subject.element,
        subject.metric,
        subject.k,
        subject.ef,
        subject.oversample,
        recall.unwrap_or_default()
    )
}

/// From this share of the budget on, the headroom is memory that counts: a mapping fills what the
/// kernel leaves of it with pages, a pool does not.
const HEADROOM_COUNTS_FROM: f64 = 0.25;

/// How the memory was made the same, or that it was not.
pub fn same_memory(memory: &SameMemory) -> String {
    let headroom_share = memory.headroom_bytes as f64 / memory.budget_bytes as f64;
    let small = memory.limit_bytes.is_some() && headroom_share > HEADROOM_COUNTS_FROM;
    let warning = if small {
        " Beside so small a budget the last counts: a mapping may keep pages in it, and the pool \
         cannot. Compare with more memory."
    } else {
        ""
    };
    equation(memory) + warning
}

fn equation(memory: &SameMemory) -> String {
    let bytes = table::bytes;
    match (memory.limit_bytes, &memory.unlimited_reason) {
        (Some(limit), _) => format!(
            "The same memory: each run in a {} of its own, limited to {} = {} anonymous with \
             everything loaded + {} page tables + {} budget for {} of pages + {} for what the \
             kernel charges.",
            memory.memory_enforced_by,
            bytes(limit),
            bytes(memory.anonymous_bytes),
            bytes(memory.page_table_bytes),
            bytes(memory.budget_bytes),
            bytes(memory.paged_bytes),
            bytes(memory.headroom_bytes)
        ),
        (None, reason) => format!(
            "NOT the same memory: mmap ran unlimited, because no memory cgroup could be made \
             ({}). The pool kept to {} for {} of pages. Run as root for a fair comparison.",
            reason.as_deref().unwrap_or("unknown"),
            bytes(memory.budget_bytes),
            bytes(memory.paged_bytes)
        ),
    }
}

/// One line of the table.
pub fn cells(line: &Line<'_>) -> Vec<String> {
    let run: &RunReport = line.median;
    let spread = (line.repeats > 1)
        .then(|| format!("{}-{}", table::figure(line.qps_min), table::figure(line.qps_max)));
    let mib = |bytes: u64| table::figure(bytes as f64 / f64::from(1 << 20));
    let sized = |bytes: Option<u64>| table::or_dash(bytes.map(table::bytes));
    vec![
        line.name.clone(),
        run.temperature.clone(),
        table::figure(run.qps),
        table::or_dash(spread),
        table::duration_us(run.latency_us.p50),
        table::duration_us(run.latency_us.p99),
        table::or_dash(run.reads_per_query.map(table::figure)),
        table::or_dash(run.read_bytes.map(mib)),
        table::figure(run.cpu_seconds),
        sized(run.peak_rss_bytes),
        sized(run.page_cache_bytes),
    ]
}

/// A ratio in words: threads, temperature, the other, the figure, who won.
pub fn verdict(ratio: &Ratio) -> Vec<String> {
    let unlimited = if ratio.other_limited { "" } else { " (which ran unlimited)" };
    let winner = match ratio.winner.as_str() {
        "even" if ratio.is_close() => "even".into(),
        "even" => "even: the spreads overlap".into(),
        winner => format!("{winner} wins"),
    };
    vec![
        threads_of(ratio.threads),
        ratio.temperature.clone(),
        ratio.against.clone(),
        format!("{:.2}", ratio.ratio),
        winner + unlimited,
    ]
}

/// A number of threads in words.
pub fn threads_of(threads: u64) -> String {
    match threads {
        1 => "1 thread".into(),
        more => format!("{more} threads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{outcome, run};

    #[test]
    fn a_headroom_that_counts_is_pointed_out() {
        let memory = |budget_bytes, limit_bytes| SameMemory {
            limit_bytes,
            anonymous_bytes: 10 << 20,
            page_table_bytes: 100 << 10,
            budget_bytes,
            headroom_bytes: 1 << 20,
            paged_bytes: 100 << 20,
            memory_enforced_by: "cgroup-v2".into(),
            unlimited_reason: None,
        };
        let warned = |memory| same_memory(&memory).contains("Compare with more memory");
        assert!(warned(memory(3 << 20, Some(15 << 20))));
        assert!(!warned(memory(5 << 20, Some(17 << 20))));
        assert!(!warned(memory(3 << 20, None)), "no limit, no headroom");
    }

    #[test]
    fn the_text_names_the_limit_the_losses_and_the_yardstick() {
        let runs = vec![
            run("pool", None, "cold", 500.0),
            run("mmap", Some("willneed"), "cold", 250.0),
            run("memory", None, "cold", 9000.0),
            run("pool", None, "warm", 900.0),
            run("mmap", Some("willneed"), "warm", 1000.0),
        ];
        let text = text(&outcome(runs));
        for part in [
            "limited to 64.00 MiB",
            "recall@10 0.9900, the same answers",
            "yardstick",
            "2.00 pool wins",
            "0.90 mmap willneed wins",
            "memory wins (which ran unlimited)",
        ] {
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            assert!(words.join(" ").contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_missing_limit_is_said_first() {
        let mut found = outcome(vec![run("pool", None, "cold", 1.0)]);
        found.memory.limit_bytes = None;
        found.memory.unlimited_reason = Some("/cg: permission denied".into());
        let text = text(&found);
        assert!(text.contains("mmap ran unlimited") && text.contains("/cg: permission denied"));
    }
}
