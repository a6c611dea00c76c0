//! What differs from one operating system to the next: what can be told it about a mapping.
//!
//! Linux is the first. Other unixes take most of the advice; elsewhere a mapping is a mapping and
//! no more.

#[cfg(not(unix))]
mod neither;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use neither::*;
#[cfg(unix)]
pub(crate) use unix::*;
