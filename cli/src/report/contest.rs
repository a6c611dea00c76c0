//! The outcome of a contest as one page: who won, what was measured, plots, all figures, how it was
//! made fair, the commands, the machine.

use std::path::Path;

use maud::{Markup, html};

use super::{fairness, plots, verdicts};
use crate::compare;
use crate::failure::Failure;
use crate::outcome::{Outcome, Ratio};
use crate::table;

/// Writes the page to `path`. A page that was there before is replaced at once.
pub fn write(path: &Path, title: &str, outcome: &Outcome) -> Result<(), Failure> {
    super::publish(path, &super::shell(title, body(title, outcome)))
}

fn body(title: &str, outcome: &Outcome) -> Markup {
    html! {
        header {
            p.brand { "ringpool " (env!("CARGO_PKG_VERSION")) }
            h1 { (title) }
        }
        (verdicts::of(outcome))
        (measured(outcome))
        (plots::of(outcome))
        (tables(outcome))
        (fairness::of(outcome))
        (commands(outcome))
        (machine(outcome))
    }
}

fn measured(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "What was measured" }
            p { (compare::subject(outcome)) }
            @for memory in &outcome.memories {
                p.warning[memory.limit_bytes.is_none()] { (compare::same_memory(memory)) }
            }
            @if outcome.has_yardstick() { p { (compare::YARDSTICK) } }
        }
    }
}

fn tables(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "All figures" }
            @for scene in outcome.scenes() {
                h3 { (compare::place(outcome, &scene[0])) }
                div.wide {
                    table {
                        thead { tr { @for name in compare::HEADER { th { (name) } } } }
                        tbody {
                            @for line in scene.iter().flat_map(|setting| outcome.lines(setting)) {
                                tr { @for cell in compare::cells(&line) { td { (cell) } } }
                            }
                        }
                    }
                }
            }
            (ratios(outcome, &outcome.ratios()))
        }
    }
}

fn ratios(outcome: &Outcome, ratios: &[Ratio]) -> Markup {
    html! {
        @if !ratios.is_empty() {
            h3 { "QPS of the pool divided by that of the other" }
            div.wide {
                table.ratios {
                    thead { tr { th { "where" } th { "" } th { "against" } th { "ratio" } th { "noise" } th { "" } } }
                    tbody {
                        @for ratio in ratios {
                            tr {
                                @for cell in &compare::verdict(outcome, ratio)[..4] { td { (cell) } }
                                td { (table::or_dash(ratio.noise_factor.map(|noise| format!("{noise:.2}")))) }
                                td { (ratio.verdict()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn commands(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "The commands" }
            @if let Some(command) = &outcome.command {
                pre { (command) }
                p { "made these runs:" }
            }
            pre { @for command in &outcome.commands { (command) "\n" } }
            p { "Each in its memory cgroup, after its files were dropped from the page cache." }
        }
    }
}

fn machine(outcome: &Outcome) -> Markup {
    let reports = || outcome.runs.iter().map(|run| &run.report);
    let engine = reports().find_map(|report| report.engine.clone());
    let reason = reports().find_map(|report| report.engine_reason.clone());
    html! {
        section {
            h2 { "The machine" }
            div.beside {
                dl {
                    @for (name, fact) in outcome.machine.lines() { dt { (name) } dd { (fact) } }
                    @if let Some(engine) = engine {
                        dt { "engine" }
                        dd { (engine) @if let Some(reason) = reason { " (" (reason) ")" } }
                    }
                    @if let Some(reason) = &outcome.disk.unmeasured_reason {
                        dt { "disk" }
                        dd { "not measured: " (reason) }
                    }
                }
                (plots::disk(&outcome.disk))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{again, outcome, run};

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let runs = vec![
            run("pool", None, "cold", 500.0),
            run("mmap", Some("willneed"), "cold", 250.0),
            again("cold", 510.0),
            run("pool", None, "warm", 80.0),
            run("mmap", Some("willneed"), "warm", 100.0),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.html");
        write(&path, "A <title>", &outcome(runs)).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        assert!(page.contains("A &lt;title&gt;"));
        for part in
            ["2.00×", "0.80×", "mmap willneed wins", "ringpool search segment", "<svg", "1.02"]
        {
            assert!(page.contains(part), "{part}");
        }
        let headings = [
            "The pool against mmap",
            "What was measured",
            "Side by side",
            "All figures",
            "How it was made fair",
            "The commands",
            "The machine",
        ];
        let places = headings.map(|heading| page.find(&format!("<h2>{heading}</h2>")).unwrap());
        assert!(places.is_sorted(), "{places:?}");
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
