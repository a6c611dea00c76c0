//! A source whose pages arrive late, in an order of their own.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use ringpool_storage::{Arrivals, Gather, PageNo, PageSize, PageSource, Result};

use crate::graph::mix;

/// Pages of `source`, of which some are there at once and the rest come in any order.
pub(super) struct Late {
    pub(super) source: Arc<dyn PageSource>,
    /// Decides everything.
    pub(super) seed: u64,
    /// Of eight pages so many are there at once.
    pub(super) at_once: u64,
}

impl PageSource for Late {
    fn page_size(&self) -> PageSize {
        self.source.page_size()
    }

    fn page_count(&self) -> u64 {
        self.source.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.source.visit(pages, each)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        let (draws, asked) = (Cell::new(self.seed), RefCell::default());
        Some(Box::new(LateGather { late: self, draws, asked, arrived: RefCell::default() }))
    }
}

struct LateGather<'a> {
    late: &'a Late,
    draws: Cell<u64>,
    asked: RefCell<Vec<(u32, usize, PageNo)>>,
    arrived: RefCell<Vec<(u32, usize, PageNo)>>,
}

impl LateGather<'_> {
    fn draw(&self) -> u64 {
        self.draws.set(mix(self.draws.get() + 1));
        self.draws.get()
    }
}

impl Gather for LateGather<'_> {
    fn ask(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        let before = self.outstanding();
        for (i, &page) in pages.iter().enumerate() {
            if self.draw() % 8 < self.late.at_once {
                self.late.source.visit(&[page], &mut |_, bytes| each(i, bytes))?;
            } else {
                self.asked.borrow_mut().push((batch, i, page));
            }
        }
        Ok(self.outstanding() - before)
    }

    fn collect(&mut self, each: &mut Arrivals<'_>) {
        for (batch, i, page) in self.arrived.take() {
            let visited =
                self.late.source.visit(&[page], &mut |_, bytes| each(batch, i, Ok(bytes)));
            if let Err(error) = visited {
                each(batch, i, Err(error));
            }
        }
    }

    fn has_arrivals(&self) -> bool {
        !self.arrived.borrow().is_empty()
    }

    fn outstanding(&self) -> usize {
        self.asked.borrow().len() + self.arrived.borrow().len()
    }

    fn wait(&self, until: &dyn Fn() -> bool, _deadline: Option<Instant>) -> Result<()> {
        while !until() && !self.asked.borrow().is_empty() {
            let at = self.draw() as usize % self.asked.borrow().len();
            let page = self.asked.borrow_mut().swap_remove(at);
            self.arrived.borrow_mut().push(page);
            // Now and then several at a time.
            if self.draw().is_multiple_of(3)
                && let Some(other) = self.asked.borrow_mut().pop()
            {
                self.arrived.borrow_mut().push(other);
            }
        }
        Ok(())
    }

    fn leave(&mut self, batch: u32) {
        self.asked.borrow_mut().retain(|asked| asked.0 != batch);
        self.arrived.borrow_mut().retain(|arrived| arrived.0 != batch);
    }
}
