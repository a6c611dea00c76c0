//! What differs from one operating system to the next: memory that is asked of it directly.
//!
//! Linux is the first. The other unixes do without huge pages, and lock at once what Linux locks
//! when it is touched; Windows has the memory of the heap, which it does not take back in parts.

#[cfg(not(unix))]
mod heap;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod mapping;
#[cfg(all(unix, not(target_os = "linux")))]
mod unix;

#[cfg(not(unix))]
pub(crate) use heap::{Mapping, lock_limit_bytes};
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(unix)]
pub(crate) use mapping::{Mapping, lock_limit_bytes};
#[cfg(all(unix, not(target_os = "linux")))]
use unix as system;
