//! From messages to frames (§5.1, §5.3 to §5.5).

use std::error::Error;
use std::fmt;

use bytes::Bytes;

use super::config::MAX_QUEUED_PONGS;
use super::event::Fragment;
use super::output::Output;
use super::prepared::{PreparedMessage, opcode_of};
use crate::close::CloseFrame;
use crate::frame::{FrameHeader, MaskKey, OpCode};
use crate::message::Message;
use crate::utf8::Utf8Validator;

/// A connection was asked to send what it must not. Nothing was sent, and the connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendError {
    /// §5.5.1: a Close was sent or received, or the connection failed; no data may follow.
    Closed,
    /// §5.4: a message that was begun in fragments is not finished.
    MessageInProgress,
    /// §5.4: a continuation, and no message was begun in fragments.
    NoMessageInProgress,
    /// A fragment with the opcode of a control frame.
    ControlFragment,
    /// §8.1: the fragments of a text are not UTF-8.
    InvalidUtf8,
    /// §5.5: a Ping or Pong has at most 125 bytes.
    ControlFrameTooLong,
    /// §7.4: a code that must not be sent.
    InvalidCloseCode,
    /// §5.5.1: a close reason has at most 123 bytes.
    CloseReasonTooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "connection is closed for sending",
            Self::MessageInProgress => "a message in fragments is not finished",
            Self::NoMessageInProgress => "continuation without a message in fragments",
            Self::ControlFragment => "a control frame is no fragment",
            Self::InvalidUtf8 => "text is not valid UTF-8",
            Self::ControlFrameTooLong => "control payload is longer than 125 bytes",
            Self::InvalidCloseCode => "close code must not be sent",
            Self::CloseReasonTooLong => "close reason is longer than 123 bytes",
        })
    }
}

impl Error for SendError {}

/// Encodes frames into the output, masked if they are a client's.
#[derive(Debug)]
pub(super) struct Sender {
    keys: MaskKeys,
    output: Output,
    /// A message that was begun in fragments.
    fragments: Option<Fragments>,
    /// How many bytes of Pongs were added since the output was empty.
    queued_pongs: usize,
    /// The newest Pong, when there are too many to add it.
    late_pong: Option<Bytes>,
}

#[derive(Debug)]
struct Fragments {
    /// Only text is validated.
    utf8: Option<Utf8Validator>,
}

/// Where the mask keys come from.
#[derive(Debug)]
enum MaskKeys {
    /// §5.1: a server does not mask.
    None,
    Random,
    Fixed(MaskKey),
}

impl Sender {
    pub(super) fn new(masked: bool) -> Self {
        Self {
            keys: if masked {
                MaskKeys::Random
            } else {
                MaskKeys::None
            },
            output: Output::default(),
            fragments: None,
            queued_pongs: 0,
            late_pong: None,
        }
    }

    /// Masks with one and the same key from now on, if masking at all.
    pub(super) fn fix_mask_key(&mut self, key: MaskKey) {
        if !matches!(self.keys, MaskKeys::None) {
            self.keys = MaskKeys::Fixed(key);
        }
    }

    pub(super) fn message(&mut self, message: &Message) -> Result<(), SendError> {
        self.check_between_messages()?;
        match message {
            Message::Text(text) => self.frame_shared(opcode_of(message), true, text.as_ref()),
            Message::Binary(bytes) => self.frame_shared(opcode_of(message), true, bytes),
        }
        Ok(())
    }

    pub(super) fn prepared(&mut self, message: &PreparedMessage) -> Result<(), SendError> {
        self.check_between_messages()?;
        if matches!(self.keys, MaskKeys::None) {
            self.output.push_encoded(message.frame());
        } else {
            self.frame(message.opcode(), true, message.payload());
        }
        Ok(())
    }

    pub(super) fn fragment(&mut self, fragment: &Fragment) -> Result<(), SendError> {
        let mut fragments = match (fragment.opcode, &self.fragments) {
            (OpCode::Text, None) => Fragments {
                utf8: Some(Utf8Validator::default()),
            },
            (OpCode::Binary, None) => Fragments { utf8: None },
            (OpCode::Continuation, Some(fragments)) => Fragments {
                utf8: fragments.utf8,
            },
            (OpCode::Continuation, None) => return Err(SendError::NoMessageInProgress),
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(SendError::MessageInProgress),
            _ => return Err(SendError::ControlFragment),
        };
        if let Some(utf8) = &mut fragments.utf8 {
            utf8.receive(&fragment.payload)
                .map_err(|_| SendError::InvalidUtf8)?;
            if fragment.fin {
                utf8.finish().map_err(|_| SendError::InvalidUtf8)?;
            }
        }
        self.fragments = (!fragment.fin).then_some(fragments);
        self.frame_shared(fragment.opcode, fragment.fin, &fragment.payload);
        Ok(())
    }

    /// Adds a Ping or a Pong that was not asked for.
    pub(super) fn control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > 125 {
            return Err(SendError::ControlFrameTooLong);
        }
        self.frame(opcode, true, payload);
        Ok(())
    }

    /// Answers a Ping. Beyond a bound only the newest is answered, which §5.5.3 allows.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.queued_pongs >= MAX_QUEUED_PONGS {
            self.late_pong = Some(Bytes::copy_from_slice(payload));
            return;
        }
        let before = self.output_len();
        self.frame(OpCode::Pong, true, payload);
        self.queued_pongs += self.output_len() - before;
    }

    /// Adds a Close, the last frame of all (§5.5.1).
    pub(super) fn close(&mut self, frame: Option<&CloseFrame>) {
        self.late_pong = None;
        let Some(frame) = frame else {
            return self.frame(OpCode::Close, true, &[]);
        };
        let mut body = [0; 125];
        let reason = frame.reason.as_bytes();
        body[..2].copy_from_slice(&frame.code.get().to_be_bytes());
        body[2..2 + reason.len()].copy_from_slice(reason);
        self.frame(OpCode::Close, true, &body[..2 + reason.len()]);
    }

    /// What is to be written.
    pub(super) fn output(&mut self) -> &mut Output {
        if self.output_len() == 0 {
            self.queued_pongs = 0;
            if let Some(payload) = self.late_pong.take() {
                self.pong(&payload);
            }
        }
        &mut self.output
    }

    pub(super) fn output_len(&self) -> usize {
        bytes::Buf::remaining(&self.output)
    }

    /// Forgets what was not written: nothing will be.
    pub(super) fn clear(&mut self) {
        self.late_pong = None;
        self.output.clear();
    }

    const fn check_between_messages(&self) -> Result<(), SendError> {
        match self.fragments {
            Some(_) => Err(SendError::MessageInProgress),
            None => Ok(()),
        }
    }

    fn frame(&mut self, opcode: OpCode, fin: bool, payload: &[u8]) {
        let header = self.header(opcode, fin, payload.len());
        self.output.push(&header, payload);
    }

    fn frame_shared(&mut self, opcode: OpCode, fin: bool, payload: &Bytes) {
        let header = self.header(opcode, fin, payload.len());
        self.output.push_shared(&header, payload);
    }

    fn header(&self, opcode: OpCode, fin: bool, payload_len: usize) -> FrameHeader {
        FrameHeader {
            fin,
            rsv1: false,
            opcode,
            // §5.3: a fresh key for every frame.
            mask: match self.keys {
                MaskKeys::None => None,
                MaskKeys::Random => Some(MaskKey::random()),
                MaskKeys::Fixed(key) => Some(key),
            },
            payload_len: payload_len as u64,
        }
    }
}
