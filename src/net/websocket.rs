//! A connection over a stream of bytes (RFC 6455 §5 to §7 through [`Connection`]).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::Error;
use super::input::Input;
use crate::agreed::Agreed;
use crate::close::{CloseCode, CloseFrame};
use crate::frame::OpCode;
use crate::log::debug;
use crate::message::Message;
use crate::protocol::{
    CloseCause, CloseInfo, Config, Connection, Delivery, Event, Fragment, PreparedMessage, Role,
    State,
};

/// A WebSocket over any stream of bytes, owned by one task.
///
/// [`recv`](Self::recv) takes messages, [`send`](Self::send) sends them. Whatever is called,
/// Pings are answered, keepalive Pings are sent and deadlines are kept while it waits. To send
/// from several tasks, or while a handler is busy, make it a [`Session`](super::Session).
///
/// # Batching
///
/// [`feed`](Self::feed) only puts a message into the output. The output is written by `flush`,
/// by `recv` before it waits, and by `feed` itself beyond [`Config::write_mark`]. So a loop of
/// `recv` and `feed` makes one write for all that one read brought.
///
/// # Cancel safety
///
/// Every future of a `WebSocket` may be dropped at any time: what was received is not lost, what
/// is in the output stays there and is written by the next call, no frame is torn or doubled.
///
/// # Memory
///
/// A connection that waits for the peer holds no read buffer; unread bytes lie in a buffer of 64
/// KiB that the thread lends. What waits to be written is bounded by [`Config::write_mark`], one
/// message, and 64 KiB of Pongs.
///
/// # Examples
///
/// An echo server that makes one write per read:
///
/// ```
/// use tokio::net::TcpListener;
///
/// async fn serve(listener: TcpListener) -> std::io::Result<()> {
///     loop {
///         let (stream, _) = listener.accept().await?;
///         tokio::spawn(async move {
///             let mut socket = wsroom::accept(stream).await?;
///             while let Some(message) = socket.recv().await? {
///                 socket.feed(message).await?;
///             }
///             Ok::<(), wsroom::Error>(())
///         });
///     }
/// }
/// ```
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    connection: Connection,
    input: Input,
    timer: Timer,
    phase: Phase,
    /// To be reported when the transport is done with.
    error: Option<Error>,
    /// Whether the stream has to be flushed since the last write.
    unflushed: bool,
    /// How many bytes of output were ever written.
    written: u64,
    round_trip: Option<Duration>,
    /// How much was received without waiting, see [`TURN`].
    unwaited: u32,
}

/// How far the transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Carries frames.
    Open,
    /// A write failed: what the peer sent before can still be taken.
    Unwritable,
    /// The connection is closed: what is left is written, what comes is dropped.
    Writing,
    /// §7.1.1: waits for the peer to end the stream, until a time.
    Draining(Instant),
    /// Done with.
    Ended,
}

/// What a [`WebSocket`] got, in a form to keep. See [`WebSocket::recv_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketEvent {
    /// A whole message.
    Message(Message),
    /// A Ping with its payload. It has been answered.
    Ping(Bytes),
    /// A Pong.
    Pong {
        /// What the Ping carried, if this answers one.
        payload: Bytes,
        /// The round-trip time, if it answers a Ping of the keepalive.
        round_trip: Option<Duration>,
    },
    /// A Close. It has been answered; nothing but `None` follows.
    Close(CloseFrame),
}

/// §7.1.1: a client waits this long for the server to end the stream, and a server for the client
/// to see that it did.
const LINGER: Duration = Duration::from_secs(2);

/// After so many frames' worth of work without waiting, a connection lets others run.
const TURN: u32 = 512;

/// What a read counts in a turn: it may bring thousands of frames that make no event.
const READ_COST: u32 = 32;

/// How many slices go into one vectored write.
const SLICES: usize = 64;

impl<S> WebSocket<S> {
    /// Wraps a stream on which the opening handshake is done.
    ///
    /// `unread` are bytes that came behind the request or the response; they are the first frames.
    pub fn new(stream: S, role: Role, agreed: Agreed, config: Config, unread: &[u8]) -> Self {
        debug!("connection opened");
        Self {
            stream,
            connection: Connection::new(role, agreed, config),
            input: Input::new(unread),
            timer: Timer::default(),
            phase: Phase::Open,
            error: None,
            unflushed: false,
            written: 0,
            round_trip: None,
            unwaited: 0,
        }
    }

    /// Begins the closing handshake without waiting for anything (§7.1.2): the Close leaves with
    /// the next call. Messages that the peer sent before its answer can still be taken with
    /// [`recv`](Self::recv), which then gives `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code that must not be sent or a reason of more than 123 bytes.
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Result<(), Error> {
        Ok(self.connection.close(frame)?)
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.connection.agreed().protocol()
    }

    /// How the connection ended, once it has: who began, and the code and reason of each side.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.connection.close_info()
    }

    /// How far the closing handshake is.
    pub const fn state(&self) -> State {
        self.connection.state()
    }

    /// The time between the newest Ping of the keepalive and its Pong.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The connection without its stream: role, limits, what was agreed on.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The stream, for example to ask for an address.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    pub(super) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits for the next message; `None` when the connection was closed cleanly.
    ///
    /// After a Close, and after a fault of the peer, what is left is written first, within
    /// [`Config::close_timeout`], and the transport is shut down, within two seconds, so that the
    /// peer gets the last frame. If a write fails, what the peer sent before is given before the
    /// error. After `None` or a final error, all further calls give `None`.
    ///
    /// # Errors
    ///
    /// What ended the connection, once.
    ///
    /// # Cancel safety
    ///
    /// No message is lost: a dropped call has taken none.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
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

    /// Waits for the next message, Ping, Pong or Close.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<SocketEvent>, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Waits for the next message and hands it to `take` where it lies, without a copy. Only text
    /// and binary events are given.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_with<T>(
        &mut self,
        take: impl FnOnce(Event<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let mut take = Some(take);
        poll_fn(|cx| {
            self.poll_whole(cx, |event| match (&event, take.take()) {
                (Event::Text(_) | Event::Binary(_), Some(take)) => ControlFlow::Break(take(event)),
                (_, unused) => {
                    take = unused;
                    ControlFlow::Continue(())
                }
            })
        })
        .await
    }

    /// Waits for the next piece of a message (§5.4), so that a message of any size passes through
    /// constant memory. The size limit of messages holds all the same; raise it with
    /// [`Config::max_message_size`].
    ///
    /// The pieces are cut as the bytes come. A message of which [`recv`](Self::recv) has taken a
    /// part already comes in one piece.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_fragment(&mut self) -> Result<Option<Fragment>, Error> {
        self.connection.set_delivery(Delivery::Fragments);
        poll_fn(|cx| {
            self.poll_receive(cx, |event| match fragment_of(event) {
                Some(fragment) => ControlFlow::Break(fragment),
                None => ControlFlow::Continue(()),
            })
        })
        .await
    }

    /// Sends a message and waits until it was written, that is, handed to the operating system.
    ///
    /// Nothing is received meanwhile. If both ends wait for the other to read, the keepalive ends
    /// it; a [`Session`](super::Session) does both at once.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] after a Close in either direction or between fragments; an error of the
    /// transport or a deadline.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has put the message into the output or has not. If it has, the next call
    /// goes on writing it.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Puts a message into the output without writing it, but waits while there is more than
    /// [`Config::write_mark`] in it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has not put the message into the output.
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.ready().await?;
        Ok(self.connection.send(message)?)
    }

    /// Puts a message that was encoded before into the output.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    pub async fn feed_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.ready().await?;
        Ok(self.connection.send_prepared(message)?)
    }

    /// Puts a piece of a message into the output (§5.4). Between its pieces no other message may
    /// be sent.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`Error::Send`] too if the opcode does not fit what was sent
    /// before, or the pieces of a text are not UTF-8.
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    pub async fn feed_fragment(&mut self, fragment: &Fragment) -> Result<(), Error> {
        self.ready().await?;
        Ok(self.connection.send_fragment(fragment)?)
    }

    /// Waits until all output was written.
    ///
    /// # Errors
    ///
    /// An error of the transport or a deadline.
    ///
    /// # Cancel safety
    ///
    /// What was not written stays in the output.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write_below(cx, 0)).await
    }

    /// Sends a Ping with a payload of at most 125 bytes (§5.5.2). The keepalive needs no help.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`Error::Send`] too if the payload is too long.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.ready().await?;
        self.connection.ping(payload)?;
        self.flush().await
    }

    /// Closes the connection (§7.1.2) and waits until it is closed, within
    /// [`Config::close_timeout`]. Messages that come meanwhile are dropped; to take them, use
    /// [`start_close`](Self::start_close).
    ///
    /// It gives how the connection ended, be it cleanly or not.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code that must not be sent or a reason of more than 123 bytes.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has begun the closing handshake; this call, or `recv`, goes on with it.
    pub async fn close(
        &mut self,
        frame: impl Into<Option<CloseFrame>>,
    ) -> Result<CloseInfo, Error> {
        self.connection.close(frame)?;
        let ended = poll_fn(|cx| self.poll_receive(cx, |_| ControlFlow::<()>::Continue(()))).await;
        // How it ended is what is asked for here, so an error is no other answer.
        match self.connection.close_info() {
            Some(info) => Ok(info),
            None => ended.and(Err(Error::ConnectionLost)),
        }
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let mark = self.write_mark();
        poll_fn(|cx| self.poll_write_below(cx, mark)).await
    }

    /// At least 1: a mark of 0 would mean that every message waits for all before it.
    fn write_mark(&self) -> usize {
        self.connection.config().limits().write_mark.max(1)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_whole(cx, |event| match event {
            Event::Text(text) => ControlFlow::Break(text.into()),
            Event::Binary(payload) => ControlFlow::Break(payload.into()),
            _ => ControlFlow::Continue(()),
        })
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<SocketEvent>, Error>> {
        self.poll_whole(cx, |event| {
            ControlFlow::Break(match event {
                Event::Text(text) => SocketEvent::Message(text.into()),
                Event::Binary(payload) => SocketEvent::Message(payload.into()),
                Event::Ping(payload) => SocketEvent::Ping(payload.into_bytes()),
                Event::Pong { payload, pinged_at } => SocketEvent::Pong {
                    payload: payload.into_bytes(),
                    round_trip: pinged_at.map(elapsed),
                },
                Event::Close(frame) => SocketEvent::Close(frame),
                Event::Fragment(_) => return ControlFlow::Continue(()),
            })
        })
    }

    /// Receives whole messages.
    pub(super) fn poll_whole<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Event<'_>) -> ControlFlow<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.connection.set_delivery(Delivery::Messages);
        if self.connection.is_inside_fragments() {
            return Poll::Ready(Err(Error::InsideFragments));
        }
        self.poll_receive(cx, take)
    }

    /// Offers events to `take` until it wants one; writes, waits and keeps deadlines meanwhile.
    fn poll_receive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Event<'_>) -> ControlFlow<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            match self.phase {
                Phase::Open | Phase::Unwritable => {
                    if self.unwaited >= TURN {
                        ready!(self.poll_yield(cx));
                    }
                    if let Some(taken) = self.take_event(cx, &mut take) {
                        return Poll::Ready(Ok(Some(taken)));
                    }
                    if self.connection.is_closed() {
                        self.phase = Phase::Writing;
                        continue;
                    }
                    if !self.input.is_empty() {
                        continue;
                    }
                    // A peer that does not read may still send: both directions are tried.
                    if self.phase == Phase::Open {
                        let write = self.poll_write_output(cx);
                        self.note_failure(write);
                    }
                    if self.poll_read(cx).is_ready() {
                        continue;
                    }
                    if self.phase == Phase::Unwritable {
                        // All that came before the failure has been taken.
                        self.lose();
                    } else if !self.poll_timer(cx) {
                        self.unwaited = 0;
                        return Poll::Pending;
                    }
                }
                Phase::Writing => ready!(self.poll_finish_writing(cx)),
                Phase::Draining(until) => ready!(self.poll_drain(cx, until)),
                Phase::Ended => return Poll::Ready(self.error.take().map_or(Ok(None), Err)),
            }
        }
    }

    /// Lets other tasks run, since a peer that floods must not keep them from it; nor must it keep
    /// a deadline from being looked at. `Ready` if one has passed.
    fn poll_yield(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.unwaited = 0;
        if self.poll_timer(cx) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Offers the events that lie in the input.
    #[inline]
    fn take_event<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(Event<'_>) -> ControlFlow<T>,
    ) -> Option<T> {
        let mut answered = false;
        let mut taken = None;
        let mut unread = self.input.unread();
        while !unread.is_empty() && taken.is_none() && self.unwaited < TURN {
            self.unwaited += 1;
            match self.connection.receive(&mut unread) {
                Ok(Some(event)) => {
                    answered |= matches!(event, Event::Ping(_) | Event::Close(_));
                    if let Event::Pong {
                        pinged_at: Some(at),
                        ..
                    } = event
                    {
                        self.round_trip = Some(elapsed(at));
                    }
                    taken = take(event).break_value();
                }
                Ok(None) => break,
                Err(error) => self.error = Some(Error::Protocol(error)),
            }
        }
        let left = unread.len();
        self.input.keep(left);
        if answered && taken.is_some() && self.phase == Phase::Open {
            // §5.5.2: "as soon as is practical". What cannot be written now leaves later.
            let write = self.poll_write_output(cx);
            self.note_failure(write);
        }
        taken
    }

    /// Reads once; `Ready` if anything has changed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.input.poll_read(cx, Pin::new(&mut self.stream))) {
            Ok(0) => {
                self.error.get_or_insert(Error::ConnectionLost);
                self.lose();
            }
            Ok(_) => self.unwaited += READ_COST,
            Err(error) => {
                self.error.get_or_insert(Error::Io(error));
                self.lose();
            }
        }
        Poll::Ready(())
    }

    /// Writes the output and flushes the stream.
    fn poll_write_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.written;
        let polled = self.poll_write_all(cx);
        if polled.is_pending() && self.written > before {
            // The peer takes what is sent, so it lives, whatever is in front of its Pong.
            self.connection.pause_deadlines();
        }
        polled
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        loop {
            let output = self.connection.output();
            if !output.has_remaining() {
                break;
            }
            let chunk = output.chunk();
            let written = if chunk.len() < output.remaining() && stream.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = output.chunks_vectored(&mut slices);
                ready!(stream.as_mut().poll_write_vectored(cx, &slices[..count]))?
            } else {
                ready!(stream.as_mut().poll_write(cx, chunk))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            self.written += written as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all of the output, and keeps deadlines meanwhile and afterwards: `Ready` only for an
    /// error, or when the connection is closed.
    pub(super) fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_write_below(cx, 0))?;
            if self.connection.is_closed() {
                return Poll::Ready(Ok(()));
            }
            if !self.poll_timer(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Writes until at most `mark` bytes of output are left, all of it for 0.
    fn poll_write_below(&mut self, cx: &mut Context<'_>, mark: usize) -> Poll<Result<(), Error>> {
        loop {
            if self.phase == Phase::Ended {
                return Poll::Ready(self.error.take().map_or(Ok(()), Err));
            }
            if mark > 0 && self.connection.output_len() <= mark {
                return Poll::Ready(Ok(()));
            }
            if self.phase == Phase::Unwritable {
                self.lose();
                continue;
            }
            let before = self.written;
            let write = self.poll_write_output(cx);
            match write {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => {
                    self.note_failure(write);
                    continue;
                }
                Poll::Pending if self.written > before => continue,
                Poll::Pending => {}
            }
            let may_read = !self.connection.is_closed() && self.input.is_empty();
            if may_read && self.poll_read(cx).is_ready() {
                // Nobody takes it yet, but it shows that the peer lives.
                self.connection.pause_deadlines();
                continue;
            }
            if !self.poll_timer(cx) {
                return Poll::Pending;
            }
            if self.connection.is_closed() {
                // The peer is gone, so what it did not take stays.
                self.end(cx);
            }
        }
    }

    /// Writes what is left, and a server ends the stream (§7.1.1). `Ready` when the phase changed.
    fn poll_finish_writing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.input.clear();
        // A peer that writes and does not read must not keep its Close from being written.
        let ended = self.poll_discard(cx).is_ready();
        let mut finished = self.poll_write_output(cx);
        if matches!(finished, Poll::Ready(Ok(()))) && self.connection.role() == Role::Server {
            finished = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        if finished.is_pending() {
            self.poll_timer(cx);
        }
        // A peer that is gone is told so, but not waited for.
        let gone = matches!(self.error, Some(Error::PongTimeout)) || self.connection.is_overdue();
        match finished {
            Poll::Pending if !gone => return Poll::Pending,
            Poll::Ready(Ok(())) if !gone && !ended => {
                self.phase = Phase::Draining(Instant::now() + LINGER);
            }
            _ => self.end(cx),
        }
        Poll::Ready(())
    }

    /// Waits for the peer to end the stream, so that no reset destroys what it has not read yet.
    fn poll_drain(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        if self.poll_discard(cx).is_pending() {
            ready!(self.timer.poll(cx, until));
        }
        self.end(cx);
        Poll::Ready(())
    }

    /// Reads and drops; `Ready` at the end of the stream or at a failure.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURN / READ_COST {
            let read = ready!(self.input.poll_read(cx, Pin::new(&mut self.stream)));
            self.input.clear();
            if !matches!(read, Ok(1..)) {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Keeps the deadlines of the connection. Whether one has passed, so that there may be
    /// something to write or nothing to wait for; otherwise the task is woken at the next one.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let connection = &mut self.connection;
        let was_closed = connection.is_closed();
        if connection.next_timeout().is_none() {
            connection.handle_timeout(Instant::now().into_std());
        }
        loop {
            let Some(due) = connection.next_timeout() else {
                return false;
            };
            if self.timer.poll(cx, Instant::from_std(due)).is_pending() {
                return false;
            }
            let output = connection.output_len();
            connection.handle_timeout(Instant::now().into_std());
            let has_ended = connection.is_overdue() || connection.is_closed() != was_closed;
            if has_ended || connection.output_len() != output {
                break;
            }
        }
        if let Some(info) = connection.close_info() {
            self.error = self.error.take().or(match info.cause {
                CloseCause::PongTimeout => Some(Error::PongTimeout),
                CloseCause::IdleTimeout => Some(Error::IdleTimeout),
                _ if connection.is_overdue() => Some(Error::CloseTimeout),
                _ => None,
            });
        }
        true
    }

    /// A failed write is to be reported, but only after what the peer sent before.
    fn note_failure(&mut self, write: Poll<io::Result<()>>) {
        if let Poll::Ready(Err(error)) = write {
            if !self.connection.is_closed() {
                self.error.get_or_insert(Error::Io(error));
            }
            self.phase = Phase::Unwritable;
        }
    }

    /// The transport is no use any more. After a closing handshake that is no loss.
    fn lose(&mut self) {
        self.connection.receive_eof();
        self.enter_ended();
    }

    /// Ends the stream. What is to be said is said, so how that goes no longer matters.
    fn end(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.enter_ended();
    }

    fn enter_ended(&mut self) {
        self.phase = Phase::Ended;
        self.input.clear();
        if let Some(info) = self.connection.close_info() {
            debug!(how = %info, "connection ended");
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    /// As [`recv`](WebSocket::recv); a clean close ends the stream.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocket<S> {
    fn is_terminated(&self) -> bool {
        self.phase == Phase::Ended && self.error.is_none()
    }
}

/// The steps of [`send`](WebSocket::send); closing is a [`close`](WebSocket::close) with 1000.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mark = self.write_mark();
        self.poll_write_below(cx, mark)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        Ok(self.connection.send(message)?)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write_below(cx, 0)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.start_close(CloseCode::NORMAL)?;
        self.poll_receive(cx, |_| ControlFlow::<()>::Continue(()))
            .map_ok(drop)
    }
}

/// One timer for all deadlines. It is set when something waits, and then only brought forward: a
/// deadline that moved away makes it fire early once.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// `Ready` at `due`; otherwise the task is woken then.
    ///
    /// It is looked at last, when reads and writes may have used up the budget that the runtime
    /// gives a task, which must not hide that the time has come.
    fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

fn fragment_of(event: Event<'_>) -> Option<Fragment> {
    let (opcode, fin, payload) = match event {
        Event::Fragment(fragment) => (fragment.opcode, fragment.fin, fragment.payload.into_bytes()),
        Event::Text(text) => (OpCode::Text, true, text.into_utf8_bytes().into_bytes()),
        Event::Binary(payload) => (OpCode::Binary, true, payload.into_bytes()),
        _ => return None,
    };
    Some(Fragment {
        opcode,
        fin,
        payload,
    })
}

fn elapsed(since: std::time::Instant) -> Duration {
    Instant::now().into_std().saturating_duration_since(since)
}
