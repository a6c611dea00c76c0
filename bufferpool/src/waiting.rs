//! Who waits for pages that somebody else is reading.
//!
//! Single flight: the first who misses a page claims its word and reads it; the others leave
//! their name here and get the page, already pinned for them, when it lands. The lists are under
//! a few locks by page, which only those take who wait for another's read, and those who land a
//! page that is waited for: the word says whether anybody does, so that a page that nobody waits
//! for is published without a lock.

use std::iter::{Chain, Flatten};
use std::{array, vec};

use ringpool_storage::PageNo;

use crate::sync::{Mutex, MutexGuard};
use crate::table::FileNo;
use crate::word::{Frame, Word};

const STRIPES: usize = if cfg!(loom) {
    1
} else if cfg!(shuttle) {
    2
} else {
    64
};

/// So many who wait for one page are told of it without a list of them.
const FEW: usize = 8;

/// The waiters of all pages, each known by a `T`.
pub(crate) struct Waiting<T> {
    stripes: [Mutex<Vec<Waiter<T>>>; STRIPES],
}

struct Waiter<T> {
    file: FileNo,
    page: PageNo,
    who: T,
}

impl<T> Waiting<T> {
    pub(crate) fn new() -> Self {
        Self { stripes: std::array::from_fn(|_| Mutex::new(Vec::new())) }
    }

    /// Joins the waiters of a page that is loading. Returns false when it is not loading any more.
    pub(crate) fn join(&self, word: &Word, file: FileNo, page: PageNo, who: T) -> bool {
        let mut waiters = self.lock(file, page);
        let joined = word.wait();
        if joined {
            waiters.push(Waiter { file, page, who });
        }
        joined
    }

    /// Takes those off the list of a page who are `mine`, and who do not wait any more.
    pub(crate) fn leave(&self, file: FileNo, page: PageNo, mine: impl Fn(&T) -> bool) {
        let mut waiters = self.lock(file, page);
        waiters.retain(|waiter| !(waiter.file == file && waiter.page == page && mine(&waiter.who)));
    }

    /// Makes a page resident that has landed in `frame`, with a pin for the caller and for each
    /// who waits. Returns who that is.
    pub(crate) fn publish(&self, word: &Word, file: FileNo, page: PageNo, frame: Frame) -> Told<T> {
        if word.publish_unwaited(frame) {
            return Told::nobody();
        }
        let mut waiters = self.lock(file, page);
        let told = take(&mut waiters, file, page);
        word.publish(frame, 1 + told.len() as u64);
        told
    }

    /// Makes a page absent whose read into `frame` has failed. Returns who is to be told.
    pub(crate) fn fail(&self, word: &Word, file: FileNo, page: PageNo, frame: Frame) -> Told<T> {
        if word.fail_unwaited(frame) {
            return Told::nobody();
        }
        let mut waiters = self.lock(file, page);
        word.fail(frame);
        take(&mut waiters, file, page)
    }

    fn lock(&self, file: FileNo, page: PageNo) -> MutexGuard<'_, Vec<Waiter<T>>> {
        let hash = (page.0 ^ u64::from(file) << 48).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.stripes[(hash >> 58) as usize % STRIPES].lock()
    }
}

fn take<T>(waiters: &mut Vec<Waiter<T>>, file: FileNo, page: PageNo) -> Told<T> {
    let theirs = |waiter: &mut Waiter<T>| waiter.file == file && waiter.page == page;
    let mut told = waiters.extract_if(.., theirs).map(|waiter| waiter.who);
    let few = std::array::from_fn(|_| told.next());
    Told { few, more: told.collect() }
}

/// Those who waited for a page. A few are no reason to allocate whenever a page lands.
pub(crate) struct Told<T> {
    few: [Option<T>; FEW],
    more: Vec<T>,
}

impl<T> Told<T> {
    fn nobody() -> Self {
        Self { few: [const { None }; FEW], more: Vec::new() }
    }

    fn len(&self) -> usize {
        self.few.iter().flatten().count() + self.more.len()
    }

    pub(crate) fn all(&self, is: impl FnMut(&T) -> bool) -> bool {
        self.few.iter().flatten().chain(&self.more).all(is)
    }
}

impl<T> IntoIterator for Told<T> {
    type Item = T;
    type IntoIter = Chain<Flatten<array::IntoIter<Option<T>, FEW>>, vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        IntoIterator::into_iter(self.few).flatten().chain(self.more)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ghost::Ghost;
    use crate::word::Start;

    const PAGE: PageNo = PageNo(3);
    /// Several for each list, so that some share one.
    const FILES: FileNo = 3 * STRIPES as FileNo;

    #[test]
    fn who_waits_is_told_of_the_page_of_that_file_alone_unless_he_left() {
        let waiting = Waiting::new();
        let words: Vec<Word> = (0..FILES).map(|_| Word::default()).collect();
        for (file, word) in (0..).zip(&words) {
            assert!(!waiting.join(word, file, PAGE, (file, "too early")), "nobody reads it");
            assert!(word.claim(Ghost::NEVER, file.into(), Start::Main));
            for who in ["first", "second", "gone"] {
                assert!(waiting.join(word, file, PAGE, (file, who)));
            }
            waiting.leave(file, PAGE, |who| *who == (file, "gone"));
        }
        for (file, word) in (0..).zip(&words) {
            let told = match file % 2 {
                0 => waiting.publish(word, file, PAGE, file.into()),
                _ => waiting.fail(word, file, PAGE, file.into()),
            };
            let told: Vec<_> = told.into_iter().collect();
            assert_eq!(told, [(file, "first"), (file, "second")]);
            let pins = if file % 2 == 0 { 3 } else { 0 };
            assert_eq!(word.content().pins(), pins, "one each, and one for the reader");
        }
    }
}

/// Single flight with an owner whose read fails or lands, and two who want the same page:
/// `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::*;
    use crate::word::{Look, Start};

    const PAGE: PageNo = PageNo(3);

    struct Model {
        word: Word,
        waiting: Waiting<usize>,
        /// What each waiter was told: how often that the page is there, and that it is not.
        told: [[AtomicUsize; 2]; 3],
        reads: AtomicUsize,
    }

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                word: Word::default(),
                waiting: Waiting::new(),
                told: std::array::from_fn(|_| std::array::from_fn(|_| AtomicUsize::new(0))),
                reads: AtomicUsize::new(0),
            })
        }

        /// Asks for the page as `who`, and reads it into a frame of that number if need be. The
        /// first read ends well or not, later ones do. Returns whether it waits.
        fn ask(&self, who: usize, first_ends_well: bool) -> bool {
            loop {
                match self.word.pin() {
                    Look::Pinned(_) => {
                        self.tell(who, true);
                        return false;
                    }
                    Look::Loading if self.waiting.join(&self.word, 0, PAGE, who) => return true,
                    Look::Absent(ghost) if self.word.claim(ghost, who as Frame, Start::Main) => {
                        let well =
                            self.reads.fetch_add(1, Ordering::Relaxed) > 0 || first_ends_well;
                        self.land(who, well);
                        return false;
                    }
                    Look::Loading | Look::Absent(_) => thread::yield_now(),
                    Look::Full => unreachable!("three pins"),
                }
            }
        }

        fn land(&self, owner: usize, well: bool) {
            let frame = owner as Frame;
            let waiters = match well {
                true => self.waiting.publish(&self.word, 0, PAGE, frame),
                false => self.waiting.fail(&self.word, 0, PAGE, frame),
            };
            waiters.into_iter().chain([owner]).for_each(|who| self.tell(who, well));
        }

        fn tell(&self, who: usize, well: bool) {
            self.told[who][usize::from(well)].fetch_add(1, Ordering::Relaxed);
        }

        fn times_told(&self, who: usize) -> [usize; 2] {
            [0, 1].map(|well| self.told[who][well].load(Ordering::Relaxed))
        }
    }

    fn check(first_ends_well: bool, last_leaves: bool) {
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(3);
        checker.check(move || {
            let model = Model::new();
            let askers = [1, 2].map(|who| {
                let model = model.clone();
                thread::spawn(move || {
                    let waits = model.ask(who, first_ends_well);
                    if waits && last_leaves && who == 2 {
                        model.waiting.leave(0, PAGE, |&waiter| waiter == who);
                    }
                })
            });
            model.ask(0, first_ends_well);
            askers.into_iter().for_each(|asker| asker.join().unwrap());
            // Everybody was told once; who has left may have been told nothing.
            let told = [0, 1, 2].map(|who| model.times_told(who));
            for (who, [failed, came]) in told.into_iter().enumerate() {
                let once = failed + came == 1;
                assert!(once || (last_leaves && who == 2 && failed + came == 0), "{told:?}");
            }
            let failed: usize = told.iter().map(|told| told[0]).sum();
            let came: usize = told.iter().map(|told| told[1]).sum();
            let reads = model.reads.load(Ordering::Relaxed);
            assert!(reads <= 1 + usize::from(failed > 0), "one read serves all: {reads}, {told:?}");
            assert_eq!(failed > 0, !first_ends_well);
            // A failure is kept by nobody, and each who has the page has a pin.
            let content = model.word.content();
            assert_eq!(content.is_absent(), came == 0, "{content:?}");
            assert!(came == 0 || content.pins() == came as u64, "{content:?} {told:?}");
        });
    }

    #[test]
    fn loom_one_read_serves_two_who_wait() {
        check(true, false);
    }

    #[test]
    fn loom_a_failing_owner_tells_two_who_wait() {
        check(false, false);
    }

    #[test]
    fn loom_a_waiter_leaves_while_the_read_lands_or_fails() {
        check(true, true);
        check(false, true);
    }
}
