//! A WebSocket connection without I/O, after the opening handshake (RFC 6455 §5 to §7).
//!
//! [`Connection`] has three pairs: bytes ([`receive`](Connection::receive) and
//! [`receive_eof`](Connection::receive_eof), [`output`](Connection::output)), messages
//! ([`send`](Connection::send) and its like, [`Event`]s), and time
//! ([`handle_timeout`](Connection::handle_timeout), [`next_timeout`](Connection::next_timeout)).
//! Who calls them owns the transport and the clock. Any order of calls is legal; writing late only
//! delays.
//!
//! # Writing an adapter
//!
//! 1. Call `handle_timeout` once at the start, and again whenever the time that `next_timeout`
//!    gives has come; ask for it anew before each wait.
//! 2. Read into any buffer and pass what was read to `receive` until it gives `None`. Before the
//!    next read, ask for the [`direct_buffer`](Connection::direct_buffer): unless it is empty,
//!    read into it and call `receive_direct`, which saves large messages a copy.
//! 3. Write `output` before waiting, and after an event that was answered.
//! 4. Once [`is_closed`](Connection::is_closed): write what is left, then close the transport:
//!    a server at once, a client when the server has, or after a short wait (§7.1.1). Shut down
//!    the writing side first and read on to the end, so that the last frame is not destroyed
//!    by a reset. If [`is_overdue`](Connection::is_overdue), cut it.
//!
#![doc = include_str!("states.md")]

mod closed;
mod config;
mod event;
mod keepalive;
mod output;
mod prepared;
mod receive;
mod send;

use std::fmt;
use std::time::Instant;

pub use closed::{CloseCause, CloseInfo};
pub use config::Config;
pub use event::{Event, Fragment, Payload, Text};
pub use output::Output;
pub use prepared::{PreparedBatch, PreparedMessage};
pub use receive::Delivery;
pub use send::SendError;

use crate::agreed::Agreed;
use crate::close::{CloseCode, CloseFrame};
use crate::deflate::{Deflater, Effort, Inflater};
use crate::error::ProtocolError;
use crate::frame::{MaskKey, OpCode};
use crate::message::Message;
use crate::utf8::Utf8Bytes;
use config::SharedConfig;
use keepalive::{Expired, Keepalive};
use receive::{Control, Received, Receiver};
use send::Sender;

/// Which end of a connection this is. Only a client masks (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that sent the request.
    Client,
    /// The end that answered it.
    Server,
}

/// A WebSocket connection without I/O. See the [module](self) for how to drive it.
///
/// # Examples
///
/// ```
/// use bytes::Buf;
/// use wsroom::{Agreed, Config, Connection, Event, Role};
///
/// let mut client = Connection::new(Role::Client, Agreed::default(), Config::default());
/// let mut server = Connection::new(Role::Server, Agreed::default(), Config::default());
///
/// client.send("Hello")?;
/// let mut wire = vec![0; client.output_len()];
/// client.output().copy_to_slice(&mut wire);
/// let mut input = &mut wire[..];
/// let Some(Event::Text(text)) = server.receive(&mut input)? else { panic!() };
/// assert_eq!(&*text, "Hello");
/// assert!(server.receive(&mut input)?.is_none(), "the input is used up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    role: Role,
    config: SharedConfig,
    agreed: Agreed,
    state: State,
    receiver: Receiver,
    sender: Sender,
    keepalive: Keepalive,
    /// None while nothing has happened that may end the connection.
    ending: Option<Box<Ending>>,
}

/// How far the closing handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Data flows both ways.
    Open,
    /// Our Close is in the output or was written; the peer's has not come.
    Closing,
    /// Nothing more is received, and nothing more is sent but what is in the output.
    Closed,
}

/// What is known of the end of a connection.
#[derive(Debug, Default)]
struct Ending {
    cause: Option<CloseCause>,
    sent: Option<CloseFrame>,
    received: Option<CloseFrame>,
    overdue: bool,
}

impl Connection {
    /// Makes a connection whose opening handshake has agreed on `agreed`.
    pub fn new(role: Role, agreed: Agreed, config: Config) -> Self {
        let is_client = role == Role::Client;
        let effort = Effort {
            level: config.compression_level,
            threshold: config.compression_threshold,
            history: config.compression_history,
        };
        let deflate = agreed.deflate;
        let inflater = deflate.map(|params| Box::new(Inflater::new(params, !is_client)));
        let deflater =
            deflate.and_then(|params| Deflater::new(params, is_client, effort).map(Box::new));
        Self {
            role,
            receiver: Receiver::new(!is_client, &config, inflater),
            sender: Sender::new(is_client, deflater),
            config: SharedConfig::new(config),
            agreed,
            state: State::Open,
            keepalive: Keepalive::default(),
            ending: None,
        }
    }

    /// Takes bytes off the front of `input` and gives the next event.
    ///
    /// `None` means that `input` is used up: its bytes were taken, and are not to be passed again.
    /// Payloads are unmasked where they lie, so `input` is written to. Events do not depend on how
    /// the bytes are cut into inputs, but for where fragments are cut. Once the connection
    /// [is closed](Self::is_closed), all input is dropped (§5.5.1, §7.1.7).
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] if the peer broke a rule. It is reported once; the Close that tells the
    /// peer is in the output, and the connection is closed.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        match self.receive_whole(input) {
            Some(event) => event.map(Some),
            None => self.receive_any(input),
        }
    }

    /// As [`receive`](Self::receive), if the next event is a message that lies whole in `input`, in
    /// one frame. `None` otherwise, which has taken nothing: an adapter may read more behind it (see
    /// [`whole_len`](Self::whole_len)), or call `receive`.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    #[inline(always)]
    pub fn receive_whole<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Option<Result<Event<'a>, ProtocolError>> {
        match self.receiver.receive_whole(input)? {
            Ok(event) => {
                self.keepalive.heard();
                Some(Ok(event))
            }
            Err(error) => {
                *input = &mut [];
                Some(Err(self.fail_with(error.into())))
            }
        }
    }

    #[inline(never)]
    fn receive_any<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if self.state == State::Closed {
            *input = &mut [];
        }
        // An adapter may ask without having read: that is no sign of life.
        if input.is_empty() {
            return Ok(None);
        }
        self.keepalive.heard();
        if let Some(taken) = self.receiver.receive_middle(input) {
            return taken.map(|()| None).map_err(|error| self.fail_with(error));
        }
        if let Some(control) = self.receiver.receive_whole_control(input) {
            return self
                .take_control(control)
                .map(Some)
                .map_err(|error| self.fail_with(error))
                .inspect_err(|_| *input = &mut []);
        }
        let received = self.receiver.receive(&self.config, input);
        self.take_received(received)
            .inspect_err(|_| *input = &mut [])
    }

    /// Where the next bytes from the peer may be read to, instead of passing them to
    /// [`receive`](Self::receive): while much is missing of a large message, so that it is not
    /// copied. Empty otherwise. Call [`receive_direct`](Self::receive_direct) then.
    ///
    /// It holds as many bytes as are missing of the frame, or a few times as many as have come.
    pub fn direct_buffer(&mut self) -> &mut [u8] {
        self.receiver.direct_buffer()
    }

    /// Takes `count` bytes that were read to the front of the [`direct_buffer`](Self::direct_buffer)
    /// just asked for. Gives the message if they were the last of it.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    ///
    /// # Panics
    ///
    /// Panics if `count` is more than that buffer holds.
    pub fn receive_direct(
        &mut self,
        count: usize,
    ) -> Result<Option<Event<'static>>, ProtocolError> {
        if count == 0 {
            return Ok(None);
        }
        self.keepalive.heard();
        let received = self.receiver.receive_direct(count);
        self.take_received(received)
    }

    /// How long the frame at the front of `input` is, header and all, if it is a message that can be
    /// given without a copy once all of it is there: for an adapter that can read the rest behind it.
    pub fn whole_len(&self, input: &[u8]) -> Option<usize> {
        self.receiver.whole_len(input)
    }

    /// Whether a large message is being assembled: after it, another may come, of which the
    /// [`direct_buffer`](Self::direct_buffer) is to get as much as possible.
    pub fn is_inside_large(&self) -> bool {
        self.receiver.is_inside_large()
    }

    /// How many bytes make no event: those that are missing of a frame whose message is assembled.
    /// An adapter may read that many before it gives any to [`receive`](Self::receive).
    pub fn missing(&self) -> usize {
        self.receiver.missing()
    }

    /// Answers what is to be answered.
    fn take_received<'a>(
        &mut self,
        received: Result<Option<Received<'a>>, ProtocolError>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let event = match received {
            Ok(None) => return Ok(None),
            Ok(Some(Received::Text(text))) => Ok(Event::Text(text)),
            Ok(Some(Received::Binary(payload))) => Ok(Event::Binary(payload)),
            Ok(Some(Received::Fragment(fragment))) => Ok(Event::Fragment(fragment)),
            Ok(Some(Received::Control(control))) => self.take_control(control),
            Err(error) => Err(error),
        };
        event.map(Some).map_err(|error| self.fail_with(error))
    }

    #[inline(always)]
    fn take_control<'a>(&mut self, control: Control<'a>) -> Result<Event<'a>, ProtocolError> {
        match control.opcode {
            OpCode::Ping => Ok(self.receive_ping(control.payload)),
            OpCode::Pong => Ok(self.receive_pong(control.payload)),
            _ => self.receive_close(&control.payload),
        }
    }

    /// §7.1.7: ends the connection for a fault of the peer.
    fn fail_with(&mut self, error: ProtocolError) -> ProtocolError {
        let cause = CloseCause::Protocol(error);
        self.fail(cause, error.close_code(), error.reason());
        error
    }

    /// Takes the end of the input, or the loss of the transport.
    ///
    /// What the peer left unfinished is dropped (§7.1.5, code 1006), and so is the output, if no
    /// closing handshake was completed.
    pub fn receive_eof(&mut self) {
        if self.state == State::Closed {
            return;
        }
        self.ending()
            .cause
            .get_or_insert(CloseCause::ConnectionLost);
        self.enter_closed();
        self.sender.clear();
    }

    /// Sends a message. What is large of a server's is not copied.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close in either direction (§5.5.1),
    /// [`SendError::MessageInProgress`] between fragments (§5.4).
    #[inline]
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.message(message.into())
    }

    /// Sends a text message that is copied from where it lies: without the memory that a [`Message`]
    /// of its own would take, and the right choice for a few KiB at most.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.copied(OpCode::Text, text.as_bytes())
    }

    /// Sends a binary message that is copied from where it lies, as
    /// [`send_text`](Self::send_text) does.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_binary(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.copied(OpCode::Binary, payload)
    }

    /// Sends a message that was encoded before, for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &PreparedMessage) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.prepared(message)
    }

    /// Sends messages that were encoded together before, for many connections: all or none.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_batch(&mut self, batch: &PreparedBatch) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.batch(batch)
    }

    /// Sends a piece of a message (§5.4), so that a large message need not be held at once.
    /// Control frames may be sent between the pieces, other messages not.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close in either direction; an opcode that does not fit what
    /// was sent before; [`SendError::InvalidUtf8`] if the pieces of a text are not text together.
    pub fn send_fragment(&mut self, fragment: &Fragment) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.fragment(fragment)
    }

    /// Sends a Ping with a payload of at most 125 bytes (§5.5.2).
    ///
    /// # Errors
    ///
    /// [`SendError::ControlFrameTooLong`], or [`SendError::Closed`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.control(OpCode::Ping, payload)
    }

    /// Sends a Pong that nobody asked for (§5.5.3), with a payload of at most 125 bytes. Pings are
    /// answered without it.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlFrameTooLong`], or [`SendError::Closed`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        self.sender.control(OpCode::Pong, payload)
    }

    /// Begins the closing handshake (§7.1.2), with a code and reason or with an empty Close.
    ///
    /// A second call, or one after the peer's Close, sends nothing more.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidCloseCode`] for a code that must not travel, or 1010 from a server
    /// (§7.4); [`SendError::CloseReasonTooLong`].
    pub fn close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Result<(), SendError> {
        let frame = frame.into();
        if let Some(frame) = &frame {
            let from_client = self.role == Role::Client;
            if !frame.code.is_sendable()
                || (frame.code == CloseCode::EXTENSION_REQUIRED && !from_client)
            {
                return Err(SendError::InvalidCloseCode);
            }
            if frame.reason.len() > CloseFrame::MAX_REASON {
                return Err(SendError::CloseReasonTooLong);
            }
        }
        if self.state == State::Open {
            self.send_close(frame);
            self.ending().cause = Some(CloseCause::Local);
            self.state = State::Closing;
        }
        Ok(())
    }

    /// Takes the time, does what is due, and starts the deadlines that began since.
    ///
    /// Deadlines run from the first call on. One that passes closes the connection: see
    /// [`close_info`](Self::close_info) for the cause, [`is_overdue`](Self::is_overdue) for
    /// whether anything is left to wait for.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.keepalive.handle_timeout(now, &self.config) {
            None => {}
            Some(Expired::Ping(payload)) => {
                // Eight bytes are not too long for a control frame, and no Close was sent, since
                // it would have ended the Pings.
                let sent = self.sender.control(OpCode::Ping, &payload);
                debug_assert_eq!(sent, Ok(()));
            }
            Some(Expired::Pong) => self.fail(
                CloseCause::PongTimeout,
                CloseCode::INTERNAL_ERROR,
                "ping was not answered in time",
            ),
            Some(Expired::Idle) => self.fail(
                CloseCause::IdleTimeout,
                CloseCode::GOING_AWAY,
                "silent for too long",
            ),
            Some(Expired::Close) => {
                if self.state != State::Closed {
                    self.enter_closed();
                }
                self.ending().overdue = true;
                self.sender.clear();
            }
        }
    }

    /// Counts as if something had come from the peer: for an adapter that has stopped reading
    /// because the application is behind, and so cannot know.
    pub const fn pause_deadlines(&mut self) {
        self.keepalive.heard();
    }

    /// From the next message on, gives messages whole or in fragments. A message of which no
    /// fragment was given yet is still given whole, if that is asked for.
    pub fn set_delivery(&mut self, delivery: Delivery) {
        self.receiver.set_delivery(delivery);
    }

    /// What is to be written. Ask anew after each write: a Pong that was held back may follow.
    pub fn output(&mut self) -> &mut Output {
        self.sender.output()
    }

    /// Masks every frame with this key from now on, if this is a client: for tests that compare
    /// bytes. A key that a peer can foretell breaks the promise of §10.3.
    #[doc(hidden)]
    pub fn fix_mask_key(&mut self, key: MaskKey) {
        self.sender.fix_mask_key(key);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next: at once if the time is
    /// past. `None` before its first call, or if nothing is waited for.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.keepalive.next_timeout()
    }

    /// How many bytes wait to be written.
    #[inline]
    pub fn output_len(&self) -> usize {
        self.sender.output_len()
    }

    /// How far the closing handshake is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether nothing more is received, and nothing more sent but what is in the output.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether the deadline of the closing handshake has passed: the transport is to be cut.
    pub const fn is_overdue(&self) -> bool {
        matches!(&self.ending, Some(ending) if ending.overdue)
    }

    /// Whether a message has been given out in fragments, but not to its end.
    pub const fn is_inside_fragments(&self) -> bool {
        self.receiver.is_inside_fragments()
    }

    /// How the connection ended, once it [is closed](Self::is_closed).
    pub fn close_info(&self) -> Option<CloseInfo> {
        let ending = self.ending.as_ref()?;
        if self.state != State::Closed {
            return None;
        }
        Some(CloseInfo {
            cause: ending.cause.unwrap_or(CloseCause::ConnectionLost),
            sent: ending.sent.clone(),
            received: ending.received.clone(),
        })
    }

    /// Which end this is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What the opening handshake agreed on.
    pub const fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// The limits and deadlines.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// §5.5.2: a Ping is answered with a Pong that carries the same.
    #[inline(always)]
    fn receive_ping<'a>(&mut self, payload: Payload<'a>) -> Event<'a> {
        self.sender.pong(&payload);
        Event::Ping(payload)
    }

    fn receive_pong<'a>(&mut self, payload: Payload<'a>) -> Event<'a> {
        let pinged_at = self.keepalive.answered(&payload);
        Event::Pong { payload, pinged_at }
    }

    /// §5.5.1: a Close is answered with a Close of the same code, unless one was sent already.
    fn receive_close<'a>(&mut self, body: &[u8]) -> Result<Event<'a>, ProtocolError> {
        let frame = parse_close(body)?;
        if self.state == State::Open {
            self.ending().cause = Some(CloseCause::Remote);
            self.send_close((!body.is_empty()).then(|| frame.code.into()));
        }
        self.ending().received = Some(frame.clone());
        self.enter_closed();
        Ok(Event::Close(frame))
    }

    /// §7.1.7: tells the peer, unless a Close was sent already, and ends the connection.
    fn fail(&mut self, cause: CloseCause, code: CloseCode, reason: &'static str) {
        if self.state == State::Open {
            let reason = Utf8Bytes::from_static(reason);
            self.send_close(Some(CloseFrame::new(code, reason)));
        }
        self.ending().cause = Some(cause);
        self.enter_closed();
    }

    fn send_close(&mut self, frame: Option<CloseFrame>) {
        self.sender.close(frame.as_ref());
        self.ending().sent = Some(frame.unwrap_or_else(|| CloseCode::NO_STATUS.into()));
        self.keepalive.begin_close();
    }

    fn enter_closed(&mut self) {
        self.state = State::Closed;
        self.receiver.clear();
        self.keepalive.begin_close();
    }

    fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    fn check_open(&self) -> Result<(), SendError> {
        match self.state {
            State::Open => Ok(()),
            State::Closing | State::Closed => Err(SendError::Closed),
        }
    }
}

/// Frees the buffers that this thread keeps for its connections, 4 MiB at most: for tests that count
/// what a connection holds.
#[doc(hidden)]
pub fn release_kept() {
    crate::buffer::release_kept();
}

/// Shows how far the connection is, and no payload.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("ending", &self.ending)
            .field("output_len", &self.output_len())
            .finish_non_exhaustive()
    }
}

/// Takes the body of a Close apart: nothing, or a code and a reason (§5.5.1).
fn parse_close(body: &[u8]) -> Result<CloseFrame, ProtocolError> {
    let (code, reason) = match body {
        // §7.1.5: a Close without a body is one with code 1005.
        [] => return Ok(CloseCode::NO_STATUS.into()),
        [_] => return Err(ProtocolError::CloseBodyTooShort),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let code = CloseCode::new(code);
    if !code.is_sendable() {
        return Err(ProtocolError::InvalidCloseCode(code));
    }
    let reason = str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(CloseFrame::new(code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_payload_that_came_or_waits() {
        let mut connection = Connection::new(Role::Client, Agreed::default(), Config::default());
        connection.fix_mask_key(MaskKey::default());
        connection.send("SSS").unwrap();
        let mut unfinished = *b"\x01\x03SSS\x00\x0fSS";
        assert!(
            connection
                .receive(&mut &mut unfinished[..])
                .unwrap()
                .is_none()
        );
        let shown = format!("{connection:?}") + &format!("{:?}", connection.output());
        assert!(
            !shown.contains("SS") && !shown.contains("83, 83"),
            "{shown}"
        );
        assert!(
            shown.contains("Open") && shown.contains("9 bytes"),
            "{shown}"
        );
    }
}
