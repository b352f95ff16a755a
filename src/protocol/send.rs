//! From messages to frames (§5.1, §5.3 to §5.5).

use std::error::Error;
use std::fmt;

use bytes::{Buf, Bytes};

use super::config::MAX_QUEUED_PONGS;
use super::event::Fragment;
use super::output::{BY_REFERENCE, Output};
use super::prepared::{PreparedBatch, PreparedMessage, opcode_of};
use crate::close::CloseFrame;
use crate::deflate::Deflater;
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
pub(super) struct Sender {
    keys: MaskKeys,
    output: Output,
    /// A message that was begun in fragments.
    fragments: Option<Fragments>,
    pongs: Pongs,
    /// Compresses messages, if that was agreed on.
    deflater: Option<Box<Deflater>>,
}

/// The Pongs that wait to be written.
#[derive(Default)]
struct Pongs {
    /// How many bytes of them were added since all of them were written.
    queued: usize,
    /// How many bytes will have been written with the last of them.
    end: u64,
    /// What the newest carries, when there are too many to add it.
    late: Option<Bytes>,
}

struct Fragments {
    /// Only text is validated.
    utf8: Option<Utf8Validator>,
    is_compressed: bool,
}

/// Where the mask keys come from.
enum MaskKeys {
    /// §5.1: a server does not mask.
    None,
    Random,
    Fixed(MaskKey),
}

impl Sender {
    pub(super) fn new(masked: bool, deflater: Option<Box<Deflater>>) -> Self {
        Self {
            keys: if masked {
                MaskKey::forget_keys_of_parent();
                MaskKeys::Random
            } else {
                MaskKeys::None
            },
            output: Output::default(),
            fragments: None,
            pongs: Pongs::default(),
            deflater,
        }
    }

    /// Masks with one and the same key from now on, if masking at all.
    pub(super) fn fix_mask_key(&mut self, key: MaskKey) {
        if self.is_masking() {
            self.keys = MaskKeys::Fixed(key);
        }
    }

    /// Sends a message whose payload may be kept by reference, if it is large.
    #[inline]
    pub(super) fn message(&mut self, message: Message) -> Result<(), SendError> {
        let payload = message.as_bytes();
        if payload.len() < BY_REFERENCE {
            self.copied(opcode_of(&message), payload)
        } else {
            self.shared(opcode_of(&message), message.into_bytes())
        }
    }

    /// Sends a message whose payload is copied.
    pub(super) fn copied(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), SendError> {
        self.check_between_messages()?;
        if self.deflater.is_none() || !self.compressed(opcode, payload) {
            self.frame(opcode, true, payload);
        }
        Ok(())
    }

    fn shared(&mut self, opcode: OpCode, payload: Bytes) -> Result<(), SendError> {
        self.check_between_messages()?;
        if self.deflater.is_none() || !self.compressed(opcode, &payload) {
            self.frame_shared(opcode, true, payload);
        }
        Ok(())
    }

    pub(super) fn prepared(&mut self, message: &PreparedMessage) -> Result<(), SendError> {
        self.check_between_messages()?;
        if self.deflater.is_some() && self.prepared_compressed(message) {
            return Ok(());
        }
        if self.is_masking() {
            self.frame(message.opcode(), true, message.payload());
        } else {
            self.output.push_encoded(message.plain().bytes());
        }
        Ok(())
    }

    pub(super) fn batch(&mut self, batch: &PreparedBatch) -> Result<(), SendError> {
        self.check_between_messages()?;
        if self.deflater.is_none() && !self.is_masking() {
            self.output.push_encoded(batch.frames());
            return Ok(());
        }
        let mut messages = batch.messages().iter();
        messages.try_for_each(|message| self.prepared(message))
    }

    pub(super) fn fragment(&mut self, fragment: &Fragment) -> Result<(), SendError> {
        let mut fragments = match (fragment.opcode, &self.fragments) {
            (OpCode::Text | OpCode::Binary, None) => Fragments {
                utf8: (fragment.opcode == OpCode::Text).then(Utf8Validator::default),
                is_compressed: self
                    .deflater
                    .as_ref()
                    .is_some_and(|deflater| deflater.wants(fragment.payload.len())),
            },
            (OpCode::Continuation, Some(fragments)) => Fragments {
                utf8: fragments.utf8,
                is_compressed: fragments.is_compressed,
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
        if let Some(deflater) = &mut self.deflater
            && fragments.is_compressed
        {
            // RFC 7692 §7.2.1: each piece is flushed, so that it leaves as it is sent.
            let deflated = deflater.piece(&fragment.payload, fragment.fin);
            self.frame_compressed(fragment.opcode, fragment.fin, &deflated);
        } else {
            self.frame_shared(fragment.opcode, fragment.fin, fragment.payload.clone());
        }
        self.fragments = (!fragment.fin).then_some(fragments);
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
        if self.pongs_are_written() {
            self.pongs.queued = 0;
        } else if self.pongs.queued >= MAX_QUEUED_PONGS {
            self.pongs.late = Some(Bytes::copy_from_slice(payload));
            return;
        }
        self.pongs.late = None;
        let before = self.output.remaining();
        self.frame(OpCode::Pong, true, payload);
        self.pongs.queued += self.output.remaining() - before;
        self.pongs.end = self.output.passed() + self.output.remaining() as u64;
    }

    /// Adds a Close, the last frame of all (§5.5.1).
    pub(super) fn close(&mut self, frame: Option<&CloseFrame>) {
        self.pongs.late = None;
        // No message follows.
        self.deflater = None;
        let Some(frame) = frame else {
            return self.frame(OpCode::Close, true, &[]);
        };
        let mut body = [0; 125];
        let reason = frame.reason.as_bytes();
        body[..2].copy_from_slice(&frame.code.get().to_be_bytes());
        body[2..2 + reason.len()].copy_from_slice(reason);
        self.frame(OpCode::Close, true, &body[..2 + reason.len()]);
    }

    /// What is to be written. A Pong that was held back is added once those before it are written,
    /// whatever else still waits: an output that is never empty must not silence it.
    pub(super) fn output(&mut self) -> &mut Output {
        if self.pongs_are_written()
            && let Some(payload) = self.pongs.late.take()
        {
            self.pong(&payload);
        }
        &mut self.output
    }

    /// How long the output is that [`output`](Self::output) gives.
    #[inline]
    pub(super) fn output_len(&self) -> usize {
        let late = match &self.pongs.late {
            Some(payload) if self.pongs_are_written() => {
                let key_len = if self.is_masking() { 4 } else { 0 };
                2 + key_len + payload.len()
            }
            _ => 0,
        };
        self.output.remaining() + late
    }

    /// Forgets what was not written: nothing will be.
    pub(super) fn clear(&mut self) {
        self.pongs = Pongs::default();
        self.deflater = None;
        self.output.clear();
    }

    const fn is_masking(&self) -> bool {
        !matches!(self.keys, MaskKeys::None)
    }

    fn pongs_are_written(&self) -> bool {
        self.output.passed() >= self.pongs.end
    }

    const fn check_between_messages(&self) -> Result<(), SendError> {
        match self.fragments {
            Some(_) => Err(SendError::MessageInProgress),
            None => Ok(()),
        }
    }

    /// Sends a message compressed, if that is worth it: each message may be compressed or not (RFC
    /// 7692 §6).
    #[inline(never)]
    fn compressed(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        let Some(deflater) = &mut self.deflater else {
            return false;
        };
        if !deflater.wants(payload.len()) {
            return false;
        }
        let Some(deflated) = deflater.message(payload) else {
            return false;
        };
        self.frame_compressed(opcode, true, &deflated);
        true
    }

    /// Sends a prepared message compressed, if that is worth it.
    #[inline(never)]
    fn prepared_compressed(&mut self, message: &PreparedMessage) -> bool {
        let Some(deflater) = &mut self.deflater else {
            return false;
        };
        if !deflater.wants_by_itself(message.len()) {
            return false;
        }
        let Some(frame) = message.compressed(deflater) else {
            return false;
        };
        // The window of the peer has it now, and that of the deflater has not.
        deflater.forget();
        if self.is_masking() {
            self.frame_compressed(message.opcode(), true, frame.payload());
        } else {
            self.output.push_encoded(frame.bytes());
        }
        true
    }

    #[inline]
    fn frame(&mut self, opcode: OpCode, fin: bool, payload: &[u8]) {
        let header = self.header(opcode, fin, payload.len());
        // Encoded apart, frames with a key take 14 % fewer instructions and those without 23 %.
        if header.mask.is_none() {
            let unmasked = FrameHeader {
                mask: None,
                ..header
            };
            return self.output.push(&unmasked, payload);
        }
        self.output.push(&header, payload);
    }

    fn frame_shared(&mut self, opcode: OpCode, fin: bool, payload: Bytes) {
        let header = self.header(opcode, fin, payload.len());
        self.output.push_shared(&header, payload);
    }

    /// RFC 7692 §6.1: RSV1 on the first frame of a message says that it is compressed.
    fn frame_compressed(&mut self, opcode: OpCode, fin: bool, payload: &[u8]) {
        let mut header = self.header(opcode, fin, payload.len());
        header.rsv1 = opcode != OpCode::Continuation;
        self.output.push(&header, payload);
    }

    #[inline]
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

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    /// §5.5.3: more Pings than are answered, and an output that always holds data.
    #[test]
    fn a_pong_that_was_held_back_is_not_silenced_by_an_output_that_is_never_empty() {
        for masked in [false, true] {
            let mut sender = Sender::new(masked, None);
            for _ in 0..MAX_QUEUED_PONGS / 4 {
                sender.pong(b"old");
            }
            sender.pong(b"newest");
            sender.fix_mask_key(MaskKey::default());
            let data = Message::from(vec![1; 1000]);
            let mut wire = Vec::new();
            for _ in 0..200 {
                sender.message(data.clone()).unwrap();
                let len = sender.output_len();
                assert_eq!(sender.output().remaining(), len);
                assert!(len > 1000);
                wire.put(sender.output().take(len - 1000));
            }
            let newest = wire.windows(6).filter(|bytes| bytes == b"newest");
            assert_eq!(newest.count(), 1);
        }
    }

    #[test]
    fn the_length_of_an_output_that_is_written_counts_the_pong_that_was_held_back() {
        for masked in [false, true] {
            let mut sender = Sender::new(masked, None);
            for _ in 0..MAX_QUEUED_PONGS / 4 {
                sender.pong(b"ping");
            }
            let len = sender.output_len();
            sender.output().advance(len);
            assert_eq!(sender.output_len(), if masked { 10 } else { 6 });
            assert_eq!(sender.output().remaining(), sender.output_len());
        }
    }
}
