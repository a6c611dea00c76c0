//! Closing: what is open is let go of, in order, within a time; and what was not over by then is said.
//!
//! First hot sets are saved, where that was asked for. Warm-ups end. Searches that still hold a
//! segment are waited for, then the reads in flight of its files in the pool, and then, with the last
//! segment, the engine and its threads. Nothing is broken off: what is not over by the deadline ends
//! by itself. To drop an [`Index`] or [`Indexes`] is safe at any time; it saves and says nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_bufferpool::{HotSetError, PoolFile};
use ringpool_index::{ComponentKind, Segment};

use crate::index::Open;
use crate::together::Together;
use crate::warm::Pooled;
use crate::{Error, Index, Indexes};

/// How often to look whether others have let go of what they share.
const GLANCE: Duration = Duration::from_millis(1);

/// What was not over when an [`Index`] or [`Indexes`] were closed. All is closed all the same: what
/// goes on ends by itself, and gives back what it holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unfinished {
    /// Hot sets that could not be saved. The next warm-up begins with those of before, or with none.
    pub unsaved: Vec<Unsaved>,
    /// Warm-ups whose reads have not landed.
    pub warm_ups: usize,
    /// Segments that somebody still searches, or holds: an [`Index`], a [`Snapshot`](crate::Snapshot)
    /// or a [`Segment`].
    pub in_use: Vec<PathBuf>,
    /// Files in the pool with reads in flight or pages that are held.
    pub files: Vec<ringpool_bufferpool::Unfinished>,
    /// What the engine still has open, in flight and running.
    pub engine: Option<ringpool_uring::Unfinished>,
}

/// A hot set that could not be saved.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unsaved {
    /// Of which segment.
    pub dir: PathBuf,
    /// Of which component.
    pub component: ComponentKind,
    /// Why.
    pub error: HotSetError,
}

impl Unfinished {
    fn is_nothing(&self) -> bool {
        let Self { unsaved, warm_ups, in_use, files, engine } = self;
        unsaved.is_empty()
            && *warm_ups == 0
            && in_use.is_empty()
            && files.is_empty()
            && engine.is_none()
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unsaved, warm_ups, in_use, files, engine } = self;
        f.write_str("closed, and not all is over")?;
        for Unsaved { dir, component, error } in unsaved {
            let name = component.name();
            write!(f, "; the hot set of {name} of {} is not saved: {error}", dir.display())?;
        }
        if *warm_ups > 0 {
            write!(f, "; {warm_ups} warm-ups wait for the disk")?;
        }
        for dir in in_use {
            write!(f, "; {} is still searched or held", dir.display())?;
        }
        files.iter().try_for_each(|file| write!(f, "; {file}"))?;
        engine.iter().try_for_each(|engine| write!(f, "; {engine}"))
    }
}

impl std::error::Error for Unfinished {}

impl Index {
    /// How long [`close`](Self::close) waits.
    pub const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

    /// Closes it as [`close_within`](Self::close_within) [`CLOSE_PATIENCE`](Self::CLOSE_PATIENCE).
    ///
    /// # Errors
    /// As those of `close_within`.
    pub fn close(self) -> Result<(), Error> {
        self.close_within(Self::CLOSE_PATIENCE)
    }

    /// Closes it. Where [`OpenOptions::hot_set`](crate::OpenOptions) says so, what was in the pool is
    /// saved in the segment's folder, for the next warm-up. Then waits until whatever goes on with
    /// the segment is over, as long as `patience` lasts and not longer.
    ///
    /// # Errors
    /// [`Error::Unfinished`]: what could not be saved, and what was not over by then. It is closed
    /// all the same.
    pub fn close_within(self, patience: Duration) -> Result<(), Error> {
        let together = self.together().clone();
        let mut closing = Closing::new(patience);
        closing.index(self);
        closing.end(together)
    }
}

impl Indexes {
    /// Closes all as [`Index::close`] does.
    ///
    /// # Errors
    /// As those of [`close_within`](Self::close_within).
    pub fn close(self) -> Result<(), Error> {
        self.close_within(Index::CLOSE_PATIENCE)
    }

    /// Closes all as [`Index::close_within`] does; `patience` is for all together.
    ///
    /// # Errors
    /// As those of `Index::close_within`.
    pub fn close_within(self, patience: Duration) -> Result<(), Error> {
        let Self { together, members, .. } = self;
        let mut closing = Closing::new(patience);
        let shared = members.into_inner().unwrap_or_else(PoisonError::into_inner);
        let members = shared.to_vec();
        drop(shared);
        for index in members {
            let dir = index.segment().dir().to_path_buf();
            match closing.alone(index) {
                Ok(index) => closing.index(index),
                // Somebody has it from `all`: what is his to close is not closed.
                Err(index) => {
                    closing.save(&together, &index.now());
                    closing.unfinished.in_use.push(dir);
                }
            }
        }
        closing.end(together)
    }
}

struct Closing {
    deadline: Option<Instant>,
    unfinished: Unfinished,
}

impl Closing {
    fn new(patience: Duration) -> Self {
        let deadline = Instant::now().checked_add(patience);
        Self { deadline, unfinished: Unfinished::default() }
    }

    fn left(&self) -> Duration {
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        self.deadline.map_or(Duration::MAX, left)
    }

    /// What is shared, once nobody else has it; or itself, at the deadline.
    fn alone<T>(&self, mut shared: Arc<T>) -> Result<T, Arc<T>> {
        loop {
            shared = match Arc::try_unwrap(shared) {
                Ok(alone) => return Ok(alone),
                Err(shared) if self.left().is_zero() => return Err(shared),
                Err(shared) => shared,
            };
            thread::sleep(GLANCE);
        }
    }

    /// Saves what is hot of it, where that was asked for.
    fn save(&mut self, together: &Together, open: &Open) {
        if !together.saves_hot_sets() {
            return;
        }
        let dir = open.segment.dir();
        for pooled in open.pooled() {
            if let Err(error) = pooled.save_hot_set(dir) {
                let (dir, component) = (dir.to_path_buf(), pooled.kind);
                self.unfinished.unsaved.push(Unsaved { dir, component, error });
            }
        }
    }

    fn index(&mut self, index: Index) {
        let (together, open) = index.into_parts();
        self.save(&together, &open);
        drop(together);
        let dir = open.segment.dir().to_path_buf();
        let Ok(Open { segment, mut held, .. }) = self.alone(open) else {
            return self.unfinished.in_use.push(dir);
        };
        for warming in held.iter_mut().filter_map(|held| held.warming.take()) {
            self.end_warm_up(warming);
        }
        let files: Vec<Arc<Pooled>> = held.into_iter().filter_map(|held| held.pooled).collect();
        // With the segment go the sources that it reads from.
        match self.alone::<Segment>(segment) {
            Ok(segment) => drop(segment),
            Err(_) => return self.unfinished.in_use.push(dir),
        }
        for pooled in files {
            let file = self.alone(pooled).ok().map(|pooled| self.alone::<PoolFile>(pooled.file));
            match file {
                Some(Ok(file)) => self.unfinished.files.extend(file.close(self.left()).err()),
                // Somebody has it from `pool_files`.
                _ if self.unfinished.in_use.last() != Some(&dir) => {
                    self.unfinished.in_use.push(dir.clone());
                }
                _ => {}
            }
        }
    }

    fn end_warm_up(&mut self, warming: Arc<ringpool_bufferpool::Restoring>) {
        warming.cancel();
        // Segments that components have moved from may hold it, too: with the last it ends.
        let Ok(warming) = Arc::try_unwrap(warming) else { return self.unfinished.warm_ups += 1 };
        let end = self.deadline.unwrap_or_else(|| Instant::now() + Index::CLOSE_PATIENCE);
        if let Err(goes_on) = warming.wait_until(end) {
            goes_on.leave();
            self.unfinished.warm_ups += 1;
        }
    }

    /// The engine, and then the verdict.
    fn end(mut self, together: Arc<Together>) -> Result<(), Error> {
        // Where somebody holds a segment, he holds the engine, and has been told of.
        if let Ok(together) = self.alone(together) {
            self.unfinished.engine = together.into_engine().close(self.left()).err();
        }
        match self.unfinished.is_nothing() {
            true => Ok(()),
            false => Err(Box::new(self.unfinished).into()),
        }
    }
}
