//! Who did how well in a case, against the first contestant in the same rounds, and which differences
//! are no more than noise.

use serde::Serialize;

use crate::run::{Better, Measure, Run};
use crate::spread::Spread;

/// What the A/A pairs of a case differ by: the same contestant, once divided by the other.
#[derive(Serialize, Clone, Debug)]
pub struct Noise {
    pub case: String,
    /// The largest factor, 1 or more.
    pub factor: f64,
}

/// A contestant in a case.
#[derive(Serialize, Clone, Debug)]
pub struct Line {
    pub case: String,
    pub contestant: String,
    /// Of each measure, in their order; none where nobody measured it.
    pub figures: Vec<Option<Spread>>,
    /// How many times as good as the first contestant in the same round.
    pub ratio: Option<Spread>,
    /// Whether the difference to the first is no more than noise: as small as that within the A/A
    /// pairs, or both have figures in the range of the other.
    pub within_noise: bool,
    pub published: Option<&'static str>,
}

/// The noise of a case, where there is a pair.
pub fn noise(runs: &[Run], case: &str, measure: &Measure) -> Option<Noise> {
    let again = runs.iter().filter(|run| run.again && run.case == case);
    let factors = again.filter_map(|again| {
        let first = runs.iter().find(|run| {
            !run.again
                && run.case == case
                && run.round == again.round
                && run.contestant == again.contestant
        })?;
        let ratio = again.figure(measure.key)? / first.figure(measure.key)?;
        Some(factor(ratio)).filter(|factor| factor.is_finite())
    });
    Some(Noise { case: case.into(), factor: Spread::of(factors)?.most })
}

/// The line of a contestant, if it took part. Ratios are of the first measure.
pub fn line(
    runs: &[Run],
    case: &str,
    contestant: &str,
    measures: &[Measure],
    noise: Option<f64>,
) -> Option<Line> {
    let in_case = || runs.iter().filter(|run| run.case == case && !run.again);
    let of = |name: &str| in_case().filter(|run| run.contestant == name).collect::<Vec<_>>();
    let reference = &in_case().next()?.contestant;
    let (ours, theirs) = (of(contestant), of(reference));
    ours.first()?;
    let spread = |runs: &[&Run], key| Spread::of(runs.iter().filter_map(|run| run.figure(key)));
    let headline = measures.first()?;
    let ratios = ours.iter().filter_map(|ours| {
        let theirs = theirs.iter().find(|theirs| theirs.round == ours.round)?;
        times_as_good(headline, ours.figure(headline.key)?, theirs.figure(headline.key)?)
    });
    let ratio = Spread::of(ratios).filter(|_| contestant != reference);
    let both = spread(&ours, headline.key).zip(spread(&theirs, headline.key));
    let overlap = both.is_some_and(|(ours, theirs)| ours.overlaps(&theirs));
    let small = |ratio: Spread| factor(ratio.median) <= noise.unwrap_or(1.0);
    Some(Line {
        case: case.into(),
        contestant: contestant.into(),
        figures: measures.iter().map(|measure| spread(&ours, measure.key)).collect(),
        within_noise: ratio.is_some_and(|ratio| overlap || small(ratio)),
        ratio,
        published: None,
    })
}

/// How many times as good `one` is as `other`.
fn times_as_good(measure: &Measure, one: f64, other: f64) -> Option<f64> {
    let ratio = if measure.better == Better::Lower { other / one } else { one / other };
    ratio.is_finite().then_some(ratio)
}

/// 1 or more, whichever way round.
fn factor(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}
