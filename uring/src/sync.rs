//! What the model checker may replace: the atomics, the queues and the parking of the protocols.

#[cfg(loom)]
mod checked;

#[cfg(loom)]
pub(crate) use checked::{ArrayQueue, thread};
#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(loom)]
pub(crate) use loom::sync::Mutex;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

#[cfg(not(loom))]
pub(crate) use crossbeam_queue::ArrayQueue;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(not(loom))]
pub(crate) use std::{sync::Mutex, thread};

/// The standard cell by the interface of the checked one, which sees who is in it at once.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(content: T) -> Self {
        Self(std::cell::UnsafeCell::new(content))
    }

    #[inline]
    pub(crate) fn with_mut<A>(&self, act: impl FnOnce(*mut T) -> A) -> A {
        act(self.0.get())
    }
}
