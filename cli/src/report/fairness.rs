//! How it was made fair, what was dropped, and what the figures mean, for those who were not there.

use maud::{Markup, html};

use crate::compare;
use crate::outcome::Outcome;

/// A plain mapping that reads ahead by more than this is no opponent.
const READ_AHEAD_KB_USUAL: u64 = 128;

/// The section of the page.
pub fn of(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "How it was made fair" }
            (read_ahead(outcome))
            ul {
                li { "One limit for all: every run is a process of its own in a memory cgroup of its own. Its pages were \
                      dropped from the page cache before it started, so that what it reads is charged to it." }
                li { "Cold: the files were dropped from the page cache once more after opening, and the pool starts empty. \
                      Warm: all queries were run once before, within the same limit." }
                li { "The same files, queries, index code and threads; the answers are compared in every run, bit by bit. \
                      The clock covers the searches alone: no loading, no reading of queries." }
                li { "Rounds are interleaved: everybody has a turn in each. The median run is quoted, with the least and the \
                      most QPS beside it. Spreads that overlap, and ratios within 2 %, count as even." }
                li { "IOPS are pages that the disk delivered a second, by the kernel's count for the process, whichever way \
                      they were read; a mapping that reads ahead has pages among them that nobody asked for." }
                li { "Reads of the pool are reads of its device. Reads of mmap are major faults, which leave out what \
                      MADV_WILLNEED brought in." }
                @if outcome.contestants().contains(&"mmap populate") {
                    li { "mmap populate: all of the file is read before the clock starts, as with MAP_POPULATE, and MADV_RANDOM \
                          from then on. It has no cold runs. It is meant for files that fit." }
                }
                @if outcome.has_yardstick() {
                    li { "The bar of the memory backend is cut where it is longer than all others." }
                }
                li { "The page cache is what the kernel holds of the vectors after the run." }
            }
            (noise(outcome))
        }
    }
}

/// A warning where the device's setting alone decides what a plain mapping is worth.
fn read_ahead(outcome: &Outcome) -> Markup {
    let kb = outcome.machine.read_ahead_kb.filter(|kb| *kb > READ_AHEAD_KB_USUAL);
    let takes_part = outcome.contestants().contains(&"mmap normal");
    html! {
        @if let Some(kb) = kb.filter(|_| takes_part) {
            p.warning {
                "mmap normal reads " (kb) " KiB ahead of each fault here (read_ahead_kb), where " (READ_AHEAD_KB_USUAL)
                " is usual: its rows say more about that setting than about mmap. Compare with mmap random and willneed."
            }
        }
    }
}

fn noise(outcome: &Outcome) -> Markup {
    let all = outcome.noise();
    let figures = |ratios: &[f64]| {
        ratios.iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(", ")
    };
    html! {
        h3 { "The machine's noise" }
        @if all.is_empty() {
            p { "The pool was not run against itself: --aa on does, and marks what is within the noise." }
        } @else {
            p { "A/A: the pool ran twice in each round, first and last. What it differs by from itself is noise: a ratio no \
                 further from 1 is marked ~ and names no winner." }
            div.wide {
                table.noise {
                    thead { tr { th { "where" } th { "" } th { "noise" } th { "second run over first, each round" } } }
                    tbody {
                        @for noise in &all {
                            tr {
                                td { (compare::place(outcome, &noise.setting)) }
                                td { (noise.setting.temperature.word()) }
                                td { (format!("{:.2}", noise.factor)) }
                                td { (figures(&noise.ratios)) }
                            }
                        }
                    }
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
    fn a_large_read_ahead_is_warned_of_where_it_matters() {
        let page = |advice, kb| {
            let mut found = outcome(vec![run("mmap", Some(advice), "cold", 10.0)]);
            found.machine.read_ahead_kb = kb;
            of(&found).into_string()
        };
        assert!(page("normal", Some(8192)).contains("8192 KiB ahead"));
        for (advice, kb) in [("normal", Some(128)), ("normal", None), ("random", Some(8192))] {
            assert!(!page(advice, kb).contains("KiB ahead"), "{advice} {kb:?}");
        }
    }
}
