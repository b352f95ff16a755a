//! The messages that a session's task has taken in and its owner has not taken out.

use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::error::Error;
use crate::line::Line;
use crate::message::Message;

/// What came and was not taken.
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    max_messages: usize,
    max_bytes: usize,
}

pub(super) struct InboxState {
    messages: Line<Message>,
    bytes: usize,
    pub(super) audience: Audience,
    /// Set when nothing more comes; an error is given out once.
    ended: Option<Result<(), Error>>,
    pub(super) round_trip: Option<Duration>,
    session: Option<Waker>,
    /// The task, if it waits for room.
    task: Option<Waker>,
}

/// How much more an inbox takes.
#[derive(Clone, Copy)]
pub(super) enum Room {
    None,
    Some { messages: usize, bytes: usize },
}

impl Room {
    /// Whether there was room; the message that uses the last byte up is still taken, however
    /// large.
    pub(super) const fn take(&mut self, len: usize) -> bool {
        let Self::Some { messages, bytes } = *self else {
            return false;
        };
        *self = if messages > 1 && bytes > len {
            Self::Some {
                messages: messages - 1,
                bytes: bytes - len,
            }
        } else {
            Self::None
        };
        true
    }
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

impl InboxState {
    fn pop_front(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

impl Inbox {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::new(InboxState {
                messages: Line::new(),
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
        self.poll_take(cx, InboxState::pop_front)
    }

    /// Takes all messages there are, `limit` at most, and says how many.
    pub(super) fn poll_recv_many(
        &self,
        cx: &mut Context<'_>,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Poll<Result<usize, Error>> {
        if limit == 0 {
            return Poll::Ready(Ok(0));
        }
        let taken = ready!(self.poll_take(cx, |state| {
            let before = messages.len();
            messages.extend(iter::from_fn(|| state.pop_front()).take(limit));
            (messages.len() > before).then(|| messages.len() - before)
        }));
        Poll::Ready(taken.map(Option::unwrap_or_default))
    }

    fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut InboxState) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        let mut state = self.lock();
        if let Some(taken) = take(&mut state) {
            if state.messages.is_empty() {
                state.messages.keep_room(usize::MAX);
            }
            wake(state.task.take(), state);
            return Poll::Ready(Ok(Some(taken)));
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

    /// Adds messages, if somebody listens; leaves `messages` empty.
    pub(super) fn extend(&self, messages: &mut Line<Message>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.audience != Audience::Listening {
            drop(state);
            *messages = Line::new();
            return;
        }
        state.bytes += messages.iter().map(Message::len).sum::<usize>();
        let count = messages.len();
        if state.messages.is_empty() {
            std::mem::swap(&mut state.messages, messages);
        } else {
            while let Some(message) = messages.pop_front() {
                state.messages.push_back(message);
            }
        }
        messages.keep_room(count);
        wake(state.session.take(), state);
    }

    /// For how much more there is room; pending if for nothing.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Room> {
        let mut state = self.lock();
        let messages = self.max_messages.saturating_sub(state.messages.len());
        let bytes = self.max_bytes.saturating_sub(state.bytes);
        if messages > 0 && bytes > 0 || state.messages.is_empty() {
            return Poll::Ready(Room::Some { messages, bytes });
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
