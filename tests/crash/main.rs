//! A process that writes is killed, at moments drawn at random, or its disk is full: what it was
//! writing is afterwards the old or the new, whole, and the same again succeeds.
//!
//! Each test starts this very executable again (`child`), which says on stdout how far it is. The
//! first run is not killed and is measured; then moments are drawn: half of them from all of the time
//! that the work took, and half from the part of it in which files are written. Twenty a work in a
//! plain `cargo test`, or `RINGPOOL_KILLS=200`.
//!
//! What each step on disk does when it is refused, or is the last: `index/src/tests/crash.rs`.

mod child;
mod full_disk;
mod killed;
mod tree;
