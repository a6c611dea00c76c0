//! Rounds in which contestants take turns, so that what disturbs the machine disturbs all of them.
//!
//! A round runs each contestant twice and times the second, so that what it keeps in the caches is
//! its own and not another's; the order moves on by one from round to round. What
//! counts is the ratio within a round; of all rounds it is given as the median, with the least and
//! the most. An absolute time is only good for today and this machine.

use std::time::Duration;

use super::spread::Spread;

/// One who is timed: does its work once and says how long that took.
pub struct Contestant<'a> {
    pub name: &'static str,
    pub run: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(name: &'static str, run: impl FnMut() -> Duration + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Times all `contestants` in `rounds` rounds and prints a row for
/// each: nanoseconds for each of its `looks`, and its time relative to that of the first.
pub fn table(title: &str, looks: usize, rounds: usize, contestants: &mut [Contestant<'_>]) {
    let count = contestants.len();
    let mut times_ns = vec![Vec::new(); count];
    for round in 0..rounds {
        for turn in 0..count {
            let which = (turn + round) % count;
            let _ = (contestants[which].run)();
            let elapsed = (contestants[which].run)();
            times_ns[which].push(elapsed.as_secs_f64() * 1e9 / looks as f64);
        }
    }
    println!("\n{title}");
    println!("{:<26} {:>9} {:>9} {:>9}   relative to the first", "", "ns", "least", "most");
    for (contestant, times) in contestants.iter().zip(&times_ns) {
        let ratios = times.iter().zip(&times_ns[0]).map(|(time, first)| time / first).collect();
        let (time, ratio) = (Spread::of(times.clone()), Spread::of(ratios));
        println!(
            "{:<26} {:>9.1} {:>9.1} {:>9.1}   {:.2} ({:.2}-{:.2})",
            contestant.name,
            time.median,
            time.least,
            time.most,
            ratio.median,
            ratio.least,
            ratio.most
        );
    }
}
