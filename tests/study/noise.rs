//! What the study makes of its runs: ratios within a round, and which of them may be noise.

use crate::judging::{Line, line, noise};
use crate::run::{Measure, Measured, Run};
use crate::spread::Spread;

const MS: [Measure; 1] = [Measure::lower("ms", "ms")];

fn run(contestant: &str, round: u16, again: bool, ms: f64) -> Run {
    Run {
        contestant: contestant.into(),
        case: "cold".into(),
        round,
        again,
        memory_enforced_by: "none".into(),
        measured: Measured { figures: [("ms".into(), ms)].into(), ..Measured::default() },
    }
}

/// Two rounds, in which the first contestant takes 10 and 11 ms, and 1.2 times as long again.
fn runs(other_ms: [f64; 2]) -> Vec<Run> {
    let round = |round: u16, first_ms: f64| {
        [
            run("first", round, false, first_ms),
            run("first", round, true, 1.2 * first_ms),
            run("other", round, false, other_ms[usize::from(round)]),
        ]
    };
    round(0, 10.0).into_iter().chain(round(1, 11.0)).collect()
}

fn line_of(contestant: &str, other_ms: [f64; 2]) -> Line {
    let runs = runs(other_ms);
    let noise = noise(&runs, "cold", &MS[0]).unwrap();
    assert!((noise.factor - 1.2).abs() < 1e-9);
    line(&runs, "cold", contestant, &MS, Some(noise.factor)).unwrap()
}

#[test]
fn less_time_is_a_ratio_above_one_and_within_its_own_round() {
    let ratio = line_of("other", [5.0, 2.75]).ratio.unwrap();
    assert_eq!((ratio.least, ratio.median, ratio.most), (2.0, 3.0, 4.0));
    assert!(!line_of("other", [5.0, 2.75]).within_noise);
}

#[test]
fn what_noise_could_have_made_is_marked_whichever_way() {
    for (other_ms, within) in [
        ([9.0, 9.9], true),    // 1.11 times as good.
        ([11.5, 12.65], true), // 0.87 times.
        ([7.0, 7.7], false),
        ([14.0, 15.4], false),
        ([4.0, 30.0], true), // All over the place.
    ] {
        assert_eq!(line_of("other", other_ms).within_noise, within, "{other_ms:?}");
    }
}

#[test]
fn the_first_is_compared_with_nobody_and_who_did_not_take_part_has_no_line() {
    let first = line_of("first", [5.0, 5.0]);
    assert!(first.ratio.is_none() && !first.within_noise);
    assert!(line(&runs([1.0, 1.0]), "cold", "third", &MS, None).is_none());
    assert!(line(&runs([1.0, 1.0]), "warm", "first", &MS, None).is_none());
}

#[test]
fn the_middle_of_an_even_number_is_between_two() {
    let spread = Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap();
    assert_eq!(spread, Spread { median: 3.0, least: 1.0, most: 9.0 });
    assert_eq!(Spread::of([5.0]).unwrap().median, 5.0);
    assert!(Spread::of([]).is_none());
    assert!(spread.overlaps(&Spread::of([9.0, 12.0]).unwrap()));
    assert!(!spread.overlaps(&Spread::of([9.5, 12.0]).unwrap()));
}
