//! Feeds a connection, and keeps its events beyond their input so that they can be compared.

#![allow(dead_code, reason = "no test uses all of it")]

use std::time::Instant;

use wsroom::frame::OpCode;
use wsroom::{Connection, Event, ProtocolError};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OwnedEvent {
    Text(String),
    Binary(Vec<u8>),
    Fragment(OpCode, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>, Option<Instant>),
    Close(u16, String),
}

pub(crate) type Outcome = Result<OwnedEvent, ProtocolError>;

/// Passes all pieces to `connection`, those behind an error too, and collects what comes out.
pub(crate) fn receive<'a>(
    connection: &mut Connection,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for piece in pieces {
        let mut buffer = piece.to_vec();
        let mut input = &mut buffer[..];
        loop {
            match connection.receive(&mut input) {
                Ok(Some(event)) => outcomes.push(Ok(event.into())),
                Ok(None) => break,
                Err(error) => outcomes.push(Err(error)),
            }
        }
        assert!(input.is_empty(), "`None` means that the input is used up");
    }
    outcomes
}

impl From<Event<'_>> for OwnedEvent {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_string()),
            Event::Binary(payload) => Self::Binary(payload.to_vec()),
            Event::Fragment(piece) => {
                Self::Fragment(piece.opcode, piece.fin, piece.payload.to_vec())
            }
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong { payload, pinged_at } => Self::Pong(payload.to_vec(), pinged_at),
            Event::Close(frame) => Self::Close(frame.code.get(), frame.reason.to_string()),
            _ => unreachable!("an event that these tests do not know"),
        }
    }
}
