//! Lines through measured points as inline SVG: one for each series, on axes with round ticks.

use maud::{Markup, html};

use super::chart::{self, px};

/// The width and height of a plot, in its own units.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 250.0;
/// The area that points lie in.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 348.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 208.0;
/// About how many ticks an axis has.
const TICKS: f64 = 5.0;
/// More are never drawn, whatever the numbers.
const MAX_TICKS: usize = 20;

/// Points that a line joins, in order.
pub struct Series {
    /// Of the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A place in the plot, and what it says when it is pointed at.
#[derive(Clone)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// A line of text.
    pub words: String,
    /// Drawn larger.
    pub chosen: bool,
}

/// One of the two directions: what it shows, and whether each step is a factor.
pub struct Axis {
    /// With its unit.
    pub name: &'static str,
    /// Whether equal steps are equal factors.
    pub logarithmic: bool,
    /// A value that a line is drawn at.
    pub mark: Option<f64>,
}

/// All series in one plot, each in the next colour.
pub fn lines(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> Markup {
    plot(title, x, y, series, class)
}

/// All series in one plot, each in the colour of the contestant that it is named after.
pub fn named_lines(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> Markup {
    plot(title, x, y, series, |number| chart::class(&series[number].name))
}

fn plot(
    title: &str,
    x: &Axis,
    y: &Axis,
    series: &[Series],
    class: impl Fn(usize) -> String,
) -> Markup {
    let all = || series.iter().flat_map(|series| &series.points);
    let xs = Scale::over(x, all().map(|point| point.x), (LEFT, RIGHT));
    let ys = Scale::over(y, all().map(|point| point.y), (BOTTOM, TOP));
    let place = |point: &Point| (px(xs.place(point.x)), px(ys.place(point.y)));
    let seen = |series: &Series| -> Vec<Point> {
        let finite =
            series.points.iter().filter(|point| point.x.is_finite() && point.y.is_finite());
        finite.cloned().collect()
    };
    let path = |series: &Series| {
        let points = seen(series);
        let steps = points.iter().enumerate().map(|(i, point)| {
            let (x, y) = place(point);
            format!("{}{x} {y}", if i == 0 { "M" } else { "L" })
        });
        steps.collect::<String>()
    };
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
                (xs.draw(true))
                (ys.draw(false))
                text class="tick" x=(px((LEFT + RIGHT) / 2.0)) y=(px(BOTTOM + 34.0)) text-anchor="middle" { (x.name) }
                @for (number, series) in series.iter().enumerate() {
                    g class=(class(number)) {
                        path class="curve" d=(path(series)) {}
                        @for point in seen(series) {
                            @let (cx, cy) = place(&point);
                            circle cx=(cx) cy=(cy) r=(if point.chosen { "5.5" } else { "2.6" }) {
                                title { (point.words) }
                            }
                        }
                    }
                }
            }
            @if series.len() > 1 {
                p.legend {
                    @for (number, series) in series.iter().enumerate() {
                        span class=(class(number)) { (series.name) }
                    }
                }
            }
        }
    }
}

/// The class that gives a series its colour; there are six, which then begin again.
fn class(number: usize) -> String {
    format!("s-{}", number % 6)
}

/// Values along an axis.
struct Scale {
    least: f64,
    most: f64,
    ends: (f64, f64),
    logarithmic: bool,
    ticks: Vec<f64>,
    mark: Option<f64>,
}

impl Scale {
    /// Over all of `values`, of which some may be none.
    fn over(axis: &Axis, values: impl Iterator<Item = f64>, ends: (f64, f64)) -> Self {
        let values = values.chain(axis.mark).filter(|value| value.is_finite());
        let (least, most) =
            values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
        let (least, most, ticks) = match axis.logarithmic {
            true => decades(least.max(f64::MIN_POSITIVE), most.max(f64::MIN_POSITIVE)),
            false => steps(least, most),
        };
        Self { least, most, ends, logarithmic: axis.logarithmic, ticks, mark: axis.mark }
    }

    fn place(&self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { value.max(1e-300).ln() } else { value };
        let (from, to) = (along(self.least), along(self.most));
        let share = ((along(value) - from) / (to - from)).clamp(0.0, 1.0);
        self.ends.0 + (self.ends.1 - self.ends.0) * share
    }

    fn draw(&self, across: bool) -> Markup {
        let line = |value: f64, class: &str| {
            let at = px(self.place(value));
            match across {
                true => {
                    html! { line class=(class) x1=(at) x2=(at) y1=(px(TOP)) y2=(px(BOTTOM)) {} }
                }
                false => {
                    html! { line class=(class) x1=(px(LEFT)) x2=(px(RIGHT)) y1=(at) y2=(at) {} }
                }
            }
        };
        html! {
            @for &tick in &self.ticks {
                (line(tick, "grid"))
                @let at = self.place(tick);
                @if across {
                    text class="tick" x=(px(at)) y=(px(BOTTOM + 16.0)) text-anchor="middle" { (short(tick)) }
                } @else {
                    text class="tick" x=(px(LEFT - 6.0)) y=(px(at + 3.5)) text-anchor="end" { (short(tick)) }
                }
            }
            @if let Some(mark) = self.mark { (line(mark, "mark")) }
        }
    }
}

/// Round numbers that many apart, from at or below `least` to at or above `most`.
fn steps(least: f64, most: f64) -> (f64, f64, Vec<f64>) {
    let width = (most - least).max(most.abs() * 1e-6).max(1e-9);
    let power = 10_f64.powf((width / TICKS).log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let step = factors.into_iter().map(|f| f * power).find(|s| width / s <= TICKS);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) =
        ((least / step).floor(), (most / step).ceil().max((least / step).floor() + 1.0));
    let count = ((last - first) as usize).min(MAX_TICKS);
    let ticks = (0..=count).map(|i| (first + i as f64) * step).collect();
    (first * step, last * step, ticks)
}

/// 1, 2 and 5 times powers of ten, or the powers alone where there are many.
fn decades(least: f64, most: f64) -> (f64, f64, Vec<f64>) {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let factors: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (first..=last).take(MAX_TICKS);
    let all = powers.flat_map(|power| factors.iter().map(move |f| f * 10_f64.powi(power)));
    let all: Vec<f64> = all.collect();
    let below = all.iter().rposition(|&tick| tick <= least).unwrap_or(0);
    let above = all.iter().position(|&tick| tick >= most).unwrap_or(all.len() - 1);
    let ticks = all[below..=above.max((below + 1).min(all.len() - 1))].to_vec();
    (ticks[0], ticks[ticks.len() - 1], ticks)
}

/// A tick in few letters.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        size if size >= 1e3 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        for (least, most) in [(0.9432, 0.9991), (0.0, 1.0), (3.0, 3.0), (-5.0, 17.0), (0.0, 0.0)] {
            let (from, to, ticks) = steps(least, most);
            assert!(from <= least && most <= to && from < to, "{from} to {to}");
            assert!((2..=8).contains(&ticks.len()), "{ticks:?}");
        }
        assert_eq!(steps(0.942, 0.999).2.first().map(|t| short(*t)), Some("0.94".into()));
        for (least, most) in [(10.0, 480.0), (7.0, 7.0), (1.0, 1e9), (0.03, 0.5)] {
            let (from, to, ticks) = decades(least, most);
            assert!(from <= least && most <= to && from < to, "{from} to {to} for {least} {most}");
            assert!(ticks.len() >= 2 && ticks.is_sorted(), "{ticks:?}");
        }
        assert_eq!([1.5e6, 2000.0, 0.95, 10.0].map(short), ["1.5M", "2k", "0.95", "10"]);
    }

    #[test]
    fn nothing_leaves_the_plot() {
        let axis = |logarithmic| Axis { name: "<x>", logarithmic, mark: Some(0.5) };
        let point = |x, y| Point { x, y, words: "<w>".into(), chosen: false };
        for points in [
            vec![],
            vec![point(1.0, 2.0)],
            vec![point(0.0, f64::NAN), point(1e9, -3.0), point(5.0, f64::INFINITY)],
        ] {
            for logarithmic in [false, true] {
                let series = [Series { name: "s".into(), points: points.clone() }];
                let svg = lines("t", &axis(logarithmic), &axis(false), &series).into_string();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert!(!svg.contains("<w>") && !svg.contains("<x>"), "words are escaped");
            }
        }
    }
}
