//! Two plots as inline SVG: bars from zero, and ranges or percentiles on a logarithmic axis.
//!
//! Drawn 360 units wide, so that the letters are still read on a phone. Every mark has its name
//! and its figure beside it: colours help, nothing depends on them.

use maud::{Markup, html};

/// The width of a plot, in its own units.
const WIDTH: f64 = 360.0;
/// Where marks begin, right of the names.
const LEFT: f64 = 104.0;
/// Where the longest mark ends, so that its figure fits behind it.
const RIGHT: f64 = 296.0;
/// The width of two durations beside each other.
const FIGURES: f64 = 122.0;
/// The height of a line with one mark.
const ROW: f64 = 22.0;
/// The height of a group's heading.
const HEADING: f64 = 26.0;
/// The height of the scale below.
const SCALE: f64 = 24.0;

/// A mark, whatever its kind: who it is of, and what it shows.
pub struct Mark<T> {
    /// Who it is of.
    pub name: String,
    /// What is drawn.
    pub value: T,
    /// The value in words.
    pub figure: String,
    /// Not one of those that compete: its bar may end where theirs do, and then looks cut.
    pub yardstick: bool,
}

/// Marks that belong together, such as those of one number of threads.
pub struct Group<T> {
    /// What they have in common.
    pub heading: String,
    /// From top to bottom.
    pub marks: Vec<Mark<T>>,
}

/// The ends of a range: a typical value and a bad one.
#[derive(Clone, Copy)]
pub struct Range {
    /// The typical value.
    pub low: f64,
    /// The bad one.
    pub high: f64,
}

/// Bars from zero to each value; the longest of those that compete fills the width.
pub fn bars(title: &str, groups: &[Group<f64>]) -> Markup {
    let all = || groups.iter().flat_map(|group| &group.marks);
    let value = |mark: &Mark<f64>| mark.value;
    let competing = all().filter(|mark| !mark.yardstick).map(value).fold(0.0, f64::max);
    let full = if competing > 0.0 { competing } else { all().map(value).fold(1e-9, f64::max) };
    plot(title, groups, 0.0, html! {}, |mark, middle| {
        let width = (RIGHT - LEFT) * (mark.value / full).clamp(0.0, 1.0);
        // A value that is not nothing stays visible.
        let width = width.max(if mark.value > 0.0 { 1.5 } else { 0.0 });
        let (top, end) = (middle - 7.0, LEFT + width);
        html! {
            rect class=(class(&mark.name)) x=(LEFT) y=(px(top)) width=(px(width)) height="14" rx="2" {}
            @if mark.value > full {
                path class="cut" d=(format!("M{} {}l-6 18", px(end - 16.0), px(top - 2.0))) {}
                path class="cut" d=(format!("M{} {}l-6 18", px(end - 10.0), px(top - 2.0))) {}
            }
            (text("value", end + 5.0, middle, &mark.figure))
        }
    })
}

/// A line from the low to the high end of each range, on a logarithmic axis.
pub fn ranges(title: &str, groups: &[Group<Range>], tick: impl Fn(f64) -> String) -> Markup {
    dots(title, groups, |range| [range.low, range.high].into(), tick)
}

/// Four percentiles of each, from the median to the worst, on a logarithmic axis.
pub fn percentiles(
    title: &str,
    groups: &[Group<[f64; 4]>],
    tick: impl Fn(f64) -> String,
) -> Markup {
    dots(title, groups, |all| all.to_vec(), tick)
}

/// A line through the dots of each mark, of which the last is hollow.
fn dots<T>(
    title: &str,
    groups: &[Group<T>],
    of: impl Fn(&T) -> Vec<f64>,
    tick: impl Fn(f64) -> String,
) -> Markup {
    let positive = |value: f64| value.max(f64::MIN_POSITIVE).log10();
    let all = || groups.iter().flat_map(|group| &group.marks).flat_map(|mark| of(&mark.value));
    let first = all().map(positive).fold(f64::INFINITY, f64::min).floor();
    let last = all().map(positive).fold(f64::NEG_INFINITY, f64::max).ceil().max(first + 1.0);
    // The figures of this plot are long: they have a column of their own.
    let right = WIDTH - FIGURES;
    let place = |value: f64| LEFT + (right - LEFT) * (positive(value) - first) / (last - first);
    let bottom = height(groups);
    // At most 16 decades lie between a nanosecond and a year. There is room to name four.
    let count = ((last - first) as u32).min(16);
    let step = count.div_ceil(3).max(1) as usize;
    let decades = (0..=count).step_by(step).map(|i| 10_f64.powf(first + f64::from(i)));
    let axis = html! {
        @for value in decades {
            line class="grid" x1=(px(place(value))) x2=(px(place(value))) y1="22" y2=(px(bottom)) {}
            text class="tick" x=(px(place(value))) y=(px(bottom + 15.0)) text-anchor="middle" { (tick(value)) }
        }
    };
    plot(title, groups, SCALE, axis, |mark, middle| {
        let places: Vec<f64> = of(&mark.value).into_iter().map(place).collect();
        html! {
            g class=(class(&mark.name)) { (through(&places, middle)) }
            text class="value" x=(px(WIDTH)) y=(px(middle + 4.0)) text-anchor="end" { (mark.figure) }
        }
    })
}

/// The line and its dots: the first large, the last hollow, those between small.
fn through(places: &[f64], middle: f64) -> Markup {
    let (Some(&low), Some(&high)) = (places.first(), places.last()) else {
        return html! {};
    };
    html! {
        line class="range" x1=(px(low)) x2=(px(high)) y1=(px(middle)) y2=(px(middle)) {}
        @for &between in &places[1..places.len() - 1] {
            circle cx=(px(between)) cy=(px(middle)) r="3.2" {}
        }
        circle class="hollow" cx=(px(high)) cy=(px(middle)) r="4.2" {}
        circle cx=(px(low)) cy=(px(middle)) r="5" {}
    }
}

fn height<T>(groups: &[Group<T>]) -> f64 {
    groups.iter().map(|group| HEADING + ROW * group.marks.len() as f64).sum()
}

/// Groups below each other, each mark drawn by `draw` at the middle of its line.
fn plot<T>(
    title: &str,
    groups: &[Group<T>],
    below: f64,
    behind: Markup,
    draw: impl Fn(&Mark<T>, f64) -> Markup,
) -> Markup {
    let mut top = 0.0;
    let marks = html! {
        @for group in groups {
            text class="heading" x="0" y=(px(top + 17.0)) { (group.heading) }
            @for (i, mark) in group.marks.iter().enumerate() {
                @let middle = top + HEADING + ROW * (i as f64 + 0.5);
                (text("name", 0.0, middle, &mark.name))
                (draw(mark, middle))
            }
            @let () = top += HEADING + ROW * group.marks.len() as f64;
        }
    };
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {}", px(top + below + 4.0))) role="img" aria-label=(title) {
                (behind)
                (marks)
            }
        }
    }
}

fn text(class: &str, x: f64, middle: f64, words: &str) -> Markup {
    html! { text class=(class) x=(px(x)) y=(px(middle + 4.0)) { (words) } }
}

/// The class that gives a contestant its colour.
pub fn class(name: &str) -> String {
    format!("c-{}", name.replace(' ', "-"))
}

/// A coordinate, to a tenth of a unit.
pub fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group<T>(values: Vec<T>) -> Vec<Group<T>> {
        let (name, figure, yardstick) = ("mmap random", "<1>", false);
        let mark = |value| Mark { name: name.into(), value, figure: figure.into(), yardstick };
        vec![Group { heading: "1 thread".into(), marks: values.into_iter().map(mark).collect() }]
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = bars("t", &group(vec![50.0, 100.0, 0.0])).into_string();
        for width in ["width=\"96\"", "width=\"192\"", "width=\"0\""] {
            assert!(svg.contains(width), "{width} is not in {svg}");
        }
        assert!(svg.contains("&lt;1&gt;"), "figures are escaped");
    }

    #[test]
    fn a_yardstick_does_not_dwarf_the_others() {
        let mut groups = group(vec![50.0, 100.0, 900.0]);
        groups[0].marks[2].yardstick = true;
        let svg = bars("t", &groups).into_string();
        assert_eq!(svg.matches("width=\"192\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("class=\"cut\"").count(), 2);
    }

    #[test]
    fn no_value_leaves_the_plot() {
        for (low, high) in [(0.0, 0.0), (1e-9, 1e9), (5.0, 5.0), (f64::NAN, 1.0)] {
            let svg =
                ranges("t", &group(vec![Range { low, high }]), |v| v.to_string()).into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let all = group(vec![[low, low, high, high]]);
            let svg = percentiles("t", &all, |v| v.to_string()).into_string();
            assert_eq!(svg.matches("<circle").count(), 4);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(!bars("t", &group(vec![0.0])).into_string().contains("NaN"));
        assert!(!bars("t", &group(Vec::new())).into_string().contains("NaN"));
    }
}
