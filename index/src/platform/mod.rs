//! What differs from one operating system to the next: how a folder is renamed without
//! replacing and locked, and a file dropped from the page cache.
//!
//! Linux is the first. The other unixes have most of it; what a system has not is done without,
//! and its file says what that costs.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(unix))]
mod neither;
#[cfg(unix)]
mod unix;
#[cfg(all(unix, not(target_os = "linux")))]
mod without_advice;

#[cfg(target_os = "linux")]
pub(crate) use linux::{forget_pages, has_locks_of_all, rename_to_nothing, wish_for_huge_pages};
#[cfg(not(unix))]
pub(crate) use neither::*;
#[cfg(unix)]
pub(crate) use unix::{is_at, locked, new_folder, open_to_lock};
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use without_advice::{
    forget_pages, has_locks_of_all, rename_to_nothing, wish_for_huge_pages,
};
