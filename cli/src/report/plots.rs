//! The plots of a contest: queries against memory, latencies, reads against threads, second by second,
//! processor time.

use maud::{Markup, html};

use super::chart::{self, Group, Mark};
use super::curve::{Axis, Point, Series, named_lines};
use crate::compare;
use crate::contest::{NOTING_BYTES, Second};
use crate::options::Temperature;
use crate::outcome::{Disk, Line, Outcome, Setting};
use crate::probe::Step;
use crate::table;

/// Both kinds of runs.
const TEMPERATURES: [Temperature; 2] = [Temperature::Cold, Temperature::Warm];

/// The section of the page.
pub fn of(outcome: &Outcome) -> Markup {
    html! {
        section.plots {
            h2 { "Side by side" }
            (against_memory(outcome))
            div.grid { (queries(outcome)) (latencies(outcome)) }
            div.grid { (reads(outcome)) (processor(outcome)) }
            (per_second(outcome))
        }
    }
}

/// QPS over memory, for each number of threads, where there are several memories.
fn against_memory(outcome: &Outcome) -> Markup {
    let x = axis("memory for pages, in % of them", true);
    let percent = |setting: &Setting| outcome.memory(setting.budget_bytes).percent();
    html! {
        @if outcome.memories.len() > 1 {
            div.grid {
                @for threads in outcome.threads() {
                    @for temperature in TEMPERATURES {
                        @let settings = settings(outcome, |s| s.threads == threads && s.temperature == temperature);
                        (named_lines(
                            &format!("Queries a second against memory, {}, {} (up is better)", temperature.word(), compare::threads_of(threads)),
                            &x,
                            &axis("queries a second", true),
                            &series(outcome, &settings, percent, |line| Some(line.median.report.qps)),
                        ))
                    }
                }
            }
        }
    }
}

fn queries(outcome: &Outcome) -> Markup {
    bars(outcome, "Queries a second", "longer is better", |line| {
        let qps = line.median.report.qps;
        Some((qps, table::figure(qps)))
    })
}

fn processor(outcome: &Outcome) -> Markup {
    bars(outcome, "Processor time a query", "shorter is better", |line| {
        let us = line.median.cpu_us_per_query;
        Some((us, table::duration_us(us)))
    })
}

fn latencies(outcome: &Outcome) -> Markup {
    let us = table::duration_us;
    html! {
        @for temperature in TEMPERATURES {
            (chart::percentiles(
                &format!("Latency p50, p95, p99, p99.9, {} (left is better)", temperature.word()),
                &groups(outcome, temperature, |line| {
                    let all = line.median.report.latency_us;
                    let figure = format!("{} to {}", us(all.p50), us(all.p999));
                    Some(([all.p50, all.p95, all.p99, all.p999], figure))
                }),
                short_us,
            ))
        }
    }
}

/// Over threads where there are several, and else beside each other.
fn reads(outcome: &Outcome) -> Markup {
    if outcome.threads().len() == 1 {
        return bars(outcome, "Pages read a second", "what the disk was asked for", |line| {
            let iops = line.median.iops?;
            Some((iops, table::figure(iops)))
        });
    }
    let least = outcome.memories.iter().map(|memory| memory.budget_bytes).min();
    let y = Axis { mark: outcome.disk.best_iops(), ..axis("pages read a second", false) };
    let title = match y.mark {
        Some(_) => "IOPS against threads (dashes: the disk's best)",
        None => "IOPS against threads",
    };
    html! {
        @for temperature in TEMPERATURES {
            @let settings = settings(outcome, |s| Some(s.budget_bytes) == least && s.temperature == temperature);
            (named_lines(
                &format!("{title}, {}", temperature.word()),
                &axis("threads", true),
                &y,
                &series(outcome, &settings, |s| s.threads as f64, |line| line.median.iops),
            ))
        }
    }
}

fn per_second(outcome: &Outcome) -> Markup {
    let point = |second: &Second| Point {
        x: second.end_seconds,
        y: second.qps,
        words: format!("second {:.0}: {}", second.end_seconds, table::figure(second.qps)),
        chosen: false,
    };
    let all: Vec<Series> = outcome
        .series
        .iter()
        .map(|series| Series {
            name: series.contestant.clone(),
            points: series.points.iter().map(point).collect(),
        })
        .collect();
    html! {
        @if let Some(first) = outcome.series.first() {
            @let place = format!("{}, {}", compare::threads_of(first.threads), compare::memory_of(outcome.memory(first.budget_bytes)));
            div.full {
                (named_lines(
                    &format!("Queries a second, second by second from an empty cache: {place}"),
                    &axis("seconds", false),
                    &Axis { mark: Some(0.0), ..axis("queries a second", false) },
                    &all,
                ))
                p.lead { "With " (table::bytes(NOTING_BYTES)) " above the limit, for every contestant: passes are repeated, and seconds noted." }
            }
        }
    }
}

/// What the disk gives at each depth.
pub fn disk(disk: &Disk) -> Markup {
    let point = |step: &Step| Point {
        x: f64::from(step.queue_depth),
        y: step.figures.iops,
        words: format!("depth {}: {}", step.queue_depth, table::figure(step.figures.iops)),
        chosen: false,
    };
    let points: Vec<Point> = disk.ladder.iter().map(point).collect();
    html! {
        @if !points.is_empty() {
            (named_lines(
                "The disk: random reads of a page a second, at each queue depth",
                &axis("reads in flight", true),
                &Axis { mark: Some(0.0), ..axis("reads a second", false) },
                &[Series { name: "disk".into(), points }],
            ))
        }
    }
}

fn axis(name: &'static str, logarithmic: bool) -> Axis {
    Axis { name, logarithmic, mark: None }
}

fn settings(outcome: &Outcome, wanted: impl Fn(&Setting) -> bool) -> Vec<Setting> {
    outcome.settings().into_iter().filter(|setting| wanted(setting)).collect()
}

/// A series for each contestant but the yardstick, with a point for each setting that has the figure.
fn series(
    outcome: &Outcome,
    settings: &[Setting],
    x: impl Fn(&Setting) -> f64,
    y: impl Fn(&Line<'_>) -> Option<f64>,
) -> Vec<Series> {
    let named = |name: &str| {
        let point = |setting: &Setting| {
            let lines = outcome.lines(setting);
            let line = lines.iter().find(|line| line.name == name && !line.is_yardstick())?;
            let (x, y) = (x(setting), y(line)?);
            let words =
                format!("{name}, {}: {}", compare::place(outcome, setting), table::figure(y));
            Some(Point { x, y, words, chosen: false })
        };
        let mut points: Vec<Point> = settings.iter().filter_map(point).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        Series { name: name.into(), points }
    };
    let all = outcome.contestants().into_iter().map(named);
    all.filter(|series| !series.points.is_empty()).collect()
}

/// Two plots, cold and warm.
fn bars(
    outcome: &Outcome,
    what: &str,
    better: &str,
    figure: impl Fn(&Line<'_>) -> Option<(f64, String)>,
) -> Markup {
    html! {
        @for temperature in TEMPERATURES {
            (chart::bars(
                &format!("{what}, {} ({better})", temperature.word()),
                &groups(outcome, temperature, &figure),
            ))
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

/// One group for each number of threads in the smallest memory, with a mark for each contestant that
/// has the figure.
fn groups<T>(
    outcome: &Outcome,
    temperature: Temperature,
    figure: impl Fn(&Line<'_>) -> Option<(T, String)>,
) -> Vec<Group<T>> {
    let mark = |line: Line<'_>| {
        let (value, figure) = figure(&line)?;
        let yardstick = line.is_yardstick();
        Some(Mark { name: line.name, value, figure, yardstick })
    };
    let least = outcome.memories.iter().map(|memory| memory.budget_bytes).min();
    let shown =
        settings(outcome, |s| Some(s.budget_bytes) == least && s.temperature == temperature);
    let group = |setting: &Setting| Group {
        heading: compare::place(outcome, setting),
        marks: outcome.lines(setting).into_iter().filter_map(mark).collect(),
    };
    shown.iter().map(group).collect()
}
