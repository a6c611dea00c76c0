//! The outcome of a contest, or of `tune`, as one HTML page: plots, tables, commands, the machine. Nothing is
//! loaded from elsewhere; light and dark, on a phone and on paper. Written whole or not at all.

pub mod chart;
pub mod curve;
mod tuning;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::compare;
use crate::failure::Failure;
use crate::outcome::{Line, Outcome, Ratio};
use crate::{table, whole_file};

use chart::{Group, Mark, Range};
pub use tuning::write_tuning;

/// Colours, letters and the page's grid.
const STYLE: &str = include_str!("report/style.css");

/// Writes the page to `path`. A page that was there before is replaced at once.
pub fn write(path: &Path, title: &str, outcome: &Outcome) -> Result<(), Failure> {
    publish(path, &shell(title, body(title, outcome)))
}

/// Puts a page in its place.
pub fn publish(path: &Path, page: &Markup) -> Result<(), Failure> {
    let written = whole_file::publish(path, |out| out.write_all(page.0.as_bytes()));
    written.map_err(|error| Failure::at(path, "write the report", &error))
}

/// What every page has around its contents.
pub fn shell(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "ringpool: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

fn body(title: &str, outcome: &Outcome) -> Markup {
    let limited = outcome.memory.limit_bytes.is_some();
    html! {
        header {
            p.brand { "ringpool " (env!("CARGO_PKG_VERSION")) }
            h1 { (title) }
            p { (compare::subject(outcome)) }
            p.warning[!limited] { (compare::same_memory(&outcome.memory)) }
            @if outcome.runs.iter().any(|run| run.backend == "memory") {
                p { (compare::YARDSTICK) }
            }
        }
        (verdicts(outcome))
        (plots(outcome))
        (tables(outcome))
        (notes())
        (commands(outcome))
        (machine(outcome))
    }
}

/// Who won, plainly, also where the pool lost.
fn verdicts(outcome: &Outcome) -> Markup {
    let ratios = outcome.ratios();
    let (yardstick, rivals): (Vec<&Ratio>, Vec<&Ratio>) =
        ratios.iter().partition(|ratio| ratio.against == "memory");
    html! {
        @if !rivals.is_empty() {
            section {
                h2 { "The pool against mmap" }
                p.lead { "Queries a second through the pool, divided by those through the other." }
                ul.verdicts { @for ratio in rivals { (verdict(ratio)) } }
            }
        }
        @if !yardstick.is_empty() {
            section {
                h2 { "The pool against no storage at all" }
                ul.verdicts { @for ratio in yardstick { (verdict(ratio)) } }
            }
        }
    }
}

fn verdict(ratio: &Ratio) -> Markup {
    let outcome = match ratio.winner.as_str() {
        "pool" => "wins",
        "even" => "even",
        _ => "loses",
    };
    let cells = compare::verdict(ratio);
    html! {
        li class=(outcome) {
            span.ratio { (cells[3]) "×" }
            span.words { strong { (cells[4]) } br; (cells[1]) ", " (cells[0]) ", against " (cells[2]) }
        }
    }
}

fn plots(outcome: &Outcome) -> Markup {
    let us = table::duration_us;
    html! {
        section.plots {
            h2 { "Side by side" }
            div.grid {
                @for temperature in ["cold", "warm"] {
                    (chart::bars(
                        &format!("Queries a second, {temperature} (longer is better)"),
                        &groups(outcome, temperature, |line| {
                            let qps = line.median.qps;
                            Some((qps, table::figure(qps)))
                        }),
                    ))
                }
                @for temperature in ["cold", "warm"] {
                    (chart::ranges(
                        &format!("Latency p50 to p99, {temperature} (left is better)"),
                        &groups(outcome, temperature, |line| {
                            let (low, high) = (line.median.latency_us.p50, line.median.latency_us.p99);
                            Some((Range { low, high }, format!("{} to {}", us(low), us(high))))
                        }),
                        short_us,
                    ))
                }
                @for temperature in ["cold", "warm"] {
                    (chart::bars(
                        &format!("KiB read from disk a query, {temperature} (shorter is better)"),
                        &groups(outcome, temperature, |line| {
                            let kib = line.median.read_bytes? as f64 / 1024.0 / line.median.queries as f64;
                            Some((kib, table::figure(kib)))
                        }),
                    ))
                }
            }
        }
    }
}

/// A tick of the time axis.
fn short_us(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", us / 1e6),
        us if us >= 1e3 => format!("{} ms", us / 1e3),
        us => format!("{us} us"),
    }
}

/// One group for each number of threads, with a mark for each contestant that has the figure.
fn groups<T>(
    outcome: &Outcome,
    temperature: &str,
    figure: impl Fn(&Line<'_>) -> Option<(T, String)>,
) -> Vec<Group<T>> {
    let mark = |line: Line<'_>| {
        let (value, figure) = figure(&line)?;
        let yardstick = line.name == "memory";
        Some(Mark { name: line.name, value, figure, yardstick })
    };
    let group = |threads| Group {
        heading: compare::threads_of(threads),
        marks: outcome.lines(threads, temperature).into_iter().filter_map(mark).collect(),
    };
    outcome.threads().into_iter().map(group).collect()
}

fn tables(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "All figures" }
            @for threads in outcome.threads() {
                h3 { (compare::threads_of(threads)) }
                div.wide {
                    table {
                        thead { tr { @for name in compare::HEADER { th { (name) } } } }
                        tbody {
                            @for temperature in ["cold", "warm"] {
                                @for line in outcome.lines(threads, temperature) {
                                    tr { @for cell in compare::cells(&line) { td { (cell) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the figures mean, for those who were not there.
fn notes() -> Markup {
    html! {
        section {
            h2 { "What the figures mean" }
            ul {
                li { "The clock covers the searches alone: no loading, no reading of queries." }
                li { "Cold: the files were dropped from the page cache, and the pool starts empty. \
                      Warm: all queries were run once before, within the same limit." }
                li { "Every run is a process of its own. Its pages were dropped from the page cache \
                      before it started, so that what it reads is charged to its own limit." }
                li { "Reads of the pool are reads of its device. Reads of mmap are major faults, \
                      which leave out what MADV_WILLNEED brought in; the bytes are the kernel's \
                      own count for both." }
                li { "The bar of the memory backend is cut where it is longer than all others." }
                li { "The page cache is what the kernel holds of the vectors after the run." }
                li { "Where runs were repeated, the median run is quoted with the least and the \
                      most QPS beside it. Spreads that overlap, and ratios within 2 %, count as even." }
            }
        }
    }
}

fn commands(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "The commands" }
            p { "Each run in its memory cgroup, after its files were dropped from the page cache:" }
            pre { @for command in &outcome.commands { (command) "\n" } }
        }
    }
}

fn machine(outcome: &Outcome) -> Markup {
    let engine = outcome.runs.iter().find_map(|run| run.engine.clone());
    let reason = outcome.runs.iter().find_map(|run| run.engine_reason.clone());
    html! {
        section {
            h2 { "The machine" }
            dl {
                @for (name, fact) in outcome.machine.lines() { dt { (name) } dd { (fact) } }
                @if let Some(engine) = engine {
                    dt { "engine" }
                    dd { (engine) @if let Some(reason) = reason { " (" (reason) ")" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{outcome, run};

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let runs = vec![
            run("pool", None, "cold", 500.0),
            run("mmap", Some("willneed"), "cold", 250.0),
            run("pool", None, "warm", 80.0),
            run("mmap", Some("willneed"), "warm", 100.0),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.html");
        write(&path, "A <title>", &outcome(runs)).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        assert!(page.contains("A &lt;title&gt;"));
        for part in ["2.00×", "0.80×", "mmap willneed wins", "ringpool search segment", "<svg"] {
            assert!(page.contains(part), "{part}");
        }
        for elsewhere in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing beside the page");
    }

    #[test]
    fn a_page_that_cannot_be_written_is_named() {
        let path = Path::new("/no/such/folder/r.html");
        let failure = write(path, "t", &outcome(Vec::new())).unwrap_err();
        assert!(failure.to_string().starts_with("/no/such/folder/r.html: "));
    }
}
