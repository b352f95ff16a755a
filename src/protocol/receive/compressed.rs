//! Messages that are compressed (RFC 7692 §6.2, §7.2.2).

use bytes::BytesMut;

use super::assembly::{Assembly, Kind};
use super::frame::{Frame, split_front};
use super::{Received, Receiver};
use crate::buffer;
use crate::deflate::{Inflated, Inflater, InvalidDeflate};
use crate::error::ProtocolError;
use crate::frame::OpCode;
use crate::protocol::config::Config;
use crate::protocol::event::{Fragment, Payload, Text};
use crate::utf8::{Utf8Bytes, Utf8Error};

impl Receiver {
    /// Takes what there is of a frame of a compressed message, and keeps the frame if there is not
    /// all of it.
    ///
    /// Input is used only when all that comes of it was given out, so that nothing waits in here
    /// when the input is used up.
    #[inline(never)]
    pub(super) fn receive_compressed<'a>(
        &mut self,
        config: &Config,
        input: &mut &mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let (Some(inflater), Some(mut frame)) = (&mut self.inflater, self.frame.take()) else {
            return Ok(None);
        };
        let mut message = match self.message.take() {
            Some(message) => message,
            None => Assembly::new(&frame, self.delivery),
        };
        if frame.remaining > 0 && input.is_empty() {
            // §10.4: a header by itself takes no state to inflate with.
            self.message = Some(message);
            self.frame = Some(frame);
            return Ok(None);
        }
        let mut given_out = BytesMut::new();
        loop {
            let room = config.max_message_size - message.inflated;
            let Inflated { piece, pending, .. } = frame.inflate_payload(inflater, input, room)?;
            // §10.4: checked while inflating, so that a bomb costs what the limit allows.
            if piece.len() > room {
                // What is wrong before the limit comes first, however the bytes are cut.
                message.receive_inflated(&piece[..room], false, &mut given_out)?;
                return Err(ProtocolError::MessageTooLarge);
            }
            let has_ended = frame.remaining == 0 && !pending;
            if has_ended
                && frame.fin
                && let Some(whole) = message.whole_inflated(piece)
            {
                let is_invalid = whole.is_err() && !ends_inside_character(piece);
                // Text that ends inside a character is wrong only if nothing is missing of it.
                if !is_invalid {
                    inflater.finish()?;
                }
                return Ok(Some(whole?));
            }
            message.receive_inflated(piece, frame.fin && has_ended, &mut given_out)?;
            if has_ended && frame.fin {
                inflater.finish()?;
                return message.finish_inflated(given_out).map(Some);
            }
            if has_ended {
                break;
            }
            let has_more = frame.remaining > 0 && !input.is_empty();
            if has_more && given_out.is_empty() || !has_more && pending {
                continue;
            }
            self.frame = Some(frame);
            break;
        }
        let received = message.give_out(given_out, false);
        self.message = Some(message);
        Ok(received)
    }
}

/// Whether more could make this text valid.
fn ends_inside_character(text: &[u8]) -> bool {
    str::from_utf8(text).is_err_and(|error| error.error_len().is_none())
}

/// How much is unmasked at a time for inflating: little, since it is done anew for what is left
/// when a piece is full.
const UNMASKED: usize = 4 << 10;

impl Frame {
    /// Unmasks as much of the payload as makes one piece, inflates it, and takes it off the front
    /// of `input`.
    fn inflate_payload<'a>(
        &mut self,
        inflater: &'a mut Inflater,
        input: &mut &mut [u8],
        room: usize,
    ) -> Result<Inflated<'a>, InvalidDeflate> {
        let len = usize::try_from(self.remaining).map_or(input.len(), |len| len.min(input.len()));
        let len = len.min(UNMASKED);
        let chunk = &mut input[..len];
        if let Some(key) = self.mask {
            key.apply(chunk);
        }
        let inflated = inflater.inflate(chunk, room)?;
        let used = inflated.used;
        if let Some(key) = self.mask {
            // What was not used lies as it came, for it comes again.
            let key = key.after(used);
            key.apply(&mut chunk[used..]);
            self.mask = Some(key);
        }
        split_front(input, used);
        self.remaining -= used as u64;
        Ok(inflated)
    }
}

impl Assembly {
    /// Takes the next piece of a compressed message; adds it to `given_out` if the message is taken
    /// in fragments.
    fn receive_inflated(
        &mut self,
        piece: &[u8],
        is_last: bool,
        given_out: &mut BytesMut,
    ) -> Result<(), ProtocolError> {
        self.inflated += piece.len();
        // Nothing announces the length of what is not the last.
        let announced = if is_last { self.inflated } else { usize::MAX };
        match &mut self.kind {
            Kind::Text(text) => {
                text.extend(piece, None, announced)?;
                text.validate()?;
            }
            Kind::Binary(bytes) => {
                bytes.extend(piece, announced);
            }
            Kind::Fragments { utf8, .. } => {
                if let Some(utf8) = utf8 {
                    utf8.receive(piece)?;
                }
                given_out.extend_from_slice(piece);
            }
        }
        Ok(())
    }

    /// A copy of a compressed message that was inflated to one piece, unless it is taken in
    /// fragments.
    fn whole_inflated<'a>(&self, piece: &[u8]) -> Option<Result<Received<'a>, Utf8Error>> {
        if self.inflated > 0 {
            return None;
        }
        match self.kind {
            Kind::Text(_) => Some(match simdutf8::basic::from_utf8(piece) {
                Ok(text) => Ok(Received::Text(Text::Owned(Utf8Bytes::copy(text)))),
                Err(_) => Err(Utf8Error),
            }),
            Kind::Binary(_) => Some(Ok(Received::Binary(Payload::Owned(buffer::copy(piece))))),
            Kind::Fragments { .. } => None,
        }
    }

    /// Ends a compressed message, of which `last` was not given out.
    fn finish_inflated<'a>(mut self, last: BytesMut) -> Result<Received<'a>, ProtocolError> {
        if let Kind::Fragments {
            utf8: Some(utf8), ..
        } = &self.kind
        {
            utf8.finish()?;
        }
        match self.give_out(last, true) {
            Some(fragment) => Ok(fragment),
            None => self.finish(),
        }
    }

    /// The next fragment, if there is anything in it.
    fn give_out<'a>(&mut self, bytes: BytesMut, fin: bool) -> Option<Received<'a>> {
        match &mut self.kind {
            Kind::Fragments { opcode, .. } if !bytes.is_empty() => {
                Some(Received::Fragment(Fragment {
                    opcode: std::mem::replace(opcode, OpCode::Continuation),
                    fin,
                    payload: Payload::Owned(bytes.freeze()),
                }))
            }
            _ => None,
        }
    }
}

impl From<InvalidDeflate> for ProtocolError {
    fn from(_: InvalidDeflate) -> Self {
        Self::InvalidDeflate
    }
}
