//! Many searches on one thread: while the pages of one are on their way, it works on another.
//!
//! Each search in flight has a slot. It is begun, walks as far as memory leads, asks for pages and
//! steps aside; arrivals say which slot goes on. The thread waits only when none can, and then for
//! whatever comes first. Hits are those of [`Segment::search`], whatever is in flight beside.

use std::time::{Duration, Instant};

use ringpool_storage::{AtOnce, Gather, PageSource};

use crate::graph::walk::WalkScratch;
use crate::originals::{Originals, PageScratch};
use crate::paged::{Paged, PagedWalk, Sources, WIDTH};
use crate::passing::{Passing, PassingEach};
use crate::rescore::Scored;
use crate::scan::Way;
use crate::task::Task;
use crate::{Hit, Patience, SearchError, SearchParams, Segment, Selection};

/// The most searches that a thread has in flight.
const MAX_IN_FLIGHT: usize = 1024;
/// Candidates that are looked up at once by all searches of a thread together, where each has one
/// at least: few searches look far ahead, and many need not.
const AHEAD: usize = 16;

/// How long a thread waits at one source before it looks at the others, and whether a search was
/// cancelled.
const GLANCE: Duration = Duration::from_millis(10);

/// A thread's searches, of one segment or of several at once. Of several each query searches all,
/// and reads what is nearest in any of them.
pub struct Searches<'a> {
    sides: Vec<Side<'a>>,
    slots: Vec<Slot<'a>>,
    /// The slots that are free.
    free: Vec<usize>,
    /// Those that can go on.
    ready: Vec<usize>,
    /// Of the sources that pages are to come from, which is waited at next.
    turn: usize,
    walk: WalkScratch,
    pages: PageScratch,
    hits: Vec<Hit>,
    segments: Vec<u32>,
}

/// A query to be searched for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The caller's name for it.
    pub number: u64,
    /// Its values, as many as the vectors have.
    pub values: &'a [f32],
    /// What is asked.
    pub params: SearchParams,
    /// For each segment, in order, the points that it is to be searched among; without, all.
    pub among: Option<&'a [Selection]>,
    /// For how long.
    pub patience: Patience<'a>,
}

/// What became of a query.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The caller's name for it.
    pub number: u64,
    /// The nearest first, ties by segment and id; or why there are none.
    pub hits: Result<&'a [Hit], SearchError>,
    /// For each hit which of the segments it is of, in the order in which they were given.
    pub segments: &'a [u32],
    /// How many originals were read to rescore.
    pub originals: usize,
}

/// One segment, and what its pages are asked for through.
struct Side<'a> {
    segment: &'a Segment,
    originals: Option<Box<dyn Gather + 'a>>,
    codes: Option<Box<dyn Gather + 'a>>,
    links: Option<Box<dyn Gather + 'a>>,
}

/// One search in flight.
#[derive(Default)]
struct Slot<'a> {
    number: u64,
    patience: Patience<'a>,
    passing: PassingEach<'a>,
    task: Task,
    walk: PagedWalk,
    stage: Stage,
    /// For each segment the pages of originals that are still to come, if any were asked for.
    missing: Vec<Option<usize>>,
    is_ready: bool,
    failure: Option<SearchError>,
}

/// What a slot is at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Free,
    /// About to walk this segment.
    Turning(usize),
    /// Walking it through pages.
    Walking(usize),
    /// Reading originals.
    Reading,
}

/// What a query found, to the caller.
type Answered<'f> = dyn FnMut(Answer<'_>) + 'f;

impl<'a> Searches<'a> {
    /// As many searches in flight on a thread as most disks are worth, where pages are read.
    pub const IN_FLIGHT: usize = 8;

    /// For `segments`, with `in_flight` searches at once: at least 1, at most 1,024. Each takes
    /// some ten kilobytes, and what its candidates take.
    ///
    /// # Errors
    /// [`SearchError::Unlike`] when the segments' metrics, elements or dimensions differ,
    /// [`SearchError::NoSegments`] when there are none.
    pub fn new(segments: &[&'a Segment], in_flight: usize) -> Result<Self, SearchError> {
        let shape = |segment: &&'a Segment| {
            let manifest = segment.manifest();
            (manifest.metric, manifest.element, manifest.dim)
        };
        let first = segments.first().map(shape).ok_or(SearchError::NoSegments)?;
        if let Some(unlike) = segments.iter().position(|segment| shape(segment) != first) {
            return Err(SearchError::Unlike { segment: unlike });
        }
        let in_flight = in_flight.clamp(1, MAX_IN_FLIGHT);
        Ok(Self {
            sides: segments.iter().map(|segment| Side::of(segment)).collect(),
            slots: std::iter::repeat_with(Slot::default).take(in_flight).collect(),
            free: (0..in_flight).rev().collect(),
            ready: Vec::with_capacity(in_flight),
            turn: 0,
            walk: WalkScratch::default(),
            pages: PageScratch::default(),
            hits: Vec::new(),
            segments: Vec::new(),
        })
    }

    /// Takes queries from `next` as there is room for them, until it gives none, and tells
    /// `answered` of each when it is done: in that order. Returns when all are. The values that
    /// `next` lends are copied at once.
    ///
    /// An answer may say that a query failed; the others go on.
    pub fn run<'q>(
        &mut self,
        next: &mut dyn FnMut() -> Option<Query<'q>>,
        answered: &mut Answered<'_>,
    ) where
        'q: 'a,
    {
        self.abandon();
        let mut has_more = true;
        loop {
            while has_more && let Some(&slot) = self.free.last() {
                match next() {
                    Some(query) => self.begin(slot, &query, answered),
                    None => has_more = false,
                }
                self.collect();
                self.go_on(answered);
            }
            if self.free.len() == self.slots.len() {
                return;
            }
            self.wait(answered);
            self.collect();
            self.go_on(answered);
        }
    }

    fn begin(&mut self, number: usize, query: &Query<'a>, answered: &mut Answered<'_>) {
        self.free.pop();
        let slot = &mut self.slots[number];
        (slot.number, slot.patience) = (query.number, query.patience);
        slot.stage = Stage::Turning(0);
        slot.missing.clear();
        slot.missing.resize(self.sides.len(), None);
        let segments = self.sides.iter().map(|side| side.segment);
        let begun = slot
            .passing
            .begin(query.among, segments.clone())
            .and_then(|()| slot.task.begin(segments, query.values, &query.params));
        slot.failure = begun.err();
        self.advance(number, answered);
    }

    /// Takes each slot that something has arrived for as far as it goes.
    fn go_on(&mut self, answered: &mut Answered<'_>) {
        while let Some(number) = self.ready.pop() {
            self.slots[number].is_ready = false;
            if self.slots[number].stage != Stage::Free {
                self.advance(number, answered);
            }
        }
    }

    /// Takes a slot as far as it goes, and answers when that is the end.
    fn advance(&mut self, number: usize, answered: &mut Answered<'_>) {
        let failure = self.slots[number].failure.take();
        let over = failure.map_or_else(|| self.steps(number), Err);
        match over {
            Ok(false) => {}
            Ok(true) => self.answer(number, None, answered),
            Err(error) => self.answer(number, Some(error), answered),
        }
    }

    /// Whether the search is over.
    fn steps(&mut self, number: usize) -> Result<bool, SearchError> {
        let busy = self.slots.len() - self.free.len();
        let Self { sides, slots, walk, pages, .. } = self;
        let slot = &mut slots[number];
        let first_batch = (number * WIDTH) as u32;
        loop {
            match slot.stage {
                Stage::Free => return Ok(false),
                Stage::Turning(at) if at == sides.len() => {
                    slot.task.end_walks();
                    slot.stage = Stage::Reading;
                    if !slot.next_wave(sides, first_batch)? {
                        return Ok(true);
                    }
                }
                Stage::Turning(at) => {
                    let side = &mut sides[at];
                    let Slot { task, walk: paged_walk, patience, .. } = slot;
                    let passing = slot.passing.of(at);
                    let way = task.way(side.segment, &passing);
                    let is_scan = way == Way::Scan && side.segment.is_scanned_in_memory();
                    if is_scan || side.segment.is_walked_in_memory() {
                        let number = at as u32;
                        task.walk(side.segment, number, &passing, walk, pages, patience)?;
                        slot.stage = Stage::Turning(at + 1);
                    } else {
                        if way != Way::Walk {
                            side.open_codes();
                        }
                        task.turn_to(side.segment);
                        paged_walk.begin(task.ef(side.segment), way);
                        slot.stage = Stage::Walking(at);
                    }
                }
                Stage::Walking(at) => {
                    let (segment, width) = (sides[at].segment, AHEAD / busy.max(1));
                    let Slot { task, walk, patience, passing, .. } = slot;
                    let passing = passing.of(at);
                    let over = sides[at].walking(task, passing, |from| {
                        walk.step(segment.graph(), from, first_batch, width, patience)
                    })?;
                    if !over {
                        return Ok(false);
                    }
                    task.found(segment, at as u32, walk.found.iter(), &|id| walk.memo.get(id));
                    slot.stage = Stage::Turning(at + 1);
                }
                Stage::Reading => {
                    slot.patience.check()?;
                    if !slot.end_parts(sides, first_batch)? {
                        return Ok(false);
                    }
                    if !slot.next_wave(sides, first_batch)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn answer(&mut self, number: usize, failure: Option<SearchError>, answered: &mut Answered<'_>) {
        if failure.is_some() {
            self.leave(number);
        }
        self.free.push(number);
        let slot = &mut self.slots[number];
        slot.stage = Stage::Free;
        self.hits.clear();
        self.segments.clear();
        let originals = slot.task.originals();
        let hits = match failure {
            Some(error) => Err(error),
            None => {
                let nearest = slot.task.nearest();
                let sides = &self.sides;
                let hit =
                    |scored: &Scored| scored.hit(sides[scored.point.segment as usize].segment);
                self.hits.extend(nearest.iter().map(hit));
                self.segments.extend(nearest.iter().map(|scored| scored.point.segment));
                Ok(&*self.hits)
            }
        };
        answered(Answer { number: slot.number, hits, segments: &self.segments, originals });
    }

    /// Takes what has arrived to the slots that it is for.
    fn collect(&mut self) {
        let Self { sides, slots, ready, .. } = self;
        for (at, side) in sides.iter_mut().enumerate() {
            let Side { segment, originals, codes, links } = side;
            for (gather, what) in
                [(links, What::Links), (codes, What::Codes), (originals, What::Originals)]
            {
                let Some(gather) = gather.as_mut().filter(|gather| gather.has_arrivals()) else {
                    continue;
                };
                gather.collect(&mut |batch, place, page| {
                    let (number, expansion) = (batch as usize / WIDTH, batch as usize % WIDTH);
                    let slot = &mut slots[number];
                    let page = page.map_err(SearchError::from);
                    let taken =
                        page.and_then(|page| slot.take(segment, at, what, expansion, place, page));
                    let goes_on = taken.unwrap_or_else(|error| {
                        slot.failure = slot.failure.take().or(Some(error));
                        true
                    });
                    if goes_on && !std::mem::replace(&mut slot.is_ready, true) {
                        ready.push(number);
                    }
                });
            }
        }
    }

    /// Waits until something has arrived, or somebody's patience is at its end.
    fn wait(&mut self, answered: &mut Answered<'_>) {
        let busy = || self.slots.iter().filter(|slot| slot.stage != Stage::Free);
        let awaited = || self.gathers().filter(|gather| gather.outstanding() > 0);
        let is_cancellable = busy().any(|slot| slot.patience.is_cancellable());
        // Pages of another device land when that one's turn has come.
        let glance = is_cancellable || awaited().nth(1).is_some();
        let glance = glance.then(|| Instant::now() + GLANCE);
        let deadlines = busy().filter_map(|slot| slot.patience.deadline());
        let deadline = deadlines.chain(glance).min();
        let has_arrivals = || self.gathers().any(|gather| gather.has_arrivals());
        let waited = match awaited().nth(self.turn % awaited().count().max(1)) {
            Some(gather) if !has_arrivals() => gather.wait(&has_arrivals, deadline),
            _ => Ok(()),
        };
        self.turn = self.turn.wrapping_add(1);
        let silent = waited.err().map(SearchError::from);
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if silent.is_none() && !is_late {
            return;
        }
        for number in 0..self.slots.len() {
            let slot = &self.slots[number];
            if slot.stage == Stage::Free {
                continue;
            }
            let failure = slot.patience.check().err().or_else(|| silent.clone());
            if failure.is_some() {
                self.answer(number, failure, answered);
            }
        }
    }

    fn gathers(&self) -> impl Iterator<Item = &dyn Gather> {
        self.sides.iter().flat_map(Side::gathers)
    }

    /// Leaves everything that a slot has asked for.
    fn leave(&mut self, number: usize) {
        let first_batch = (number * WIDTH) as u32;
        let slot = &mut self.slots[number];
        for (side, missing) in self.sides.iter_mut().zip(&slot.missing) {
            if let Some(gather) = side.originals.as_mut().filter(|_| missing.is_some()) {
                gather.leave(first_batch);
            }
        }
        if let Stage::Walking(at) = slot.stage {
            let Slot { task, walk, passing, .. } = slot;
            self.sides[at].walking(task, passing.of(at), |from| walk.leave(from, first_batch));
        }
    }

    /// Forgets what a run that has ended by a panic left in flight.
    fn abandon(&mut self) {
        for number in 0..self.slots.len() {
            if self.slots[number].stage != Stage::Free {
                self.leave(number);
                self.slots[number].stage = Stage::Free;
            }
            self.slots[number].is_ready = false;
        }
        self.ready.clear();
        self.free.clear();
        self.free.extend((0..self.slots.len()).rev());
    }
}

/// What arrives.
#[derive(Clone, Copy)]
enum What {
    Links,
    Codes,
    Originals,
}

fn gather(source: &dyn PageSource) -> Box<dyn Gather + '_> {
    source.gather().unwrap_or_else(|| Box::new(AtOnce(source)))
}

impl<'a> Side<'a> {
    fn of(segment: &'a Segment) -> Self {
        let originals = match segment.originals() {
            Originals::Paged(rows) => Some(gather(&*rows.source)),
            Originals::Resident(_) => None,
        };
        let codes = segment.paged_codes().map(|paged| gather(&*paged.source));
        let links = segment.paged_links().map(|paged| gather(&*paged.source));
        Self { segment, originals, codes, links }
    }

    /// Makes sure that a scan can ask for codes, which no walk does where they are inlined.
    fn open_codes(&mut self) {
        let Self { segment, codes, .. } = self;
        if let (None, Some(paged)) = (&codes, segment.scanned_codes()) {
            *codes = Some(gather(&*paged.source));
        }
    }

    fn gathers(&self) -> impl Iterator<Item = &dyn Gather> {
        let all = [&self.originals, &self.codes, &self.links];
        all.into_iter().flatten().map(|gather| &**gather as &dyn Gather)
    }

    /// Calls `with` with what a walk through this segment's pages reads from.
    fn walking<R>(
        &mut self,
        task: &mut Task,
        passing: Passing<'_>,
        with: impl FnOnce(&mut Sources<'_>) -> R,
    ) -> R {
        let Self { segment, originals, codes, links } = self;
        task.measuring(segment, passing, |measure| {
            let links = segment.paged_links().zip(lent(links));
            let (mut codes, mut nodes) = (segment.scanned_codes().zip(lent(codes)), None);
            if let (Originals::Paged(rows), Some(gather)) = (segment.originals(), lent(originals)) {
                match (segment.node(), segment.codes()) {
                    (Some(&node), _) => nodes = Some((rows, gather, node)),
                    (None, None) => codes = Some((rows, gather)),
                    (None, Some(_)) => {}
                }
            }
            let layer = links.is_none().then(|| &segment.graph().layers[0]);
            let points = segment.manifest().points;
            let ids = segment.ids();
            with(&mut Sources { layer, links, codes, nodes, measure, passing, ids, points })
        })
    }
}

fn lent<'s>(gather: &'s mut Option<Box<dyn Gather + '_>>) -> Option<&'s mut (dyn Gather + 's)> {
    match gather {
        Some(gather) => Some(&mut **gather),
        None => None,
    }
}

impl Slot<'_> {
    /// Takes a page that has arrived. Returns whether the search can go on.
    fn take(
        &mut self,
        segment: &Segment,
        at: usize,
        what: What,
        expansion: usize,
        place: usize,
        page: &[u8],
    ) -> Result<bool, SearchError> {
        let node = segment.node().filter(|_| self.stage != Stage::Reading);
        match (what, segment.originals(), node) {
            (What::Links, ..) => {
                let Some(paged) = segment.paged_links() else { return Ok(false) };
                self.walk.take_links(expansion, page, paged, segment.manifest().points)?;
                Ok(self.walk.has_arrived(expansion))
            }
            (What::Originals, Originals::Paged(rows), Some(node)) => {
                let (Self { task, walk, passing, .. }, points) = (self, segment.manifest().points);
                task.measuring(segment, passing.of(at), |measure| {
                    walk.take_node(expansion, place, page, (rows, node), points, measure)
                })?;
                Ok(walk.has_arrived(expansion))
            }
            (What::Originals, Originals::Paged(rows), None) if segment.codes().is_some() => {
                self.task.visiting(rows, at as u32, |_, take| take(place, page));
                let Some(missing) = &mut self.missing[at] else { return Ok(false) };
                *missing -= 1;
                Ok(*missing == 0)
            }
            (What::Originals, Originals::Paged(rows), None) => {
                self.take_codes(segment, at, rows, expansion, place, page)
            }
            (What::Originals, Originals::Resident(_), _) => Ok(false),
            (What::Codes, ..) => {
                let Some(paged) = segment.scanned_codes() else { return Ok(false) };
                self.take_codes(segment, at, paged, expansion, place, page)
            }
        }
    }

    fn take_codes(
        &mut self,
        segment: &Segment,
        at: usize,
        paged: &Paged,
        expansion: usize,
        place: usize,
        page: &[u8],
    ) -> Result<bool, SearchError> {
        let Self { task, walk, passing, .. } = self;
        task.measuring(segment, passing.of(at), |measure| {
            walk.take_codes(expansion, place, page, paged, measure)
        })?;
        Ok(walk.has_arrived(expansion))
    }

    /// Asks for the next wave of originals. Returns false when there is none.
    fn next_wave(&mut self, sides: &mut [Side<'_>], batch: u32) -> Result<bool, SearchError> {
        if !self.task.next_wave() {
            return Ok(false);
        }
        for (at, side) in sides.iter_mut().enumerate() {
            self.next_part(at, side, batch)?;
        }
        Ok(true)
    }

    /// Asks for the next originals of a segment, as many as are read at once.
    fn next_part(&mut self, at: usize, side: &mut Side<'_>, batch: u32) -> Result<(), SearchError> {
        while self.task.next_part(side.segment, at as u32) {
            let Originals::Paged(rows) = side.segment.originals() else { break };
            let Some(gather) = &mut side.originals else { break };
            let visit =
                |pages: &[_], take: &mut dyn FnMut(usize, &[u8])| gather.ask(batch, pages, take);
            match self.task.visiting(rows, at as u32, visit)? {
                0 => self.task.end_part(rows, at as u32),
                missing => {
                    self.missing[at] = Some(missing);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Goes on where all pages of a part have arrived. Returns whether the wave is over.
    fn end_parts(&mut self, sides: &mut [Side<'_>], batch: u32) -> Result<bool, SearchError> {
        for (at, side) in sides.iter_mut().enumerate() {
            let Originals::Paged(rows) = side.segment.originals() else { continue };
            if self.missing[at] == Some(0) {
                self.missing[at] = None;
                self.task.end_part(rows, at as u32);
                self.next_part(at, side, batch)?;
            }
        }
        Ok(self.missing.iter().all(Option::is_none))
    }
}
