//! What differs from one operating system to the next.
//!
//! Linux is the first; the other unixes and Windows compile. Each has a file with the same few
//! functions, and nothing else in this crate asks where it runs.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(unix))]
mod neither;
#[cfg(unix)]
mod unix;
#[cfg(all(unix, not(target_os = "linux")))]
mod without_wiping;

#[cfg(target_os = "linux")]
pub(crate) use linux::Mark;
#[cfg(not(unix))]
pub(crate) use neither::{Mark, open_no_link, sync_folder, system_page_bytes};
#[cfg(unix)]
pub(crate) use unix::{open_no_link, sync_folder, system_page_bytes};
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use without_wiping::Mark;
