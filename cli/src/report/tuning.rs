//! What `tune` found as one page: two curves, the table, the command.

use std::path::Path;

use maud::{Markup, html};

use super::curve::{Axis, Point, Series, lines};
use crate::failure::Failure;
use crate::tune::{HEADER, Measured, Tuned, cells};

/// Writes the page to `path`. A page that was there before is replaced at once.
pub fn write_tuning(path: &Path, tuned: &Tuned) -> Result<(), Failure> {
    let title = format!("Recall@{} of {}", tuned.k, tuned.wanted_recall);
    super::publish(path, &super::shell(&title, body(&title, tuned)))
}

fn body(title: &str, tuned: &Tuned) -> Markup {
    html! {
        header {
            p.brand { "ringpool " (env!("CARGO_PKG_VERSION")) }
            h1 { (title) }
            p {
                (tuned.dir.display()) ", queries of " (tuned.queries.display()) ", codes "
                (tuned.codes) ", through " (tuned.backend) ", threads: " (tuned.threads)
            }
        }
        section.plots {
            h2 { "The curve" }
            div.grid {
                (lines("Recall over ef (left is cheaper)", &ef(), &recall(tuned), &series(tuned, false)))
                (lines("Queries a second over recall (up and right is better)", &recall(tuned), &qps(), &series(tuned, true)))
            }
        }
        section {
            h2 { "The smallest ef for each oversampling" }
            div.wide { (table(&tuned.reached, &tuned.best)) }
            p { "Oversampling is how many originals are rescored for each neighbour asked for; \
                 a dash means none. The fastest of these, measured through " (tuned.backend) ":" }
            pre { (tuned.command) }
        }
        section {
            h2 { "All that was measured" }
            div.wide { (table(&tuned.curve, &tuned.best)) }
        }
    }
}

fn ef() -> Axis {
    Axis { name: "ef: candidates kept", logarithmic: true, mark: None }
}

fn recall(tuned: &Tuned) -> Axis {
    Axis { name: "recall", logarithmic: false, mark: Some(tuned.wanted_recall) }
}

fn qps() -> Axis {
    Axis { name: "queries a second", logarithmic: true, mark: None }
}

/// One series for each oversampling that reaches the recall, by rising ef. Others were tried once
/// or twice on the way and make no line.
fn series(tuned: &Tuned, recall_across: bool) -> Vec<Series> {
    let point = |measured: &Measured| {
        let (x, y) = match recall_across {
            true => (measured.recall, measured.qps),
            false => (measured.ef as f64, measured.recall),
        };
        Point { x, y, words: words(measured), chosen: same(measured, &tuned.best) }
    };
    let of = |reached: &Measured| {
        let alike = tuned.curve.iter().filter(|m| m.oversample == reached.oversample);
        let name = match (reached.oversample, tuned.codes.as_str()) {
            (Some(times), _) => format!("oversample {times}"),
            (None, "none") => "originals".into(),
            (None, _) => "codes alone".into(),
        };
        Series { name, points: alike.map(point).collect() }
    };
    tuned.reached.iter().map(of).collect()
}

fn same(a: &Measured, b: &Measured) -> bool {
    (a.ef, a.oversample) == (b.ef, b.oversample)
}

fn words(measured: &Measured) -> String {
    let figures = cells(measured);
    let pairs = HEADER.iter().zip(&figures).map(|(name, figure)| format!("{name} {figure}"));
    pairs.collect::<Vec<_>>().join(", ")
}

fn table(rows: &[Measured], best: &Measured) -> Markup {
    html! {
        table.tuning {
            thead { tr { @for name in HEADER { th { (name) } } } }
            tbody {
                @for row in rows {
                    tr.chosen[same(row, best)] { @for cell in cells(row) { td { (cell) } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ef: usize, oversample: Option<f64>, recall: f64, qps: f64) -> Measured {
        let originals = 10 * oversample.unwrap_or(0.0) as usize;
        Measured { ef, oversample, originals, recall, qps, p99_us: 900.0, reads_per_query: None }
    }

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let reached =
            vec![measured(80, Some(1.5), 0.951, 3000.0), measured(40, Some(2.25), 0.952, 4000.0)];
        let mut curve = reached.clone();
        curve.push(measured(20, Some(2.25), 0.9, 7000.0));
        let tuned = Tuned {
            dir: "a <segment>".into(),
            queries: "q.fvecs".into(),
            codes: "sq8".into(),
            backend: "pool".into(),
            threads: 1,
            inflight: 8,
            k: 10,
            wanted_recall: 0.95,
            best: reached[1].clone(),
            reached,
            curve,
            command: "ringpool search it".into(),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.html");
        write_tuning(&path, &tuned).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        for part in ["a &lt;segment&gt;", "oversample 2.25", "4,000", "ringpool search it"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("r=\"5.5\"").count(), 2, "the chosen one, in both plots");
        for elsewhere in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
