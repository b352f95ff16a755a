//! Whether a session's task was woken by anything but its outbox.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Wakes a session's task for its stream, its clock or its inbox, and tells that from a wake by its
/// outbox, after which there is nothing to read: that halves what a broadcast costs a member.
pub(super) struct StreamWake(Mutex<Calls>);

struct Calls {
    was_called: bool,
    task: Option<Waker>,
}

impl StreamWake {
    /// Of a task that has looked at nothing yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Calls {
            was_called: true,
            task: None,
        }))
    }

    /// Begins a poll of the task; whether it was called since the last one began.
    pub(super) fn begin(&self, task: &Waker) -> bool {
        let mut calls = self.lock();
        match &mut calls.task {
            Some(known) => known.clone_from(task),
            None => calls.task = Some(task.clone()),
        }
        std::mem::take(&mut calls.was_called)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for StreamWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut calls = self.lock();
        calls.was_called = true;
        let task = calls.task.clone();
        drop(calls);
        if let Some(task) = task {
            task.wake();
        }
    }
}
