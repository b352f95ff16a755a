//! A message that comes in several frames or several reads (§5.4, §5.6, §8.1).

use super::frame::{Frame, unmask};
use super::{Delivery, Received};
use crate::buffer::Gathered;
use crate::error::ProtocolError;
use crate::frame::{MaskKey, OpCode};
use crate::protocol::event::{Fragment, Payload, Text};
use crate::utf8::{Utf8Buffer, Utf8Error, Utf8Validator};

pub(super) struct Assembly {
    pub(super) kind: Kind,
    pub(super) frames: u32,
    /// The lengths of its frames, the one that is coming included.
    pub(super) len: u64,
    pub(super) is_compressed: bool,
    /// How long it is so far, if it is compressed.
    pub(super) inflated: usize,
}

pub(super) enum Kind {
    Text(Utf8Buffer),
    Binary(Gathered),
    /// Handed out as it comes.
    Fragments {
        opcode: OpCode,
        /// Only text is validated.
        utf8: Option<Utf8Validator>,
    },
}

/// How much is copied into a message before it is unmasked there, while it is in the cache.
const BLOCK: usize = 16 << 10;

impl Assembly {
    /// Begins a message with its first frame, of which nothing was taken.
    pub(super) fn new(frame: &Frame, delivery: Delivery) -> Self {
        Self {
            kind: Kind::new(delivery, frame.opcode),
            frames: 1,
            len: frame.remaining,
            is_compressed: frame.is_compressed,
            inflated: 0,
        }
    }

    /// Takes what there is of a frame; gives it out if the message is taken in fragments.
    pub(super) fn receive<'a>(
        &mut self,
        frame: &mut Frame,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        match &mut self.kind {
            Kind::Text(_) | Kind::Binary(_) => {
                let (piece, key) = frame.take_masked(input);
                self.gather(piece, key)?;
                Ok(None)
            }
            Kind::Fragments { opcode, utf8 } => {
                let piece = frame.take_payload(input);
                let complete = frame.is_end_of_message();
                if let Some(utf8) = utf8 {
                    utf8.receive(piece)?;
                    if complete {
                        utf8.finish()?;
                    }
                }
                if piece.is_empty() {
                    return Ok(None);
                }
                Ok(Some(Received::Fragment(Fragment {
                    opcode: std::mem::replace(opcode, OpCode::Continuation),
                    fin: complete,
                    payload: Payload::Borrowed(piece),
                })))
            }
        }
    }

    /// Begins the next frame.
    #[inline]
    pub(super) const fn begin_next(&mut self, payload_len: u64) {
        self.frames += 1;
        self.len = self.len.saturating_add(payload_len);
    }

    /// Whether it is assembled from payloads as they come.
    pub(super) const fn is_assembled(&self) -> bool {
        !self.is_compressed && !matches!(self.kind, Kind::Fragments { .. })
    }

    pub(super) fn gather_and_validate(
        &mut self,
        piece: &[u8],
        key: Option<MaskKey>,
    ) -> Result<(), ProtocolError> {
        self.gather(piece, key)?;
        if let Kind::Text(text) = &mut self.kind {
            text.validate()?;
        }
        Ok(())
    }

    /// Adds a piece to a message that is assembled.
    #[inline]
    pub(super) fn gather(
        &mut self,
        piece: &[u8],
        mut key: Option<MaskKey>,
    ) -> Result<(), Utf8Error> {
        let announced = usize::try_from(self.len).unwrap_or(usize::MAX);
        for block in piece.chunks(BLOCK) {
            match &mut self.kind {
                Kind::Text(text) => text.extend(block, key, announced)?,
                Kind::Binary(bytes) => unmask(bytes.extend(block, announced), key),
                Kind::Fragments { .. } => {}
            }
            key = key.map(|key| key.after(block.len()));
        }
        Ok(())
    }

    pub(super) fn finish<'a>(self) -> Result<Received<'a>, ProtocolError> {
        Ok(match self.kind {
            Kind::Text(text) => Received::Text(Text::Owned(text.finish()?)),
            Kind::Binary(bytes) => Received::Binary(Payload::Owned(bytes.finish())),
            // The last piece is empty, but that it is the last is to be told.
            Kind::Fragments { opcode, .. } => Received::Fragment(Fragment {
                opcode,
                fin: true,
                payload: Payload::Borrowed(&[]),
            }),
        })
    }
}

impl Kind {
    pub(super) fn new(delivery: Delivery, opcode: OpCode) -> Self {
        match (delivery, opcode) {
            (Delivery::Fragments, opcode) => Self::Fragments {
                opcode,
                utf8: (opcode == OpCode::Text).then(Utf8Validator::default),
            },
            (Delivery::Messages, OpCode::Text) => Self::Text(Utf8Buffer::default()),
            (Delivery::Messages, _) => Self::Binary(Gathered::default()),
        }
    }
}

impl From<Utf8Error> for ProtocolError {
    fn from(_: Utf8Error) -> Self {
        Self::InvalidUtf8
    }
}
