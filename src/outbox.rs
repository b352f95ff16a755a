//! The bounded queue of messages between many senders and the one task that owns a connection.
//!
//! [`Outbox`] is the end of the senders: cheap to clone, usable from any task or thread.
//! [`OutboxReader`] is the end of the task; a [`Session`](crate::Session) has one, and whoever
//! drives a [`Connection`](crate::Connection) by other means can have one too. No runtime is
//! needed.
//!
//! ```text
//!   Outbox ─┐
//!   Outbox ─┼─▶ queue, at most so many messages and bytes ─▶ OutboxReader ─▶ Connection
//!   Outbox ─┘                                                     │
//!      ▲                    written, closed                       │
//!      └──────────────────────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::close::CloseFrame;
use crate::limits::{Bound, InForce};
use crate::message::Message;
use crate::protocol::{CloseInfo, PreparedMessage};

/// How much may wait in an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    pub(crate) max_messages: usize,
    pub(crate) max_bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            max_messages: 4096,
            max_bytes: 1 << 20,
        }
    }
}

impl OutboxLimits {
    /// How many messages may wait: 4096.
    #[must_use]
    pub const fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// How many bytes of payload may wait: 1 MiB. A larger message is taken if nothing else waits.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The limits in force as a list, to print or to look through.
    pub fn in_force(&self) -> InForce {
        InForce::new(
            "OutboxLimits",
            [
                ("max_messages", Bound::count(self.max_messages)),
                ("max_bytes", Bound::bytes(self.max_bytes)),
            ],
        )
    }
}

/// Makes an outbox: the end of the senders, and the end of the connection.
///
/// # Examples
///
/// ```
/// use std::task::{Context, Poll, Waker};
/// use wsroom::outbox::{self, OutboxLimits, TrySendError};
///
/// let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(2));
/// outbox.try_send("one")?;
/// outbox.try_send("two")?;
/// assert_eq!(outbox.try_send("three"), Err(TrySendError::Full));
///
/// let mut batch = std::collections::VecDeque::new();
/// let taken = reader.poll_take(&mut Context::from_waker(Waker::noop()), usize::MAX, &mut batch);
/// assert!(taken.is_ready());
/// assert_eq!(batch.len(), 2);
/// # Ok::<(), TrySendError>(())
/// ```
pub fn channel(limits: OutboxLimits) -> (Outbox, OutboxReader) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue::default()),
        limits,
        progress: Notify::new(),
    });
    let reader = OutboxReader {
        shared: Arc::clone(&shared),
    };
    (Outbox { shared }, reader)
}

/// The sending end of a connection that a task of its own drives. Clones send to the same
/// connection; what one task sends arrives in its order.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

/// The end of an [`Outbox`] that belongs to the connection. Dropping it closes the outbox.
pub struct OutboxReader {
    shared: Arc<Shared>,
}

/// A message that was taken from an outbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outgoing {
    /// For this connection only.
    Message(Message),
    /// Encoded for several connections.
    Prepared(PreparedMessage),
}

/// What [`OutboxReader::poll_take`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The batch has grown.
    Messages,
    /// Everything was taken, and the connection is to be closed with this Close.
    Close(Option<CloseFrame>),
}

/// A message was not put into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrySendError {
    /// The outbox is full: the peer does not keep up.
    Full,
    /// The connection is closed, or told to close.
    Closed,
}

/// The connection was closed, or told to close, before the message was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutboxClosed;

struct Shared {
    queue: Mutex<Queue>,
    limits: OutboxLimits,
    /// Notified when room was made, messages were written, or the connection closed.
    progress: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// How many messages were ever put in, taken out, and written.
    queued: u64,
    taken: u64,
    written: u64,
    /// Those that were put in after so many were dropped.
    kept: Option<u64>,
    close: CloseOrder,
    closed: Option<Box<CloseInfo>>,
    reader_gone: bool,
    reader: Option<Waker>,
    /// The reader has no room for messages, and waits for an order to close only.
    reader_is_behind: bool,
}

#[derive(Default)]
enum CloseOrder {
    #[default]
    None,
    /// After what is queued.
    Ordered(Option<CloseFrame>),
    Taken,
}

impl Outbox {
    /// Puts a message in, if there is room for it: a [`Message`], anything that makes one, or a
    /// [`PreparedMessage`]. It is written together with what else waits, without another call.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`], or [`TrySendError::Closed`].
    pub fn try_send(&self, message: impl Into<Outgoing>) -> Result<(), TrySendError> {
        self.push(&mut Some(message.into()))
    }

    /// Waits for room and puts a message in. It is written together with what else waits, without
    /// another call; to know when, [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`OutboxClosed`] if the connection is closed, or told to close.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has not put the message in.
    pub async fn send(&self, message: impl Into<Outgoing>) -> Result<(), OutboxClosed> {
        let mut message = Some(message.into());
        match self.push(&mut message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed) => Err(OutboxClosed),
            // On the heap: it is rare, and would double the future of every sender.
            Err(TrySendError::Full) => Box::pin(self.push_when_room(message)).await,
        }
    }

    /// Waits until all that was put in before was written, that is, handed to the operating
    /// system. The peer may still not get it.
    ///
    /// # Errors
    ///
    /// [`OutboxClosed`] if the connection closed, or was told to close, before it was written.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves nothing behind.
    pub async fn flush(&self) -> Result<(), OutboxClosed> {
        let last = self.shared.lock().queued;
        self.wait(|queue| {
            if queue.written >= last {
                Some(Ok(()))
            } else if queue.is_closed() || queue.kept.is_some_and(|kept| last > kept) {
                Some(Err(OutboxClosed))
            } else {
                None
            }
        })
        .await
    }

    /// Closes the connection after what is queued was written, with a code and reason or with an
    /// empty Close (§7.1.2). Nothing can be put in any more; only the first order to close counts.
    pub fn close(&self, frame: impl Into<Option<CloseFrame>>) {
        let mut queue = self.shared.lock();
        if matches!(queue.close, CloseOrder::None) {
            queue.close = CloseOrder::Ordered(frame.into());
            self.shared.wake_all(queue);
        }
    }

    /// Drops what is queued and closes the connection: for a peer that does not keep up. Overtakes
    /// an order to close that still waits behind the queue. `false` if nothing could be put in
    /// before either.
    pub fn evict(&self, frame: impl Into<Option<CloseFrame>>) -> bool {
        let mut queue = self.shared.lock();
        let first = !queue.refuses();
        if matches!(queue.close, CloseOrder::Taken) {
            return first;
        }
        queue.close = CloseOrder::Ordered(frame.into());
        queue.kept = Some(queue.taken);
        queue.bytes = 0;
        let dropped = std::mem::take(&mut queue.messages);
        self.shared.wake_all(queue);
        drop(dropped);
        first
    }

    /// Waits until the connection is closed, whichever side closed it, and says how it ended. That
    /// is `None` if its task was dropped before.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves nothing behind.
    pub async fn closed(&self) -> Option<CloseInfo> {
        self.wait(|queue| queue.is_closed().then(|| queue.close_info()))
            .await
    }

    /// How the connection ended, if it has.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared.lock().close_info()
    }

    /// Whether the connection is closed, or told to close: nothing can be put in.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().refuses()
    }

    /// How many messages and how many bytes of payload wait.
    pub fn queued(&self) -> (usize, usize) {
        let queue = self.shared.lock();
        (queue.messages.len(), queue.bytes)
    }

    /// How much may wait.
    pub fn limits(&self) -> OutboxLimits {
        self.shared.limits
    }

    /// Whether both send to the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    #[cold]
    async fn push_when_room(&self, mut message: Option<Outgoing>) -> Result<(), OutboxClosed> {
        self.wait(|queue| match queue.push(self.limits(), &mut message) {
            Ok(()) => Some(Ok(())),
            Err(TrySendError::Full) => None,
            Err(TrySendError::Closed) => Some(Err(OutboxClosed)),
        })
        .await
    }

    /// Puts a message in, and wakes the reader. The message is left where it is if it is refused.
    #[inline]
    fn push(&self, outgoing: &mut Option<Outgoing>) -> Result<(), TrySendError> {
        let mut queue = self.shared.lock();
        queue.push(self.shared.limits, outgoing)?;
        let reader = queue.wakes_reader();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Waits until `check` finds what it looks for; asks it again after each progress.
    async fn wait<T>(&self, mut check: impl FnMut(&mut Queue) -> Option<T>) -> T {
        loop {
            // Made before the check, so that no progress is missed between the two.
            let progress = self.shared.progress.notified();
            {
                let mut queue = self.shared.lock();
                if let Some(found) = check(&mut queue) {
                    let reader = queue.wakes_reader();
                    drop(queue);
                    if let Some(reader) = reader {
                        reader.wake();
                    }
                    return found;
                }
            }
            progress.await;
        }
    }
}

impl OutboxReader {
    /// Takes messages into `batch` until they make `budget` bytes, at least one; when there is
    /// none, gives the order to close, once.
    ///
    /// Pending means that the task is woken when something was put in.
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        budget: usize,
        batch: &mut VecDeque<Outgoing>,
    ) -> Poll<Taken> {
        let mut queue = self.shared.lock();
        if queue.messages.is_empty() {
            if let CloseOrder::Ordered(frame) = &mut queue.close {
                let frame = frame.take();
                queue.close = CloseOrder::Taken;
                return Poll::Ready(Taken::Close(frame));
            }
            queue.wait(cx, false);
            return Poll::Pending;
        }
        if batch.is_empty() && queue.bytes <= budget {
            queue.taken += queue.messages.len() as u64;
            queue.bytes = 0;
            std::mem::swap(&mut queue.messages, batch);
        } else {
            queue.take(budget, batch);
        }
        if queue.messages.is_empty() {
            keep_room(&mut queue.messages, KEPT);
        }
        drop(queue);
        self.shared.progress.notify_waiters();
        Poll::Ready(Taken::Messages)
    }

    /// Waits for an order to close, whatever else is queued: for a connection that has no room for
    /// messages, but must not go on for ever if it is told to close.
    ///
    /// Pending means that the task is woken by the order, and not by a message.
    pub fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.shared.lock();
        if !matches!(queue.close, CloseOrder::None) {
            return Poll::Ready(());
        }
        queue.wait(cx, true);
        Poll::Pending
    }

    /// How many messages were taken so far.
    pub fn taken(&self) -> u64 {
        self.shared.lock().taken
    }

    /// Says that the first `messages` ever taken have been written.
    pub fn written(&mut self, messages: u64) {
        let mut queue = self.shared.lock();
        debug_assert!(messages <= queue.taken);
        if messages > queue.written {
            queue.written = messages;
            drop(queue);
            self.shared.progress.notify_waiters();
        }
    }

    /// Says how the connection ended: nothing more will be taken.
    pub fn finish(&mut self, info: CloseInfo) {
        self.shared
            .lock()
            .closed
            .get_or_insert_with(|| Box::new(info));
        self.end();
    }

    fn end(&self) {
        let mut queue = self.shared.lock();
        queue.reader_gone = true;
        queue.bytes = 0;
        // The waker too: it would keep the memory of the connection's task for as long as anyone
        // has an outbox.
        let dropped = (std::mem::take(&mut queue.messages), queue.reader.take());
        drop(queue);
        self.shared.progress.notify_waiters();
        drop(dropped);
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        self.end();
    }
}

/// Leaves an empty queue room for as many messages as it had, to save the next ones an allocation;
/// but a connection that waits is not to keep what it needed once.
pub(crate) fn keep_room<T>(queue: &mut VecDeque<T>, had: usize) {
    let kept = had.min(KEPT);
    if queue.capacity() > 2 * kept {
        queue.shrink_to(kept);
    }
}

/// An empty queue keeps room for twice as many messages at most.
pub(crate) const KEPT: usize = 16;

impl Shared {
    /// No code that can panic runs while the lock is held, but for allocation.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self, mut queue: MutexGuard<'_, Queue>) {
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        self.progress.notify_waiters();
    }
}

impl Queue {
    /// Puts a message in; the reader is to be woken afterwards. The message is left where it is if
    /// it is refused.
    #[inline]
    fn push(
        &mut self,
        limits: OutboxLimits,
        outgoing: &mut Option<Outgoing>,
    ) -> Result<(), TrySendError> {
        if self.refuses() {
            return Err(TrySendError::Closed);
        }
        let len = outgoing.as_ref().map_or(0, Outgoing::len);
        let bytes = self.bytes.saturating_add(len);
        let fits = self.messages.len() < limits.max_messages && bytes <= limits.max_bytes;
        if !fits && !self.messages.is_empty() {
            return Err(TrySendError::Full);
        }
        if let Some(outgoing) = outgoing.take() {
            self.messages.push_back(outgoing);
        }
        self.bytes = bytes;
        self.queued += 1;
        Ok(())
    }

    /// Moves messages to `batch` until they make `budget` bytes, at least one.
    fn take(&mut self, budget: usize, batch: &mut VecDeque<Outgoing>) {
        let mut bytes = 0;
        while let Some(outgoing) = self.messages.pop_front() {
            bytes += outgoing.len();
            self.taken += 1;
            batch.push_back(outgoing);
            if bytes >= budget {
                break;
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether the connection is closed.
    const fn is_closed(&self) -> bool {
        self.reader_gone
    }

    fn close_info(&self) -> Option<CloseInfo> {
        self.closed.as_deref().cloned()
    }

    /// Whether nothing can be put in.
    const fn refuses(&self) -> bool {
        self.reader_gone || !matches!(self.close, CloseOrder::None)
    }

    /// The reader, if it waits although there is something for it.
    fn wakes_reader(&mut self) -> Option<Waker> {
        if self.messages.is_empty() || self.reader_is_behind {
            return None;
        }
        self.reader.take()
    }

    /// Has the reader woken when there is something for it.
    fn wait(&mut self, cx: &Context<'_>, is_behind: bool) {
        self.reader_is_behind = is_behind;
        match &mut self.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.reader = Some(cx.waker().clone()),
        }
    }
}

impl Outgoing {
    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Prepared(message) => message.len(),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M: Into<Message>> From<M> for Outgoing {
    fn from(message: M) -> Self {
        Self::Message(message.into())
    }
}

impl From<PreparedMessage> for Outgoing {
    fn from(message: PreparedMessage) -> Self {
        Self::Prepared(message)
    }
}

impl From<&PreparedMessage> for Outgoing {
    fn from(message: &PreparedMessage) -> Self {
        Self::Prepared(message.clone())
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, bytes) = self.queued();
        f.debug_struct("Outbox")
            .field("messages", &messages)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OutboxReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxReader").finish_non_exhaustive()
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "outbox is full",
            Self::Closed => "connection is closed for sending",
        })
    }
}

impl Error for TrySendError {}

impl fmt::Display for OutboxClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection closed before the message was written")
    }
}

impl Error for OutboxClosed {}
