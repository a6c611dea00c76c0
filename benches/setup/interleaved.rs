//! Comparing without the hour of the day in it: contestants take turns, and each is held against
//! the first one within the same round.

use std::time::Duration;

/// Each contestant has its turn so often.
const ROUNDS: usize = 15;

/// Runs each of `contestants` once a round and prints, as rows of a table, the median time a look
/// and the median ratio to the first one's, with the least and the most of it.
pub fn compare(title: &str, contestants: &[(&str, &dyn Fn() -> Duration)], looks: u64) {
    contestants.iter().for_each(|(_, turn)| _ = turn()); // Whoever is first warms up nobody else.
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        // Who begins changes from round to round.
        let mut turns = vec![0.0; contestants.len()];
        for at in 0..contestants.len() {
            let at = (round + at) % contestants.len();
            turns[at] = contestants[at].1().as_nanos() as f64 / looks as f64;
        }
        rounds.push(turns);
    }
    for (at, (name, _)) in contestants.iter().enumerate() {
        let ns = sorted(rounds.iter().map(|turns| turns[at]));
        let ratio = sorted(rounds.iter().map(|turns| turns[at] / turns[0]));
        let (least, most) = (ratio[0], ratio[ROUNDS - 1]);
        println!(
            "| {title} | {name} | {:.1} | {:.2} | {least:.2} to {most:.2} |",
            ns[ROUNDS / 2],
            ratio[ROUNDS / 2]
        );
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}
