//! What a replay is held against: LRU, and the optimum that knows the future. Both exact.

use std::collections::BinaryHeap;

use crate::failure::Failure;
use crate::trace::Trace;

/// After so many requests somebody is told how many are done.
const LOOK_UP: usize = 1 << 16;

/// Told how many requests are done; an error ends the work.
pub type Progress<'a> = &'a mut dyn FnMut(usize) -> Result<(), Failure>;

/// How many requests miss when the page that was used longest ago always goes.
pub fn lru_misses(trace: &Trace, frames: u32, progress: Progress<'_>) -> Result<u64, Failure> {
    let mut order = Order::new(trace.distinct());
    let (mut resident, mut misses) = (0, 0);
    for (done, &page) in trace.requests().iter().enumerate() {
        if done.is_multiple_of(LOOK_UP) {
            progress(done)?;
        }
        if !order.remove(page) {
            misses += 1;
            if resident == frames {
                order.remove(order.oldest());
            } else {
                resident += 1;
            }
        }
        order.push(page);
    }
    Ok(misses)
}

/// The resident pages from the one used last to the one used longest ago: a ring of links with
/// one more place, past the pages, that stands between the two ends.
struct Order {
    links: Vec<Links>,
    end: u32,
}

#[derive(Clone, Copy)]
struct Links {
    newer: u32,
    older: u32,
}

/// The links of a page that is not in the ring.
const OUT: Links = Links { newer: u32::MAX, older: u32::MAX };

impl Order {
    fn new(pages: u32) -> Self {
        let mut links = vec![OUT; pages as usize];
        links.push(Links { newer: pages, older: pages });
        Self { links, end: pages }
    }

    fn oldest(&self) -> u32 {
        self.links[self.end as usize].newer
    }

    fn push(&mut self, page: u32) {
        let older = self.links[self.end as usize].older;
        self.links[page as usize] = Links { newer: self.end, older };
        self.links[older as usize].newer = page;
        self.links[self.end as usize].older = page;
    }

    /// Takes `page` out. Returns whether it was in.
    fn remove(&mut self, page: u32) -> bool {
        let Links { newer, older } = std::mem::replace(&mut self.links[page as usize], OUT);
        if newer == OUT.newer {
            return false;
        }
        self.links[newer as usize].older = older;
        self.links[older as usize].newer = newer;
        true
    }
}

/// How many requests miss at least, whatever the policy: always the page goes that is used next
/// after all others (Belady 1966).
pub fn opt_misses(trace: &Trace, frames: u32, progress: Progress<'_>) -> Result<u64, Failure> {
    let next_uses = next_uses(trace);
    // When each resident page is used next. What the heap says of a page beside that is outdated.
    let mut next_of = vec![None; trace.distinct() as usize];
    let mut by_next_use = BinaryHeap::new();
    let (mut resident, mut misses) = (0, 0);
    for (done, (&page, &next_use)) in trace.requests().iter().zip(&next_uses).enumerate() {
        if done.is_multiple_of(LOOK_UP) {
            progress(done)?;
        }
        if next_of[page as usize].is_none() {
            misses += 1;
            if resident == frames {
                evict_farthest(&mut by_next_use, &mut next_of);
            } else {
                resident += 1;
            }
        }
        next_of[page as usize] = Some(next_use);
        by_next_use.push((next_use, page));
    }
    Ok(misses)
}

fn evict_farthest(by_next_use: &mut BinaryHeap<(u32, u32)>, next_of: &mut [Option<u32>]) {
    while let Some((next_use, page)) = by_next_use.pop() {
        let next = &mut next_of[page as usize];
        if *next == Some(next_use) {
            *next = None;
            return;
        }
    }
}

/// For each request, the next one of the same page; past the end where there is none.
fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut next_of = vec![u32::MAX; trace.distinct() as usize];
    let mut next_uses = vec![u32::MAX; trace.requests().len()];
    for (index, &page) in trace.requests().iter().enumerate().rev() {
        next_uses[index] = std::mem::replace(&mut next_of[page as usize], index as u32);
    }
    next_uses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same two, so plain that they are right by inspection.
    fn naive(requests: &[u32], frames: usize, goes: impl Fn(&[u32], usize) -> usize) -> u64 {
        let (mut resident, mut misses) = (Vec::new(), 0);
        for (now, &page) in requests.iter().enumerate() {
            if let Some(place) = resident.iter().position(|&other| other == page) {
                resident.remove(place);
            } else {
                misses += 1;
                if resident.len() == frames {
                    resident.remove(goes(&resident, now));
                }
            }
            resident.push(page); // The one used last is the last.
        }
        misses
    }

    fn drawn(seed: u64) -> Trace {
        let mut x = seed;
        let draw = |_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (page, among) = ((x >> 33) as u32, (x >> 60) as u32 + 2);
            page % (among * among)
        };
        (0..2000).map(draw).collect()
    }

    #[test]
    fn both_agree_with_the_plain_ones() {
        for seed in 1..6 {
            let trace = drawn(seed);
            let all = trace.requests();
            for frames in [1, 2, 7, 50, trace.distinct()] {
                let lru = naive(all, frames as usize, |_, _| 0);
                assert_eq!(lru_misses(&trace, frames, &mut |_| Ok(())).unwrap(), lru);
                let opt = naive(all, frames as usize, |resident, now| {
                    let next = |page| all[now..].iter().position(|&other| other == page);
                    let farthest = (0..resident.len())
                        .max_by_key(|&place| next(resident[place]).unwrap_or(usize::MAX));
                    farthest.unwrap()
                });
                assert_eq!(opt_misses(&trace, frames, &mut |_| Ok(())).unwrap(), opt);
                assert!(opt <= lru);
            }
        }
    }

    #[test]
    fn the_work_ends_when_it_is_told_to() {
        let trace = drawn(1);
        let stop = &mut |_| Err(Failure::new("stop"));
        assert!(lru_misses(&trace, 5, stop).is_err());
        assert!(opt_misses(&trace, 5, stop).is_err());
    }
}
