//! Tells a process from its forked children, for the price of a load.
//!
//! A ring, its completions and the frames that they land in stay with the process that made them.
//! A child has copies of the values that stand for them and must not touch what they stand for.

use crate::platform;

/// Made by a process, and found changed by its children: on Linux by a byte that the kernel wipes
/// in them (madvise(2), MADV_WIPEONFORK), on other unixes by the process's number, which costs a
/// call.
pub struct ForkMark(platform::Mark);

impl ForkMark {
    /// Marks the calling process.
    pub fn new() -> Self {
        Self(platform::Mark::new())
    }

    /// Whether this process is a child of the one that made the mark.
    #[inline]
    pub fn is_child(&self) -> bool {
        self.0.is_child()
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, unix))]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn a_child_knows_that_it_is_one() {
        let mark = ForkMark::new();
        assert!(!mark.is_child());
        // SAFETY: the child calls nothing that another thread's lock could block: it reads a byte
        // and leaves.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(if mark.is_child() { 7 } else { 8 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(!mark.is_child(), "the parent is still itself");
    }
}
