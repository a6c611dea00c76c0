//! The budget: what a pool's bytes are spent on.
//!
//! ```text
//!   memory_bytes  >=  usable frames * what a frame costs  +  what was spent on tables
//! ```
//!
//! A frame's cost is its page, what is kept for it, and a share of what is kept for the pool as a
//! whole ([`Pool::frame_bytes`]). Page tables and checksums are *spent* on as they come, and frames
//! taken out of use for them, from the top (`room`); they are *refunded* as they go. Growing and
//! shrinking a live pool is the same with another `memory_bytes`.
//!
//! All of this is off the path of hits and of most misses, under one lock.

use std::time::{Duration, Instant};

use crate::error::PoolError;
use crate::pool::{Core, Pool};

/// How often those are looked after again that leave, before others leave in their stead.
const SECOND_LOOKS: usize = 16;
/// How long a thread that waits for frames to come free lets others work.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

pub(crate) struct Accounts {
    pub(crate) memory_bytes: u64,
    pub(crate) spent_bytes: u64,
}

/// Why bytes cannot be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpaid {
    /// Too few frames would be left.
    TooMuch,
    /// The frames that would have to go are pinned or loading, or readers may look at them.
    NotNow,
}

impl Accounts {
    /// How many frames there are bytes for, if `more_bytes` are spent on something else.
    fn frames_beside(&self, more_bytes: u64, frame_bytes: u64) -> u32 {
        let left = self.memory_bytes.saturating_sub(self.spent_bytes.saturating_add(more_bytes));
        (left / frame_bytes).min(u64::from(u32::MAX)) as u32
    }
}

impl Core {
    /// What a frame costs, in bytes.
    fn frame_bytes(&self) -> u64 {
        Pool::frame_bytes(self.page_size)
    }

    /// How many frames the budget would hold, were nothing spent on tables.
    pub(crate) fn frames_of_budget(&self) -> usize {
        let memory_bytes = self.accounts.lock().memory_bytes;
        let most = u64::from(self.frames.room.capacity());
        (memory_bytes / self.frame_bytes()).min(most) as usize
    }

    /// Spends `bytes`, and takes frames out of use where they are not left: `spare_frames` more
    /// than it takes, so that the next to come need not. Does not wait.
    pub(crate) fn spend_now(&self, bytes: u64, spare_frames: u32) -> Result<(), Unpaid> {
        let mut accounts = self.accounts.try_lock().ok_or(Unpaid::NotNow)?;
        self.spend(&mut accounts, bytes, spare_frames, Instant::now())
    }

    /// Spends `bytes`. Waits for the frames that have to go, within the patience for a frame.
    pub(crate) fn spend_patiently(&self, bytes: u64) -> Result<(), Unpaid> {
        self.spend(&mut self.accounts.lock(), bytes, 0, Instant::now() + self.frame_patience)
    }

    fn spend(
        &self,
        accounts: &mut Accounts,
        bytes: u64,
        spare_frames: u32,
        deadline: Instant,
    ) -> Result<(), Unpaid> {
        let left = accounts.frames_beside(bytes, self.frame_bytes());
        if left < self.frames.usable_count() as u32 {
            if left < Pool::MIN_FRAMES {
                return Err(Unpaid::TooMuch);
            }
            self.shrink(left.saturating_sub(spare_frames).max(Pool::MIN_FRAMES), deadline)?;
        }
        accounts.spent_bytes += bytes;
        Ok(())
    }

    /// Takes back `bytes` that were spent. When there are bytes for `spare_frames` more than are
    /// used, all of those are used again.
    pub(crate) fn refund(&self, bytes: u64, spare_frames: u32) {
        let mut accounts = self.accounts.lock();
        debug_assert!(bytes <= accounts.spent_bytes);
        accounts.spent_bytes -= bytes;
        let frames = accounts.frames_beside(0, self.frame_bytes());
        if frames > self.frames.usable_count() as u32 + spare_frames {
            self.frames.room.raise(frames);
            // A refused lock leaves a few frames unlocked until the next change.
            let _ = self.frames.follow_limit();
        }
    }

    /// Takes frames out of use until `wanted` are left, or until `deadline`. Called under the lock
    /// of the accounts.
    ///
    /// Those that cannot go at once are looked after a few times; then others go in their stead.
    fn shrink(&self, wanted: u32, deadline: Instant) -> Result<(), Unpaid> {
        let (frames, room, before) = (&self.frames, &self.frames.room, self.frames.room.usable());
        loop {
            let leaving = room.lower(wanted, Pool::MIN_FRAMES);
            let _ = frames.follow_limit(); // Unlocking is not refused.
            for _ in 0..SECOND_LOOKS {
                frames.retire_idle();
                self.clock.vacate(frames, &self.tables, room.limit()..room.span());
                if room.leaving() == 0 {
                    break;
                }
                std::thread::yield_now();
            }
            if room.usable() <= wanted {
                frames.retreat();
                return Ok(());
            }
            // Where limbo is full, others would only follow them there.
            if leaving.is_none() || frames.limbo_is_full() {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        room.raise(before);
        let _ = frames.follow_limit();
        Err(Unpaid::NotNow)
    }
}

impl Pool {
    /// Gives the pool another budget, while it is used: fewer frames, whose pages are evicted and
    /// whose memory goes back to the system, or more, up to
    /// [`max_memory_bytes`](crate::PoolOptions::max_memory_bytes).
    ///
    /// When this returns, the budget holds. Pages that are pinned stay where they are, and others
    /// go in their stead.
    ///
    /// # Errors
    /// Nothing has changed then but that pages were evicted. [`PoolError::BelowMinimum`] when too
    /// few frames would be left beside the tables of the attached files,
    /// [`PoolError::AboveMaximum`] past what was reserved, [`PoolError::NotNow`] when within
    /// [`frame_patience`](crate::PoolOptions::frame_patience) too few frames come free,
    /// [`PoolError::NotLocked`] when a locked pool may not lock more.
    pub fn resize(&self, memory_bytes: u64) -> Result<(), PoolError> {
        let core = self.core();
        if memory_bytes > core.max_memory_bytes {
            let max_memory_bytes = core.max_memory_bytes;
            return Err(PoolError::AboveMaximum { memory_bytes, max_memory_bytes });
        }
        core.resize(memory_bytes)
    }
}

impl Core {
    fn resize(&self, memory_bytes: u64) -> Result<(), PoolError> {
        let mut accounts = self.accounts.lock();
        let (frame_bytes, spent_bytes) = (self.frame_bytes(), accounts.spent_bytes);
        let wanted = Accounts { memory_bytes, spent_bytes }.frames_beside(0, frame_bytes);
        if wanted < Pool::MIN_FRAMES {
            return Err(PoolError::BelowMinimum {
                memory_bytes,
                minimum_frames: Pool::MIN_FRAMES,
                minimum_bytes: u64::from(Pool::MIN_FRAMES) * frame_bytes + spent_bytes,
                page_size: self.page_size,
            });
        }
        let before = self.frames.room.usable();
        if wanted < before {
            let deadline = Instant::now() + self.frame_patience;
            self.shrink(wanted, deadline).map_err(|_| PoolError::NotNow {
                memory_bytes,
                pool_bytes: accounts.memory_bytes,
            })?;
        } else if wanted > before {
            self.frames.arena.use_below(wanted)?;
            self.frames.room.raise(wanted);
            self.clock.has_grown();
        }
        accounts.memory_bytes = memory_bytes;
        Ok(())
    }
}
