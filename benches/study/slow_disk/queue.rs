//! Reads that wait until their time has come: each for as long as the disk's latency and its jitter
//! say, counted from when the kernel asked, and all of them side by side.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::{Errno, ReplyData};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Pace, Seen};

/// How late the kernel may wake the thread that answers. Its own default is 50,000.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

/// The reads that are not answered yet, and what was seen of all.
pub struct Queue {
    pace: Pace,
    waiting: Mutex<Waiting>,
    /// Told when what is due first has changed.
    changed: Condvar,
}

struct Waiting {
    chance: SmallRng,
    reads: BinaryHeap<Reverse<Read>>,
    asked: u64,
    seen: Seen,
}

/// What a read is answered with.
pub struct Answer {
    /// The whole file.
    pub file: Arc<[u8]>,
    /// The part that was asked for.
    pub range: Range<usize>,
    /// Whether it is EIO instead.
    pub fails: bool,
}

struct Read {
    due: Instant,
    /// Counted from the first: of two that are due together, the older is answered first.
    number: u64,
    answer: Answer,
    reply: ReplyData,
}

impl Queue {
    pub fn new(pace: Pace) -> Self {
        let waiting = Waiting {
            chance: SmallRng::seed_from_u64(pace.seed),
            reads: BinaryHeap::new(),
            asked: 0,
            seen: Seen::default(),
        };
        Self { pace, waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    /// Puts a read of the file `name` into its place. The kernel bounds how many there are.
    pub fn push(&self, name: &str, answer: Answer, reply: ReplyData) {
        let mut waiting = self.locked();
        let Pace { latency_us, jitter_us, .. } = self.pace;
        let jitter_us = waiting.chance.random_range(0..=jitter_us.saturating_mul(2)) as i128
            - i128::from(jitter_us);
        let takes_us = (i128::from(latency_us) + jitter_us).max(0);
        let due = Instant::now() + Duration::from_micros(takes_us as u64);
        waiting.asked += 1;
        let number = waiting.asked;
        waiting.note(name, &answer);
        waiting.reads.push(Reverse(Read { due, number, answer, reply }));
        let in_flight = waiting.reads.len() as u64;
        waiting.seen.most_in_flight = waiting.seen.most_in_flight.max(in_flight);
        if waiting.reads.peek().is_some_and(|first| first.0.number == number) {
            self.changed.notify_one();
        }
    }

    /// What was asked for until now, as JSON.
    pub fn seen(&self) -> String {
        serde_json::to_string(&self.locked().seen).unwrap_or_default()
    }

    /// Answers what is due, for as long as the process lives.
    pub fn answer_in_time(&self) {
        // Refused, it is late by what the kernel likes.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut waiting = self.locked();
        loop {
            let now = Instant::now();
            waiting = match waiting.reads.peek().map(|first| first.0.due) {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now => {
                    let waited = self.changed.wait_timeout(waiting, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let read = waiting.reads.pop();
                    drop(waiting);
                    read.into_iter().for_each(|Reverse(read)| read.end());
                    self.locked()
                }
            };
        }
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn note(&mut self, name: &str, answer: &Answer) {
        let asked = self.seen.files.entry(name.to_owned()).or_default();
        asked.reads += 1;
        asked.bytes += answer.range.len() as u64;
        asked.failed += u64::from(answer.fails);
    }
}

impl Read {
    fn end(self) {
        match self.answer.file.get(self.answer.range) {
            Some(bytes) if !self.answer.fails => self.reply.data(bytes),
            _ => self.reply.error(Errno::EIO),
        }
    }
}

impl Ord for Read {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Read {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Read {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Read {}
