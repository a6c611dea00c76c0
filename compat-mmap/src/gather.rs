//! Many batches at once through a mapping: the kernel reads for some while others are looked at.
//!
//! A mapping does not say what has arrived, and finding out ([mincore]) costs more than asking
//! for a page that is there already. So pages are handed over in the order in which they were
//! asked for: the oldest had the longest time to come, and where it has not the fault waits for it.
//! One batch at a time: while its pages are looked at, those of the others are being read, and what
//! it asks for next goes to the end of the queue.
//!
//! [mincore]: https://man7.org/linux/man-pages/man2/mincore.2.html

use std::cell::Cell;
use std::time::Instant;

use ringpool_storage::{Arrivals, Asked, AskedPages, Gather, PageNo, Result};

use crate::source::AHEAD_PAGES;
use crate::{Advice, MmapSource};

pub(crate) struct MmapGather<'s> {
    source: &'s MmapSource,
    asked: AskedPages,
    /// How many of them, the oldest, the kernel was told of.
    advised: usize,
    /// How many of them, the oldest, are to be handed over now.
    due: Cell<usize>,
    /// What the kernel is told of next.
    upcoming: Vec<PageNo>,
}

impl<'s> MmapGather<'s> {
    pub(crate) fn new(source: &'s MmapSource) -> Self {
        let upcoming = Vec::with_capacity(AHEAD_PAGES);
        Self { source, asked: AskedPages::new(0), advised: 0, due: Cell::new(0), upcoming }
    }

    /// Tells the kernel of what is asked for next, up to as much as may be asked for ahead. A long
    /// queue in few steps, for the sake of long runs.
    fn advise(&mut self) {
        if self.source.advice() != Advice::WillNeed || self.advised > AHEAD_PAGES / 2 {
            return;
        }
        let upcoming = self.asked.all_put_off().take(AHEAD_PAGES).skip(self.advised);
        self.upcoming.clear();
        self.upcoming.extend(upcoming.map(|asked| asked.page));
        self.source.will_need(&self.upcoming);
        self.advised += self.upcoming.len();
    }
}

impl Gather for MmapGather<'_> {
    /// With [`Advice::WillNeed`] every page is still to come, and its read begins. Otherwise each is
    /// handed over at once, as the fault brings it, but for those that are bad.
    fn ask(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        self.source.check_numbers(pages)?;
        let before = self.asked.outstanding();
        for (place, &page) in pages.iter().enumerate() {
            if self.source.advice() != Advice::WillNeed
                && let Ok(bytes) = self.source.page(page)
            {
                each(place, bytes);
                continue;
            }
            self.asked.put_off(Asked { page, batch, place: place as u32 }, self.source.name())?;
        }
        self.advise();
        Ok(self.asked.outstanding() - before)
    }

    fn collect(&mut self, each: &mut Arrivals<'_>) {
        while self.due.get() > 0 {
            self.due.update(|due| due - 1);
            self.advised = self.advised.saturating_sub(1);
            let Some(Asked { page, batch, place }) = self.asked.next_put_off() else { break };
            each(batch, place as usize, self.source.page(page));
        }
        self.advise();
    }

    fn has_arrivals(&self) -> bool {
        self.due.get() > 0
    }

    fn outstanding(&self) -> usize {
        self.asked.outstanding()
    }

    /// Does not wait: the fault does, when the pages of the batch that comes next are looked at.
    fn wait(&self, _until: &dyn Fn() -> bool, _deadline: Option<Instant>) -> Result<()> {
        if self.due.get() == 0
            && let Some(first) = self.asked.all_put_off().next()
        {
            let oldest = self.asked.all_put_off().take_while(|asked| asked.is_of(first.batch));
            self.due.set(oldest.count());
        }
        Ok(())
    }

    fn leave(&mut self, batch: u32) {
        let theirs = |among: usize| {
            self.asked.all_put_off().take(among).filter(|asked| asked.is_of(batch)).count()
        };
        let (due, advised) = (theirs(self.due.get()), theirs(self.advised));
        self.due.update(|all| all - due);
        self.advised -= advised;
        self.asked.leave(batch, |_| {});
    }
}
