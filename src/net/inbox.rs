//! The messages that a session's task has taken in and its owner has not taken out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::error::Error;
use crate::message::Message;

/// What came and was not taken.
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    max_messages: usize,
    max_bytes: usize,
}

pub(super) struct InboxState {
    messages: VecDeque<Message>,
    bytes: usize,
    pub(super) audience: Audience,
    /// Set when nothing more comes; an error is given out once.
    ended: Option<Result<(), Error>>,
    pub(super) round_trip: Option<Duration>,
    session: Option<Waker>,
    /// The task, if it waits for room.
    task: Option<Waker>,
}

/// Who takes the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Listening,
    /// Nobody, and it is meant so.
    Ignoring,
    /// Nobody any more.
    Gone,
}

impl Inbox {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::new(InboxState {
                messages: VecDeque::new(),
                bytes: 0,
                audience: Audience::Listening,
                ended: None,
                round_trip: None,
                session: None,
                task: None,
            }),
            max_messages,
            max_bytes,
        }
    }

    /// No code that can panic runs while the lock is held, but for allocation.
    pub(super) fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next message; then what ended the connection, once.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let mut state = self.lock();
        if let Some(message) = state.messages.pop_front() {
            state.bytes -= message.len();
            if state.messages.is_empty() && state.messages.capacity() > KEPT {
                state.messages = VecDeque::new();
            }
            wake(state.task.take(), state);
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(ended) = &mut state.ended {
            let ended = std::mem::replace(ended, Ok(()));
            return Poll::Ready(ended.map(|()| None));
        }
        match &mut state.session {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.session = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Adds a message, if somebody listens.
    pub(super) fn push(&self, message: Message) {
        let mut state = self.lock();
        if state.audience != Audience::Listening {
            return;
        }
        state.bytes += message.len();
        state.messages.push_back(message);
        wake(state.session.take(), state);
    }

    /// `Ready` when another message can be taken in.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let full = state.messages.len() >= self.max_messages || state.bytes >= self.max_bytes;
        if !full || state.messages.is_empty() {
            return Poll::Ready(());
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Says who listens from now on; what waits is dropped.
    pub(super) fn set_audience(&self, audience: Audience) {
        let mut state = self.lock();
        state.audience = audience;
        let dropped = std::mem::take(&mut state.messages);
        state.bytes = 0;
        wake(state.task.take(), state);
        drop(dropped);
    }

    /// Says that nothing more comes; the first call counts.
    pub(super) fn finish(&self, ended: Result<(), Error>) {
        let mut state = self.lock();
        state.ended.get_or_insert(ended);
        wake(state.session.take(), state);
    }
}

/// Wakes after the lock was given back.
fn wake(waker: Option<Waker>, state: MutexGuard<'_, InboxState>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// An empty inbox keeps room for this many messages, to save the next ones an allocation.
const KEPT: usize = 16;
