//! What a contest found, for people: what was the same, a table for each number of threads, who won.

use crate::outcome::{Line, Outcome, Ratio, SameMemory, Setting};
use crate::probe::Step;
use crate::table;

/// The outcome for people: what was the same, a table for each number of threads, who won.
pub fn text(outcome: &Outcome) -> String {
    let memories = outcome.memories.iter().map(same_memory).collect::<Vec<_>>().join("\n");
    let mut text = format!("{}\n\n{memories}\n", subject(outcome));
    if outcome.has_yardstick() {
        text.push_str(YARDSTICK);
        text.push('\n');
    }
    for scene in outcome.scenes() {
        let heading = place(outcome, &scene[0]);
        let lines = scene.iter().flat_map(|setting| outcome.lines(setting));
        let rows: Vec<_> = lines.map(|line| cells(&line)).collect();
        let table = table::columns(&HEADER, 2..HEADER.len(), &rows);
        text.push_str(&format!("\n{heading}\n{table}"));
    }
    text + &ratios(outcome) + &noise(outcome) + &disk(outcome)
}

/// Who won, by how much.
fn ratios(outcome: &Outcome) -> String {
    let ratios = outcome.ratios();
    if ratios.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = ratios.iter().map(|ratio| verdict(outcome, ratio)).collect();
    let table = table::columns(&["", "", "against", "ratio", ""], 3..4, &rows);
    format!("\nQPS of the pool divided by that of the other:\n{table}")
}

/// What the pool differs by from itself.
fn noise(outcome: &Outcome) -> String {
    let all = outcome.noise();
    let Some(most) = all.iter().map(|noise| noise.factor).reduce(f64::max) else {
        return String::new();
    };
    let least = all.iter().map(|noise| noise.factor).fold(most, f64::min);
    format!(
        "\nA/A: the pool differs from itself by a factor of {least:.2} to {most:.2}, by setting; a \
         ratio within that of its own setting is marked ~ and names no winner.\n"
    )
}

/// What the disk gave, in a line.
fn disk(outcome: &Outcome) -> String {
    let step =
        |step: &Step| format!("{} at {}", table::figure(step.figures.iops), step.queue_depth);
    let steps: Vec<String> = outcome.disk.ladder.iter().map(step).collect();
    if steps.is_empty() {
        return String::new();
    }
    format!("\nThe disk, reads a second at each queue depth: {}\n", steps.join(", "))
}

/// What the `memory` backend is there for.
pub const YARDSTICK: &str = "The memory backend holds all originals in plain arrays and ran \
                             without the limit: the yardstick of what no storage at all gives.";

/// The columns of the table, here and in the report.
pub const HEADER: [&str; 13] = [
    "backend",
    "",
    "QPS",
    "min-max",
    "p50",
    "p99",
    "reads/query",
    "read MiB",
    "IOPS",
    "CPU s",
    "CPU/query",
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
    let run = &line.median.report;
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
        table::or_dash(line.median.iops.map(table::figure)),
        table::figure(run.cpu_seconds),
        table::duration_us(line.median.cpu_us_per_query),
        sized(run.peak_rss_bytes),
        sized(run.page_cache_bytes),
    ]
}

/// A ratio in words: where, temperature, the other, the figure, who won.
pub fn verdict(outcome: &Outcome, ratio: &Ratio) -> Vec<String> {
    vec![
        place_of(outcome, ratio.budget_bytes, ratio.threads),
        ratio.temperature.clone(),
        ratio.against.clone(),
        ratio.figure(),
        ratio.verdict(),
    ]
}

/// Threads, and where there are several memories, in which.
pub fn place(outcome: &Outcome, setting: &Setting) -> String {
    place_of(outcome, setting.budget_bytes, setting.threads)
}

fn place_of(outcome: &Outcome, budget_bytes: u64, threads: u64) -> String {
    let threads = threads_of(threads);
    match outcome.memories.len() {
        1 => threads,
        _ => format!("{threads}, {}", memory_of(outcome.memory(budget_bytes))),
    }
}

/// A memory in few words.
pub fn memory_of(memory: &SameMemory) -> String {
    format!("{} ({} %)", table::bytes(memory.budget_bytes), table::figure(memory.percent()))
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
        found.memories[0].limit_bytes = None;
        found.memories[0].unlimited_reason = Some("/cg: permission denied".into());
        let text = text(&found);
        assert!(text.contains("mmap ran unlimited") && text.contains("/cg: permission denied"));
    }
}
