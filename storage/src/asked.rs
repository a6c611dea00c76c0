//! Who has asked a gather for what: the slots of the pages on their way, and the queue of those that
//! are put off. For whoever implements [`Gather`](crate::Gather); nothing here reads or waits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Error, PageNo, Result};

/// A page that a batch has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which page.
    pub page: PageNo,
    /// On whose behalf.
    pub batch: u32,
    /// Its place among those that were asked for together.
    pub place: u32,
}

impl Asked {
    /// Whether `batch` has asked for it.
    pub fn is_of(&self, batch: u32) -> bool {
        self.batch == batch
    }
}

/// The pages that a gather was asked for and has not handed over. Each is in a slot, and then on
/// its way or here, or it is put off. An arrival finds its batch by its slot.
///
/// Allocates while the queue of what is put off grows past what it ever was, and otherwise nothing.
#[derive(Debug)]
pub struct AskedPages {
    /// `None` for a slot that is vacant, and for one whose batch has left.
    slots: Box<[Option<Asked>]>,
    vacant: Vec<u32>,
    /// The oldest first.
    put_off: VecDeque<Asked>,
    outstanding: usize,
}

impl AskedPages {
    /// Pages that are put off at most: a mebibyte of them.
    pub const MOST_PUT_OFF: usize = 1 << 16;

    /// Reads are started when they are one for so many that are on their way,
    const PER_START: usize = 4;
    /// and in any case when they are so many: more together save next to nothing.
    const START_MOST: usize = 16;

    /// With so many slots, all vacant.
    pub fn new(slots: u32) -> Self {
        Self {
            slots: vec![None; slots as usize].into(),
            vacant: (0..slots).rev().collect(),
            put_off: VecDeque::new(),
            outstanding: 0,
        }
    }

    /// Pages that somebody waits for.
    #[inline]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Slots that are not vacant, those included whose batch has left.
    #[inline]
    pub fn in_use(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Whether so many reads, which were submitted and not started, are worth a start of their
    /// own. It costs as much as a read where each page is asked for by itself; and a disk with much
    /// to do loses nothing by a few that come together.
    #[inline]
    pub fn are_worth_a_start(&self, unstarted: usize) -> bool {
        let started = self.in_use().saturating_sub(unstarted);
        unstarted >= (started / Self::PER_START).clamp(1, Self::START_MOST)
    }

    /// The slots that are not vacant.
    pub fn used(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.slots.len() as u32).filter(|slot| !self.vacant.contains(slot))
    }

    /// Gives a page a slot; `None` when there is none vacant.
    #[inline]
    pub fn take_slot(&mut self, asked: Asked) -> Option<u32> {
        let slot = self.vacant.pop()?;
        self.slots[slot as usize] = Some(asked);
        self.outstanding += 1;
        Some(slot)
    }

    /// Makes a slot vacant again. Returns who waits for its page, if somebody still does.
    ///
    /// # Panics
    /// When there is no such slot.
    #[inline]
    pub fn vacate(&mut self, slot: u32) -> Option<Asked> {
        debug_assert!(!self.vacant.contains(&slot), "slot {slot} is vacant");
        self.vacant.push(slot);
        let asked = self.slots[slot as usize].take();
        self.outstanding -= usize::from(asked.is_some());
        asked
    }

    /// Whether somebody still waits for the page in a slot.
    ///
    /// # Panics
    /// When there is no such slot.
    pub fn is_waited_for(&self, slot: u32) -> bool {
        self.slots[slot as usize].is_some()
    }

    /// Puts a page off until [`next_put_off`](Self::next_put_off).
    ///
    /// # Errors
    /// [`Error::Backlogged`] when as many are put off as there may be.
    pub fn put_off(&mut self, asked: Asked, file: &Arc<str>) -> Result<()> {
        if self.put_off.len() >= Self::MOST_PUT_OFF {
            let (file, page) = (file.clone(), asked.page);
            return Err(Error::Backlogged { file, page, pages: self.outstanding });
        }
        self.put_off.push_back(asked);
        self.outstanding += 1;
        Ok(())
    }

    /// Puts a page off once more that had its turn already.
    pub fn put_back(&mut self, asked: Asked) {
        self.put_off.push_front(asked);
        self.outstanding += 1;
    }

    /// Takes the page out of the queue that was put off first.
    #[inline]
    pub fn next_put_off(&mut self) -> Option<Asked> {
        let asked = self.put_off.pop_front()?;
        self.outstanding -= 1;
        Some(asked)
    }

    /// What is put off, the oldest first.
    pub fn all_put_off(&self) -> impl Iterator<Item = &Asked> {
        self.put_off.iter()
    }

    /// Whether something is put off.
    #[inline]
    pub fn is_behind(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// `batch` waits for nothing more. What is in a slot stays there and is reported to `forsake`.
    pub fn leave(&mut self, batch: u32, mut forsake: impl FnMut(u32)) {
        if self.outstanding == 0 {
            return;
        }
        let before = self.put_off.len();
        self.put_off.retain(|asked| !asked.is_of(batch));
        self.outstanding -= before - self.put_off.len();
        for (slot, asked) in (0..).zip(&mut self.slots) {
            if asked.take_if(|asked| asked.is_of(batch)).is_some() {
                self.outstanding -= 1;
                forsake(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(batch: u32, place: u32) -> Asked {
        Asked { page: PageNo(u64::from(100 * batch + place)), batch, place }
    }

    #[test]
    fn each_page_is_outstanding_from_its_asking_to_its_end_wherever_it_is() {
        let file: Arc<str> = "f".into();
        let mut pages = AskedPages::new(2);
        let first = pages.take_slot(asked(1, 0)).unwrap();
        let second = pages.take_slot(asked(2, 0)).unwrap();
        assert_eq!(
            (pages.take_slot(asked(2, 1)), pages.in_use(), pages.outstanding()),
            (None, 2, 2)
        );
        pages.put_off(asked(2, 1), &file).unwrap();
        pages.put_off(asked(1, 1), &file).unwrap();
        assert_eq!(pages.outstanding(), 4);
        assert_eq!(pages.vacate(first), Some(asked(1, 0)));
        let turn = pages.next_put_off().unwrap();
        assert_eq!((turn, pages.outstanding()), (asked(2, 1), 2));
        pages.put_back(turn);
        let mut forsaken = Vec::new();
        pages.leave(2, |slot| forsaken.push(slot));
        assert_eq!((forsaken, pages.outstanding(), pages.in_use()), (vec![second], 1, 1));
        // The number is used anew before the slot is vacant, and both are told apart.
        assert_eq!(pages.take_slot(asked(2, 7)), Some(first));
        assert_eq!(pages.used().collect::<Vec<_>>(), [0, 1]);
        assert!(pages.is_waited_for(first) && !pages.is_waited_for(second));
        assert_eq!((pages.vacate(second), pages.vacate(first)), (None, Some(asked(2, 7))));
        assert_eq!(pages.next_put_off(), Some(asked(1, 1)));
        assert_eq!((pages.outstanding(), pages.in_use(), pages.is_behind()), (0, 0, false));
    }

    #[test]
    fn an_idle_disk_is_started_at_once_and_a_busy_one_for_several() {
        let mut pages = AskedPages::new(128);
        let mut starts = Vec::new();
        let mut unstarted = 0;
        for place in 0..128 {
            pages.take_slot(asked(0, place)).unwrap();
            unstarted += 1;
            if pages.are_worth_a_start(unstarted) {
                starts.push(unstarted);
                unstarted = 0;
            }
        }
        assert_eq!(starts[..9], [1, 1, 1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(starts.iter().max(), Some(&16));
        assert!(starts.is_sorted() && !pages.are_worth_a_start(0));
    }

    #[test]
    fn no_more_are_put_off_than_there_may_be() {
        let file: Arc<str> = "f".into();
        let mut pages = AskedPages::new(1);
        for place in 0..AskedPages::MOST_PUT_OFF as u32 {
            pages.put_off(asked(0, place), &file).unwrap();
        }
        let refused = pages.put_off(asked(0, 0), &file);
        assert!(matches!(refused, Err(Error::Backlogged { pages: 65_536, .. })));
        pages.leave(0, |_| unreachable!("nothing is in a slot"));
        assert_eq!(pages.outstanding(), 0);
    }
}
