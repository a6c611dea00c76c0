//! The outcome for people: what was the same for all, a table for each case, what is noise.

use ringpool_cli::table;

use crate::judging::Line;
use crate::outcome::Outcome;
use crate::venue::Limit;

pub fn whole(outcome: &Outcome) -> String {
    let mut text = format!("{}\n{}\n{}\n", outcome.title, outcome.source, outcome.scale);
    for fact in &outcome.facts {
        text.push_str(&format!("{}: {}\n", fact.name, fact.value));
    }
    text.push_str(&format!("{}\n", same_memory(&outcome.memory)));
    text.push_str(&format!("{}\n", read_ahead(outcome)));
    for case in outcome.cases() {
        let lines: Vec<&Line> = outcome.lines.iter().filter(|line| line.case == case).collect();
        let rows: Vec<Vec<String>> = lines.iter().map(|line| cells(line)).collect();
        let header = header(outcome, lines[0]);
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        text.push_str(&format!(
            "\n{case}{}\n{}",
            noise(outcome, case),
            table::columns(&header, 1..header.len(), &rows)
        ));
    }
    text
}

/// The columns of a case's table, here and in the report.
pub fn header(outcome: &Outcome, reference: &Line) -> Vec<String> {
    let mut names = vec!["contestant".to_owned()];
    for (i, measure) in outcome.measures.iter().enumerate() {
        names.push(measure.name.into());
        if i == 0 {
            names.push("min-max".into());
            names.push(format!("x {}", reference.contestant));
        }
    }
    names.push("published".into());
    names
}

/// A row of it. A ratio that noise could have made has a `~` before it.
pub fn cells(line: &Line) -> Vec<String> {
    let mut cells = vec![line.contestant.clone()];
    for (i, figure) in line.figures.iter().enumerate() {
        cells.push(table::or_dash(figure.map(|spread| table::figure(spread.median))));
        if i == 0 {
            let range = figure.filter(|spread| spread.least < spread.most);
            cells.push(table::or_dash(range.map(|spread| {
                format!("{}-{}", table::figure(spread.least), table::figure(spread.most))
            })));
            cells.push(table::or_dash(ratio(line)));
        }
    }
    cells.push(table::or_dash(line.published.map(str::to_owned)));
    cells
}

/// How many times as good as the first contestant, with the mark of those that may be noise.
pub fn ratio(line: &Line) -> Option<String> {
    let mark = if line.within_noise { "~ " } else { "" };
    line.ratio.map(|ratio| format!("{mark}{}", table::figure(ratio.median)))
}

/// What the A/A pairs of a case say.
pub fn noise(outcome: &Outcome, case: &str) -> String {
    outcome.noise_of(case).map_or(String::new(), |factor| {
        format!(" (noise: the same contestant twice in a round differs by up to {factor:.2}x)")
    })
}

/// How the memory was made the same, or that it was not.
pub fn same_memory(memory: &Limit) -> String {
    let limit = table::bytes(memory.limit_bytes);
    match &memory.unlimited_reason {
        None => format!(
            "memory: each run in a {} of its own, limited to {limit}; files are evicted before \
             each run (POSIX_FADV_DONTNEED, and mincore says that nothing is left)",
            memory.memory_enforced_by
        ),
        Some(reason) => format!(
            "NOT the same memory: mappings ran unlimited, because no memory cgroup could be made \
             ({reason}); pools kept to {limit}. Run as root for a fair study."
        ),
    }
}

/// What the kernel usually reads ahead, in KiB: more of it makes a plain mapping a straw man.
pub const USUAL_READ_AHEAD_KB: u64 = 128;

/// How far the kernel reads ahead, and what that does.
pub fn read_ahead(outcome: &Outcome) -> String {
    let Some(kb) = outcome.machine.read_ahead_kb else {
        return "read ahead: the device does not say".into();
    };
    let normal = outcome.contestants.iter().any(|one| one.name == "mmap-normal");
    let warning = if kb > USUAL_READ_AHEAD_KB && normal {
        " (128 is usual: a fault of mmap-normal reads so much here, and its random rows are no \
         measure of what it gives elsewhere)"
    } else {
        ""
    };
    format!("read ahead of the device: {kb} KiB{warning}")
}
