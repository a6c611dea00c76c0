//! Shares: what a file is sure to keep of the pool, and what it may take of it at most.
//!
//! Each file's frames are counted: one more when a page of it is claimed, one less when it is
//! unlinked; a hit counts nothing. A file with a *floor* loses no page to others while it holds no
//! more frames than that: the hand passes them by. A file with a *ceiling* that has reached it
//! evicts one of its own pages for each that comes in (`own`). In between the clock decides, by what
//! pages are used, and by the file's *priority* (`priority`).

use ringpool_storage::PageNo;

use crate::counters::Count;
use crate::error::PoolError;
use crate::ghost::Ghost;
use crate::hint::Hint;
use crate::own::Own;
use crate::pool::{Core, File, Pool, PoolFile};
use crate::priority::Priority;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::word::{Frame, Start};

/// What a file is sure to keep of its pool, and what it may take of it at most, in bytes of the
/// budget. By default nothing is sure, and everything may be taken.
///
/// A frame takes [`Pool::frame_bytes`] of the budget, so that `n` frames are `n` times that. A
/// floor is rounded up to whole frames, a ceiling down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Share {
    floor_bytes: u64,
    ceiling_bytes: Option<u64>,
    priority: Priority,
}

impl Share {
    /// Others never push the file's pages below this much. What the file has not read yet is not
    /// kept free for it.
    #[must_use]
    pub fn floor_bytes(self, floor_bytes: u64) -> Self {
        Self { floor_bytes, ..self }
    }

    /// The file's pages, those on their way included, never take more than this.
    #[must_use]
    pub fn ceiling_bytes(self, ceiling_bytes: u64) -> Self {
        Self { ceiling_bytes: Some(ceiling_bytes), ..self }
    }

    /// What the file's pages are worth beside those of others, from the next one that is read.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }
}

impl PoolFile {
    /// Changes what the file is sure to keep of the pool and what it may take of it, from now on.
    ///
    /// A floor is filled by what the file reads, and a ceiling below what it holds is reached at
    /// once, by eviction; pages that are pinned then go when the file next wants room. Below a
    /// ceiling the file has a clock with probation of its own, whatever the pool's policy. The books
    /// of a ceiling (8 bytes a frame of it, and a bit a frame of the pool) are paid for with
    /// frames.
    ///
    /// # Errors
    /// [`PoolError::BadShare`] when the ceiling is below the floor or below a frame,
    /// [`PoolError::FloorsTooLarge`] when the floors of all files leave too few frames,
    /// [`PoolError::TableTooLarge`] or [`PoolError::Pinned`] when no frames can be had for the
    /// books. What was in force before then still is.
    pub fn set_share(&self, share: Share) -> Result<(), PoolError> {
        self.file().pool.set_share(self.file(), share)
    }

    /// How many frames the file holds: pages in memory or on their way.
    pub fn frames_held(&self) -> usize {
        self.file().table.holdings.held()
    }
}

/// What one file holds, and what it may.
pub(crate) struct Holdings {
    held: AtomicUsize,
    coming: AtomicUsize,
    /// How many of these are about to go, those that then stay included.
    leaving: AtomicUsize,
    floor: AtomicUsize,
    ceiling: AtomicUsize,
    priority: AtomicUsize,
    /// The file's frames, where it has a ceiling.
    pub(crate) own: Mutex<Option<Own>>,
}

const NO_CEILING: usize = usize::MAX;

impl Default for Holdings {
    fn default() -> Self {
        let [held, coming, leaving, floor] = Default::default();
        let ceiling = AtomicUsize::new(NO_CEILING);
        let priority = AtomicUsize::new(Priority::default() as usize);
        Self { held, coming, leaving, floor, ceiling, priority, own: Mutex::new(None) }
    }
}

// Relaxed where nothing else is said: a count orders nothing. What is evicted and claimed is the
// words' business.
impl Holdings {
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn floor(&self) -> usize {
        self.floor.load(Ordering::Relaxed)
    }

    pub(crate) fn priority(&self) -> Priority {
        Priority::from_number(self.priority.load(Ordering::Relaxed))
    }

    /// The frames that the file may hold, if that is bounded.
    pub(crate) fn ceiling(&self) -> Option<usize> {
        Some(self.ceiling.load(Ordering::Relaxed)).filter(|&ceiling| ceiling != NO_CEILING)
    }

    /// How many frames the file holds or is going to. Asked where no more are reserved meanwhile.
    fn spoken_for(&self) -> usize {
        // Acquire: pairs with the release in `unreserve`. What does not come any more is held.
        let coming = self.coming.load(Ordering::Acquire);
        coming + self.held()
    }

    fn unreserve(&self, reserved: bool) {
        if reserved {
            self.coming.fetch_sub(1, Ordering::Release);
        }
    }

    /// A page was claimed for this room: the file has one more.
    pub(crate) fn gained(&self, room: &Room) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.unreserve(room.reserved);
    }

    /// The file has one page less.
    pub(crate) fn lost(&self) {
        let before = self.held.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a file loses more than it has");
    }

    /// Runs `evict`, which says whether a page of the file went, unless others must not push it
    /// further: then `None`.
    #[inline]
    pub(crate) fn lose(&self, is_its_own: bool, evict: impl FnOnce() -> bool) -> Option<bool> {
        let floor = self.floor();
        if floor == 0 || is_its_own {
            let went = evict();
            if went {
                self.lost();
            }
            return Some(went);
        }
        // Acquire: pairs with the release below. What others have taken is either still counted
        // as leaving or already not as held, so that no two take the last one above the floor.
        let leaving = self.leaving.fetch_add(1, Ordering::AcqRel);
        let may_go = self.held() > floor + leaving;
        let went = may_go && evict();
        if went {
            self.lost();
        }
        self.leaving.fetch_sub(1, Ordering::Release);
        may_go.then_some(went)
    }
}

/// A frame that a page may be read into.
pub(crate) struct Room {
    pub(crate) frame: Frame,
    /// Whether it is counted as one that is coming to the file.
    reserved: bool,
}

/// Why there is no frame to read a page into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// None of the pool's can be had.
    OfThePool,
    /// None of the file's can be had, and it may hold no more.
    OfTheFile,
}

impl Core {
    /// A frame for `page` of `file`, and a place in the table to say so. Whoever claims the page
    /// then says that the file has [gained](Holdings::gained) it, and who does not, that it was
    /// [not claimed](File::not_claimed).
    #[inline]
    pub(crate) fn frame_for(&self, file: &File, page: PageNo) -> Result<Room, Lack> {
        if !self.enter_stretch(&file.table, page) {
            return Err(Lack::OfThePool);
        }
        let (freed, reserved) = match file.table.holdings.ceiling() {
            None => (None, false),
            Some(_) => (self.make_room(file).inspect_err(|_| file.left_stretch(page))?, true),
        };
        match freed.or_else(|| self.frame(Some(file.number))) {
            Some(frame) => Ok(Room { frame, reserved }),
            None => {
                file.table.holdings.unreserve(reserved);
                file.left_stretch(page);
                Err(Lack::OfThePool)
            }
        }
    }

    /// Reserves a frame within the ceiling of `file`, and evicts what must go for it. Returns the
    /// frame of that where it is free at once.
    fn make_room(&self, file: &File) -> Result<Option<Frame>, Lack> {
        let holdings = &file.table.holdings;
        // Whoever wants a frame for this file is here, so that no two reserve the last one.
        let mut own = holdings.own.lock();
        let mut freed = None;
        if let (Some(own), Some(ceiling)) = (own.as_mut(), holdings.ceiling()) {
            while holdings.spoken_for() >= ceiling {
                let victim = own.evict(&self.frames, &file.table, file.number, ceiling);
                let Some((page, frame)) = victim else {
                    freed.into_iter().for_each(|frame| self.frames.give(frame));
                    return Err(Lack::OfTheFile);
                };
                file.count(Count::Evicted, 1);
                if let Some(spare) =
                    file.unlinked(page, frame).and_then(|frame| freed.replace(frame))
                {
                    self.frames.give(spare);
                }
            }
        }
        holdings.coming.fetch_add(1, Ordering::Relaxed);
        let steps = own.as_mut().map_or(0, Own::take_steps);
        self.clock.steps.fetch_add(steps, Ordering::Relaxed);
        Ok(freed)
    }

    fn set_share(&self, file: &File, share: Share) -> Result<(), PoolError> {
        let frame_bytes = Pool::frame_bytes(self.page_size);
        let name = file.device.file();
        let frames = |bytes: u64| usize::try_from(bytes / frame_bytes).unwrap_or(NO_CEILING - 1);
        let floor = frames(share.floor_bytes.saturating_add(frame_bytes - 1));
        let ceiling = share.ceiling_bytes.map(frames);
        if let Some(ceiling) = ceiling.filter(|&ceiling| ceiling < floor.max(1)) {
            let (file, least) = (name.clone(), floor.max(1));
            return Err(PoolError::BadShare { file, ceiling, least, frame_bytes });
        }
        let mut floors = self.floors.lock();
        let holdings = &file.table.holdings;
        let all_floors = (*floors - holdings.floor()).saturating_add(floor);
        let usable = self.frames.usable_count();
        if all_floors.saturating_add(Pool::MIN_FRAMES as usize) > usable {
            let most = usable - (Pool::MIN_FRAMES as usize).min(usable);
            return Err(PoolError::FloorsTooLarge {
                file: name.clone(),
                floors_bytes: (all_floors as u64).saturating_mul(frame_bytes),
                most_bytes: most as u64 * frame_bytes,
            });
        }
        match ceiling {
            Some(ceiling) => self.set_ceiling(file, ceiling, all_floors)?,
            None => self.lift_ceiling(file),
        }
        holdings.floor.store(floor, Ordering::Relaxed);
        holdings.priority.store(share.priority as usize, Ordering::Relaxed);
        *floors = all_floors;
        self.accounts.leave_for_floors(all_floors);
        Ok(())
    }

    fn set_ceiling(&self, file: &File, ceiling: usize, floors: usize) -> Result<(), PoolError> {
        let holdings = &file.table.holdings;
        // More frames than there are come to no more than all of them.
        let count = self.frames.count();
        let books_bytes = Own::memory_bytes(ceiling.min(count), count);
        self.pay(file.device.file(), books_bytes, 0, floors)?;
        let mut own = holdings.own.lock();
        let mut new = Own::new(ceiling.min(count), count, books_bytes);
        new.list_all(&self.frames, &file.table, file.number);
        let old = own.replace(new);
        holdings.ceiling.store(ceiling, Ordering::Relaxed);
        if let Some(own) = own.as_mut() {
            while holdings.held() > ceiling {
                let victim = own.evict(&self.frames, &file.table, file.number, ceiling);
                let Some((page, frame)) = victim else {
                    break; // The rest is pinned or loading, and goes when room is next made.
                };
                file.count(Count::Evicted, 1);
                let free = file.unlinked(page, frame);
                free.into_iter().for_each(|frame| self.frames.give(frame));
            }
        }
        drop(own);
        self.refund(old.map_or(0, |old| old.paid_bytes()));
        Ok(())
    }

    fn lift_ceiling(&self, file: &File) {
        let mut own = file.table.holdings.own.lock();
        file.table.holdings.ceiling.store(NO_CEILING, Ordering::Relaxed);
        let old = own.take();
        drop(own);
        self.refund(old.map_or(0, |own| own.paid_bytes()));
    }

    /// Ends the share of a file that goes.
    pub(crate) fn forget_share(&self, file: &File) {
        let mut floors = self.floors.lock();
        *floors -= file.table.holdings.floor();
        self.accounts.leave_for_floors(*floors);
        drop(floors);
        self.lift_ceiling(file);
    }
}

impl File {
    /// Gives back what was taken to read `page` into, which somebody else has claimed.
    pub(crate) fn not_claimed(&self, page: PageNo, room: Room) {
        self.table.holdings.unreserve(room.reserved);
        self.left_stretch(page);
        self.pool.frames.give(room.frame);
    }

    /// The file has a page less: its word is absent. Every transition of a word to that is
    /// followed by this, once.
    pub(crate) fn left(&self, page: PageNo) {
        self.table.holdings.lost();
        self.left_stretch(page);
    }

    fn left_stretch(&self, page: PageNo) {
        let evictions = self.pool.clock.evictions.load(Ordering::Relaxed);
        self.pool.tables.left(self.number, &self.table, page, evictions);
    }

    /// Takes over the frame of a page that was just made absent. Returns it if it is free at once.
    pub(crate) fn unlinked(&self, page: PageNo, frame: Frame) -> Option<Frame> {
        self.left(page);
        self.pool.frames.unlinked(&[frame])
    }

    /// The same without regard to priority.
    pub(crate) fn start_of(&self, ghost: Ghost, hint: Hint) -> Start {
        match (self.table.holdings.ceiling(), hint) {
            (None, _) => self.pool.clock.start(ghost, &self.pool.frames, hint),
            (Some(_), Hint::Hot) => Start::MainWithAll,
            // Past the pool's probation, since it is on one of the file's own.
            (Some(_), Hint::Random | Hint::ScanOnce) => Start::Main,
        }
    }

    /// Notes the frame of a page that was claimed just now, and of which `ghost` was remembered,
    /// if the file keeps such notes.
    pub(crate) fn list(&self, frame: Frame, ghost: Ghost) {
        let holdings = &self.table.holdings;
        if let Some(ceiling) = holdings.ceiling()
            && let Some(own) = holdings.own.lock().as_mut()
        {
            own.list(&self.pool.frames, &self.table, self.number, frame, ghost, ceiling);
        }
    }
}
