//! Pages as futures, for any executor.
//!
//! The same steps as a thread's (`asking`), with a task in its place: reads are submitted as
//! unattended, so that the device lands them by itself, and what arrives wakes the task. No thread
//! and no timer stand behind it, and nobody polls for nothing.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringpool_storage::{Awaited, Error, PageNo, Result};

use crate::asking::{Asking, Found};
use crate::guard::{OwnedPage, PageGuard};
use crate::hint::Reading;
use crate::landing::Asker;
use crate::pool::{File, PoolFile};

/// Pages that are held pinned for a task to take them, at most, beside those that arrive.
const HELD: usize = 16;

impl PoolFile {
    /// `page`, pinned, read first if it is not in memory. It starts when it is first polled.
    ///
    /// Dropping it at any time leaves nothing behind: what is in flight then gives its pin back
    /// when it lands.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ringpool_bufferpool::{Pool, PoolOptions};
    /// # use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pages = MemorySource::new("a file", PageSize::KIB_4, vec![7; 1000 * 4096])?;
    /// # let pool = Pool::new(&PoolOptions { memory_bytes: 512 * 1024, ..PoolOptions::default() })?;
    /// # let file = pool.attach(Arc::new(MemoryDevice::new(pages)), None)?;
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let page = file.fetch(PageNo(3)).await?;
    ///     assert_eq!(page[0], 7);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of [`pin`](Self::pin). A task waits for a frame as long as a read of the pool is
    /// in flight, and fails with [`Error::Exhausted`] when none is.
    pub fn fetch(
        &self,
        page: PageNo,
    ) -> impl Future<Output = Result<OwnedPage>> + Send + 'static + use<> {
        self.fetch_with(page, &Reading::default())
    }

    /// `page` as [`fetch`](Self::fetch) brings it, and as `reading` says. A deadline is looked at
    /// when the future is polled: have the runtime's timer poll it then.
    ///
    /// # Errors
    /// As those of `fetch`, and [`Error::DeadlinePassed`].
    pub fn fetch_with(
        &self,
        page: PageNo,
        reading: &Reading<'_>,
    ) -> impl Future<Output = Result<OwnedPage>> + Send + 'static + use<> {
        let mut arrivals = self.fetch_many(&[page], reading);
        let no_such_page = {
            let file = self.file().device.file().clone();
            Error::NoSuchPage { file, page, pages: self.file().table.page_count() }
        };
        async move { arrivals.next().await.map_or(Err(no_such_page), |(_, arrived)| arrived) }
    }

    /// `pages`, pinned, one after the other in order of arrival. Nothing is read before the first
    /// is asked for.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ringpool_bufferpool::{Pool, PoolOptions, Reading};
    /// # use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pages = MemorySource::new("a file", PageSize::KIB_4, vec![7; 1000 * 4096])?;
    /// # let pool = Pool::new(&PoolOptions { memory_bytes: 512 * 1024, ..PoolOptions::default() })?;
    /// # let file = pool.attach(Arc::new(MemoryDevice::new(pages)), None)?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// let batch = [PageNo(3), PageNo(999), PageNo(500)];
    /// let mut arrivals = file.fetch_many(&batch, &Reading::default());
    /// while let Some((i, page)) = arrivals.next().await {
    ///     println!("page {} starts with {}", batch[i], page?[0]);
    /// }
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn fetch_many(&self, pages: &[PageNo], reading: &Reading<'_>) -> Arrivals {
        let file = self.file().clone();
        let asking = Asking::new(&file, pages.len(), 0, reading, Asker::task);
        Arrivals {
            file,
            pages: pages.into(),
            asking,
            here: VecDeque::new(),
            starved: false,
            late: false,
        }
    }
}

/// Pages that are being fetched, in order of arrival. Made by [`PoolFile::fetch_many`].
///
/// Pages that were not taken when it is dropped are given back, those in flight when they land.
/// While it is kept and not asked, up to 16 pages are held pinned, and a quarter of the frames at
/// most may arrive.
#[must_use = "nothing is read before the first page is asked for"]
pub struct Arrivals {
    file: Arc<File>,
    pages: Box<[PageNo]>,
    asking: Asking,
    /// What was found resident, or cannot be had at all.
    here: VecDeque<(usize, Result<OwnedPage>)>,
    /// Whether a frame was looked for while no read was in flight, in vain.
    starved: bool,
    /// Whether the deadline has passed.
    late: bool,
}

impl Arrivals {
    /// The next page, with its place in the batch, or why it could not be had: each place once,
    /// in order of arrival, and then `None`. May be dropped and called again without losing a
    /// page.
    ///
    /// A deadline is looked at whenever this is polled. To be woken by it, have the runtime's
    /// timer poll; or drop the whole when it fires.
    pub async fn next(&mut self) -> Option<(usize, Result<OwnedPage>)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`next`](Self::next) for a future or a stream of your own.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<OwnedPage>)>> {
        loop {
            self.look_on();
            if let Some(arrival) = self.arrival() {
                return Poll::Ready(Some(arrival));
            }
            if self.asking.is_over() {
                return Poll::Ready(None);
            }
            self.asking.batch(&self.file, &self.pages).tell(context.waker());
            // Told first, looked second, so that no arrival falls between the two.
            if self.asking.has_arrivals() {
                continue;
            }
            if self.asking.on_their_way() > 0 || self.is_woken_by_others(context) {
                return Poll::Pending;
            }
        }
    }

    /// Looks for as many pages as may be outstanding, and starts their reads.
    fn look_on(&mut self) {
        if self.file.pool.frames.arena.is_the_parents() {
            return;
        }
        self.asking.try_again(&self.file);
        let on_their_way = self.asking.on_their_way();
        while !self.late && self.asking.may_look_on(&self.file) && self.here.len() < HELD {
            let upcoming = self.asking.upcoming();
            match self.asking.look(&self.file, &self.pages) {
                Ok(Found::Here(index, frame)) => {
                    let guard = PageGuard::of_pin(&self.file, self.pages[index], frame);
                    self.here.push_back((index, Ok(guard.into_owned())));
                }
                Ok(Found::OnItsWay) => {}
                Ok(Found::NotNow) => break,
                Err(error) => self.here.push_back((upcoming.unwrap_or(0), Err(error))),
            }
            self.starved = false;
        }
        if self.asking.on_their_way() > on_their_way {
            self.asking.begin_anew();
            self.file.device.start();
        }
    }

    /// What is to be had without waiting.
    fn arrival(&mut self) -> Option<(usize, Result<OwnedPage>)> {
        if let Some(found) = self.here.pop_front() {
            return Some(found);
        }
        if self.file.pool.frames.arena.is_the_parents() {
            let error = Error::Forked { file: self.file.device.file().clone() };
            return self.asking.give_up_one(&self.file).map(|(index, _)| (index, Err(error)));
        }
        if let Some((index, arrived)) = self.asking.collect(&self.file) {
            let page = self.pages[index];
            let owned = arrived.map(|pinned| {
                let frame = self.file.keep(page, pinned);
                PageGuard::of_pin(&self.file, page, frame).into_owned()
            });
            return Some((index, owned));
        }
        if !self.late && !self.asking.reading.is_late() {
            return None;
        }
        self.late = true;
        let (index, awaited) = self.asking.give_up_one(&self.file)?;
        Some((index, Err(self.too_late(index, awaited))))
    }

    fn too_late(&self, index: usize, awaited: Awaited) -> Error {
        let file = self.file.device.file().clone();
        Error::DeadlinePassed { file, page: self.pages[index], awaited }
    }

    /// With nothing of our own on its way: sees to it that somebody wakes us when it is worth
    /// while to look again. Returns false when it is so at once.
    fn is_woken_by_others(&mut self, context: &mut Context<'_>) -> bool {
        let pool = &self.file.pool;
        let batch = self.asking.batch(&self.file, &self.pages);
        pool.starved.join(batch);
        // A read of ours that the device has not taken counts as in flight.
        let own = usize::from(self.asking.was_handed_back());
        if pool.starved.reads_in_flight() > own {
            self.starved = false;
            return true;
        }
        if own > 0 {
            self.file.device.start();
            context.waker().wake_by_ref(); // Its queue is full of reads that are not the pool's.
            return true;
        }
        if std::mem::replace(&mut self.starved, true) {
            let error = self.asking.starved(&self.file, &self.pages, Duration::ZERO);
            self.here.extend(self.asking.upcoming().map(|index| (index, Err(error))));
            self.asking.advance();
            self.starved = false;
        }
        false
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        if !self.file.pool.frames.arena.is_the_parents() {
            self.asking.leave(&self.file);
        }
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("pages", &self.pages.len()).finish_non_exhaustive()
    }
}
