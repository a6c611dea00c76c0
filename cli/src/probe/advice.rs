//! What follows from a probe, in a few sentences: whether the figures are the disk's at all, what
//! reads side by side gain, and what would make them cheaper.

use ringpool::EngineChoice;
use ringpool::uring::{EngineOptions, Rung};

use crate::table;

use super::Access;
use super::ladder::{Step, knee};
use super::lone::LoneRead;

/// A smaller file fits into the memory of any disk's controller.
const TINY_BYTES: u64 = 1 << 20;

/// Hardly any flash answers faster than this; memory does.
const FAST_US: f64 = 15.0;

/// What the advice is drawn from.
pub struct Advice<'a> {
    pub access: &'a Access,
    /// At least one step.
    pub ladder: &'a [Step],
    /// What was asked for.
    pub choice: EngineChoice,
    pub lone_read: LoneRead,
}

impl Advice<'_> {
    /// The advice on a file of so many bytes.
    pub fn text(&self, file_bytes: u64) -> String {
        let sentences = [self.caution(file_bytes), Some(self.gain()), self.better()];
        sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Why these may not be the disk's figures.
    fn caution(&self, file_bytes: u64) -> Option<String> {
        if file_bytes < TINY_BYTES {
            let size = table::bytes(file_bytes);
            return Some(format!(
                "The figures mean little: a file of {size} may come whole from the disk's own \
                 memory; give a larger one, or a folder."
            ));
        }
        if !self.access.direct_io {
            return Some(
                "These are figures of the page cache rather than of the disk, as direct reads are \
                 refused."
                    .into(),
            );
        }
        let us = self.lone_read.pread_p50_us;
        (us < FAST_US).then(|| {
            format!(
                "Hardly any disk answers in {}: the reads may come from a cache of the host's or \
                 the disk's; a file larger than that shows the disk.",
                table::duration_us(us)
            )
        })
    }

    /// What reads side by side are worth.
    fn gain(&self) -> String {
        let (first, last) = (&self.ladder[0], &self.ladder[self.ladder.len() - 1]);
        let knee = knee(self.ladder);
        let iops = |step: &Step| table::figure(step.figures.iops);
        let mean = |step: &Step| table::duration_us(step.figures.mean_us);
        if knee.queue_depth == first.queue_depth {
            return format!(
                "One read at a time gives {} IOPS already: more at once gain nothing here.",
                iops(first)
            );
        }
        let gain = format!(
            "Keep {} reads in flight: that gives {} pages a second, {:.1} times as many as one by \
             one, at {} a read",
            knee.queue_depth,
            iops(knee),
            knee.figures.iops / first.figures.iops,
            mean(knee)
        );
        let deepest = last.queue_depth;
        if knee.queue_depth < deepest {
            return format!("{gain}; more only wait longer ({} at {deepest}).", mean(last));
        }
        if self.access.rung.is_ring() && deepest < EngineOptions::MAX_IN_FLIGHT {
            return format!("{gain}; deeper may give more still: try --max-depth {}.", 2 * deepest);
        }
        format!("{gain}.")
    }

    /// What would get the file a better rung, if anything is known to.
    pub fn lift(&self) -> Option<String> {
        if !self.access.rung.is_ring() && self.choice == EngineChoice::Blocking {
            return Some("use --engine auto".into());
        }
        self.access.lift.clone().or_else(|| match unregistered(self.ladder)? {
            1 => Some("raise ulimit -l".into()),
            depth => Some(format!("raise ulimit -l for depths from {depth} on")),
        })
    }

    /// The same in a sentence, with what it is good for.
    fn better(&self) -> Option<String> {
        let lift = self.lift()?;
        let gain = match self.access.rung {
            Rung::RingRegistered | Rung::RingDirect => {
                "Registered files and memory take less processor time a read"
            }
            rung if rung.is_ring() => "Direct reads leave the page cache alone",
            _ => "A ring takes one thread instead of many",
        };
        Some(format!("{gain}: {lift}."))
    }
}

/// The depth from which on memory was not registered with the ring, if there is a ring.
pub fn unregistered(ladder: &[Step]) -> Option<u32> {
    let step = ladder.iter().find(|step| step.rung.is_ring() && !step.registered_memory);
    step.map(|step| step.queue_depth)
}

#[cfg(test)]
mod tests {
    use super::super::load::Figures;
    use super::*;

    const LIFT: &str = "do this";

    fn advice(rung: Rung, rates: &[f64], file_bytes: u64) -> String {
        let direct_io = matches!(rung, Rung::RingRegistered | Rung::RingDirect);
        let reason = "a reason".into();
        let lift = (rung != Rung::RingRegistered).then(|| LIFT.to_string());
        let (dio_mem_align, dio_offset_align) = (None, None);
        let access = Access { rung, reason, lift, direct_io, dio_mem_align, dio_offset_align };
        let step = |(power, &iops): (usize, &f64)| Step {
            queue_depth: 1 << power,
            figures: Figures {
                iops,
                mean_us: 1e6 * f64::from(1 << power) / iops,
                ..<_>::default()
            },
            rung,
            registered_memory: power < 3,
        };
        let ladder: Vec<Step> = rates.iter().enumerate().map(step).collect();
        let lone_read = LoneRead { engine_p50_us: 55.0, pread_p50_us: 1e6 / rates[0] };
        let choice = EngineChoice::Auto;
        Advice { access: &access, ladder: &ladder, choice, lone_read }.text(file_bytes)
    }

    #[track_caller]
    fn has(text: &str, parts: &[&str]) {
        parts.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));
    }

    #[test]
    fn the_knee_is_worth_something_or_it_is_not() {
        let gib = 1 << 30;
        let text = advice(Rung::RingRegistered, &[1e4, 2e4, 3e4, 3e4], gib);
        has(&text, &["Keep 4 reads", "30,000 pages", "3.0 times", "133 us", "(267 us at 8)"]);
        has(&text, &["less processor time", "raise ulimit -l for depths from 8 on"]);
        let text = advice(Rung::RingRegistered, &[1e4, 2e4, 4e4], gib);
        has(&text, &["4.0 times", "--max-depth 8"]);
        let text = advice(Rung::RingRegistered, &[1e4, 9e3, 1e4], gib);
        has(&text, &["10,000 IOPS already"]);
    }

    #[test]
    fn figures_that_are_not_the_disks_are_not_called_so() {
        let rates = [1e4, 2e4, 2e4];
        has(&advice(Rung::RingRegistered, &rates, 8 << 10), &["mean little", "8.00 KiB"]);
        has(&advice(Rung::RingBuffered, &rates, 1 << 30), &["page cache", "refused"]);
        let fast = [1e5, 2e5, 2e5];
        has(&advice(Rung::RingRegistered, &fast, 1 << 30), &["10.0 us", "cache of the host"]);
    }

    #[test]
    fn what_lifts_a_refusal_is_told_with_what_it_is_good_for() {
        let rates = [1e4, 2e4, 2e4];
        has(&advice(Rung::RingDirect, &rates, 1 << 30), &["Registered files", ": do this."]);
        has(&advice(Rung::RingBuffered, &rates, 1 << 30), &["Direct reads leave", ": do this."]);
        has(&advice(Rung::ThreadsDirect, &rates, 1 << 30), &["A ring takes", ": do this."]);
        assert!(!advice(Rung::RingRegistered, &rates, 1 << 30).contains("processor time"));
    }
}
