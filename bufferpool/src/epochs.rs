//! Who may still be looking at a page that was just unlinked: readers, counted by epochs.
//!
//! A reader does not pin what it looks at. It takes a *seat* and writes into it the epoch in which
//! it came; while the seat is taken, no frame that it could have found in the page table is used
//! for another page. Who unlinks a page asks for the epoch that ends with it
//! ([`Epochs::close`]), and uses its frame when everybody who is seated came later
//! ([`Epochs::oldest`]). So a look at a page costs the reader a load and no write to memory that
//! others look at; the price is a fence for each stay, and frames in limbo while it lasts.
//!
//! Why it holds. A reader writes its seat, then passes a fence, then looks at the table; who
//! unlinks changes the table, then passes a fence, then looks at the seats. One of the two fences
//! comes first: either the seat is seen, and the frame waits; or the reader sees the table without
//! the page. A reader that came in a later epoch has read its number from where the closing wrote
//! it, after the closing's fence and before its own, and so sees the table without the page too.
//!
//! After K. Fraser, "Practical lock-freedom" (2004), chapter 5, with one fence a stay.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, OnceLock, Ordering, fence};

/// Seats come in rows, which are set up when they are first needed.
const ROW: usize = if cfg!(any(loom, shuttle)) { 2 } else { 64 };
const ROWS: usize = if cfg!(loom) { 1 } else { 64 };

/// The epoch of those who are not seated.
const OUTSIDE: u64 = 0;
const FIRST: u64 = 1;

pub(crate) struct Epochs {
    now: CachePadded<AtomicU64>,
    rows: [OnceLock<Box<[CachePadded<Seat>; ROW]>>; ROWS],
    /// Seats at and above this number were never taken.
    used: AtomicUsize,
}

struct Seat {
    taken: AtomicBool,
    epoch: AtomicU64,
}

/// A taken seat. Whoever has it is outside until it [enters](Epochs::enter).
#[derive(Debug)]
pub(crate) struct SeatNo(usize);

impl Epochs {
    /// Readers at once, at most.
    pub(crate) const SEATS: usize = ROW * ROWS;

    pub(crate) fn new() -> Self {
        let rows = std::array::from_fn(|_| OnceLock::new());
        Self { now: CachePadded::new(AtomicU64::new(FIRST)), rows, used: AtomicUsize::new(0) }
    }

    /// Takes a seat, outside; `None` when all are taken.
    pub(crate) fn sit(&self) -> Option<SeatNo> {
        let free = |&number: &usize| {
            let row = self.rows[number / ROW].get_or_init(|| {
                let seat =
                    || Seat { taken: AtomicBool::new(false), epoch: AtomicU64::new(OUTSIDE) };
                Box::new(std::array::from_fn(|_| CachePadded::new(seat())))
            });
            // Acquire: pairs with the release in `rise`. The seat is found as it was left.
            let seat = &row[number % ROW].taken;
            seat.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let number = (0..Self::SEATS).find(free)?;
        // Relaxed: the fence in `enter` comes before anything that hangs on it.
        self.used.fetch_max(number + 1, Ordering::Relaxed);
        Some(SeatNo(number))
    }

    /// Gives the seat up, outside.
    pub(crate) fn rise(&self, seat: &SeatNo) {
        debug_assert!(!self.is_inside(seat));
        // Release: pairs with the acquire in `sit`.
        self.seat(seat.0).taken.store(false, Ordering::Release);
    }

    /// Enters, or enters anew: what was seen before may be gone when this returns.
    #[inline]
    pub(crate) fn enter(&self, seat: &SeatNo) {
        // Relaxed: who reads a later epoch reads it from a closing, whose fence then comes before
        // ours below: we see the table as it was left by those who closed the ones before.
        let now = self.now.load(Ordering::Relaxed);
        // Release: pairs with the acquire in `oldest`. What we looked at before this is over.
        self.seat(seat.0).epoch.store(now, Ordering::Release);
        // Pairs with the fence in `close`: see above.
        fence(Ordering::SeqCst);
    }

    /// Leaves: nothing that was seen is looked at any more.
    #[inline]
    pub(crate) fn leave(&self, seat: &SeatNo) {
        // Release: pairs with the acquire in `oldest`. Our looks come before the frames' next use.
        self.seat(seat.0).epoch.store(OUTSIDE, Ordering::Release);
    }

    pub(crate) fn is_inside(&self, seat: &SeatNo) -> bool {
        // Relaxed: only who has the seat writes to it.
        self.seat(seat.0).epoch.load(Ordering::Relaxed) != OUTSIDE
    }

    /// Pages were just unlinked. Returns the epoch that ends with that: their frames may be used
    /// when [`oldest`](Self::oldest) is later.
    pub(crate) fn close(&self) -> u64 {
        // Pairs with the fence in `enter`.
        fence(Ordering::SeqCst);
        // Relaxed: the fence above comes before it, and orders it for who reads it in `enter`.
        self.now.fetch_add(1, Ordering::Relaxed)
    }

    /// The epoch in which the earliest of those who are seated came; of nobody, the latest there
    /// can be. Says something of those closings that happened before, here or in another thread
    /// that has handed on what it unlinked.
    pub(crate) fn oldest(&self) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        let epochs = (0..used).map(|number| {
            // Acquire: pairs with the releases in `leave` and `enter`.
            self.seat(number).epoch.load(Ordering::Acquire)
        });
        epochs.filter(|&epoch| epoch != OUTSIDE).min().unwrap_or(u64::MAX)
    }

    /// How many are inside at this moment.
    pub(crate) fn inside(&self) -> usize {
        let used = self.used.load(Ordering::Relaxed);
        // Relaxed: a count.
        let epoch = |&number: &usize| self.seat(number).epoch.load(Ordering::Relaxed) != OUTSIDE;
        (0..used).filter(epoch).count()
    }

    #[inline]
    fn seat(&self, number: usize) -> &Seat {
        let row = self.rows[number / ROW].get();
        &row.expect("the row of a seat that was taken")[number % ROW]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_epoch_is_over_when_all_who_came_in_it_have_left() {
        let epochs = Epochs::new();
        let (early, late) = (epochs.sit().unwrap(), epochs.sit().unwrap());
        assert_eq!(epochs.oldest(), u64::MAX);
        epochs.enter(&early);
        let closed = epochs.close();
        epochs.enter(&late);
        assert!(epochs.oldest() <= closed, "{early:?} may have seen it");
        assert_eq!(epochs.inside(), 2);
        epochs.enter(&early);
        assert!(epochs.oldest() > closed);
        epochs.leave(&early);
        epochs.leave(&late);
        assert_eq!((epochs.oldest(), epochs.inside()), (u64::MAX, 0));
    }

    #[test]
    fn seats_are_bounded_and_used_again() {
        let epochs = Epochs::new();
        let seats: Vec<SeatNo> = std::iter::from_fn(|| epochs.sit()).collect();
        assert_eq!(seats.len(), Epochs::SEATS);
        seats.iter().for_each(|seat| epochs.rise(seat));
        assert_eq!(epochs.sit().map(|seat| seat.0), Some(0));
    }
}

/// A reader against who evicts, in every interleaving:
/// `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.
#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::ghost::Ghost;
    use crate::word::{Start, Sweep, Word};

    /// Two pages and one frame that they take turns in. Its content is a plain cell: a look and a
    /// write that meet there are an error that the checker reports.
    struct Model {
        epochs: Epochs,
        words: [Word; 2],
        frame: UnsafeCell<usize>,
    }

    impl Model {
        /// Page 0 is resident, and has been used.
        fn new() -> Arc<Self> {
            let model = Self {
                epochs: Epochs::new(),
                words: [Word::default(), Word::default()],
                frame: UnsafeCell::new(0),
            };
            assert!(
                model.words[0].claim(Ghost::NEVER, 0, Start::Main)
                    && model.words[0].publish_unwaited(0)
            );
            model.words[0].unpin();
            Arc::new(model)
        }

        fn look(&self, page: usize) {
            if self.words[page].look().is_some() {
                // SAFETY: loom reports it if anybody writes to the cell.
                self.frame.with(|bytes| assert_eq!(unsafe { *bytes }, page));
            }
        }

        /// Evicts page 0, whatever its chances, and loads page 1 into its frame when it may.
        fn take_turns(&self) {
            while self.words[0].sweep(0, 1) == Sweep::Spared {}
            let ended = self.epochs.close();
            for _ in 0..2 {
                if self.epochs.oldest() > ended {
                    assert!(self.words[1].claim(Ghost::NEVER, 0, Start::Main));
                    // SAFETY: as in `look`.
                    self.frame.with_mut(|bytes| unsafe { *bytes = 1 });
                    assert!(self.words[1].publish_unwaited(0));
                    return self.words[1].unpin();
                }
                thread::yield_now();
            }
        }
    }

    fn reader(model: &Arc<Model>, stays: usize) -> thread::JoinHandle<()> {
        let model = model.clone();
        let seat = model.epochs.sit().expect("a seat");
        thread::spawn(move || {
            for _ in 0..stays {
                model.epochs.enter(&seat);
                model.look(0);
                model.look(1);
            }
            model.epochs.leave(&seat);
            model.epochs.rise(&seat);
        })
    }

    #[test]
    fn loom_a_reader_that_enters_anew_and_who_evicts() {
        loom::model(|| {
            let model = Model::new();
            let reader = reader(&model, 2);
            model.take_turns();
            reader.join().unwrap();
        });
    }

    #[test]
    fn loom_two_readers_and_who_evicts() {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(|| {
            let model = Model::new();
            let readers = [(); 2].map(|()| reader(&model, 1));
            model.take_turns();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}
