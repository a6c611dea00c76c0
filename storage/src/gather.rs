//! Many batches at once, from one thread that never waits for one of them alone.
//!
//! [`PageSource::visit`](crate::PageSource::visit) is a batch and a thread that waits for it. A
//! thread that carries many queries asks on behalf of each of them instead, works on whichever has
//! its pages, and waits only when none has.

use std::time::Instant;

use crate::{PageNo, PageSource, Result};

/// What is told of a page that was asked for: its batch, its place among those that were asked for
/// together, and its bytes or why they could not be had.
pub type Arrivals<'a> = dyn FnMut(u32, usize, Result<&[u8]>) + 'a;

/// Pages of one source, asked for on behalf of any number of batches.
///
/// A batch is a number of the caller's choice. Made by
/// [`PageSource::gather`](crate::PageSource::gather), kept by one thread.
pub trait Gather {
    /// Asks for `pages` on behalf of `batch`. Those that are in memory are handed over at once,
    /// `each(i, bytes)`; of the rest the reads are started, or as soon as there is room for them.
    /// Returns how many are still to come. Does not wait.
    ///
    /// # Errors
    /// When the source can read nothing any more, has no such page, or is asked for more than it
    /// keeps count of. The batch is then to be [left](Self::leave).
    fn ask(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize>;

    /// Hands over what has arrived since, in order of arrival: each page that was asked for once,
    /// or why it could not be had. Does not wait. Starts what could not be started before.
    fn collect(&mut self, each: &mut Arrivals<'_>);

    /// Whether it is worth while to [`collect`](Self::collect): something has arrived, or it is time
    /// to try again what could not be started.
    fn has_arrivals(&self) -> bool;

    /// How many pages are still to come.
    fn outstanding(&self) -> usize;

    /// Waits until `until()` holds, this gather [has arrivals](Self::has_arrivals) or `deadline` has
    /// passed, and lands meanwhile what completes; may return earlier. `until` is asked again when
    /// something has arrived, here or at another gather of the same thread. Those whose files are
    /// read by the same engine are served by one wait. A thread with gathers of several engines
    /// waits for each in turn, and not for long.
    ///
    /// # Errors
    /// When the device has been silent for longer than the source has patience. What is
    /// outstanding is then not to be expected soon.
    fn wait(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> Result<()>;

    /// Hands over nothing more of `batch`. What is in flight lands by itself and gives back what it
    /// holds; the number may be used anew at once.
    fn leave(&mut self, batch: u32);
}

/// A [`Gather`] for a source that has none of its own: each batch is visited when it is asked for.
pub struct AtOnce<'a>(pub &'a dyn PageSource);

impl Gather for AtOnce<'_> {
    fn ask(
        &mut self,
        _batch: u32,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        self.0.visit(pages, each)?;
        Ok(0)
    }

    fn collect(&mut self, _each: &mut Arrivals<'_>) {}

    fn has_arrivals(&self) -> bool {
        false
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn wait(&self, _until: &dyn Fn() -> bool, _deadline: Option<Instant>) -> Result<()> {
        Ok(())
    }

    fn leave(&mut self, _batch: u32) {}
}
