//! A message that is encoded once for many connections.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::frame::{FrameHeader, OpCode};
use crate::message::Message;

/// A message together with its frame, made once and sent to many. Cloning it copies nothing.
///
/// A frame that a server sends is not masked (§5.1), so it is the same for every client. Sent by
/// a client, the payload is masked for each connection as any other.
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
pub struct PreparedMessage {
    /// The frame of a server: header and payload.
    frame: Bytes,
    header_len: u8,
    opcode: OpCode,
}

impl PreparedMessage {
    /// Encodes a message.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let opcode = opcode_of(&message);
        let header = FrameHeader {
            fin: true,
            rsv1: false,
            opcode,
            mask: None,
            payload_len: message.len() as u64,
        }
        .encode();
        let header = header.as_slice();
        let mut frame = BytesMut::with_capacity(header.len() + message.len());
        frame.extend_from_slice(header);
        frame.extend_from_slice(message.as_bytes());
        Self {
            frame: frame.freeze(),
            header_len: header.len() as u8,
            opcode,
        }
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
        self.opcode == OpCode::Text
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.header_len)..]
    }

    pub(super) const fn opcode(&self) -> OpCode {
        self.opcode
    }

    pub(super) const fn frame(&self) -> &Bytes {
        &self.frame
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
        write!(f, "{:?}({} bytes)", self.opcode, self.len())
    }
}

/// §5.6: the opcode tells text and binary apart.
pub(super) const fn opcode_of(message: &Message) -> OpCode {
    match message {
        Message::Text(_) => OpCode::Text,
        Message::Binary(_) => OpCode::Binary,
    }
}
