//! The steps by which something gets onto a disk, each of which the system may refuse.
//!
//! Creating, writing, syncing and renaming all go through [`step`]. In a program it does nothing
//! but what is to be done. Tests put a [`Gate`] in between: one that refuses before a step, as a
//! full disk does; that lets it happen and says that it has failed, as an fsync does, or a network
//! disk whose answer is lost; or that ends the process there.

use std::io;

/// Which side of a step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It has not begun.
    Before,
    /// It is done, and its caller does not know yet.
    After,
}

/// Asked on both sides of each step: tests refuse here.
pub(crate) type Gate<'a> = dyn Fn(&'static str, Side) -> io::Result<()> + 'a;

/// Where nobody is tested.
pub(crate) const OPEN: &Gate<'static> = &|_, _| Ok(());

/// Does one thing on disk.
pub(crate) fn step<T>(
    gate: &Gate<'_>,
    doing: &'static str,
    it: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    gate(doing, Side::Before)?;
    let done = it()?;
    gate(doing, Side::After)?;
    Ok(done)
}
