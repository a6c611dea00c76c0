//! The pool over disks that go wrong: what it promises then, and that it keeps it.

mod disk;
mod million;
mod one_at_a_time;
mod rings;
