//! The walk among points that pass, and the scan, through pages.
//!
//! The walk is the one of [`graph::among`](crate::graph::among), and what is taken in which order is
//! told by the same [`Reach`]. It has a strict order: what is hopped through decides what is fresh,
//! and that what comes next. So the neighbours of one candidate are looked up at a time, those
//! that it hops through together, as many as will be needed if points pass everywhere alike;
//! then the codes of all that are fresh.
//!
//! A scan asks for pages of codes in order, several batches at a time.

use super::expansion::{Expansion, Sources, State};
use super::memo::{Memo, Told};
use super::walk::{PagedWalk, WIDTH};
use crate::candidates::Candidates;
use crate::graph::Graph;
use crate::graph::among::{Reach, times_as_many};
use crate::passing::Passing;
use crate::scan::{Way, are_missed};
use crate::{Patience, SearchError};

/// Pages of codes that a batch of a scan asks for.
const SCAN_PAGES: u64 = 32;
/// Points of a batch, where codes are in memory.
const SCAN_POINTS: usize = 256;
/// Batches of a scan that are on their way together, at most.
const SCAN_WIDTH: usize = 4;

/// What a walk among points that pass needs beside; kept from one to the next.
#[derive(Default)]
pub(super) struct Among {
    phase: Phase,
    reach: Reach,
    /// The points that pass and were seen, and those that were hopped through.
    seen: Memo,
    /// Whose neighbours are looked up: the point itself, then what it may hop through.
    links: Vec<u32>,
    /// How many of them were asked for, and how many were taken.
    asked: usize,
    taken: usize,
    /// Whether the points to begin at are still to be taken.
    is_first: bool,
    /// Where a scan goes on.
    next: Option<u32>,
    /// What is told of the candidates, while everything else is forgotten.
    kept: Vec<(u32, Told)>,
}

/// What such a walk is at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    /// About to turn to the nearest candidate.
    #[default]
    Turning,
    /// Looking up where that leads to.
    Linking,
    /// Measuring where it leads to.
    Measuring,
    /// Not walking any more, or not at all: going over all that pass.
    Scanning,
}

impl Among {
    /// Begins to look up where `point` leads to.
    fn turn_to(&mut self, point: u32, graph: &Graph, passing: &Passing<'_>) {
        self.reach.begin(&graph.layers[0], passing);
        self.links.clear();
        self.links.push(point);
        (self.asked, self.taken) = (0, 0);
        self.phase = Phase::Linking;
    }

    /// How many records to look up together from here on.
    fn ahead(&self, graph: &Graph, passing: &Passing<'_>) -> usize {
        if self.taken == 0 {
            return 1;
        }
        // A record has so many neighbours at most, of which so many of all points pass.
        let (most, points) = (graph.layers[0].max_neighbours, passing.points());
        let records = self.reach.wanted() * points / (most * passing.expected()).max(1) + 1;
        records.min(WIDTH)
    }
}

impl PagedWalk {
    /// Begins to walk at `from`, where the descent has ended, or to scan.
    pub(super) fn begin_among(&mut self, from: u32, graph: &Graph, passing: &Passing<'_>) {
        self.ef = self.ef.saturating_mul(times_as_many(graph, from, passing));
        if Way::of(passing, self.ef) == Way::Scan {
            return self.begin_scan();
        }
        self.found.begin(self.ef);
        let Self { among, .. } = self;
        among.seen.begin();
        among.turn_to(from, graph, passing);
        among.is_first = true;
        among.seen.insert(from);
        if passing.contains(from) {
            among.reach.fresh.push(from);
            among.links.clear();
        }
    }

    pub(super) fn begin_scan(&mut self) {
        self.found.begin(self.ef);
        self.memo.begin();
        self.among.phase = Phase::Scanning;
        self.among.next = Some(0);
    }

    /// Goes on as far as the pages in memory lead. Returns whether it is over.
    pub(super) fn step_among(
        &mut self,
        graph: &Graph,
        from: &mut Sources<'_>,
        first_batch: u32,
        width: usize,
        patience: &Patience<'_>,
    ) -> Result<bool, SearchError> {
        loop {
            match self.among.phase {
                Phase::Turning => {
                    patience.check()?;
                    match self.found.expand_next() {
                        Some(point) => self.among.turn_to(point, graph, &from.passing),
                        None if are_missed(self.found.len(), self.ef, &from.passing) => {
                            self.begin_scan();
                        }
                        None => return Ok(true),
                    }
                }
                Phase::Linking => {
                    if !self.link(graph, from, first_batch)? {
                        return Ok(false);
                    }
                    self.measure(graph, from, first_batch)?;
                }
                Phase::Measuring => {
                    let Self { expansions, memo, found, .. } = self;
                    if expansions[0].state != State::Ready {
                        return Ok(false);
                    }
                    expansions[0].state = State::Idle;
                    offer(&expansions[0], memo, found, from);
                    self.among.phase = Phase::Turning;
                }
                Phase::Scanning => return self.scan(from, first_batch, width, patience),
            }
        }
    }

    /// Takes the neighbours of the point, and of those that it hops through, in order. Returns
    /// false when it must wait for pages.
    fn link(
        &mut self,
        graph: &Graph,
        from: &mut Sources<'_>,
        first_batch: u32,
    ) -> Result<bool, SearchError> {
        let Self { among, expansions, memo, .. } = self;
        let passing = from.passing;
        while among.taken < among.links.len() && (among.taken == 0 || !among.reach.is_full()) {
            let end = among.taken + among.ahead(graph, &passing);
            while among.asked < end.min(among.links.len()) {
                let number = among.asked % WIDTH;
                let (point, batch) = (among.links[among.asked], first_batch + number as u32);
                expansions[number].begin_linking(point, batch, from, memo)?;
                among.asked += 1;
            }
            let expansion = &mut expansions[among.taken % WIDTH];
            if !matches!(expansion.state, State::Linked | State::Ready) {
                return Ok(false);
            }
            expansion.state = State::Idle;
            among.take(expansion, &passing);
        }
        for number in among.taken..among.asked {
            let number = number % WIDTH;
            expansions[number].leave(first_batch + number as u32, from);
        }
        Ok(true)
    }

    /// Measures where the point leads to.
    fn measure(
        &mut self,
        graph: &Graph,
        from: &mut Sources<'_>,
        first_batch: u32,
    ) -> Result<(), SearchError> {
        let Self { among, expansions, memo, .. } = self;
        if std::mem::take(&mut among.is_first) {
            among.reach.take_seeds(graph, &from.passing, |point| among.seen.insert(point));
        }
        let [first, ..] = &mut expansions[..] else { return Ok(()) };
        first.neighbours.clear();
        first.neighbours.extend(&among.reach.fresh);
        among.phase = Phase::Measuring;
        first.begin_with(first.point, first_batch, from, memo)
    }

    /// Measures all that pass. Returns false when it must wait for pages.
    fn scan(
        &mut self,
        from: &mut Sources<'_>,
        first_batch: u32,
        width: usize,
        patience: &Patience<'_>,
    ) -> Result<bool, SearchError> {
        let Self { among, expansions, memo, found, .. } = self;
        let width = width.clamp(1, SCAN_WIDTH);
        // Whoever waits is asked again with the next arrival; more batches than before may be.
        let mut is_waiting = false;
        let mut number = 0;
        while number < SCAN_WIDTH {
            let expansion = &mut expansions[number];
            match expansion.state {
                State::Ready => {
                    expansion.state = State::Idle;
                    offer(expansion, memo, found, from);
                    among.forget_the_rest(memo, found, expansions);
                }
                State::Idle if number < width && among.next.is_some() => {
                    patience.check()?;
                    among.next = next_batch(among.next, from, &mut expansion.neighbours);
                    expansion.begin_with(
                        expansion.point,
                        first_batch + number as u32,
                        from,
                        memo,
                    )?;
                }
                State::Idle => number += 1,
                _ => {
                    is_waiting = true;
                    number += 1;
                }
            }
        }
        Ok(!is_waiting)
    }
}

impl Among {
    /// Takes the next of those that were looked up.
    fn take(&mut self, expansion: &Expansion, passing: &Passing<'_>) {
        let Self { reach, seen, links, .. } = self;
        let neighbours = expansion.neighbours.iter().copied();
        if self.taken == 0 {
            reach.take_own(neighbours, passing, |neighbour| seen.insert(neighbour));
            links.extend(reach.hops.iter().filter(|&&hop| seen.get(hop).is_none()));
        } else if seen.get(expansion.point).is_none()
            && reach.take_beyond(neighbours, passing, |neighbour| seen.insert(neighbour))
        {
            seen.insert(expansion.point);
        }
        self.taken += 1;
    }

    /// Forgets what was told of points that are no candidates, and of which nobody waits for more,
    /// once that is much.
    fn forget_the_rest(&mut self, memo: &mut Memo, found: &Candidates, expansions: &[Expansion]) {
        let busy = || expansions.iter().filter(|one| one.state != State::Idle);
        let needed = found.len() + busy().map(|one| one.neighbours.len()).sum::<usize>();
        if memo.len() <= 4 * needed + SCAN_WIDTH * SCAN_POINTS {
            return;
        }
        self.kept.clear();
        let points = found.iter().map(|(_, point)| point);
        let points = points.chain(busy().flat_map(|one| one.neighbours.iter().copied()));
        self.kept.extend(points.filter_map(|point| Some((point, memo.get(point)?))));
        memo.begin();
        self.kept.iter().for_each(|&(point, told)| memo.put(point, told));
    }
}

/// Offers the neighbours of an expansion, which are all measured.
fn offer(expansion: &Expansion, memo: &Memo, found: &mut Candidates, from: &Sources<'_>) {
    for &point in &expansion.neighbours {
        if let Some(told) = memo.get(point) {
            found.offer(told.distance, point, from.ids);
        }
    }
}

/// Replaces `places` by the points that a scan measures next. Returns where it goes on.
fn next_batch(next: Option<u32>, from: &Sources<'_>, places: &mut Vec<u32>) -> Option<u32> {
    places.clear();
    let records = from.codes.as_ref().map(|(paged, _)| &paged.records);
    let (mut last, mut pages, mut points) = (None, 0, 0);
    from.passing.take_while(next?, places, |place| {
        let Some(records) = records else {
            points += 1;
            return points <= SCAN_POINTS;
        };
        let (page, _) = records.place(place);
        if last.replace(page) == Some(page) {
            return true;
        }
        pages += records.span();
        // One point at least, however many pages it takes.
        pages <= SCAN_PAGES || pages == records.span()
    })
}
