//! A candidate whose neighbours are being looked up: first who they are, then how far.

use ringpool_storage::Gather;

use super::Paged;
use super::damage::Damage;
use super::measure::Measure;
use super::memo::Memo;
use crate::SearchError;
use crate::graph::{EMPTY, Layer};
use crate::ids::Ids;
use crate::layout::Records;
use crate::row_pages::RowPages;

/// Kept from one candidate to the next.
#[derive(Default)]
pub(crate) struct Expansion {
    pub(crate) point: u32,
    pub(crate) state: State,
    /// Its neighbours, once they are known.
    pub(crate) neighbours: Vec<u32>,
    /// Those of them whose codes are to come.
    unmeasured: Vec<u32>,
    pages: RowPages,
}

/// How far an expansion is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum State {
    /// Of nobody.
    #[default]
    Idle,
    /// Its neighbours are on their way.
    Linking,
    /// It is known who they are, and not yet how far.
    Linked,
    /// So many pages of codes are still to come.
    Measuring(usize),
    /// All is known.
    Ready,
}

/// Where neighbours and codes come from.
pub(crate) struct Sources<'a> {
    /// Layer 0 where it is in memory.
    pub(crate) layer: Option<&'a Layer>,
    pub(crate) links: Option<(&'a Paged, &'a mut dyn Gather)>,
    pub(crate) codes: Option<(&'a Paged, &'a mut dyn Gather)>,
    pub(crate) measure: &'a dyn Measure,
    pub(crate) ids: &'a Ids,
    pub(crate) points: usize,
}

impl Expansion {
    /// Looks up the neighbours of `point` in layer 0, on behalf of `batch`.
    pub(crate) fn begin(
        &mut self,
        point: u32,
        batch: u32,
        from: &mut Sources<'_>,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        self.point = point;
        if let Some(layer) = from.layer {
            self.neighbours.clear();
            self.neighbours.extend(layer.neighbours(point));
            return self.measure(batch, from, memo);
        }
        let Some((paged, gather)) = &mut from.links else { return Ok(()) };
        self.state = State::Linking;
        let (page, _) = paged.records.place(point);
        let (records, points) = (paged.records, from.points);
        let mut read = Ok(());
        let missing = gather.ask(batch, &[page], &mut |_, bytes| {
            read = self.link(&records, points, bytes);
        })?;
        read.map_err(|damage| SearchError::of(&damage, paged))?;
        if missing == 0 { self.measure(batch, from, memo) } else { Ok(()) }
    }

    /// Takes `neighbours`, which the caller has filled, as those of `point`.
    pub(crate) fn begin_with(
        &mut self,
        point: u32,
        batch: u32,
        from: &mut Sources<'_>,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        self.point = point;
        self.measure(batch, from, memo)
    }

    /// Takes the page that the neighbours are on.
    pub(crate) fn link(
        &mut self,
        records: &Records,
        points: usize,
        page: &[u8],
    ) -> Result<(), Damage> {
        let (_, offset) = records.place(self.point);
        let record = &page[offset..offset + records.record_bytes];
        let slots = record.as_chunks().0.iter().map(|slot| u32::from_le_bytes(*slot));
        self.neighbours.clear();
        self.neighbours.extend(slots.take_while(|&slot| slot != EMPTY));
        self.state = State::Linked;
        match self.neighbours.iter().find(|&&neighbour| neighbour as usize >= points) {
            None => Ok(()),
            Some(stranger) => {
                Err(Damage(format!("point {} leads to {stranger}, of {points} points", self.point)))
            }
        }
    }

    /// Measures the neighbours that were not met before: those whose codes are in memory at once,
    /// the others when theirs arrive.
    pub(crate) fn measure(
        &mut self,
        batch: u32,
        from: &mut Sources<'_>,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        self.unmeasured.clear();
        for &neighbour in &self.neighbours {
            if memo.get(neighbour).is_some() {
                continue;
            }
            match from.measure.resident(neighbour) {
                Some(told) => memo.put(neighbour, told),
                None => self.unmeasured.push(neighbour),
            }
        }
        self.state = State::Ready;
        let Some((paged, gather)) = &mut from.codes else { return Ok(()) };
        if self.unmeasured.is_empty() {
            return Ok(());
        }
        let Self { unmeasured, pages, .. } = self;
        pages.plan(&paged.records, unmeasured.iter().copied());
        let RowPages { pages, shares } = pages;
        let mut told = Ok(());
        let missing = gather.ask(batch, pages, &mut |place, page| {
            shares.take(&paged.records, unmeasured, place, page, &mut |i, record| {
                told = told.clone().and(note(memo, from.measure, unmeasured[i], record));
            });
        })?;
        told.map_err(|damage| SearchError::of(&damage, paged))?;
        self.state = State::Measuring(missing);
        self.end_if_measured(paged, from.measure, memo)
    }

    /// Takes one of the pages of codes, by its place among those that were asked for.
    pub(crate) fn take(
        &mut self,
        place: usize,
        page: &[u8],
        paged: &Paged,
        measure: &dyn Measure,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        let State::Measuring(missing) = &mut self.state else {
            debug_assert!(false, "nothing was asked for");
            return Ok(());
        };
        *missing -= 1;
        let (unmeasured, mut told) = (&self.unmeasured, Ok(()));
        self.pages.shares.take(&paged.records, unmeasured, place, page, &mut |i, record| {
            told = told.clone().and(note(memo, measure, unmeasured[i], record));
        });
        told.map_err(|damage| SearchError::of(&damage, paged))?;
        self.end_if_measured(paged, measure, memo)
    }

    /// Is of nobody again: takes nothing of what it was asked for by.
    pub(crate) fn leave(&mut self, batch: u32, from: &mut Sources<'_>) {
        let gather = match self.state {
            State::Linking => &mut from.links,
            State::Measuring(_) => &mut from.codes,
            State::Idle | State::Linked | State::Ready => &mut None,
        };
        if let Some((_, gather)) = gather {
            gather.leave(batch);
        }
        self.state = State::Idle;
    }

    fn end_if_measured(
        &mut self,
        paged: &Paged,
        measure: &dyn Measure,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        if self.state != State::Measuring(0) {
            return Ok(());
        }
        self.state = State::Ready;
        let (unmeasured, mut told) = (&self.unmeasured, Ok(()));
        self.pages.shares.finish(&paged.records, &mut |i, record| {
            told = told.clone().and(note(memo, measure, unmeasured[i], record));
        });
        told.map_err(|damage| SearchError::of(&damage, paged))
    }
}

/// Notes what `record` tells of `point`.
fn note(memo: &mut Memo, measure: &dyn Measure, point: u32, record: &[u8]) -> Result<(), Damage> {
    let told = measure.of(record);
    let told = told.map_err(|wrong| Damage(format!("the code of point {point}: {wrong}")))?;
    memo.put(point, told);
    Ok(())
}
