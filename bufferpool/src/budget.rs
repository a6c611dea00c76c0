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

use std::io;
use std::time::{Duration, Instant};

use crate::error::PoolError;
use crate::pool::{Core, Pool};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, thread};

/// How often those that are to leave are looked after, before others leave in their stead.
const LOOKS: usize = 2;
/// Frames that a pool shrinks by at a time, between which others may settle their accounts.
const FRAMES_A_STEP: u32 = 4096;
/// How long a miss waits for others who settle theirs.
const BRIEFLY: Duration = Duration::from_millis(10);
/// How long a thread that waits for frames to come free lets others work.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

pub(crate) struct Accounts {
    /// Who takes frames out of use, or gives them back to it, has this; never while waiting.
    settling: Mutex<()>,
    /// Whoever resizes the pool has this.
    resizing: Mutex<()>,
    // Relaxed throughout: the lock orders those who act on them. Spending is under it.
    memory_bytes: AtomicU64,
    spent_bytes: AtomicU64,
    max_memory_bytes: u64,
    /// The frames that are left at least: those of the floors of all files, and a few.
    least_frames: AtomicU32,
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
    pub(crate) fn new(memory_bytes: u64, max_memory_bytes: u64, spent_bytes: u64) -> Self {
        Self {
            settling: Mutex::default(),
            resizing: Mutex::default(),
            memory_bytes: AtomicU64::new(memory_bytes),
            spent_bytes: AtomicU64::new(spent_bytes),
            max_memory_bytes,
            least_frames: AtomicU32::new(Pool::MIN_FRAMES),
        }
    }

    /// From now on `floors` frames are for files that were promised them.
    pub(crate) fn leave_for_floors(&self, floors: usize) {
        self.least_frames.store(least_beside(floors), Ordering::Relaxed);
    }

    fn least_frames(&self) -> u32 {
        self.least_frames.load(Ordering::Relaxed)
    }

    /// The budget.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// What is spent on tables.
    pub(crate) fn spent_bytes(&self) -> u64 {
        self.spent_bytes.load(Ordering::Relaxed)
    }
}

/// The frames that a pool has at least, when so many are promised to files.
pub(crate) fn least_beside(floors: usize) -> u32 {
    u32::try_from(floors).unwrap_or(u32::MAX).saturating_add(Pool::MIN_FRAMES)
}

/// How many frames of `frame_bytes` there are bytes for.
fn frames_in(bytes: u64, frame_bytes: u64) -> u32 {
    (bytes / frame_bytes).min(u64::from(u32::MAX)) as u32
}

impl Core {
    /// What a frame costs, in bytes.
    fn frame_bytes(&self) -> u64 {
        Pool::frame_bytes(self.page_size)
    }

    /// How many frames the budget would hold, were nothing spent on tables.
    pub(crate) fn frames_of_budget(&self) -> usize {
        let frames = frames_in(self.accounts.memory_bytes(), self.frame_bytes());
        frames.min(self.frames.room.capacity()) as usize
    }

    /// Spends `bytes`, and takes frames out of use where they are not left: `spare_frames` more
    /// than it takes, so that the next to come need not. Does not wait for them.
    pub(crate) fn spend_now(&self, bytes: u64, spare_frames: u32) -> Result<(), Unpaid> {
        let settling = self.accounts.settling.try_lock_for(BRIEFLY);
        let _settling = settling.ok_or(Unpaid::NotNow)?;
        self.spend(bytes, spare_frames, self.accounts.least_frames())
            .inspect_err(|_| self.use_what_is_left(0))
    }

    /// Spends `bytes`, and leaves `least` frames. Waits for those that have to go, within the
    /// patience for a frame.
    pub(crate) fn spend_patiently(&self, bytes: u64, least: u32) -> Result<(), Unpaid> {
        let deadline = Instant::now() + self.frame_patience;
        loop {
            let settling = self.accounts.settling.lock();
            let spent = self.spend(bytes, 0, least);
            if spent != Err(Unpaid::NotNow) || Instant::now() >= deadline {
                return spent.inspect_err(|_| self.use_what_is_left(0));
            }
            drop(settling);
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Called while settling. What goes of frames when it fails stays out of use.
    fn spend(&self, bytes: u64, spare_frames: u32, least: u32) -> Result<(), Unpaid> {
        let accounts = &self.accounts;
        let spent_bytes = accounts.spent_bytes().saturating_add(bytes);
        let left_bytes = accounts.memory_bytes().saturating_sub(spent_bytes);
        let left = frames_in(left_bytes, self.frame_bytes());
        if left < self.frames.room.usable() {
            if left < least {
                return Err(Unpaid::TooMuch);
            }
            self.shrink(left.saturating_sub(spare_frames).max(least))?;
        }
        accounts.spent_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes back `bytes` that were spent, and uses frames again that there are bytes for.
    pub(crate) fn refund(&self, bytes: u64) {
        self.accounts.spent_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let _settling = self.accounts.settling.lock();
        self.use_what_is_left(0);
    }

    /// As [`refund`](Self::refund), but leaves the frames to others when they are at it, or when
    /// there are bytes for fewer than `spare_frames` more than are used.
    pub(crate) fn refund_now(&self, bytes: u64, spare_frames: u32) {
        self.accounts.spent_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if !self.accounts.resizing.is_locked()
            && let Some(_settling) = self.accounts.settling.try_lock()
        {
            self.use_what_is_left(spare_frames);
        }
    }

    /// Called while settling.
    fn use_what_is_left(&self, spare_frames: u32) {
        let accounts = &self.accounts;
        let left_bytes = accounts.memory_bytes().saturating_sub(accounts.spent_bytes());
        let frames = frames_in(left_bytes, self.frame_bytes()).min(self.frames.room.capacity());
        if frames > self.frames.room.usable() + spare_frames {
            // Where the system locks no more, less is used than there are bytes for.
            let _ = self.raise(frames);
        }
    }

    /// Gives memory to the next frames in use, from `from_bytes` of them on: see
    /// [`Arena::populate`](crate::arena::Arena::populate). None of them goes out of use meanwhile.
    pub(crate) fn populate(&self, from_bytes: usize) -> io::Result<Option<usize>> {
        let _settling = self.accounts.settling.lock();
        self.frames.arena.populate(from_bytes, self.frames.room.limit())
    }

    /// Uses `wanted` frames, more than were used. Called while settling.
    fn raise(&self, wanted: u32) -> Result<(), PoolError> {
        self.frames.arena.use_below(|| wanted)?;
        self.frames.room.raise(wanted);
        self.frames.follow_limit()
    }

    /// Takes frames out of use until `wanted` are left, or as many as can go now. Called while
    /// settling.
    ///
    /// Those that do not come at once are looked after once more; then others go in their stead.
    fn shrink(&self, wanted: u32) -> Result<(), Unpaid> {
        let (frames, room) = (&self.frames, &self.frames.room);
        loop {
            let leaving = room.lower(wanted);
            let _ = frames.follow_limit(); // Unlocking is not refused.
            frames.give_back_unused();
            for _ in 0..LOOKS {
                frames.retire_idle();
                let above = room.limit()..room.span();
                self.clock.vacate(frames, &self.tables, &self.counters, above);
                if room.leaving() == 0 {
                    break;
                }
            }
            if room.usable() <= wanted {
                frames.retreat();
                return Ok(());
            }
            // Where limbo is full, others would only follow them there.
            if leaving.is_none() || frames.limbo_is_full() {
                room.raise(room.usable());
                return Err(Unpaid::NotNow);
            }
        }
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
    /// few frames would be left beside the tables and the floors of the attached files,
    /// [`PoolError::AboveMaximum`] past what was reserved, [`PoolError::NotNow`] when within
    /// [`frame_patience`](crate::PoolOptions::frame_patience) too few frames come free,
    /// [`PoolError::NotLocked`] when a locked pool may not lock more.
    pub fn resize(&self, memory_bytes: u64) -> Result<(), PoolError> {
        let core = self.core();
        let max_memory_bytes = core.accounts.max_memory_bytes;
        if memory_bytes > max_memory_bytes {
            return Err(PoolError::AboveMaximum { memory_bytes, max_memory_bytes });
        }
        core.resize(memory_bytes)
    }
}

impl Core {
    fn resize(&self, memory_bytes: u64) -> Result<(), PoolError> {
        let _resizing = self.accounts.resizing.lock();
        let pool_bytes = self.accounts.memory_bytes();
        if memory_bytes < pool_bytes {
            // Nobody spends from now on what is to go.
            self.accounts.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        }
        let resized = self.resize_in_steps(memory_bytes, pool_bytes);
        let (settling, holds) = (self.accounts.settling.lock(), resized.is_ok());
        let bytes = if holds { memory_bytes } else { pool_bytes };
        self.accounts.memory_bytes.store(bytes, Ordering::Relaxed);
        if !holds {
            self.use_what_is_left(0);
        }
        drop(settling);
        resized
    }

    fn resize_in_steps(&self, memory_bytes: u64, pool_bytes: u64) -> Result<(), PoolError> {
        let (mut fewest, mut deadline) = (u32::MAX, Instant::now());
        while !self.resize_a_step(memory_bytes)? {
            let usable = self.frames.room.usable();
            if usable < fewest {
                (fewest, deadline) = (usable, Instant::now() + self.frame_patience);
            } else if Instant::now() >= deadline {
                return Err(PoolError::NotNow { memory_bytes, pool_bytes });
            }
        }
        Ok(())
    }

    /// Takes some frames out of use that have to go, or all that come into use. Returns whether the
    /// budget is `memory_bytes` now.
    fn resize_a_step(&self, memory_bytes: u64) -> Result<bool, PoolError> {
        let accounts = &self.accounts;
        let least = least_beside(*self.floors.lock());
        let settling = accounts.settling.lock();
        let (frame_bytes, spent_bytes) = (self.frame_bytes(), accounts.spent_bytes());
        let wanted = frames_in(memory_bytes.saturating_sub(spent_bytes), frame_bytes);
        let wanted = wanted.min(self.frames.room.capacity());
        let usable = self.frames.room.usable();
        if wanted < least {
            // Tables take less when fewer pages are in memory: a few at a time.
            let fewer = least.max(usable - usable / 8);
            let leave = usable > least && self.shrink(fewer).is_ok();
            if self.give_back_stretches() || leave {
                return Ok(false);
            }
            return Err(PoolError::BelowMinimum {
                memory_bytes,
                minimum_frames: least,
                minimum_bytes: u64::from(least) * frame_bytes + spent_bytes,
                page_size: self.page_size,
            });
        }
        let step = wanted.max(usable.saturating_sub(FRAMES_A_STEP));
        if wanted < usable {
            if self.shrink(step).is_err() {
                drop(settling);
                thread::sleep(LOOK_AGAIN);
                return Ok(false);
            }
        } else if wanted > usable {
            self.raise(wanted)?;
            self.clock.has_grown();
        }
        Ok(step <= wanted)
    }
}
