//! The outcome as one HTML page, in the shell of the command's reports: light and dark, on a phone and
//! on paper, and nothing is loaded from elsewhere.

use std::path::Path;

use maud::{Markup, PreEscaped, html};
use ringpool_cli::failure::Failure;
use ringpool_cli::report;
use ringpool_cli::report::chart::{self, Group, Mark};
use ringpool_cli::report::curve::{self, Axis, Point, Series};
use ringpool_cli::table;

use crate::judging::Line;
use crate::outcome::Outcome;
use crate::run::{Better, Measure, Run};
use crate::text;

/// Figures stand in the second column here.
const COLUMNS: &str = "
td:nth-child(2) { font-weight: 650; text-align: right; } td:nth-child(3) { font-weight: 400; }
th:nth-child(2) { text-align: right; }
.plots figure { max-width: 34rem; }
.c-published-page { --tone: #868e96 } .c-published-issue-28037 { --tone: #5c6b7a }
";

/// The colour of a contestant: mappings warm, pools cold, the others between.
fn tone(contestant: &str) -> &'static str {
    match contestant {
        "mmap-random" => "var(--random)",
        "mmap-normal" => "var(--normal)",
        "mmap-willneed" => "var(--willneed)",
        "mmap-sequential" => "#d9480f",
        "mmap-populate" => "#e64980",
        "pool-ring" => "var(--pool)",
        "pool-blocking" => "#4c8dae",
        "direct-ring" => "#2b8a3e",
        "buffered-ring" => "#7c5cbf",
        "batch-ring" => "#74b816",
        _ => "var(--memory)",
    }
}

/// The colours of bars, by name; and of curves, by their place in a case.
fn colours(outcome: &Outcome) -> String {
    let bar = |name: &str| format!(".{} {{ --tone: {} }}\n", chart::class(name), tone(name));
    let bars = outcome.contestants.iter().map(|one| bar(one.name));
    let cases = outcome.cases().into_iter().enumerate();
    let curves = cases.flat_map(|(case, name)| {
        let lines = lines(outcome, name).into_iter().enumerate();
        lines.map(move |(place, line)| {
            format!(".case-{case} .s-{place} {{ --tone: {} }}\n", tone(&line.contestant))
        })
    });
    bars.chain(curves).collect()
}

/// Writes the page to `path`, whole or not at all.
pub fn write(path: &Path, outcome: &Outcome) -> Result<(), Failure> {
    write_with(path, outcome, &html! {})
}

/// The same with something of the experiment's own before its tables.
pub fn write_with(path: &Path, outcome: &Outcome, own: &Markup) -> Result<(), Failure> {
    report::publish(path, &report::shell(outcome.title, body(outcome, own)))
}

fn body(outcome: &Outcome, own: &Markup) -> Markup {
    html! {
        style { (PreEscaped(COLUMNS)) (PreEscaped(colours(outcome))) }
        header {
            p.brand { "ringpool " (env!("CARGO_PKG_VERSION")) ", the study" }
            h1 { (outcome.title) }
            p { (outcome.source) }
            p.lead { (outcome.scale) }
            p.warning[outcome.memory.unlimited_reason.is_some()] { (text::same_memory(&outcome.memory)) }
        }
        section.plots {
            h2 { "Side by side" }
            div.grid { @for case in outcome.cases() { (bars(outcome, case)) } }
        }
        (own)
        @if !outcome.series.is_empty() { (series(outcome)) }
        (tables(outcome))
        (fairness(outcome))
        section { h2 { "The command" } pre { (outcome.command) } }
        section {
            h2 { "The machine" }
            dl { @for (name, fact) in outcome.machine.lines() { dt { (name) } dd { (fact) } } }
        }
    }
}

fn lines<'a>(outcome: &'a Outcome, case: &str) -> Vec<&'a Line> {
    outcome.lines.iter().filter(|line| line.case == case).collect()
}

fn bars(outcome: &Outcome, case: &str) -> Markup {
    let measure = &outcome.measures[0];
    let way = if measure.better == Better::Lower { "shorter" } else { "longer" };
    let marks = lines(outcome, case).into_iter().filter_map(|line| {
        let value = line.figures[0]?.median;
        let figure = table::figure(value);
        Some(Mark { name: line.contestant.clone(), value, figure, yardstick: false })
    });
    let group = Group { heading: case.to_owned(), marks: marks.collect() };
    chart::bars(&format!("{} ({way} is better)", measure.name), &[group])
}

/// What happened second by second, in the first round.
fn series(outcome: &Outcome) -> Markup {
    html! {
        section.plots {
            h2 { "Second by second" }
            p.lead { "The first round. The large point is the second in which memory was full." }
            @for (number, case) in outcome.cases().into_iter().enumerate() {
                h3 { (case) }
                div class=(format!("grid case-{number}")) { @for measure in outcome.series { (curves(outcome, case, measure)) } }
            }
        }
    }
}

fn curves(outcome: &Outcome, case: &str, measure: &Measure) -> Markup {
    let first = |run: &&Run| run.case == case && run.round == 0 && !run.again;
    let run_of = |line: &Line| {
        let mut runs = outcome.runs.iter().filter(first);
        runs.find(|run| run.contestant == line.contestant)
    };
    // A mark at nothing, so that curves begin there.
    let axis = |name, mark| Axis { name, logarithmic: false, mark };
    let runs = lines(outcome, case).into_iter().filter_map(run_of);
    let all: Vec<Series> = runs.map(|run| curve(run, measure)).collect();
    curve::lines(measure.name, &axis("seconds", None), &axis(measure.name, Some(0.0)), &all)
}

fn curve(run: &Run, measure: &Measure) -> Series {
    let full = run.figure("full_s");
    let seconds = run.measured.seconds.iter().zip(1..);
    let points = seconds.filter_map(|(second, number)| {
        let (x, y) = (f64::from(number), *second.get(measure.key)?);
        let figure = table::figure(y);
        let words = format!("{}, second {number}: {figure} {}", run.contestant, measure.name);
        Some(Point { x, y, words, chosen: full == Some(x) })
    });
    Series { name: run.contestant.clone(), points: points.collect() }
}

fn tables(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "The figures" }
            @for case in outcome.cases() {
                @let lines = lines(outcome, case);
                h3 { (case) }
                p.lead { (text::noise(outcome, case)) }
                div.wide {
                    table {
                        tr { @for name in text::header(outcome, lines[0]) { th { (name) } } }
                        @for line in lines { tr { @for cell in text::cells(line) { td { (cell) } } } }
                    }
                }
            }
        }
    }
}

fn fairness(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "What was the same for all" }
            ul {
                @for fact in &outcome.facts { li { (fact.name) ": " (fact.value) } }
                li { (text::read_ahead(outcome)) }
            }
            h3 { "Who took part" }
            dl { @for one in &outcome.contestants { dt { (one.name) } dd { (one.manner) } } }
        }
    }
}
