//! The bounded queue of messages between many senders and the one task that owns a connection.
//!
//! [`Outbox`] is the end of the senders: cheap to clone, usable from any task or thread.
//! [`OutboxReader`] is the end of the task; a [`Session`](crate::Session) has one, and whoever
//! drives a [`Connection`] by other means can have one too. No runtime is needed.
//!
//! ```text
//!   Outbox ─┐
//!   Outbox ─┼─▶ queue, at most so many messages and bytes ─▶ OutboxReader ─▶ Connection
//!   Outbox ─┘                                                     │
//!      ▲                    written, closed                       │
//!      └──────────────────────────────────────────────────────────┘
//! ```

use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError};
#[cfg(not(wsroom_loom))]
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

#[cfg(wsroom_loom)]
use loom::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::close::CloseFrame;
use crate::limits::{Bound, InForce};
use crate::line::Line;
use crate::message::Message;
use crate::protocol::{CloseInfo, Connection, PreparedBatch, PreparedMessage, SendError};

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
    /// How many messages may wait: 4096. More that are sent together are taken if nothing else waits.
    #[must_use]
    pub const fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// How many bytes of payload may wait: 1 MiB. A larger message, or more that are sent together, is
    /// taken if nothing else waits.
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
/// let mut batch = outbox::Batch::default();
/// let taken = reader.poll_take(&mut Context::from_waker(Waker::noop()), usize::MAX, &mut batch);
/// assert!(taken.is_ready());
/// assert_eq!(batch.len(), 2);
/// # Ok::<(), TrySendError>(())
/// ```
pub fn channel(limits: OutboxLimits) -> (Outbox, OutboxReader) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            was_called: true,
            ..Queue::default()
        }),
        limits,
        progress: Notify::new(),
    });
    let reader = OutboxReader {
        shared: Arc::clone(&shared),
        taken: 0,
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
    /// As in the queue.
    taken: u64,
}

/// A message that was taken from an outbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outgoing {
    /// For this connection only.
    Message(Message),
    /// Encoded for several connections.
    Prepared(PreparedMessage),
    /// Several messages, encoded together for several connections. Each counts.
    Batch(PreparedBatch),
}

/// Messages that were taken from an outbox, in their order. Iterating takes them out of the batch.
#[derive(Debug, Default)]
pub struct Batch(Line<Outgoing>);

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
    messages: Line<Outgoing>,
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
    /// The task of the reader.
    task: Option<Waker>,
    /// What the reader waits for.
    awaited: Awaited,
    /// Whether the reader's own waker was called since its poll began.
    was_called: bool,
    /// How many wait for progress.
    waiting: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Awaited {
    #[default]
    Nothing,
    /// A message, or an order to close.
    Message,
    /// The reader has no room for messages.
    Order,
}

#[derive(Default)]
enum CloseOrder {
    #[default]
    None,
    /// After what is queued. Boxed, since it is rare and every connection has room for it.
    Ordered(Option<Box<CloseFrame>>),
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
            queue.close = CloseOrder::Ordered(frame.into().map(Box::new));
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
        queue.close = CloseOrder::Ordered(frame.into().map(Box::new));
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
        (queue.waiting(), queue.bytes)
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
        let mut waiting = None;
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
                waiting.get_or_insert_with(|| Waiting::new(&self.shared, &mut queue));
            }
            progress.await;
        }
    }
}

/// Somebody waits for progress.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared, queue: &mut Queue) -> Self {
        queue.waiting += 1;
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl OutboxReader {
    /// Begins a poll of the task that takes the messages; whether a [`waker`](Self::waker) was called
    /// since the last one began, or this is the first.
    pub fn begin(&mut self, cx: &Context<'_>) -> bool {
        let mut queue = self.shared.lock();
        queue.set_task(cx);
        std::mem::take(&mut queue.was_called)
    }

    /// A waker for all that the task waits for besides the outbox: it wakes the task, and
    /// [`begin`](Self::begin) tells that from a wake by the outbox, after which there is nothing else
    /// to look at.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.shared))
    }

    /// Takes messages into `batch` until they make `budget` bytes, at least one; when there is
    /// none, gives the order to close, once.
    ///
    /// Pending means that the task is woken when something was put in.
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        budget: usize,
        batch: &mut Batch,
    ) -> Poll<Taken> {
        let mut queue = self.shared.lock();
        if queue.messages.is_empty() {
            if let CloseOrder::Ordered(frame) = &mut queue.close {
                let frame = frame.take();
                queue.close = CloseOrder::Taken;
                return Poll::Ready(Taken::Close(frame.map(|frame| *frame)));
            }
            queue.wait(cx, Awaited::Message);
            return Poll::Pending;
        }
        let Batch(batch) = batch;
        if batch.is_empty() && queue.bytes <= budget {
            queue.taken = queue.queued;
            queue.bytes = 0;
            std::mem::swap(&mut queue.messages, batch);
        } else {
            queue.take(budget, batch);
        }
        if queue.messages.is_empty() {
            queue.messages.keep_room(usize::MAX);
        }
        self.taken = queue.taken;
        self.shared.tell_progress(queue);
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
        queue.wait(cx, Awaited::Order);
        Poll::Pending
    }

    /// How many messages were taken so far.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Says that the first `messages` ever taken have been written.
    pub fn written(&mut self, messages: u64) {
        let mut queue = self.shared.lock();
        debug_assert!(messages <= queue.taken);
        if messages > queue.written {
            queue.written = messages;
            self.shared.tell_progress(queue);
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
        let dropped = (std::mem::take(&mut queue.messages), queue.task.take());
        self.shared.tell_progress(queue);
        drop(dropped);
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// No code that can panic runs while the lock is held, but for allocation.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self, mut queue: MutexGuard<'_, Queue>) {
        let awaited = std::mem::take(&mut queue.awaited);
        let reader = match awaited {
            Awaited::Nothing => None,
            Awaited::Message | Awaited::Order => queue.task.clone(),
        };
        self.tell_progress(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Wakes those who wait for progress. That there are none is said by the lock that is held anyway.
    fn tell_progress(&self, queue: MutexGuard<'_, Queue>) {
        let somebody_waits = queue.waiting > 0;
        drop(queue);
        if somebody_waits {
            self.progress.notify_waiters();
        }
    }
}

/// The waker of [`OutboxReader::waker`].
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut queue = self.lock();
        queue.was_called = true;
        let task = queue.task.clone();
        drop(queue);
        if let Some(task) = task {
            task.wake();
        }
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
        let count = outgoing.as_ref().map_or(0, Outgoing::count);
        let messages = self.waiting().saturating_add(count);
        let fits = messages <= limits.max_messages && bytes <= limits.max_bytes;
        if !fits && !self.messages.is_empty() {
            return Err(TrySendError::Full);
        }
        if let Some(outgoing) = outgoing.take() {
            self.messages.push_back(outgoing);
        }
        self.bytes = bytes;
        self.queued += count as u64;
        Ok(())
    }

    /// Moves messages to `batch` until they make `budget` bytes, at least one.
    fn take(&mut self, budget: usize, batch: &mut Line<Outgoing>) {
        let mut bytes = 0;
        while let Some(outgoing) = self.messages.pop_front() {
            bytes += outgoing.len();
            self.taken += outgoing.count() as u64;
            batch.push_back(outgoing);
            if bytes >= budget {
                break;
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// How many messages wait.
    #[inline]
    fn waiting(&self) -> usize {
        // What was dropped is neither waiting nor taken.
        if self.messages.is_empty() {
            return 0;
        }
        (self.queued - self.taken) as usize
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

    /// The task of the reader, if it waits although there is something for it.
    fn wakes_reader(&mut self) -> Option<Waker> {
        if self.messages.is_empty() || self.awaited != Awaited::Message {
            return None;
        }
        self.awaited = Awaited::Nothing;
        self.task.clone()
    }

    /// Has the reader woken when there is what it waits for.
    fn wait(&mut self, cx: &Context<'_>, awaited: Awaited) {
        self.awaited = awaited;
        self.set_task(cx);
    }

    fn set_task(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }
}

impl Batch {
    /// How many [`Outgoing`]s there are; one may be several messages.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks at the messages, which stay.
    pub fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.0.iter()
    }

    /// Gives back memory, but for as many messages as there were at once, and not for many.
    pub(crate) fn keep_room(&mut self, had: usize) {
        self.0.keep_room(had);
    }
}

impl Iterator for Batch {
    type Item = Outgoing;

    #[inline]
    fn next(&mut self) -> Option<Outgoing> {
        self.0.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl Outgoing {
    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Prepared(message) => message.len(),
            Self::Batch(batch) => batch.payload_len(),
        }
    }

    /// How many messages it is.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Message(_) | Self::Prepared(_) => 1,
            Self::Batch(batch) => batch.messages().len(),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends it, in whatever form it is: for who drives a [`Connection`] by other means than a
    /// [`Session`](crate::Session).
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    #[inline]
    pub fn send(self, connection: &mut Connection) -> Result<(), SendError> {
        match self {
            Self::Message(message) => connection.send(message),
            Self::Prepared(message) => connection.send_prepared(&message),
            Self::Batch(batch) => connection.send_batch(&batch),
        }
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

impl From<PreparedBatch> for Outgoing {
    fn from(batch: PreparedBatch) -> Self {
        Self::Batch(batch)
    }
}

impl From<&PreparedBatch> for Outgoing {
    fn from(batch: &PreparedBatch) -> Self {
        Self::Batch(batch.clone())
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

/// Senders and calls beside polls, in all their interleavings. For `tests/sanitize`, which sets the
/// flag that puts loom's locks in place of std's.
#[cfg(wsroom_loom)]
#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool as Called;

    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::*;

    #[test]
    fn a_call_beside_three_polls_is_seen_or_wakes_the_last() {
        loom::model(|| beside_polls::<1>(3, false));
    }

    #[test]
    fn of_two_calls_beside_two_polls_each_is_seen_or_wakes_the_last() {
        loom::model(|| beside_polls::<2>(2, false));
    }

    #[test]
    fn a_message_and_a_call_beside_two_polls_are_seen_or_wake_the_last() {
        loom::model(|| beside_polls::<1>(2, true));
    }

    /// Each thread has news and calls once, and another may send a message; the task is polled
    /// meanwhile, each time with another waker, and afterwards if the last of them was called.
    fn beside_polls<const CALLERS: usize>(polls: usize, sends: bool) {
        let (outbox, mut reader) = channel(OutboxLimits::default());
        let news = [(); CALLERS].map(|()| Arc::new(AtomicBool::new(false)));
        let mut threads: Vec<_> = (news.iter().cloned())
            .map(|news| {
                let waker = reader.waker();
                thread::spawn(move || {
                    // Relaxed: who sees the call has to see this too.
                    news.store(true, Ordering::Relaxed);
                    waker.wake();
                })
            })
            .collect();
        if sends {
            let outbox = outbox.clone();
            threads.push(thread::spawn(move || outbox.try_send("hello").unwrap()));
        }

        let mut has_seen = [false; CALLERS];
        let mut taken = Batch::default();
        let mut poll = |task: &Arc<Task>| {
            let waker = Waker::from(Arc::clone(task));
            let mut cx = Context::from_waker(&waker);
            if reader.begin(&cx) {
                for (has_seen, news) in has_seen.iter_mut().zip(&news) {
                    *has_seen |= news.load(Ordering::Relaxed);
                }
            }
            while reader.poll_take(&mut cx, usize::MAX, &mut taken).is_ready() {}
        };
        let mut last = Arc::new(Task::default());
        for _ in 0..polls {
            last = Arc::new(Task::default());
            poll(&last);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        if last.0.load(Ordering::Relaxed) {
            poll(&last);
        }
        assert_eq!(has_seen, [true; CALLERS]);
        assert_eq!(taken.len(), usize::from(sends));
        assert!(
            !reader.begin(&Context::from_waker(Waker::noop())),
            "nobody called since"
        );
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
