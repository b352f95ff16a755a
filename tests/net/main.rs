//! The adapter over streams: `WebSocket`, `Session`, `accept`, `connect`. Ids such as C9 are those
//! of the rules, with the section of the RFC beside them.

#![cfg(feature = "tokio")]

mod adapter;
mod cancel;
#[cfg(feature = "deflate")]
mod compressed;
mod deadlines;
mod dropped;
mod ending;
mod fragments;
mod garbage;
mod interop;
mod opening;
mod pipe;
mod session;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wsroom::protocol::Connection;
use wsroom::{Agreed, Config, Event, Message, Role, WebSocket};

use pipe::{Chopped, Lane, pipe};

/// Large enough to hold whatever a test writes.
const ROOMY: usize = usize::MAX;

fn socket<S>(stream: S, role: Role, config: Config) -> WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    WebSocket::new(stream, role, Agreed::default(), config, &[])
}

/// A server whose client is the test: what the server reads and what it writes.
fn server(config: Config) -> (WebSocket<Chopped>, Lane, Lane, Chopped) {
    let (near, far) = pipe(ROOMY);
    let (reads, writes) = (near.incoming(), near.outgoing());
    (socket(near, Role::Server, config), reads, writes, far)
}

/// A client and a server over one pipe.
fn both(capacity: usize, config: Config) -> (WebSocket<Chopped>, WebSocket<Chopped>) {
    let (near, far) = pipe(capacity);
    (
        socket(near, Role::Client, config),
        socket(far, Role::Server, config),
    )
}

/// Polls once.
async fn once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A masked frame with FIN (§5.2), the key all zero.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked_piece(0x80 | opcode, payload)
}

/// A masked frame with this first byte.
fn masked_piece(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = plain(first, payload);
    frame[1] |= 0x80;
    let end = frame.len() - payload.len();
    frame.splice(end..end, [0; 4]);
    frame
}

/// An unmasked frame with this first byte.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// The body of a Close (§5.5.1).
fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Takes unmasked frames apart: first byte and payload of each.
fn frames(mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, len, rest @ ..] = wire {
        let (len, rest) = match len {
            126 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            127 => (
                u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize,
                &rest[8..],
            ),
            len => (usize::from(*len), rest),
        };
        frames.push((*first, rest[..len].to_vec()));
        wire = &rest[len..];
    }
    assert!(wire.is_empty(), "the last frame is whole");
    frames
}

/// The messages that lie in what a peer of this role has read.
fn messages(role: Role, mut wire: Vec<u8>) -> Vec<Message> {
    let config = Config::default().max_message_size(usize::MAX);
    let mut connection = Connection::new(role, Agreed::default(), config);
    let mut input = &mut wire[..];
    let mut messages = Vec::new();
    while let Some(event) = connection.receive(&mut input).unwrap() {
        match event {
            Event::Text(text) => messages.push(text.into()),
            Event::Binary(payload) => messages.push(payload.into()),
            _ => {}
        }
    }
    messages
}

fn binary(len: usize) -> Message {
    Message::from(Bytes::from(vec![7; len]))
}
