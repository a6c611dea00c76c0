//! What threads share: the atomics, locks and parking that a checker may replace.
//!
//! `--cfg loom` puts loom's in their place, for models of a word, an epoch or a list in every
//! interleaving. `--cfg shuttle` replaces everything by which a thread can wait or be waited for, so
//! that a whole pool runs under a scheduler that draws who goes on at each step.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(loom)]
pub(crate) use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
#[cfg(shuttle)]
pub(crate) use shuttle::thread;
#[cfg(not(loom))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(loom)]
use loom::sync as checked;
#[cfg(shuttle)]
use shuttle::sync as checked;

/// What is set up once. The checker's atomics may be made at any time; its models make what they
/// need before their threads start.
#[cfg(loom)]
pub(crate) struct OnceLock<T>(std::sync::OnceLock<T>);

#[cfg(loom)]
impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}

/// The checker's lock, without its poison.
#[cfg(any(loom, shuttle))]
pub(crate) struct Mutex<T>(checked::Mutex<T>);

#[cfg(any(loom, shuttle))]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checked::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no model panics under a lock")
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    /// There are no clocks in a model: to wait for a while is to try.
    pub(crate) fn try_lock_for(&self, _patience: std::time::Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock()
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.try_lock().is_none()
    }
}

#[cfg(any(loom, shuttle))]
impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The checker's lock, without its poison.
#[cfg(any(loom, shuttle))]
pub(crate) struct RwLock<T>(checked::RwLock<T>);

#[cfg(any(loom, shuttle))]
impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect("no model panics under a lock")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect("no model panics under a lock")
    }
}

#[cfg(any(loom, shuttle))]
impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self(checked::RwLock::new(T::default()))
    }
}
