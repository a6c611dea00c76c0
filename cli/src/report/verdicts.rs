//! Who won, plainly, also where the pool lost: a card a ratio, or where there are many, a card for
//! each opponent and temperature with how often.

use maud::{Markup, html};

use crate::compare;
use crate::outcome::{Outcome, Ratio};
use crate::table;

/// More cards than this are read by nobody.
const MAX_CARDS: usize = 12;

/// The headline of the page.
pub fn of(outcome: &Outcome) -> Markup {
    let ratios = outcome.ratios();
    let (yardstick, rivals): (Vec<&Ratio>, Vec<&Ratio>) =
        ratios.iter().partition(|ratio| ratio.against == "memory");
    html! {
        @if !rivals.is_empty() {
            section {
                h2 { "The pool against mmap" }
                p.lead { "Queries a second through the pool, divided by those through the other, under the same memory limit." }
                (cards(outcome, &rivals))
            }
        }
        @if !yardstick.is_empty() {
            section {
                h2 { "The pool against no storage at all" }
                (cards(outcome, &yardstick))
            }
        }
    }
}

fn cards(outcome: &Outcome, ratios: &[&Ratio]) -> Markup {
    html! {
        ul.verdicts {
            @if ratios.len() <= MAX_CARDS {
                @for ratio in ratios { (card(outcome, ratio)) }
            } @else {
                @for (against, temperature) in opponents(ratios) {
                    (summary(&of_opponent(ratios, against, temperature)))
                }
            }
        }
    }
}

fn card(outcome: &Outcome, ratio: &Ratio) -> Markup {
    let cells = compare::verdict(outcome, ratio);
    html! {
        li class=(class(&ratio.winner)) {
            span.ratio { (cells[3]) "×" }
            span.words { strong { (cells[4]) } br; (cells[1]) ", " (cells[0]) ", against " (cells[2]) }
        }
    }
}

/// All ratios against one opponent at one temperature in a card.
fn summary(ratios: &[&Ratio]) -> Markup {
    let mut sorted: Vec<f64> = ratios.iter().map(|ratio| ratio.ratio).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[(sorted.len() - 1) / 2];
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    let count = |winner: &str| ratios.iter().filter(|ratio| ratio.winner == winner).count();
    let (pool, even) = ("pool", "even");
    let (against, lost) = (&ratios[0].against, ratios.len() - count(pool) - count(even));
    let most_often = match (count(pool), count(even), lost) {
        (wins, evens, lost) if wins >= evens && wins > lost => pool,
        (_, evens, lost) if evens >= lost => even,
        _ => against,
    };
    html! {
        li class=(class(most_often)) {
            span.ratio { (table::figure(middle)) "×" }
            span.words {
                strong { "against " (against) ", " (ratios[0].temperature) }
                br;
                (format!("{least:.2} to {most:.2}; of {} settings the pool wins {}, {against} {lost}, {} even", ratios.len(), count(pool), count(even)))
            }
        }
    }
}

fn class(winner: &str) -> &'static str {
    match winner {
        "pool" => "wins",
        "even" => "even",
        _ => "loses",
    }
}

/// Who is played against at which temperature, in order.
fn opponents<'a>(ratios: &[&'a Ratio]) -> Vec<(&'a str, &'a str)> {
    let mut opponents = Vec::new();
    for ratio in ratios {
        let opponent = (ratio.against.as_str(), ratio.temperature.as_str());
        if !opponents.contains(&opponent) {
            opponents.push(opponent);
        }
    }
    opponents
}

fn of_opponent<'a>(ratios: &[&'a Ratio], against: &str, temperature: &str) -> Vec<&'a Ratio> {
    let is_of = |ratio: &&&Ratio| ratio.against == against && ratio.temperature == temperature;
    ratios.iter().filter(is_of).copied().collect()
}
