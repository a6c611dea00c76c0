//! What differs from one operating system to the next: how a file is opened and read past the page
//! cache, and whether there is a ring at all.
//!
//! Only Linux has io_uring and direct reads as they are used here. Elsewhere the same few functions
//! are there, the ring is one that is [refused](no_ring) when it is set up, and the ladder of `rung`
//! ends at blocking reads. So no other file of this crate asks where it runs.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod no_ring;
#[cfg(all(unix, not(target_os = "linux")))]
mod unix;
#[cfg(not(unix))]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::kernel_features;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(not(target_os = "linux"))]
pub use no_ring::kernel_features;
#[cfg(not(target_os = "linux"))]
pub(crate) use no_ring::*;
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use unix::*;
#[cfg(not(unix))]
pub(crate) use windows::*;

/// A read's result as a ring gives it: how many bytes, or the system's error, negated.
#[cfg(not(target_os = "linux"))]
fn as_of_a_ring(result: std::io::Result<usize>) -> i32 {
    match result {
        // No more is asked for than fits.
        Ok(bytes) => bytes as i32,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}
