//! A WebSocket that is driven by a task of its own.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::driver::Driver;
use super::error::Error;
use super::inbox::{Audience, Inbox, Room};
use super::websocket::WebSocket;
use crate::agreed::Agreed;
use crate::close::{CloseCode, CloseFrame};
use crate::limits::{Bound, InForce};
use crate::line::Line;
use crate::message::Message;
use crate::outbox::{
    self, Batch, Outbox, OutboxClosed, OutboxLimits, OutboxReader, Outgoing, Taken,
};
use crate::protocol::{CloseInfo, Event, State};

/// A WebSocket that a task of its own drives: many tasks send through its [`Outbox`], one takes
/// what comes.
///
/// Everything that is in the outbox at the time of a write leaves in that write. A handler that
/// is busy holds up neither Pongs nor what others send: messages that come meanwhile wait in an
/// inbox, and when that is full, the peer waits.
///
/// Dropping a session closes the connection, with code 1000, or 1011 if the thread panics. Once it
/// was told to close, what the peer still sends is taken as long as there is room in the inbox: from
/// the first message on for which there is none, the rest is dropped.
///
/// # Examples
///
/// ```
/// # async fn example(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use wsroom::Session;
///
/// let mut session = Session::spawn(wsroom::accept(stream).await?);
/// let outbox = session.outbox().clone();
/// tokio::spawn(async move {
///     while outbox.send("tick").await.is_ok() {
///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///     }
/// });
/// while let Some(message) = session.recv().await? {
///     session.send(message).await?;
/// }
/// # Ok(()) }
/// ```
pub struct Session {
    outbox: Outbox,
    inbox: Arc<Inbox>,
    agreed: Agreed,
}

/// How much a [`Session`] may hold for either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    outbox: OutboxLimits,
    inbox_messages: usize,
    inbox_bytes: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            outbox: OutboxLimits::default(),
            inbox_messages: 256,
            inbox_bytes: 256 << 10,
        }
    }
}

impl SessionConfig {
    /// How much may wait to be sent: 4096 messages, 1 MiB.
    #[must_use]
    pub const fn outbox(mut self, limits: OutboxLimits) -> Self {
        self.outbox = limits;
        self
    }

    /// How many messages may wait to be taken before the peer has to wait: 256.
    #[must_use]
    pub const fn inbox_messages(mut self, messages: usize) -> Self {
        self.inbox_messages = messages;
        self
    }

    /// How many bytes of messages may wait to be taken before the peer has to wait: 256 KiB. The
    /// message that reaches it is still taken in, however large.
    #[must_use]
    pub const fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.inbox_bytes = bytes;
        self
    }

    /// The limits in force as a list, those of the outbox too.
    pub fn in_force(&self) -> InForce {
        let inbox = [
            ("inbox_messages", Bound::count(self.inbox_messages)),
            ("inbox_bytes", Bound::bytes(self.inbox_bytes)),
        ];
        InForce::new("SessionConfig", inbox).and(self.outbox.in_force())
    }
}

impl Session {
    /// Hands a socket to a task of its own, with the default [`SessionConfig`]. No message may be
    /// unfinished that was begun in fragments, in either direction.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn spawn<S>(socket: WebSocket<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::spawn_with(socket, SessionConfig::default())
    }

    /// Hands a socket to a task of its own. See [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn spawn_with<S>(socket: WebSocket<S>, config: SessionConfig) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (outbox, reader) = outbox::channel(config.outbox);
        let inbox = Arc::new(Inbox::new(config.inbox_messages, config.inbox_bytes));
        let agreed = socket.connection().agreed().clone();
        tokio::spawn(SessionTask {
            mark: socket.connection().config().write_mark.max(1),
            driver: socket.into_driver(),
            waker: reader.waker(),
            reader,
            inbox: Arc::clone(&inbox),
            batch: Batch::default(),
            incoming: Line::new(),
            has_dropped: false,
            marks: VecDeque::new(),
        });
        Self {
            outbox,
            inbox,
            agreed,
        }
    }

    /// Waits for the next message; `None` when the connection was closed cleanly.
    ///
    /// # Errors
    ///
    /// What ended the connection, once.
    ///
    /// # Cancel safety
    ///
    /// No message is lost: a dropped call has taken none.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.inbox.poll_recv(cx)).await
    }

    /// Waits for the next message, for a time at most.
    ///
    /// # Errors
    ///
    /// [`Error::RecvTimeout`] if nothing came; the connection lives on. Otherwise as
    /// [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        match tokio::time::timeout(timeout, self.recv()).await {
            Ok(received) => received,
            Err(_) => Err(Error::RecvTimeout),
        }
    }

    /// Waits for messages and takes all that have come, `limit` at most, which are added to
    /// `messages`; says how many these are, and 0 when the connection was closed cleanly, or for a
    /// `limit` of 0.
    ///
    /// # Errors
    ///
    /// What ended the connection, once.
    ///
    /// # Cancel safety
    ///
    /// No message is lost: a dropped call has taken none.
    pub async fn recv_many(
        &mut self,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Result<usize, Error> {
        poll_fn(|cx| self.inbox.poll_recv_many(cx, messages, limit)).await
    }

    /// Waits for room in the outbox and puts a message in. See [`Outbox::send`].
    ///
    /// # Errors
    ///
    /// [`OutboxClosed`] if the connection is closed, or told to close.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has not put the message in.
    pub fn send(
        &self,
        message: impl Into<Outgoing>,
    ) -> impl Future<Output = Result<(), OutboxClosed>> {
        self.outbox.send(message)
    }

    /// Waits until all that was sent before was written. See [`Outbox::flush`].
    ///
    /// # Errors
    ///
    /// [`OutboxClosed`] if the connection closed before.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves nothing behind.
    pub async fn flush(&self) -> Result<(), OutboxClosed> {
        self.outbox.flush().await
    }

    /// Closes the connection after what is queued, and waits until it is closed. `None` if the
    /// runtime dropped its task before.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has begun to close.
    pub async fn close(&self, frame: impl Into<Option<CloseFrame>>) -> Option<CloseInfo> {
        self.outbox.close(frame);
        self.closed().await
    }

    /// Waits until the connection is closed, whichever side closed it, and says how.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves nothing behind.
    pub async fn closed(&self) -> Option<CloseInfo> {
        self.outbox.closed().await
    }

    /// The end that sends: clone it for other tasks.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Goes on without this session, for a connection that only sends: messages that come are
    /// dropped, and the connection lives until it is closed by the peer or through the outbox.
    #[must_use]
    pub fn ignore_incoming(self) -> Outbox {
        self.inbox.set_audience(Audience::Ignoring);
        self.outbox.clone()
    }

    /// What the opening handshake agreed on: subprotocol and compression.
    pub const fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.agreed.protocol()
    }

    /// The time between the newest Ping of the keepalive and its Pong.
    pub fn round_trip(&self) -> Option<Duration> {
        self.inbox.lock().round_trip
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.inbox.lock().audience == Audience::Ignoring {
            return;
        }
        self.inbox.set_audience(Audience::Gone);
        let code = if std::thread::panicking() {
            CloseCode::INTERNAL_ERROR
        } else {
            CloseCode::NORMAL
        };
        self.outbox.close(CloseFrame::from(code));
    }
}

impl Stream for Session {
    type Item = Result<Message, Error>;

    /// As [`recv`](Session::recv); a clean close ends the stream.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbox.poll_recv(cx).map(Result::transpose)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}

/// Owns the socket, and moves messages between it, the outbox and the inbox.
struct SessionTask<S> {
    driver: Driver<S>,
    reader: OutboxReader,
    inbox: Arc<Inbox>,
    /// How much output makes the outbox wait.
    mark: usize,
    /// For all that the outbox does not wake for: it tells one from the other, after which there is
    /// nothing to read, which halves what a broadcast costs a member.
    waker: Waker,
    batch: Batch,
    /// Messages that came and are not in the inbox yet; empty between polls.
    incoming: Line<Message>,
    /// A message was dropped for want of room, and so are all after it.
    has_dropped: bool,
    /// After how many bytes written how many messages of the outbox are written, of those that the
    /// stream has not taken yet.
    marks: VecDeque<(u64, u64)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for SessionTask<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let is_awaited = this.reader.begin(cx);
        let waker = std::mem::replace(&mut this.waker, Waker::noop().clone());
        let polled = this.poll_run(cx, &mut Context::from_waker(&waker), is_awaited);
        this.waker = waker;
        let ended = ready!(polled);
        if let Some(info) = this.driver.connection.close_info() {
            this.reader.finish(info);
        }
        this.inbox.finish(ended);
        Poll::Ready(())
    }
}

/// The runtime may drop the task before its end; who waits for messages is to learn it.
impl<S> Drop for SessionTask<S> {
    fn drop(&mut self) {
        self.inbox.finish(Err(Error::ConnectionLost));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SessionTask<S> {
    /// `stream_cx` is for all that the outbox does not wake for; `look` tells whether any of it may
    /// have something new.
    fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        stream_cx: &mut Context<'_>,
        mut look: bool,
    ) -> Poll<Result<(), Error>> {
        loop {
            let mut mark = None;
            let took = self.take_outgoing(cx, &mut mark);
            look |= took && self.driver.connection.state() != State::Open;
            if !took && !look {
                return Poll::Pending;
            }
            let was_behind = self.is_behind();
            let mut ended = Ok(false);
            look = if look {
                match self.poll_incoming(stream_cx) {
                    Poll::Ready(Ok(Progress::Message)) => true,
                    Poll::Ready(Ok(Progress::Ended)) => {
                        ended = Ok(true);
                        false
                    }
                    Poll::Ready(Err(error)) => {
                        ended = Err(error);
                        false
                    }
                    Poll::Pending => false,
                }
            } else {
                self.driver.poll_send(stream_cx)
            };
            self.note_written(mark);
            if ended? {
                return Poll::Ready(Ok(()));
            }
            // Who was told to wait for room in the output is not woken when there is some.
            if !look && !took && !was_behind {
                return Poll::Pending;
            }
        }
    }

    /// Whether more waits to be written than the outbox may add to.
    fn is_behind(&self) -> bool {
        self.driver.connection.output_len() >= self.mark
    }

    /// Moves messages from the outbox into the output, up to the mark; whether there were any, and
    /// `mark`, when they are written.
    fn take_outgoing(&mut self, cx: &mut Context<'_>, mark: &mut Option<(u64, u64)>) -> bool {
        if self.driver.connection.state() != State::Open {
            return false;
        }
        let budget = if !self.is_behind() {
            self.mark - self.driver.connection.output_len()
        } else if self.reader.poll_closing(cx).is_ready() {
            // A peer that reads nothing must not put off the deadline of the closing handshake.
            usize::MAX
        } else {
            return false;
        };
        match self.reader.poll_take(cx, budget, &mut self.batch) {
            Poll::Pending => return false,
            Poll::Ready(Taken::Close(frame)) => {
                // A Close that must not be sent becomes one without a body.
                if self.driver.connection.close(frame).is_err() {
                    let sent = self.driver.connection.close(None);
                    debug_assert!(sent.is_ok());
                }
                return true;
            }
            Poll::Ready(Taken::Messages) => {}
        }
        let connection = &mut self.driver.connection;
        let count = self.batch.len();
        for outgoing in &mut self.batch {
            // The connection is open, and no fragments are sent by a session.
            let sent = outgoing.send(connection);
            debug_assert_eq!(sent, Ok(()));
        }
        self.batch.keep_room(count);
        let position = self.driver.written + self.driver.connection.output_len() as u64;
        *mark = Some((position, self.reader.taken()));
        true
    }

    /// Takes in what has come, as much as there is room for, and writes what is due.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, Error>> {
        let mut room = match self.inbox.poll_room(cx) {
            Poll::Ready(room) => room,
            Poll::Pending if self.driver.connection.state() == State::Open => {
                // The peer may have answered a Ping, but that is not being read.
                self.driver.connection.pause_deadlines();
                ready!(self.driver.poll_flush_output(cx))?;
                Room::None
            }
            // Who has closed has no more need of messages, if there is no room for them.
            Poll::Pending => Room::None,
        };
        if self.has_dropped {
            room = Room::None;
        }
        let incoming = &mut self.incoming;
        let has_dropped = &mut self.has_dropped;
        let received = self.driver.poll_whole(cx, |_, event| {
            let message: Message = match event {
                Event::Text(text) => text.into(),
                Event::Binary(payload) => payload.into(),
                _ => return ControlFlow::Continue(()),
            };
            if room.take(message.len()) {
                incoming.push_back(message);
            } else {
                *has_dropped = true;
            }
            match room {
                Room::Some { .. } => ControlFlow::Continue(()),
                Room::None => ControlFlow::Break(()),
            }
        });
        self.inbox.extend(&mut self.incoming);
        received.map_ok(|taken| match taken {
            Some(()) => Progress::Message,
            None => Progress::Ended,
        })
    }

    /// Tells those who wait for it what was written; `newest` is of the messages just taken.
    fn note_written(&mut self, newest: Option<(u64, u64)>) {
        let written = self.driver.written;
        let mut messages = None;
        while let Some(&(position, count)) = self.marks.front()
            && position <= written
        {
            messages = Some(count);
            self.marks.pop_front();
        }
        match newest {
            // The stream mostly takes all at once.
            Some((position, count)) if position <= written => messages = Some(count),
            Some(mark) => self.marks.push_back(mark),
            None => {}
        }
        if let Some(messages) = messages {
            if self.marks.is_empty() {
                self.marks = VecDeque::new();
            }
            self.reader.written(messages);
        }
        if let Some(round_trip) = self.driver.round_trip {
            self.inbox.lock().round_trip = Some(round_trip);
        }
    }
}

/// What has come of waiting for a message.
enum Progress {
    Message,
    Ended,
}
