//! The runs of adjacent pages in a batch: what one `MADV_WILLNEED` can ask for.

use std::ops::RangeInclusive;

use ringpool_storage::PageNo;

/// The runs of adjacent pages in `pages`, as ranges of page numbers, in the order of the list.
///
/// An ascending list, duplicates included, gives the fewest runs; any other list is covered too,
/// only with more of them. Nothing is allocated or sorted.
pub(crate) fn runs(pages: &[PageNo]) -> impl Iterator<Item = RangeInclusive<u64>> {
    let continues = |a: &PageNo, b: &PageNo| b.0 == a.0 || a.0.checked_add(1) == Some(b.0);
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

    fn runs_of(pages: &[u64]) -> Vec<RangeInclusive<u64>> {
        let pages: Vec<PageNo> = pages.iter().copied().map(PageNo).collect();
        runs(&pages).collect()
    }

    #[test]
    fn adjacent_pages_are_one_run() {
        assert_eq!(runs_of(&[]), []);
        assert_eq!(runs_of(&[5]), [5..=5]);
        assert_eq!(runs_of(&[1, 2, 2, 3, 7, 8, 10]), [1..=3, 7..=8, 10..=10]);
        assert_eq!(runs_of(&[3, 2, 1]), [3..=3, 2..=2, 1..=1]);
        assert_eq!(runs_of(&[u64::MAX - 1, u64::MAX, 0]), [u64::MAX - 1..=u64::MAX, 0..=0]);
    }

    proptest! {
        #[test]
        fn runs_cover_the_pages_and_nothing_else(pages in prop::collection::vec(0u64..40, 0..60)) {
            let covered: BTreeSet<u64> = runs_of(&pages).into_iter().flatten().collect();
            prop_assert_eq!(covered, BTreeSet::from_iter(pages));
        }

        #[test]
        fn an_ascending_list_gives_the_fewest_runs(pages in prop::collection::btree_set(0u64..60, 0..40)) {
            let gaps = pages.iter().filter(|page| !pages.contains(&(*page + 1))).count();
            prop_assert_eq!(runs_of(&pages.into_iter().collect::<Vec<_>>()).len(), gaps);
        }
    }
}
