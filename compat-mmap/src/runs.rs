//! The runs of pages in a batch: what one `MADV_WILLNEED` can ask for.

use std::ops::RangeInclusive;

use ringpool_storage::PageNo;

/// The runs in `pages` of pages that follow each other with at most `gap` others between two, as
/// ranges of page numbers, in the order of the list.
///
/// An ascending list, duplicates included, gives the fewest runs; any other list is covered too,
/// only with more of them. Nothing is allocated or sorted.
pub(crate) fn runs(pages: &[PageNo], gap: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
    let continues = move |a: &PageNo, b: &PageNo| {
        b.0.checked_sub(a.0).is_some_and(|apart| apart.saturating_sub(1) <= gap)
    };
    pages.chunk_by(continues).map(|run| {
        // `chunk_by` never gives an empty run.
        run[0].0..=run[run.len() - 1].0
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn runs_of(pages: &[u64], gap: u64) -> Vec<RangeInclusive<u64>> {
        let pages: Vec<PageNo> = pages.iter().copied().map(PageNo).collect();
        runs(&pages, gap).collect()
    }

    #[test]
    fn adjacent_pages_are_one_run_and_so_are_those_with_a_small_gap() {
        assert_eq!(runs_of(&[], 0), []);
        assert_eq!(runs_of(&[5], 0), [5..=5]);
        assert_eq!(runs_of(&[1, 2, 2, 3, 7, 8, 10], 0), [1..=3, 7..=8, 10..=10]);
        assert_eq!(runs_of(&[1, 2, 2, 3, 7, 8, 10], 1), [1..=3, 7..=10]);
        assert_eq!(runs_of(&[3, 2, 1], 1), [3..=3, 2..=2, 1..=1]);
        assert_eq!(runs_of(&[u64::MAX - 1, u64::MAX, 0], 1), [u64::MAX - 1..=u64::MAX, 0..=0]);
    }

    proptest! {
        #[test]
        fn runs_cover_the_pages_and_small_gaps_alone(
            pages in prop::collection::vec(0u64..40, 0..60),
            gap in 0u64..4,
        ) {
            let covered: BTreeSet<u64> = runs_of(&pages, gap).into_iter().flatten().collect();
            let asked = BTreeSet::from_iter(pages);
            prop_assert!(covered.is_superset(&asked));
            for page in &covered {
                let before = asked.range(..=page).next_back();
                let after = asked.range(page..).next();
                let (Some(before), Some(after)) = (before, after) else {
                    panic!("{page} is beyond those that were asked for");
                };
                prop_assert!((after - before).saturating_sub(1) <= gap);
            }
        }

        #[test]
        fn an_ascending_list_gives_the_fewest_runs(
            pages in prop::collection::btree_set(0u64..60, 0..40),
            gap in 0u64..4,
        ) {
            let is_last = |page: u64| (page + 1..=page + 1 + gap).all(|next| !pages.contains(&next));
            let lasts = pages.iter().filter(|&&page| is_last(page)).count();
            let runs = runs_of(&pages.iter().copied().collect::<Vec<_>>(), gap);
            prop_assert_eq!(runs.len(), lasts);
        }
    }
}
