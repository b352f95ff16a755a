//! A connection over a stream of bytes (RFC 6455 §5 to §7 through [`Connection`]).

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

use super::driver::{Driver, elapsed};
use super::error::Error;
use crate::agreed::Agreed;
use crate::close::{CloseCode, CloseFrame};
use crate::frame::OpCode;
use crate::message::Message;
use crate::protocol::{
    CloseInfo, Config, Connection, Delivery, Event, Fragment, PreparedBatch, PreparedMessage, Role,
    SendError, State,
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
/// `recv` and `feed` makes one write for all that one read brought. So does
/// [`recv_each`](Self::recv_each), which copies no message, and is for answers that need no wait.
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
    driver: Driver<S>,
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

/// Takes the answers of [`WebSocket::recv_each`]. They are written when all that was read has been
/// handled.
#[derive(Debug)]
pub struct Answers<'a> {
    connection: &'a mut Connection,
}

impl Answers<'_> {
    /// Sends a message.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close in either direction, [`SendError::MessageInProgress`]
    /// between fragments.
    #[inline]
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.connection.send(message)
    }

    /// Sends a text message that is copied from where it lies, which takes no memory of its own: the
    /// right choice for a few KiB at most.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.connection.send_text(text)
    }

    /// Sends a binary message that is copied from where it lies, as [`send_text`](Self::send_text)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_binary(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.connection.send_binary(payload)
    }

    /// Sends a message that was encoded before.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &PreparedMessage) -> Result<(), SendError> {
        self.connection.send_prepared(message)
    }

    /// Sends messages that were encoded together before, all or none.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_batch(&mut self, batch: &PreparedBatch) -> Result<(), SendError> {
        self.connection.send_batch(batch)
    }

    /// Begins the closing handshake (§7.1.2), as [`WebSocket::start_close`] does. Messages that the
    /// peer sent before its answer are still handled.
    ///
    /// # Errors
    ///
    /// A code that must not be sent, or a reason of more than 123 bytes.
    pub fn close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Result<(), SendError> {
        self.connection.close(frame)
    }
}

impl<S> WebSocket<S> {
    /// Wraps a stream on which the opening handshake is done.
    ///
    /// `unread` are bytes that came behind the request or the response; they are the first frames.
    pub fn new(stream: S, role: Role, agreed: Agreed, config: Config, unread: &[u8]) -> Self {
        Self {
            driver: Driver::new(stream, Connection::new(role, agreed, config), unread),
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
        Ok(self.driver.connection.close(frame)?)
    }

    /// What the opening handshake agreed on: subprotocol and compression.
    pub const fn agreed(&self) -> &Agreed {
        self.driver.connection.agreed()
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.driver.connection.agreed().protocol()
    }

    /// How the connection ended, once it has: who began, and the code and reason of each side.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.driver.connection.close_info()
    }

    /// How far the closing handshake is.
    pub const fn state(&self) -> State {
        self.driver.connection.state()
    }

    /// The time between the newest Ping of the keepalive and its Pong.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.driver.round_trip
    }

    /// The connection without its stream: role, limits, what was agreed on.
    pub const fn connection(&self) -> &Connection {
        &self.driver.connection
    }

    /// The stream, for example to ask for an address.
    pub const fn get_ref(&self) -> &S {
        &self.driver.stream
    }

    pub(super) fn into_driver(self) -> Driver<S> {
        self.driver
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
            self.driver
                .poll_whole(cx, |_, event| match (&event, take.take()) {
                    (Event::Text(_) | Event::Binary(_), Some(take)) => {
                        ControlFlow::Break(take(event))
                    }
                    (_, unused) => {
                        take = unused;
                        ControlFlow::Continue(())
                    }
                })
        })
        .await
    }

    /// Hands each message to `handle` where it lies, without a copy, until the connection is closed,
    /// and sends what that answers. Only text and binary events are given.
    ///
    /// This is the fastest loop there is: what one read brings is handled in one go and answered with
    /// one write. While there is more than [`Config::write_mark`] in the output, no message is taken.
    /// `handle` holds up this connection and its thread, so it must not block; to wait for something,
    /// use [`recv`](Self::recv) or a [`Session`](super::Session). A message for which it panics is not
    /// handed out again.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has handled whole messages, and what it answered stays in the output. So this
    /// may stand in a `select!` beside a timer or a channel, whose messages are then sent with
    /// [`feed`](Self::feed).
    ///
    /// # Examples
    ///
    /// ```
    /// use tokio::net::TcpStream;
    /// use wsroom::{Event, WebSocket};
    ///
    /// async fn shout(mut socket: WebSocket<TcpStream>) -> Result<(), wsroom::Error> {
    ///     socket
    ///         .recv_each(|event, answers| {
    ///             if let Event::Text(text) = event {
    ///                 // It is refused once the connection was told to close.
    ///                 let _ = answers.send(text.to_uppercase());
    ///             }
    ///         })
    ///         .await
    /// }
    /// ```
    pub async fn recv_each(
        &mut self,
        mut handle: impl FnMut(Event<'_>, &mut Answers<'_>),
    ) -> Result<(), Error> {
        let mark = self.write_mark();
        loop {
            self.ready().await?;
            let filled = poll_fn(|cx| {
                self.driver.poll_whole(cx, |connection, event| {
                    if matches!(event, Event::Text(_) | Event::Binary(_)) {
                        handle(event, &mut Answers { connection });
                    }
                    if connection.output_len() > mark {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
            });
            if filled.await?.is_none() {
                return Ok(());
            }
        }
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
        self.driver.connection.set_delivery(Delivery::Fragments);
        poll_fn(|cx| {
            self.driver
                .poll_receive(cx, |_, event| match fragment_of(event) {
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
    #[expect(clippy::manual_async_fn, reason = "moves the message once less")]
    pub fn feed(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        async move {
            self.ready().await?;
            Ok(self.driver.connection.send(message)?)
        }
    }

    /// Puts a text message into the output, copied from where it lies: without the memory that a
    /// [`Message`] of its own would take, and the right choice for a few KiB at most.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    pub async fn feed_text(&mut self, text: &str) -> Result<(), Error> {
        self.ready().await?;
        Ok(self.driver.connection.send_text(text)?)
    }

    /// Puts a binary message into the output, copied from where it lies, as
    /// [`feed_text`](Self::feed_text) does.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    pub async fn feed_binary(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.ready().await?;
        Ok(self.driver.connection.send_binary(payload)?)
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
        Ok(self.driver.connection.send_prepared(message)?)
    }

    /// Puts messages that were encoded together before into the output, all or none.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    pub async fn feed_batch(&mut self, batch: &PreparedBatch) -> Result<(), Error> {
        self.ready().await?;
        Ok(self.driver.connection.send_batch(batch)?)
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
        Ok(self.driver.connection.send_fragment(fragment)?)
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
        poll_fn(|cx| self.driver.poll_write_below(cx, 0)).await
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
        self.driver.connection.ping(payload)?;
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
        self.driver.connection.close(frame)?;
        let ended = poll_fn(|cx| {
            self.driver
                .poll_receive(cx, |_, _| ControlFlow::<()>::Continue(()))
        })
        .await;
        // How it ended is what is asked for here, so an error is no other answer.
        match self.driver.connection.close_info() {
            Some(info) => Ok(info),
            None => ended.and(Err(Error::ConnectionLost)),
        }
    }

    #[inline]
    async fn ready(&mut self) -> Result<(), Error> {
        let mark = self.write_mark();
        if self.driver.has_room(mark) {
            return Ok(());
        }
        poll_fn(|cx| self.driver.poll_write_below(cx, mark)).await
    }

    /// At least 1: a mark of 0 would mean that every message waits for all before it.
    fn write_mark(&self) -> usize {
        self.driver.connection.config().write_mark.max(1)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.driver.poll_whole(cx, |_, event| match event {
            Event::Text(text) => ControlFlow::Break(text.into()),
            Event::Binary(payload) => ControlFlow::Break(payload.into()),
            _ => ControlFlow::Continue(()),
        })
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<SocketEvent>, Error>> {
        self.driver.poll_whole(cx, |_, event| {
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
        self.driver.is_finished()
    }
}

/// The steps of [`send`](WebSocket::send); closing is a [`close`](WebSocket::close) with 1000.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mark = self.write_mark();
        self.driver.poll_write_below(cx, mark)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        Ok(self.driver.connection.send(message)?)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.driver.poll_write_below(cx, 0)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.start_close(CloseCode::NORMAL)?;
        self.driver
            .poll_receive(cx, |_, _| ControlFlow::<()>::Continue(()))
            .map_ok(drop)
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
