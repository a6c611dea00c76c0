//! A candidate whose neighbours are being looked up: first who they are, then how far.

use ringpool_storage::Gather;

use super::Paged;
use super::damage::Damage;
use super::measure::Measure;
use super::memo::Memo;
use super::node::Node;
use crate::SearchError;
use crate::graph::{EMPTY, Layer};
use crate::ids::Ids;
use crate::layout::Records;
use crate::passing::Passing;
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
    /// So many pages of its own record are still to come, which has all in it.
    Reading(usize),
    /// All is known.
    Ready,
}

/// Where neighbours and codes come from.
pub(crate) struct Sources<'a> {
    /// Layer 0 where it is in memory.
    pub(crate) layer: Option<&'a Layer>,
    pub(crate) links: Option<(&'a Paged, &'a mut dyn Gather)>,
    pub(crate) codes: Option<(&'a Paged, &'a mut dyn Gather)>,
    /// Where each record has all that a hop needs.
    pub(crate) nodes: Option<(&'a Paged, &'a mut dyn Gather, Node)>,
    pub(crate) measure: &'a dyn Measure,
    pub(crate) passing: Passing<'a>,
    pub(crate) ids: &'a Ids,
    pub(crate) points: usize,
}

impl Expansion {
    /// Looks up the neighbours of `point` in layer 0 and how far they are, on behalf of `batch`.
    pub(crate) fn begin(
        &mut self,
        point: u32,
        batch: u32,
        from: &mut Sources<'_>,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        self.begin_linking(point, batch, from, memo)?;
        match self.state {
            State::Linked => self.measure(batch, from, memo),
            _ => Ok(()),
        }
    }

    /// Looks up who the neighbours of `point` in layer 0 are; how far, only where that is read with
    /// it.
    pub(crate) fn begin_linking(
        &mut self,
        point: u32,
        batch: u32,
        from: &mut Sources<'_>,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        self.point = point;
        if from.nodes.is_some() {
            return self.read(batch, from, memo);
        }
        if let Some(layer) = from.layer {
            self.neighbours.clear();
            self.neighbours.extend(layer.neighbours(point));
            self.state = State::Linked;
            return Ok(());
        }
        let Some((paged, gather)) = &mut from.links else { return Ok(()) };
        self.state = State::Linking;
        let (page, _) = paged.records.place(point);
        let (records, points) = (paged.records, from.points);
        let mut read = Ok(());
        gather.ask(batch, &[page], &mut |_, bytes| {
            read = self.link(&records, points, bytes);
        })?;
        read.map_err(|damage| SearchError::of(&damage, paged))
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
        self.state = State::Linked;
        self.take_slots(points, &page[offset..offset + records.record_bytes])
    }

    fn take_slots(&mut self, points: usize, slots: &[u8]) -> Result<(), Damage> {
        let slots = slots.as_chunks().0.iter().map(|slot| u32::from_le_bytes(*slot));
        self.neighbours.clear();
        self.neighbours.extend(slots.take_while(|&slot| slot != EMPTY));
        match self.neighbours.iter().find(|&&neighbour| neighbour as usize >= points) {
            None => Ok(()),
            Some(stranger) => {
                Err(Damage(format!("point {} leads to {stranger}, of {points} points", self.point)))
            }
        }
    }

    /// Asks for the record that has all in it.
    fn read(
        &mut self,
        batch: u32,
        from: &mut Sources<'_>,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        let Sources { nodes: Some((paged, gather, node)), measure, points, .. } = from else {
            return Ok(());
        };
        let mut pages = std::mem::take(&mut self.pages);
        pages.plan(&paged.records, std::iter::once(self.point));
        let RowPages { pages: asked, shares } = &mut pages;
        let (point, mut read) = ([self.point], Ok(()));
        let missing = gather.ask(batch, asked, &mut |place, page| {
            shares.take(&paged.records, &point, place, page, &mut |_, record| {
                read = self.take_node(node, *points, record, *measure, memo);
            });
        });
        self.pages = pages;
        let missing = missing?;
        read.map_err(|damage| SearchError::of(&damage, paged))?;
        self.state = State::Reading(missing);
        self.end_if_read(paged, node, *points, *measure, memo)
    }

    /// Takes one of the pages of the record that has all in it.
    pub(crate) fn take_part(
        &mut self,
        place: usize,
        page: &[u8],
        (paged, node): (&Paged, &Node),
        points: usize,
        measure: &dyn Measure,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        let State::Reading(missing) = &mut self.state else {
            debug_assert!(false, "nothing was asked for");
            return Ok(());
        };
        *missing -= 1;
        let mut pages = std::mem::take(&mut self.pages);
        let (point, mut read) = ([self.point], Ok(()));
        pages.shares.take(&paged.records, &point, place, page, &mut |_, record| {
            read = self.take_node(node, points, record, measure, memo);
        });
        self.pages = pages;
        read.map_err(|damage| SearchError::of(&damage, paged))?;
        self.end_if_read(paged, node, points, measure, memo)
    }

    fn end_if_read(
        &mut self,
        paged: &Paged,
        node: &Node,
        points: usize,
        measure: &dyn Measure,
        memo: &mut Memo,
    ) -> Result<(), SearchError> {
        if self.state != State::Reading(0) {
            return Ok(());
        }
        self.state = State::Ready;
        let pages = std::mem::take(&mut self.pages);
        let mut read = Ok(());
        pages.shares.finish(&paged.records, &mut |_, record| {
            read = self.take_node(node, points, record, measure, memo);
        });
        self.pages = pages;
        read.map_err(|damage| SearchError::of(&damage, paged))
    }

    /// Takes a record: how far its point is, who its neighbours are, and how far by their codes.
    fn take_node(
        &mut self,
        node: &Node,
        points: usize,
        record: &[u8],
        measure: &dyn Measure,
        memo: &mut Memo,
    ) -> Result<(), Damage> {
        let (row, slots, codes) = node.parts(record);
        if measure.is_wanted(self.point) {
            memo.put_exact(self.point, measure.exact(row));
        }
        self.take_slots(points, slots)?;
        for (&neighbour, code) in self.neighbours.iter().zip(codes.chunks_exact(node.code_bytes)) {
            if measure.is_wanted(neighbour) && memo.get(neighbour).is_none() {
                note(memo, measure, neighbour, code)?;
            }
        }
        Ok(())
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
                told = told.clone().and(note(memo, from.measure, unmeasured[i], paged.row(record)));
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
            told = told.clone().and(note(memo, measure, unmeasured[i], paged.row(record)));
        });
        told.map_err(|damage| SearchError::of(&damage, paged))?;
        self.end_if_measured(paged, measure, memo)
    }

    /// Is of nobody again: takes nothing of what it was asked for by.
    pub(crate) fn leave(&mut self, batch: u32, from: &mut Sources<'_>) {
        match self.state {
            State::Linking => from.links.iter_mut().for_each(|links| links.1.leave(batch)),
            State::Measuring(_) => from.codes.iter_mut().for_each(|codes| codes.1.leave(batch)),
            State::Reading(_) => from.nodes.iter_mut().for_each(|nodes| nodes.1.leave(batch)),
            State::Idle | State::Linked | State::Ready => {}
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
            told = told.clone().and(note(memo, measure, unmeasured[i], paged.row(record)));
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
