//! The other implementations, fed from memory.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf, join, sink};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use wsroom::Role;
use wsroom::limits::Bound;

use super::common::events::OwnedEvent;
use super::common::streams::Plan;

/// What an implementation made of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Messages and control frames, up to the end.
    pub(crate) events: Vec<OwnedEvent>,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// More is to come.
    Waiting,
    /// The peer has closed; that is the last event.
    Closed,
    /// The peer is told with this code that it broke a rule.
    Fault(u16),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Peer {
    Tungstenite,
    TokioWebsockets,
}

impl Peer {
    pub(crate) const ALL: [Self; 2] = [Self::Tungstenite, Self::TokioWebsockets];

    pub(crate) fn verdict(self, plan: Plan, bytes: &[u8]) -> Verdict {
        match self {
            Self::Tungstenite => tungstenite(plan, bytes),
            Self::TokioWebsockets => tokio_websockets(plan, bytes),
        }
    }
}

fn tungstenite(plan: Plan, bytes: &[u8]) -> Verdict {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(limit(plan, "max_message_size"))
        .max_frame_size(limit(plan, "max_frame_size"));
    let role = match plan.role {
        Role::Client => TheirRole::Client,
        Role::Server => TheirRole::Server,
    };
    let mut socket = WebSocket::from_raw_socket(Memory(bytes), role, Some(config));
    let mut events = Vec::new();
    let end = loop {
        events.push(match socket.read() {
            Ok(Message::Text(text)) => OwnedEvent::Text(text.to_string()),
            Ok(Message::Binary(payload)) => OwnedEvent::Binary(payload.to_vec()),
            Ok(Message::Ping(payload)) => OwnedEvent::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => OwnedEvent::Pong(payload.to_vec(), None),
            Ok(Message::Close(frame)) => {
                events.push(match frame {
                    Some(frame) => OwnedEvent::Close(frame.code.into(), frame.reason.to_string()),
                    None => OwnedEvent::Close(1005, String::new()),
                });
                break End::Closed;
            }
            Ok(Message::Frame(_)) => unreachable!("they are not read"),
            Err(Error::Io(_)) => break End::Waiting,
            Err(Error::Protocol(_)) => break End::Fault(1002),
            Err(Error::Capacity(_)) => break End::Fault(1009),
            Err(Error::Utf8(_)) => break End::Fault(1007),
            Err(error) => panic!("{error}"),
        });
    };
    Verdict { events, end }
}

fn tokio_websockets(plan: Plan, bytes: &[u8]) -> Verdict {
    use tokio_websockets::proto::ProtocolError;
    use tokio_websockets::{ClientBuilder, Error, Limits, ServerBuilder};

    let limits = Limits::default().max_payload_len(limit(plan, "max_message_size"));
    let stream = join(Memory(bytes), sink());
    let socket = match plan.role {
        Role::Client => ClientBuilder::new().limits(limits).take_over(stream),
        Role::Server => ServerBuilder::new().limits(limits).serve(stream),
    };
    let mut socket = pin!(socket);
    let mut events = Vec::new();
    let end = loop {
        let message = match socket
            .as_mut()
            .poll_next(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending | Poll::Ready(None) => break End::Waiting,
            Poll::Ready(Some(Ok(message))) => message,
            Poll::Ready(Some(Err(Error::Protocol(ProtocolError::InvalidUtf8)))) => {
                break End::Fault(1007);
            }
            Poll::Ready(Some(Err(Error::Protocol(_)))) => break End::Fault(1002),
            Poll::Ready(Some(Err(Error::PayloadTooLong { .. }))) => break End::Fault(1009),
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
        };
        let payload = || message.as_payload().to_vec();
        events.push(if message.is_text() {
            // It is not always text, which `as_text` does not look at.
            OwnedEvent::Text(String::from_utf8_lossy(&payload()).into())
        } else if message.is_binary() {
            OwnedEvent::Binary(payload())
        } else if message.is_ping() {
            OwnedEvent::Ping(payload())
        } else if message.is_pong() {
            OwnedEvent::Pong(payload(), None)
        } else {
            events.push(match message.as_close() {
                Some((code, reason)) => OwnedEvent::Close(code.into(), reason.into()),
                None => OwnedEvent::Close(1005, String::new()),
            });
            break End::Closed;
        });
    };
    Verdict { events, end }
}

/// What [`Config`](wsroom::Config) has set.
fn limit(plan: Plan, name: &str) -> Option<usize> {
    match plan.config().in_force().get(name) {
        Some(Bound::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

/// A stream that gives these bytes and then has to be waited for, and takes any.
pub(crate) struct Memory<'a>(pub(crate) &'a [u8]);

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (read, rest) = self.0.split_at(self.0.len().min(buffer.remaining()));
        if read.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(read);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}
