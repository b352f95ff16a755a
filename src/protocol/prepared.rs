//! Messages that are encoded once for many connections.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::deflate::{Deflater, Variants};
use crate::frame::{FrameHeader, OpCode};
use crate::message::Message;

/// A message together with its frame, made once and sent to many. Cloning it copies nothing.
///
/// A frame that a server sends is not masked (§5.1), so it is the same for every client. Sent by
/// a client, the payload is masked for each connection as any other.
///
/// Where permessage-deflate was agreed on, the message is compressed when it is first sent, at
/// most once for each window size that was agreed on, and all clones share the result. It is
/// compressed by itself, whatever context a connection has; the message that follows it there
/// begins a new one.
///
/// # Examples
///
/// ```
/// use bytes::Buf;
/// use wsroom::{Agreed, Config, Connection, PreparedMessage, Role};
///
/// let hello = PreparedMessage::new("hello");
/// for _ in 0..3 {
///     let mut member = Connection::new(Role::Server, Agreed::default(), Config::default());
///     member.send_prepared(&hello)?;
///     assert_eq!(member.output().chunk(), b"\x81\x05hello");
/// }
/// # Ok::<(), wsroom::SendError>(())
/// ```
#[derive(Clone)]
pub struct PreparedMessage(Arc<Prepared>);

struct Prepared {
    plain: Frame,
    opcode: OpCode,
    /// Compressed, unless that is not wanted.
    compressed: Option<Variants<Frame>>,
}

/// The frame of a server: header and payload.
pub(super) struct Frame {
    bytes: Bytes,
    header_len: u8,
}

impl PreparedMessage {
    /// Encodes a message.
    pub fn new(message: impl Into<Message>) -> Self {
        Self::prepare(&message.into(), Some(Variants::default()))
    }

    /// Encodes a message that is never compressed.
    ///
    /// For what is compressed already; and for a secret in one message with what an attacker may
    /// choose, or in a context with it, whose length on the wire could give it away (RFC 7692 §8).
    pub fn uncompressed(message: impl Into<Message>) -> Self {
        Self::prepare(&message.into(), None)
    }

    fn prepare(message: &Message, compressed: Option<Variants<Frame>>) -> Self {
        let opcode = opcode_of(message);
        Self(Arc::new(Prepared {
            plain: Frame::new(opcode, false, message.as_bytes()),
            opcode,
            compressed,
        }))
    }

    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        self.payload().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a text message.
    pub fn is_text(&self) -> bool {
        self.0.opcode == OpCode::Text
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.0.plain.payload()
    }

    pub(super) fn opcode(&self) -> OpCode {
        self.0.opcode
    }

    pub(super) fn plain(&self) -> &Frame {
        &self.0.plain
    }

    /// The frame of the compressed message, if that is wanted and smaller.
    pub(super) fn compressed(&self, deflater: &Deflater) -> Option<&Frame> {
        let variants = self.0.compressed.as_ref()?;
        let payload = self.payload();
        variants.get_or_make(deflater, payload, |deflated| {
            Frame::new(self.opcode(), true, deflated)
        })
    }
}

/// Messages that are encoded once, and sent to many together. Cloning it copies nothing.
///
/// What a server sends is one piece of memory, however many messages it is. A client masks each for
/// its connection, and where permessage-deflate was agreed on each is compressed by itself, as a
/// [`PreparedMessage`] is. For that the messages are held by themselves too: it takes twice the memory
/// of its frames.
///
/// # Examples
///
/// ```
/// use bytes::Buf;
/// use wsroom::protocol::PreparedBatch;
/// use wsroom::{Agreed, Config, Connection, Role};
///
/// let tick = PreparedBatch::new(["up", "down"]);
/// let mut member = Connection::new(Role::Server, Agreed::default(), Config::default());
/// member.send_batch(&tick)?;
/// assert_eq!(member.output().chunk(), b"\x81\x02up\x81\x04down");
/// # Ok::<(), wsroom::SendError>(())
/// ```
#[derive(Clone)]
pub struct PreparedBatch(Arc<Batch>);

struct Batch {
    messages: Box<[PreparedMessage]>,
    /// The plain frames of all, one behind the other.
    frames: Bytes,
    payload_len: usize,
}

impl PreparedBatch {
    /// Encodes messages, in their order.
    pub fn new(messages: impl IntoIterator<Item: Into<PreparedMessage>>) -> Self {
        let messages: Box<[PreparedMessage]> = messages.into_iter().map(Into::into).collect();
        let frames = messages.iter().map(|it| &it.plain().bytes[..]);
        Self(Arc::new(Batch {
            frames: frames.collect::<Vec<_>>().concat().into(),
            payload_len: messages.iter().map(PreparedMessage::len).sum(),
            messages,
        }))
    }

    /// The messages, each by itself.
    pub fn messages(&self) -> &[PreparedMessage] {
        &self.0.messages
    }

    /// The length of all payloads in bytes.
    pub fn payload_len(&self) -> usize {
        self.0.payload_len
    }

    pub(super) fn frames(&self) -> &Bytes {
        &self.0.frames
    }
}

/// Shows how many there are and their length, never the content.
impl fmt::Debug for PreparedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.messages().len();
        write!(f, "{count} messages ({} bytes)", self.payload_len())
    }
}

impl Frame {
    fn new(opcode: OpCode, rsv1: bool, payload: &[u8]) -> Self {
        let header = FrameHeader {
            fin: true,
            rsv1,
            opcode,
            mask: None,
            payload_len: payload.len() as u64,
        }
        .encode();
        let header = header.as_slice();
        let mut bytes = BytesMut::with_capacity(header.len() + payload.len());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(payload);
        Self {
            bytes: bytes.freeze(),
            header_len: header.len() as u8,
        }
    }

    pub(super) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header_len)..]
    }
}

impl<M: Into<Message>> From<M> for PreparedMessage {
    fn from(message: M) -> Self {
        Self::new(message)
    }
}

/// Shared, not encoded anew.
impl From<&Self> for PreparedMessage {
    fn from(message: &Self) -> Self {
        message.clone()
    }
}

/// Shows the kind and the length, never the content.
impl fmt::Debug for PreparedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.opcode(), self.len())
    }
}

/// §5.6: the opcode tells text and binary apart.
pub(super) const fn opcode_of(message: &Message) -> OpCode {
    match message {
        Message::Text(_) => OpCode::Text,
        Message::Binary(_) => OpCode::Binary,
    }
}
