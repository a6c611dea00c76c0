//! Ghosts: what is remembered of a page that is not in memory.
//!
//! A page that leaves probation for want of use may be asked for again soon after: then its
//! probation was too short, and it is spared a second one. To know that, it is enough to know
//! when it left. Its own word in the page table has room for that as long as the page is absent,
//! so that ghosts cost no memory, no look-up, and no list that somebody must keep short.
//!
//! Time is counted in evictions. A ghost fades when as many pages have been evicted after it as
//! the pool has frames.

/// When an absent page was evicted, if that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ghost(u64);

impl Ghost {
    /// The bits that a ghost takes of its word: at a million evictions a second they last for two
    /// thousand years.
    pub(crate) const BITS: u64 = (1 << 56) - 1;

    /// No ghost: the page was never evicted, or that is forgotten.
    pub(crate) const NEVER: Self = Self(0);

    /// The ghost of a page that was evicted after `evictions` others.
    pub(crate) const fn at(evictions: u64) -> Self {
        Self((evictions + 1) & Self::BITS)
    }

    /// What `bits` stood for; see [`bits`](Self::bits).
    pub(crate) fn of_bits(bits: u64) -> Self {
        debug_assert!(bits & !Self::BITS == 0, "{bits:#x} is no ghost");
        Self(bits)
    }

    /// The ghost as the word of an absent page: zero where there is none.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Whether fewer than `span` pages have been evicted since, of `evictions` in all.
    pub(crate) fn is_fresher_than(self, span: u64, evictions: u64) -> bool {
        // A ghost may be a few evictions ahead of a count that several threads add to.
        self != Self::NEVER && evictions.saturating_sub(self.0 - 1) < span
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_fades() {
        assert!(!Ghost::NEVER.is_fresher_than(u64::MAX, 0));
        for at in [0, 1, 1000] {
            let ghost = Ghost::of_bits(Ghost::at(at).bits());
            assert_ne!(ghost, Ghost::NEVER);
            assert!(ghost.is_fresher_than(10, at) && ghost.is_fresher_than(10, at + 9));
            assert!(!ghost.is_fresher_than(10, at + 10));
            assert!(ghost.is_fresher_than(10, at.saturating_sub(3)), "ahead of the count");
        }
    }
}
