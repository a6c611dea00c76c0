//! Each transition of the word by one thread, and those that there are not.

use super::*;

const NEVER: Ghost = Ghost::NEVER;
const LATER: Ghost = Ghost::at(7);

fn resident(frame: Frame, start: Start) -> Word {
    let word = Word::default();
    assert!(word.claim(NEVER, frame, start) && word.publish_unwaited(frame));
    word
}

fn used(word: &Word, frame: Frame, uses: u64) {
    for _ in 0..uses {
        assert_eq!(word.pin(), Look::Pinned(frame));
        word.unpin();
    }
}

#[test]
fn an_absent_page_can_only_be_claimed() {
    let word = Word::default();
    assert_eq!(word.pin(), Look::Absent(NEVER));
    assert!(!word.wait() && !word.publish_unwaited(0) && !word.fail_unwaited(0));
    assert_eq!(word.sweep(0, 1), Sweep::Passed);
    assert_eq!(word.judge(0, 1, LATER), Verdict::Gone);
    word.promote(0);
    assert_eq!(word.evict(), None);
    assert!(word.content().is_absent());
    assert!(word.claim(NEVER, u32::MAX, Start::Probation));
    assert_eq!(word.content().frame(), u32::MAX);
}

#[test]
fn a_loading_page_is_claimed_once_and_neither_pinned_nor_evicted() {
    for start in [Start::Probation, Start::Main, Start::MainWithChance, Start::MainWithAll] {
        let word = Word::default();
        assert!(word.claim(NEVER, 5, start));
        assert!(!word.claim(NEVER, 6, start));
        assert_eq!((word.pin(), word.look()), (Look::Loading, None));
        assert_eq!(word.sweep(5, 1), Sweep::Passed);
        assert_eq!(word.judge(5, 1, LATER), Verdict::Gone);
        word.promote(5);
        assert_eq!(word.evict(), None);
        assert!(word.content().is_loading());
        assert!(!word.fail_unwaited(6) && word.fail_unwaited(5));
        assert_eq!(word.pin(), Look::Absent(NEVER));
    }
}

#[test]
fn a_waited_page_is_published_with_a_pin_for_each() {
    for start in [Start::Probation, Start::Main, Start::MainWithChance] {
        let word = Word::default();
        assert!(word.claim(NEVER, 5, start) && word.wait() && word.wait());
        assert!(!word.publish_unwaited(5) && !word.fail_unwaited(5), "somebody waits");
        word.publish(5, 3);
        assert_eq!(word.content().pins(), 3);
        (0..3).for_each(|_| word.unpin());
        assert_eq!(word.content().is_on_probation(), start == Start::Probation);
        let spared = word.sweep(5, 1) == Sweep::Spared;
        assert_eq!(spared, start == Start::MainWithChance, "a new page has no chance to lose");
    }
}

#[test]
fn a_pinned_page_stays() {
    for start in [Start::Probation, Start::Main] {
        let word = resident(5, start);
        assert_eq!(word.sweep(5, 1), Sweep::Passed);
        assert!(matches!(word.judge(5, 1, LATER), Verdict::Pinned | Verdict::Gone));
        assert_eq!(word.evict(), None);
        word.unpin();
        assert_eq!(word.sweep(4, 1), Sweep::Passed, "in another frame");
        assert_eq!(word.judge(4, 1, LATER), Verdict::Gone, "in another frame");
        assert_eq!(word.evict(), Some(5));
    }
}

#[test]
fn each_use_gives_a_chance_up_to_the_most() {
    for uses in 0..6 {
        let word = resident(9, Start::Main);
        word.unpin();
        used(&word, 9, uses);
        for _ in 0..uses.min(MAX_CHANCES) {
            assert_eq!(word.sweep(9, 1), Sweep::Spared);
        }
        assert_eq!(word.sweep(9, 1), Sweep::Evicted);
        assert_eq!(word.pin(), Look::Absent(NEVER), "the hand leaves no ghost");
    }
}

#[test]
fn the_hand_may_take_all_chances_at_once() {
    let word = resident(9, Start::MainWithChance);
    word.unpin();
    used(&word, 9, 2);
    assert_eq!(word.sweep(9, MAX_CHANCES), Sweep::Spared);
    assert_eq!(word.sweep(9, MAX_CHANCES), Sweep::Evicted);
}

#[test]
fn probation_ends_by_promotion_or_as_a_ghost() {
    for uses in 0..4 {
        let word = resident(9, Start::Probation);
        assert_eq!(word.judge(9, 2, LATER), Verdict::Pinned);
        word.unpin();
        assert_eq!(word.sweep(9, 1), Sweep::Passed, "it is not the hand's yet");
        used(&word, 9, uses);
        if uses < 2 {
            assert_eq!(word.judge(9, 2, LATER), Verdict::Evicted);
            assert_eq!(word.pin(), Look::Absent(LATER));
            assert!(!word.claim(NEVER, 3, Start::Main), "the caller has seen another ghost");
            assert!(word.claim(LATER, 3, Start::Main) && word.publish_unwaited(3));
            word.unpin();
            assert_eq!(word.judge(3, 2, LATER), Verdict::Gone);
            assert_eq!(word.sweep(3, 1), Sweep::Evicted);
        } else {
            assert_eq!(word.judge(9, 2, LATER), Verdict::Promoted);
            assert_eq!(word.judge(9, 2, LATER), Verdict::Gone);
            assert_eq!(word.sweep(9, 1), Sweep::Evicted, "its chances are spent");
        }
    }
}

#[test]
fn a_page_may_be_promoted_while_it_is_pinned() {
    let word = resident(9, Start::Probation);
    word.promote(8);
    assert!(word.content().is_on_probation(), "in another frame");
    word.promote(9);
    assert!(!word.content().is_on_probation());
    assert_eq!(word.content().pins(), 1);
}

#[test]
fn a_use_gives_as_many_chances_as_it_says() {
    for (given, chances) in [(0, 0), (1, 1), (2, 2), (MAX_CHANCES, 3), (MAX_CHANCES + 2, 3)] {
        let word = resident(9, Start::Main);
        assert_eq!(word.pin_giving(given), Look::Pinned(9));
        (0..2).for_each(|_| word.unpin());
        let spared = (0..).take_while(|_| word.sweep(9, 1) == Sweep::Spared).count();
        assert_eq!(spared, chances, "{given} given");
    }
    for start in [Start::Probation, Start::MainWithAll] {
        let word = resident(9, start);
        if start == Start::Probation {
            word.favour();
        }
        word.unpin();
        assert!(!word.content().is_on_probation());
        let spared = (0..).take_while(|_| word.sweep(9, 1) == Sweep::Spared).count();
        assert_eq!(spared as u64, MAX_CHANCES);
    }
}

#[test]
fn only_what_nobody_else_wants_goes_with_its_last_pin() {
    for start in [Start::Probation, Start::Main] {
        let word = resident(9, start);
        assert!(!word.unpin_unwanted(8), "in another frame");
        assert_eq!(word.pin_giving(0), Look::Pinned(9));
        assert!(!word.unpin_unwanted(9), "somebody else has pinned it");
        word.unpin();
        assert!(word.unpin_unwanted(9), "and wants it no more");
        assert_eq!(word.pin(), Look::Absent(NEVER));
        let word = resident(9, start);
        used(&word, 9, 1);
        assert!(!word.unpin_unwanted(9), "somebody has used it");
        assert_eq!(word.content().pins(), 1);
        let word = resident(9, start);
        assert_eq!(word.look(), Some(9));
        assert!(!word.unpin_unwanted(9), "a reader has looked at it");
    }
}

#[test]
fn a_file_may_keep_a_probation_of_its_own() {
    let word = resident(9, Start::Main);
    assert_eq!(word.judge_own(9, 2, LATER), Verdict::Pinned);
    word.unpin();
    assert_eq!(word.judge_own(8, 2, LATER), Verdict::Gone, "in another frame");
    used(&word, 9, 2);
    assert_eq!(word.judge_own(9, 2, LATER), Verdict::Promoted);
    assert_eq!(word.judge_own(9, 2, LATER), Verdict::Evicted, "its uses are spent");
    assert_eq!(word.pin(), Look::Absent(LATER));
    let word = resident(9, Start::Probation);
    word.unpin();
    assert_eq!(word.judge_own(9, 2, LATER), Verdict::Gone, "it is on the pool's");
}

#[test]
fn pins_do_not_overflow() {
    let word = Word::default();
    assert!(word.claim(NEVER, 1, Start::Probation) && word.wait());
    word.publish(1, MAX_PINS);
    assert_eq!(word.pin(), Look::Full);
    assert_eq!(word.pin_again(), None);
    word.unpin();
    assert_eq!(word.pin_again(), Some(1));
    word.unpin();
    assert_eq!(word.pin(), Look::Pinned(1));
}
