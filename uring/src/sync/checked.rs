//! What the model checker has no version of.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Condvar, Mutex};

/// In the place of crossbeam's queue, which the checker cannot look into. It promises less: that
/// it is empty is seen without synchronising with anybody, and may be old news.
pub(crate) struct ArrayQueue<T> {
    content: Mutex<VecDeque<T>>,
    len: AtomicUsize,
    room: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(room: usize) -> Self {
        Self { content: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0), room }
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut content = self.content.lock().unwrap();
        if content.len() == self.room {
            return Err(item);
        }
        content.push_back(item);
        self.len.store(content.len(), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut content = self.content.lock().unwrap();
        let item = content.pop_front();
        self.len.store(content.len(), Ordering::Relaxed);
        item
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }
}

/// Parking. The checker's own forgets that a thread was unparked when the thread takes a mutex
/// before it parks.
pub(crate) mod thread {
    use super::{Condvar, Mutex};
    pub(crate) use loom::thread::{ThreadId, yield_now};
    use std::sync::Arc;

    loom::thread_local! {
        static CURRENT: Thread = Thread {
            id: loom::thread::current().id(),
            token: Arc::new((Mutex::new(false), Condvar::new())),
        };
    }

    #[derive(Clone)]
    pub(crate) struct Thread {
        id: ThreadId,
        token: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Thread {
        pub(crate) fn id(&self) -> ThreadId {
            self.id
        }

        pub(crate) fn unpark(&self) {
            let (token, given) = &*self.token;
            *token.lock().unwrap() = true;
            given.notify_one();
        }
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn park() {
        let thread = current();
        let (token, given) = &*thread.token;
        let mut token = token.lock().unwrap();
        while !*token {
            token = given.wait(token).unwrap();
        }
        *token = false;
    }
}
