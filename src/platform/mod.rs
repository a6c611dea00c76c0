//! What differs from one operating system to the next: here, who may read a new file.

#[cfg(not(unix))]
mod neither;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use neither::like_any_new_file;
#[cfg(unix)]
pub(crate) use unix::like_any_new_file;
