//! The findings as people read them.

use crate::table;

use super::advice::unregistered;
use super::ladder::{Step, best_iops, knee};
use super::{Adapted, Findings};

/// How wide the longest bar is, in characters.
const BAR: f64 = 24.0;

/// The whole text: what it is, how it is read, the ladder, the advice.
pub fn of(findings: &Findings) -> String {
    let file = if findings.temporary_file { "a temporary file in " } else { "" };
    let removed = if findings.temporary_file { ", removed" } else { "" };
    let adapted = findings.adapted.as_ref().map(|adapted| by_itself(findings, adapted));
    format!(
        "{file}{}: {} in pages of {}{removed}\n\n{}\n{}\n{}{}",
        findings.path.display(),
        table::bytes(findings.file_bytes),
        table::bytes(findings.page_size_bytes),
        table::pairs(&facts(findings)),
        ladder(&findings.ladder),
        adapted.unwrap_or_default(),
        findings.advice
    )
}

fn facts(findings: &Findings) -> Vec<(&'static str, String)> {
    let access = &findings.access;
    let align = access.dio_mem_align.zip(access.dio_offset_align);
    let align = align.map(|(memory, offset)| {
        format!("memory to {memory} bytes, offsets and lengths to {offset}")
    });
    let lone = &findings.lone_read;
    let us = table::duration_us;
    let mut facts = vec![
        ("rung", access.rung.to_string()),
        ("because", access.reason.clone()),
        ("direct I/O", if access.direct_io { "yes" } else { "no" }.into()),
        ("aligned", align.unwrap_or_else(|| "the filesystem does not say to what".into())),
        ("memory registered", registered(findings)),
        ("lockable memory", findings.limits.memlock()),
    ];
    if let Some(lift) = &findings.lift {
        facts.insert(2, ("to lift it", lift.clone()));
    }
    facts.extend(findings.limits.sysctl().map(|sysctl| ("io_uring", sysctl)));
    facts.push(("its features", findings.limits.features()));
    facts.extend(findings.machine.lines());
    let lone = (us(lone.engine_p50_us), us(lone.pread_p50_us));
    facts.push(("a lone read", format!("{} through the engine, {} by pread", lone.0, lone.1)));
    facts
}

/// Whether reads went to memory that the ring knows.
fn registered(findings: &Findings) -> String {
    match unregistered(&findings.ladder) {
        _ if !findings.access.rung.is_ring() => "no, as there is no ring".into(),
        None => "yes".into(),
        Some(1) => "no".into(),
        Some(depth) => format!("up to a depth of {}", depth / 2),
    }
}

fn ladder(ladder: &[Step]) -> String {
    let (best, knee) = (best_iops(ladder), knee(ladder).queue_depth);
    let us = table::duration_us;
    let row = |step: &Step| {
        let figures = &step.figures;
        let share = figures.iops / best;
        let bar = "#".repeat((BAR * share).round() as usize);
        let mark = if step.queue_depth == knee { " <- knee" } else { "" };
        vec![
            step.queue_depth.to_string(),
            table::figure(figures.iops),
            format!("{:.0} %", 100.0 * share),
            us(figures.mean_us),
            us(figures.p50_us),
            us(figures.p99_us),
            us(figures.cpu_us_per_read),
            table::or_dash(figures.reads_per_syscall.map(table::figure)),
            format!("{bar}{mark}"),
        ]
    };
    let header =
        ["depth", "IOPS", "of best", "mean", "p50", "p99", "CPU a read", "reads a call", ""];
    let rows: Vec<_> = ladder.iter().map(row).collect();
    table::columns(&header, 0..8, &rows)
}

/// The depth that the engine has chosen, beside the ladder's.
fn by_itself(findings: &Findings, adapted: &Adapted) -> String {
    let (figures, knee) = (&adapted.figures, knee(&findings.ladder));
    let us = table::duration_us;
    format!(
        "By itself the engine goes {} deep: {} IOPS ({:.0} % of the best), mean {} ({:.2} of the \
         knee's), p99 {}.\n",
        adapted.depth,
        table::figure(figures.iops),
        100.0 * figures.iops / best_iops(&findings.ladder),
        us(figures.mean_us),
        figures.mean_us / knee.figures.mean_us,
        us(figures.p99_us)
    )
}
