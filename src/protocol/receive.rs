//! From bytes to frames, and from frames to messages (§5.2 to §5.6, §8.1, §10.4).
//!
//! A frame that lies whole in the input is never copied. What comes in pieces is assembled here:
//! the header in `head`, the payload of a control frame in `control`, a message in `message`.

use bytes::BytesMut;

use super::config::Config;
use super::event::{Fragment, Payload, Text};
use crate::deflate::{Inflated, Inflater, InvalidDeflate};
use crate::error::ProtocolError;
use crate::frame::{FrameHeader, HeaderPart, MaskKey, OpCode};
use crate::utf8::{Utf8Buffer, Utf8Error, Utf8Validator};

/// In which form messages come out of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Whole, as [`Event::Text`](super::Event::Text) and [`Event::Binary`](super::Event::Binary).
    #[default]
    Messages,
    /// In pieces as they come, as [`Event::Fragment`](super::Event::Fragment), so that a message
    /// of any size passes through constant memory. A piece ends where a frame or the input ends.
    Fragments,
}

/// What the frames of the peer amount to.
pub(super) enum Received<'a> {
    Text(Text<'a>),
    Binary(Payload<'a>),
    Fragment(Fragment<Payload<'a>>),
    Ping(Payload<'a>),
    Pong(Payload<'a>),
    Close(Payload<'a>),
}

pub(super) struct Receiver {
    /// §5.1: frames of a client are masked, those of a server are not.
    masked: bool,
    delivery: Delivery,
    /// A header whose last byte has not come.
    head: [u8; FrameHeader::MAX_LEN],
    head_len: u8,
    /// A frame whose payload has not come whole.
    frame: Option<Frame>,
    /// The payload so far of a control frame that came in pieces.
    control: BytesMut,
    /// A message of which not all frames have come whole.
    message: Option<Assembly>,
    /// Inflates compressed messages, if that was agreed on.
    inflater: Option<Box<Inflater>>,
}

/// The part of a frame that has not come yet.
struct Frame {
    fin: bool,
    opcode: OpCode,
    /// Whether it carries a part of a compressed message.
    is_compressed: bool,
    /// The key as it is to be applied to the next byte.
    mask: Option<MaskKey>,
    remaining: u64,
}

struct Assembly {
    kind: Kind,
    frames: u32,
    /// The lengths of its frames, the one that is coming included.
    len: u64,
    is_compressed: bool,
    /// How long it is so far, if it is compressed.
    inflated: usize,
}

enum Kind {
    Text(Utf8Buffer),
    Binary(BytesMut),
    /// Handed out as it comes.
    Fragments {
        opcode: OpCode,
        /// Only text is validated.
        utf8: Option<Utf8Validator>,
    },
}

impl Receiver {
    pub(super) fn new(masked: bool, inflater: Option<Box<Inflater>>) -> Self {
        Self {
            masked,
            delivery: Delivery::Messages,
            head: [0; FrameHeader::MAX_LEN],
            head_len: 0,
            frame: None,
            control: BytesMut::new(),
            message: None,
            inflater,
        }
    }

    /// Holds from the next message on, and for one that has begun if it was to be handed out in
    /// pieces and none has been.
    pub(super) fn set_delivery(&mut self, delivery: Delivery) {
        if self.delivery == delivery {
            return;
        }
        self.delivery = delivery;
        if let Some(message) = &mut self.message
            && let Kind::Fragments { opcode, .. } = message.kind
            && opcode != OpCode::Continuation
        {
            message.kind = Kind::new(delivery, opcode);
        }
    }

    /// Forgets all that is unfinished: nothing is received any more.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.masked, None);
    }

    /// Whether a message has been handed out in part.
    pub(super) const fn is_inside_fragments(&self) -> bool {
        matches!(
            &self.message,
            Some(Assembly {
                kind: Kind::Fragments {
                    opcode: OpCode::Continuation,
                    ..
                },
                ..
            })
        )
    }

    /// Takes the commonest of all frames off the front of `input`: one that is a whole message, not
    /// compressed, lies whole in the input, and has nothing before it that is unfinished. `None` for
    /// anything else, be it right or wrong.
    ///
    /// [`receive`](Self::receive) does the same in more than twice the instructions: at 8 bytes 401
    /// a message instead of 166, at 125 bytes 466 instead of 234.
    #[inline]
    pub(super) fn receive_whole<'a>(
        &self,
        config: &Config,
        input: &mut &'a mut [u8],
    ) -> Option<(OpCode, &'a [u8])> {
        let is_idle = self.frame.is_none()
            && self.message.is_none()
            && self.head_len == 0
            && self.delivery == Delivery::Messages;
        if !is_idle {
            return None;
        }
        let bytes = &**input;
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let opcode = match first {
            0x81 => OpCode::Text,
            0x82 => OpCode::Binary,
            _ => return None,
        };
        if (second & 0x80 != 0) != self.masked {
            return None;
        }
        let (len, rest) = match second & 0x7f {
            126 => {
                let (&len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(len)), rest)
            }
            127 => return None,
            len => (usize::from(len), rest),
        };
        let is_shortest = len > 125 || second & 0x7f < 126;
        if !is_shortest || len > config.whole_limit() || config.max_fragments == 0 {
            return None;
        }
        let mut head = bytes.len() - rest.len();
        let mut key = None;
        if self.masked {
            key = Some(MaskKey::new(*rest.first_chunk()?));
            head += 4;
        }
        if bytes.len() < head + len {
            return None;
        }
        split_front(input, head);
        let payload = split_front(input, len);
        if let Some(key) = key {
            key.apply(payload);
        }
        Some((opcode, payload))
    }

    /// Takes frames off the front of `input` until one of them completes something.
    pub(super) fn receive<'a>(
        &mut self,
        config: &Config,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.receive_header(config, input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if frame.is_compressed {
                let received = self.receive_compressed(config, frame, input)?;
                if received.is_some() || self.frame.is_some() {
                    return Ok(received);
                }
                continue;
            }
            let piece = frame.take_payload(input);
            let complete = frame.remaining == 0;
            let received = if frame.opcode.is_control() {
                self.receive_control(&frame, piece)
            } else {
                self.receive_data(&frame, piece)?
            };
            if !complete {
                self.frame = Some(frame);
            }
            if received.is_some() {
                return Ok(received);
            }
            if !complete {
                return Ok(None);
            }
        }
    }

    /// Takes a header, which may have begun in an earlier input.
    #[inline]
    fn receive_header(
        &mut self,
        config: &Config,
        input: &mut &mut [u8],
    ) -> Result<Option<Frame>, ProtocolError> {
        if self.head_len == 0
            && let Some((header, len)) = self.parse_header(config, input)?
        {
            split_front(input, len);
            return Ok(Some(self.begin_frame(&header)));
        }
        while let [next, rest @ ..] = std::mem::take(input) {
            self.head[usize::from(self.head_len)] = *next;
            self.head_len += 1;
            *input = rest;
            let head = &self.head[..usize::from(self.head_len)];
            if let Some((header, _)) = self.parse_header(config, head)? {
                self.head_len = 0;
                return Ok(Some(self.begin_frame(&header)));
            }
        }
        Ok(None)
    }

    /// Parses a header and judges it by what came before it, in the order of its bytes.
    #[inline]
    fn parse_header(
        &self,
        config: &Config,
        bytes: &[u8],
    ) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        let mut is_compressed = false;
        FrameHeader::parse_with(bytes, |part| match part {
            // RFC 7692 §6.1: RSV1 stands on the first frame of a compressed message only.
            HeaderPart::First { rsv1: true, opcode }
                if self.inflater.is_none() || !matches!(opcode, OpCode::Text | OpCode::Binary) =>
            {
                Err(ProtocolError::ReservedBits)
            }
            // §5.4: the first frame of a message says its type, the others are continuations;
            // control frames may stand between them.
            HeaderPart::First { opcode, rsv1 } => match (opcode, &self.message) {
                (OpCode::Continuation, None) => Err(ProtocolError::UnexpectedContinuation),
                (OpCode::Text | OpCode::Binary, Some(_)) => {
                    Err(ProtocolError::ExpectedContinuation)
                }
                (_, message) => {
                    is_compressed = rsv1 || message.as_ref().is_some_and(|m| m.is_compressed);
                    Ok(())
                }
            },
            // §5.1: a client masks its frames, a server does not.
            HeaderPart::Mask(masked) if masked != self.masked => Err(if masked {
                ProtocolError::MaskedByServer
            } else {
                ProtocolError::UnmaskedByClient
            }),
            HeaderPart::Mask(_) => Ok(()),
            // §10.4: limits are checked before anything is kept of what they limit.
            HeaderPart::Length { opcode, .. } if opcode.is_control() => Ok(()),
            HeaderPart::Length { payload_len, .. } => {
                let (len, frames) = match &self.message {
                    Some(message) => (message.len, message.frames),
                    None => (0, 0),
                };
                if is_compressed {
                    // The limit of a message is that of what it inflates to.
                    if payload_len > config.compressed_frame_limit() as u64 {
                        Err(ProtocolError::FrameTooLarge)
                    } else if frames >= config.max_fragments {
                        Err(ProtocolError::TooManyFragments)
                    } else {
                        Ok(())
                    }
                } else if payload_len > config.frame_limit() as u64 {
                    Err(ProtocolError::FrameTooLarge)
                } else if len.saturating_add(payload_len) > config.max_message_size as u64 {
                    Err(ProtocolError::MessageTooLarge)
                } else if frames >= config.max_fragments {
                    Err(ProtocolError::TooManyFragments)
                } else {
                    Ok(())
                }
            }
        })
    }

    #[inline]
    fn begin_frame(&mut self, header: &FrameHeader) -> Frame {
        let mut is_compressed = header.rsv1;
        if let (OpCode::Continuation, Some(message)) = (header.opcode, &mut self.message) {
            message.frames += 1;
            message.len = message.len.saturating_add(header.payload_len);
            is_compressed = message.is_compressed;
        }
        Frame {
            fin: header.fin,
            opcode: header.opcode,
            is_compressed,
            mask: header.mask,
            remaining: header.payload_len,
        }
    }

    fn receive_control<'a>(&mut self, frame: &Frame, piece: &'a [u8]) -> Option<Received<'a>> {
        let payload = if frame.remaining == 0 && self.control.is_empty() {
            Payload::Borrowed(piece)
        } else {
            self.control.extend_from_slice(piece);
            if frame.remaining > 0 {
                return None;
            }
            Payload::Owned(std::mem::take(&mut self.control).freeze())
        };
        Some(match frame.opcode {
            OpCode::Ping => Received::Ping(payload),
            OpCode::Pong => Received::Pong(payload),
            _ => Received::Close(payload),
        })
    }

    /// Takes what there is of a frame of a compressed message, and keeps the frame if there is not
    /// all of it.
    ///
    /// Input is used only when all that comes of it was given out, so that nothing waits in here
    /// when the input is used up.
    #[inline(never)]
    fn receive_compressed<'a>(
        &mut self,
        config: &Config,
        mut frame: Frame,
        input: &mut &mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let Some(inflater) = &mut self.inflater else {
            return Ok(None);
        };
        let mut message = match self.message.take() {
            Some(message) => message,
            None => Assembly::new(&frame, &[], self.delivery),
        };
        let mut given_out = BytesMut::new();
        loop {
            let room = config.max_message_size - message.inflated;
            let Inflated { piece, pending, .. } = frame.inflate_payload(inflater, input, room)?;
            // §10.4: checked while inflating, so that a bomb costs what the limit allows.
            if piece.len() > room {
                return Err(ProtocolError::MessageTooLarge);
            }
            let has_ended = frame.remaining == 0 && !pending;
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

    #[inline]
    fn receive_data<'a>(
        &mut self,
        frame: &Frame,
        piece: &'a [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let complete = frame.fin && frame.remaining == 0;
        let mut message = match self.message.take() {
            Some(message) => message,
            None if complete && self.delivery == Delivery::Messages => {
                return whole_message(frame.opcode, piece).map(Some);
            }
            None => Assembly::new(frame, piece, self.delivery),
        };
        let received = message.receive(piece, complete)?;
        if !complete {
            self.message = Some(message);
            return Ok(received);
        }
        match received {
            Some(fragment) => Ok(Some(fragment)),
            None => message.finish().map(Some),
        }
    }
}

impl Frame {
    /// Takes as much of the payload as there is off the front of `input`, and unmasks it.
    #[inline]
    fn take_payload<'a>(&mut self, input: &mut &'a mut [u8]) -> &'a [u8] {
        let len = usize::try_from(self.remaining).map_or(input.len(), |len| len.min(input.len()));
        let piece = split_front(input, len);
        if let Some(key) = self.mask {
            key.apply(piece);
            self.mask = Some(key.after(len));
        }
        self.remaining -= len as u64;
        piece
    }

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

/// How much is unmasked at a time for inflating: little, since it is done anew for what is left
/// when a piece is full.
const UNMASKED: usize = 4 << 10;

impl Assembly {
    /// Begins a message with its first frame, of which `piece` has come.
    fn new(frame: &Frame, piece: &[u8], delivery: Delivery) -> Self {
        Self {
            kind: Kind::new(delivery, frame.opcode),
            frames: 1,
            len: frame.remaining + piece.len() as u64,
            is_compressed: frame.is_compressed,
            inflated: 0,
        }
    }

    /// Takes the next piece; gives it out if the message is taken in fragments.
    fn receive<'a>(
        &mut self,
        piece: &'a [u8],
        complete: bool,
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        match &mut self.kind {
            Kind::Text(text) => {
                text.reserve(growth(text.len(), text.capacity(), piece.len(), self.len));
                text.extend(piece)?;
                Ok(None)
            }
            Kind::Binary(bytes) => {
                bytes.reserve(growth(bytes.len(), bytes.capacity(), piece.len(), self.len));
                bytes.extend_from_slice(piece);
                Ok(None)
            }
            Kind::Fragments { opcode, utf8 } => {
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
        let announced = if is_last {
            self.inflated as u64
        } else {
            u64::MAX
        };
        match &mut self.kind {
            Kind::Text(text) => {
                text.reserve(growth(text.len(), text.capacity(), piece.len(), announced));
                text.extend(piece)?;
            }
            Kind::Binary(bytes) => {
                bytes.reserve(growth(
                    bytes.len(),
                    bytes.capacity(),
                    piece.len(),
                    announced,
                ));
                bytes.extend_from_slice(piece);
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

    fn finish<'a>(self) -> Result<Received<'a>, ProtocolError> {
        Ok(match self.kind {
            Kind::Text(text) => Received::Text(Text::Owned(text.finish()?)),
            Kind::Binary(bytes) => Received::Binary(Payload::Owned(bytes.freeze())),
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
    fn new(delivery: Delivery, opcode: OpCode) -> Self {
        match (delivery, opcode) {
            (Delivery::Fragments, opcode) => Self::Fragments {
                opcode,
                utf8: (opcode == OpCode::Text).then(Utf8Validator::default),
            },
            (Delivery::Messages, OpCode::Text) => Self::Text(Utf8Buffer::default()),
            (Delivery::Messages, _) => Self::Binary(BytesMut::new()),
        }
    }
}

impl From<Utf8Error> for ProtocolError {
    fn from(_: Utf8Error) -> Self {
        Self::InvalidUtf8
    }
}

impl From<InvalidDeflate> for ProtocolError {
    fn from(_: InvalidDeflate) -> Self {
        Self::InvalidDeflate
    }
}

/// §5.6: a message in one frame that lies whole in the input.
#[inline]
pub(super) fn whole_message(opcode: OpCode, payload: &[u8]) -> Result<Received<'_>, ProtocolError> {
    if opcode == OpCode::Binary {
        return Ok(Received::Binary(Payload::Borrowed(payload)));
    }
    match simdutf8::basic::from_utf8(payload) {
        Ok(text) => Ok(Received::Text(Text::Borrowed(text))),
        Err(_) => Err(ProtocolError::InvalidUtf8),
    }
}

/// How much to reserve for a piece, so that a message is copied a constant number of times while
/// it grows, and nothing is reserved on the peer's word: twice what has come, but never more than
/// was announced.
fn growth(len: usize, capacity: usize, piece: usize, announced: u64) -> usize {
    if capacity - len >= piece {
        return 0;
    }
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    let doubled = (2 * (len + piece)).min(announced);
    doubled.saturating_sub(len).max(piece)
}

/// Splits the first `len` bytes off `input`.
#[inline]
fn split_front<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}
