//! Whether a session's task was woken by anything but its outbox.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Wakes a session's task for its stream, its clock or its inbox, and tells that from a wake by its
/// outbox, after which there is nothing to read: that halves what a broadcast costs a member.
pub(super) struct StreamWake {
    was_called: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl StreamWake {
    /// Of a task that has looked at nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            was_called: AtomicBool::new(true),
            task: Mutex::new(None),
        }
    }

    /// Begins a poll of the task; whether it was called since the last one began.
    pub(super) fn begin(&self, task: &Waker) -> bool {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(task),
            None => *known = Some(task.clone()),
        }
        drop(known);
        // Last: a call that has found the waker of before holds the lock after it has said so, and
        // is seen here; one that comes later finds this waker.
        self.was_called.swap(false, Ordering::AcqRel)
    }
}

impl Wake for StreamWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.was_called.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task.clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}
