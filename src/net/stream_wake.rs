//! Whether a session's task was woken by anything but its outbox.

use std::sync::{Arc, PoisonError};
#[cfg(not(wsroom_loom))]
use std::sync::{Mutex, MutexGuard};
use std::task::{Wake, Waker};

#[cfg(wsroom_loom)]
use loom::sync::{Mutex, MutexGuard};

/// Wakes a session's task for its stream, its clock or its inbox, and tells that from a wake by its
/// outbox, after which there is nothing to read: that halves what a broadcast costs a member.
pub(super) struct StreamWake(Mutex<Calls>);

struct Calls {
    was_called: bool,
    task: Option<Waker>,
}

impl StreamWake {
    /// Of a task that has looked at nothing yet.
    pub(super) fn new() -> Self {
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

/// Calls beside polls, in all their interleavings. For `tests/sanitize`, which sets the flag that puts
/// loom's types in place of std's.
#[cfg(all(test, wsroom_loom))]
mod tests {
    use std::sync::atomic::AtomicBool as Called;

    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::*;

    #[test]
    fn a_call_beside_three_polls_is_seen_or_calls_the_waker_of_the_last() {
        loom::model(|| call_beside_polls::<1>(3));
    }

    #[test]
    fn of_two_calls_beside_two_polls_each_is_seen_or_calls_the_waker_of_the_last() {
        loom::model(|| call_beside_polls::<2>(2));
    }

    /// Each thread has news and calls once; the task is polled meanwhile, as by its outbox, each time
    /// with another waker.
    fn call_beside_polls<const THREADS: usize>(polls: usize) {
        let wake = Arc::new(StreamWake::new());
        let news = [(); THREADS].map(|()| Arc::new(AtomicBool::new(false)));
        let callers = news.clone().map(|news| {
            let wake = Arc::clone(&wake);
            thread::spawn(move || {
                // Relaxed: who sees the call has to see this too.
                news.store(true, Ordering::Relaxed);
                wake.wake_by_ref();
            })
        });

        let mut has_seen = [false; THREADS];
        let mut look = || {
            for (has_seen, news) in has_seen.iter_mut().zip(&news) {
                *has_seen |= news.load(Ordering::Relaxed);
            }
        };
        let mut last = Arc::new(Task::default());
        for _ in 0..polls {
            last = Arc::new(Task::default());
            if wake.begin(&Waker::from(Arc::clone(&last))) {
                look();
            }
        }
        for caller in callers {
            caller.join().unwrap();
        }

        if last.0.load(Ordering::Relaxed) && wake.begin(Waker::noop()) {
            look();
        }
        assert_eq!(has_seen, [true; THREADS]);
        wake.begin(Waker::noop());
        assert!(!wake.begin(Waker::noop()), "nobody called since");
    }

    /// Remembers whether it was called. Not loom's atomic: it is read when all is over.
    #[derive(Default)]
    struct Task(Called);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
