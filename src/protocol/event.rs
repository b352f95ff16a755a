//! What comes out of a connection.

use std::fmt;
use std::ops::Deref;
use std::time::Instant;

use bytes::Bytes;

use crate::buffer;
use crate::close::CloseFrame;
use crate::frame::OpCode;
use crate::message::Message;
use crate::utf8::Utf8Bytes;

/// Something that the peer sent, as [`Connection::receive`](crate::Connection::receive) gives it.
///
/// `'a` is the life of the input: what lay whole in it is borrowed from it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole text message.
    Text(Text<'a>),
    /// A whole binary message.
    Binary(Payload<'a>),
    /// A piece of a message, if fragments were asked for with
    /// [`Delivery::Fragments`](crate::protocol::Delivery::Fragments).
    Fragment(Fragment<Payload<'a>>),
    /// A Ping (§5.5.2). Its Pong is in the output.
    Ping(Payload<'a>),
    /// A Pong (§5.5.3), asked for or not.
    Pong {
        /// What the Ping carried, if this answers one.
        payload: Payload<'a>,
        /// When the Ping of our keepalive that this answers was made.
        pinged_at: Option<Instant>,
    },
    /// A Close (§5.5.1). It has been answered, if it is not itself the answer to ours. A Close
    /// without a body has [`CloseCode::NO_STATUS`](crate::CloseCode::NO_STATUS).
    Close(CloseFrame),
}

/// One piece of a message that is sent or taken in pieces (§5.4).
///
/// Where the pieces are cut has no meaning: an intermediary, and the receiving side of this
/// crate, may cut a message anew.
#[derive(Clone, PartialEq, Eq)]
pub struct Fragment<P = Bytes> {
    /// Text or binary for the first piece, continuation for the others.
    pub opcode: OpCode,
    /// Whether this is the last piece.
    pub fin: bool,
    /// The bytes. Those of a text can begin and end inside a character.
    pub payload: P,
}

impl<P> fmt::Debug for Fragment<P>
where
    P: AsRef<[u8]>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("opcode", &self.opcode)
            .field("fin", &self.fin)
            .field("len", &self.payload.as_ref().len())
            .finish()
    }
}

/// Bytes that lie in the input, or that were assembled. `Debug` shows their length only.
#[derive(Clone)]
pub enum Payload<'a> {
    /// Lies whole in the input.
    Borrowed(&'a [u8]),
    /// Came in pieces.
    Owned(Bytes),
}

impl Payload<'_> {
    /// The bytes to keep: assembled ones are handed over, others copied.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => buffer::copy(bytes),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Payload<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Text that lies in the input, or that was assembled. `Debug` shows its length only.
#[derive(Clone)]
pub enum Text<'a> {
    /// Lies whole in the input.
    Borrowed(&'a str),
    /// Came in pieces.
    Owned(Utf8Bytes),
}

impl Text<'_> {
    /// The text to keep: an assembled one is handed over, another copied.
    pub fn into_utf8_bytes(self) -> Utf8Bytes {
        match self {
            Self::Borrowed(text) => Utf8Bytes::copy(text),
            Self::Owned(text) => text,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl From<Payload<'_>> for Message {
    fn from(payload: Payload<'_>) -> Self {
        Self::Binary(payload.into_bytes())
    }
}

impl From<Text<'_>> for Message {
    fn from(text: Text<'_>) -> Self {
        Self::Text(text.into_utf8_bytes())
    }
}
