//! The word in every interleaving of a few threads, by the model checker:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringpool-bufferpool --lib loom`.

#![allow(unsafe_code)]

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// One page over two frames. A frame's content is a plain cell: a reader and a writer that
/// meet there are an error that the checker reports.
struct Model {
    word: Word,
    frames: [UnsafeCell<u64>; 2],
}

impl Model {
    fn new() -> Arc<Self> {
        let frames = [UnsafeCell::new(0), UnsafeCell::new(0)];
        Arc::new(Self { word: Word::default(), frames })
    }

    /// Reads the page into `frame`, which is ours, and keeps it unpinned.
    fn load(&self, frame: Frame, start: Start) -> bool {
        let Look::Absent(ghost) = self.word.pin() else { return false };
        if !self.word.claim(ghost, frame, start) {
            return false;
        }
        // SAFETY: loom reports it if anybody else is in the cell.
        self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes = 42 });
        assert!(self.word.publish_unwaited(frame));
        self.word.unpin();
        true
    }

    fn look(&self) {
        self.look_giving(1);
    }

    fn look_giving(&self, chances: u64) {
        if let Look::Pinned(frame) = self.word.pin_giving(chances) {
            // SAFETY: loom reports it if anybody writes to the cell.
            self.frames[frame as usize].with(|bytes| assert_eq!(unsafe { *bytes }, 42));
            self.word.unpin();
        }
    }

    /// The hand: what it evicts it may write to.
    fn sweep(&self, frame: Frame) -> bool {
        self.scribble_if(frame, self.word.sweep(frame, 1) == Sweep::Evicted)
    }

    /// The end of a probation: as the hand.
    fn judge(&self, frame: Frame) -> Verdict {
        let verdict = self.word.judge(frame, 1, Ghost::at(7));
        self.scribble_if(frame, verdict == Verdict::Evicted);
        verdict
    }

    fn scribble_if(&self, frame: Frame, ours: bool) -> bool {
        if ours {
            // SAFETY: as in `load`.
            self.frames[frame as usize].with_mut(|bytes| unsafe { *bytes = 13 });
        }
        ours
    }
}

#[test]
fn loom_two_readers_and_the_hand() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Main));
        let readers = [(); 2].map(|()| {
            let model = model.clone();
            thread::spawn(move || model.look())
        });
        model.sweep(0);
        model.sweep(0);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn loom_a_page_that_was_waited_for_and_a_reader() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.word.claim(Ghost::NEVER, 0, Start::Main) && model.word.wait());
        let reader = {
            let model = model.clone();
            thread::spawn(move || model.look())
        };
        // SAFETY: as in `load`.
        model.frames[0].with_mut(|bytes| unsafe { *bytes = 42 });
        model.word.publish(0, 2);
        model.word.unpin();
        model.word.unpin();
        reader.join().unwrap();
    });
}

#[test]
fn loom_two_readers_and_who_forgets() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Main));
        let readers = [(); 2].map(|()| {
            let model = model.clone();
            thread::spawn(move || model.look())
        });
        let forgotten = model.word.evict() == Some(0);
        model.scribble_if(0, forgotten);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn loom_a_scan_lets_go_while_others_want_the_page() {
    loom::model(|| {
        let model = Model::new();
        // Read for a scan, which has it pinned.
        assert!(model.word.claim(Ghost::NEVER, 0, Start::Probation));
        // SAFETY: as in `load`.
        model.frames[0].with_mut(|bytes| unsafe { *bytes = 42 });
        assert!(model.word.publish_unwaited(0));
        // One look of the others counts, one does not: a scan's own.
        let others = [1, 0].map(|chances| {
            let model = model.clone();
            thread::spawn(move || model.look_giving(chances))
        });
        // It takes the page with it, and the frame is its own; or the page stays.
        let gone = model.word.unpin_unwanted(0);
        if !model.scribble_if(0, gone) {
            model.word.unpin();
        }
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(model.word.content().is_absent(), gone);
        assert_eq!(model.word.content().pins(), 0);
    });
}

#[test]
fn loom_two_readers_and_the_end_of_probation() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Probation));
        let readers = [(); 2].map(|()| {
            let model = model.clone();
            thread::spawn(move || model.look())
        });
        if model.judge(0) == Verdict::Promoted {
            model.sweep(0);
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// A look that counts as no use does not keep the page, but its last look comes before what is
/// written there next.
#[test]
fn loom_two_looks_that_count_as_nothing_and_the_end_of_probation() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Probation));
        let readers = [(); 2].map(|()| {
            let model = model.clone();
            thread::spawn(move || model.look_giving(0))
        });
        model.judge(0);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn loom_the_hand_a_verdict_and_a_reader() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Probation));
        model.look(); // Used once: to be promoted.
        let hand = {
            let model = model.clone();
            thread::spawn(move || model.sweep(0))
        };
        let reader = {
            let model = model.clone();
            thread::spawn(move || model.look())
        };
        let verdict = model.judge(0);
        let swept = hand.join().unwrap();
        assert!(!(swept && verdict == Verdict::Evicted), "a frame is evicted once");
        reader.join().unwrap();
    });
}

#[test]
fn loom_two_claimants_and_a_reader() {
    loom::model(|| {
        let model = Model::new();
        let claimants = [0, 1].map(|frame| {
            let model = model.clone();
            thread::spawn(move || model.load(frame, Start::Probation))
        });
        model.look();
        let won = claimants.map(|claimant| claimant.join().unwrap());
        assert!(won[0] != won[1], "a page is in one frame");
    });
}

#[test]
fn loom_two_claimants_of_a_ghost() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Probation));
        assert_eq!(model.judge(0), Verdict::Evicted);
        let claimants = [0, 1].map(|frame| {
            let model = model.clone();
            thread::spawn(move || model.load(frame, Start::Main))
        });
        let won = claimants.map(|claimant| claimant.join().unwrap());
        assert!(won[0] != won[1], "a ghost returns once");
    });
}

#[test]
fn loom_evicted_and_loaded_again_elsewhere() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.load(0, Start::Probation));
        let reader = {
            let model = model.clone();
            thread::spawn(move || model.look())
        };
        if model.judge(0) == Verdict::Evicted {
            assert!(model.load(1, Start::Main));
            model.look();
        }
        reader.join().unwrap();
    });
}
