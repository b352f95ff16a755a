//! From bytes to frames, and from frames to messages (§5.2 to §5.6, §8.1, §10.4).
//!
//! A frame that lies whole in the input is never copied. What comes in pieces is assembled here:
//! the header in `head`, the payload of a control frame in `control`, a message in `message`.

mod assembly;
mod compressed;
mod frame;

use bytes::BytesMut;

use self::assembly::{Assembly, Kind};
use self::frame::{Frame, ShortHeader, split_front, unmask};
use super::config::Config;
use super::event::{Event, Fragment, Payload, Text};
use crate::deflate::Inflater;
use crate::error::ProtocolError;
use crate::frame::{FrameHeader, HeaderPart, OpCode};
use crate::utf8::{Utf8Error, unmask_text};

/// In which form messages come out of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Whole, as [`Event::Text`] and [`Event::Binary`].
    #[default]
    Messages,
    /// In pieces as they come, as [`Event::Fragment`], so that a message
    /// of any size passes through constant memory. A piece ends where a frame or the input ends.
    Fragments,
}

/// What the frames of the peer amount to.
pub(super) enum Received<'a> {
    Text(Text<'a>),
    Binary(Payload<'a>),
    Fragment(Fragment<Payload<'a>>),
    Control(Control<'a>),
}

/// A control frame: Ping, Pong or Close.
pub(super) struct Control<'a> {
    pub(super) opcode: OpCode,
    pub(super) payload: Payload<'a>,
}

pub(super) struct Receiver {
    /// §5.1: frames of a client are masked, those of a server are not. 0x80 or 0, as it stands in
    /// the second byte of a frame.
    mask_bit: u8,
    /// A frame may be taken the short way if its payload is shorter than this: 0 while anything is
    /// unfinished.
    whole_below: u32,
    /// What `whole_below` is while nothing is.
    whole_limit: u32,
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

/// The first byte of a frame that is a whole message, not compressed.
const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;

/// The first byte of a frame that goes on with a message.
const CONTINUATION: u8 = 0x00;
const FINAL_CONTINUATION: u8 = 0x80;

impl Receiver {
    pub(super) fn new(masked: bool, config: &Config, inflater: Option<Box<Inflater>>) -> Self {
        // A header of the short way tells no more than 65535.
        let whole_limit = match config.max_fragments {
            0 => 0,
            _ => config.whole_limit().min(usize::from(u16::MAX)) as u32 + 1,
        };
        Self {
            mask_bit: if masked { 0x80 } else { 0 },
            whole_below: whole_limit,
            whole_limit,
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
        self.note_unfinished();
    }

    /// Forgets all that is unfinished: nothing is received any more.
    pub(super) fn clear(&mut self) {
        (self.frame, self.message, self.inflater) = (None, None, None);
        self.control = BytesMut::new();
        (self.whole_below, self.whole_limit) = (0, 0);
    }

    const fn is_masked(&self) -> bool {
        self.mask_bit != 0
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
    /// [`receive`](Self::receive) does the same in several times the instructions.
    #[inline(always)]
    pub(super) fn receive_whole<'a>(
        &self,
        input: &mut &'a mut [u8],
    ) -> Option<Result<Event<'a>, Utf8Error>> {
        let header = self.whole_header(input)?;
        let payload = header.take_payload(input)?;
        if header.first == FINAL_TEXT {
            let text = unmask_text(header.key, payload);
            return Some(text.map(|text| Event::Text(Text::Borrowed(text))));
        }
        unmask(payload, header.key);
        Some(Ok(Event::Binary(Payload::Borrowed(payload))))
    }

    /// How long the frame at the front of `input` is, header and all, if
    /// [`receive_whole`](Self::receive_whole) would take it once all of it is there.
    pub(super) fn whole_len(&self, input: &[u8]) -> Option<usize> {
        let header = self.whole_header(input)?;
        Some(header.len + header.payload_len)
    }

    /// The header of a whole message.
    #[inline(always)]
    fn whole_header(&self, input: &[u8]) -> Option<ShortHeader> {
        let header = ShortHeader::parse(input, self.mask_bit)?;
        let is_whole = matches!(header.first, FINAL_TEXT | FINAL_BINARY)
            && (header.payload_len as u32) < self.whole_below;
        is_whole.then_some(header)
    }

    /// Takes frames off the front of `input` until one of them completes something.
    pub(super) fn receive<'a>(
        &mut self,
        config: &Config,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let received = self.receive_any(config, input);
        // What is wrong with the text came before whatever else has come.
        if let Some(message) = &mut self.message
            && let Kind::Text(text) = &mut message.kind
        {
            text.validate()?;
        }
        self.note_unfinished();
        received
    }

    /// Notes whether the next frame may be taken the short way.
    fn note_unfinished(&mut self) {
        let may_be_whole = self.frame.is_none()
            && self.message.is_none()
            && self.head_len == 0
            && self.delivery == Delivery::Messages;
        self.whole_below = if may_be_whole { self.whole_limit } else { 0 };
    }

    fn receive_any<'a>(
        &mut self,
        config: &Config,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        loop {
            if let Some(message) = self.receive_whole_fragments(config, input)? {
                return Ok(Some(message));
            }
            if let Some(control) = self.receive_whole_control(input) {
                return Ok(Some(Received::Control(control)));
            }
            if self.frame.is_none() {
                self.frame = self.receive_header(config, input)?;
            }
            let Some(frame) = &mut self.frame else {
                return Ok(None);
            };
            let received = if frame.is_compressed {
                self.receive_compressed(config, input)?
            } else if frame.opcode.is_control() {
                self.receive_control(input)
            } else {
                self.receive_data(input)?
            };
            if received.is_some() || self.frame.is_some() {
                return Ok(received);
            }
        }
    }

    /// Takes all of `input` if it belongs to one frame of a message that is assembled, and does not
    /// end it. `None` for anything else.
    ///
    /// It takes half of the instructions, for who sends a frame a few bytes at a time.
    #[inline]
    pub(super) fn receive_middle(
        &mut self,
        input: &mut &mut [u8],
    ) -> Option<Result<(), ProtocolError>> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else {
            return None;
        };
        let is_middle = frame.remaining > input.len() as u64 && !frame.opcode.is_control();
        if !is_middle || !message.is_assembled() {
            return None;
        }
        let piece = std::mem::take(input);
        let key = frame.pass(piece.len());
        Some(message.gather_and_validate(piece, key))
    }

    /// Takes frames off the front of `input` that go on with a message that is assembled, and lie
    /// whole in the input; gives the message with the last of them. Leaves anything else, be it
    /// right or wrong.
    ///
    /// It takes a quarter of the instructions that [`receive_data`](Self::receive_data) and what
    /// leads there take, for who cuts a message into very small frames.
    fn receive_whole_fragments<'a>(
        &mut self,
        config: &Config,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let Some(message) = &mut self.message else {
            return Ok(None);
        };
        if self.frame.is_some() || self.head_len > 0 || !message.is_assembled() {
            return Ok(None);
        }
        while let Some(header) = ShortHeader::parse(input, self.mask_bit) {
            let len = header.payload_len as u64;
            if !matches!(header.first, CONTINUATION | FINAL_CONTINUATION)
                || check_limits(config, Some(message), false, len).is_err()
            {
                break;
            }
            let Some(piece) = header.take_payload(input) else {
                break;
            };
            message.begin_next(len);
            message.gather(piece, header.key)?;
            if header.first == FINAL_CONTINUATION {
                return self.message.take().map(Assembly::finish).transpose();
            }
        }
        Ok(None)
    }

    /// Takes a control frame off the front of `input` that lies whole there. `None` for anything
    /// else, be it right or wrong.
    ///
    /// A flood of Pings is answered in half of the instructions.
    #[inline]
    pub(super) fn receive_whole_control<'a>(
        &self,
        input: &mut &'a mut [u8],
    ) -> Option<Control<'a>> {
        let opcode = match *input.first()? {
            0x88 => OpCode::Close,
            0x89 => OpCode::Ping,
            0x8a => OpCode::Pong,
            _ => return None,
        };
        if self.frame.is_some() || self.head_len > 0 {
            return None;
        }
        let header = ShortHeader::parse(input, self.mask_bit)?;
        // §5.5: what is longer is refused.
        if header.payload_len > 125 {
            return None;
        }
        let payload = header.take_payload(input)?;
        unmask(payload, header.key);
        let payload = Payload::Borrowed(payload);
        Some(Control { opcode, payload })
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
            HeaderPart::Mask(masked) if masked != self.is_masked() => Err(if masked {
                ProtocolError::MaskedByServer
            } else {
                ProtocolError::UnmaskedByClient
            }),
            HeaderPart::Mask(_) => Ok(()),
            // §5.5.1: a body begins with a code, which takes two bytes.
            HeaderPart::Length {
                opcode: OpCode::Close,
                payload_len: 1,
            } => Err(ProtocolError::CloseBodyTooShort),
            HeaderPart::Length { opcode, .. } if opcode.is_control() => Ok(()),
            HeaderPart::Length { payload_len, .. } => {
                check_limits(config, self.message.as_ref(), is_compressed, payload_len)
            }
        })
    }

    #[inline]
    fn begin_frame(&mut self, header: &FrameHeader) -> Frame {
        let mut is_compressed = header.rsv1;
        if let (OpCode::Continuation, Some(message)) = (header.opcode, &mut self.message) {
            message.begin_next(header.payload_len);
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

    /// Takes what there is of a control frame, which may have begun in an earlier input.
    fn receive_control<'a>(&mut self, input: &mut &'a mut [u8]) -> Option<Received<'a>> {
        let frame = self.frame.as_mut()?;
        self.control.extend_from_slice(frame.take_payload(input));
        if frame.remaining > 0 {
            return None;
        }
        let payload = Payload::Owned(std::mem::take(&mut self.control).freeze());
        let opcode = self.frame.take()?.opcode;
        Some(Received::Control(Control { opcode, payload }))
    }

    /// Takes what there is of a frame of a message that is not compressed.
    fn receive_data<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let Some(frame) = &mut self.frame else {
            return Ok(None);
        };
        let message = match &mut self.message {
            Some(message) => message,
            None if frame.is_message_in(input) && self.delivery == Delivery::Messages => {
                let (opcode, payload) = (frame.opcode, frame.take_payload(input));
                self.frame = None;
                return whole_message(opcode, payload).map(Some);
            }
            none => none.insert(Assembly::new(frame, self.delivery)),
        };
        let received = message.receive(frame, input)?;
        if frame.remaining > 0 {
            return Ok(received);
        }
        let is_end = frame.fin;
        self.frame = None;
        match self.message.take_if(|_| is_end) {
            Some(message) if received.is_none() => message.finish().map(Some),
            _ => Ok(received),
        }
    }

    /// Where what comes next may be read to, to save a copy: while much is missing of a frame whose
    /// message is assembled, and not on the word of the peer alone.
    pub(super) fn direct_buffer(&mut self) -> &mut [u8] {
        let (Some(frame), Some(message)) = (&self.frame, &mut self.message) else {
            return &mut [];
        };
        let wanted = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        if wanted < DIRECT || frame.is_compressed || frame.opcode.is_control() {
            return &mut [];
        }
        match &mut message.kind {
            Kind::Text(text) if text.len() >= DIRECT / 2 => text.spare(wanted),
            Kind::Binary(bytes) if bytes.len() >= DIRECT / 2 => bytes.spare(wanted),
            _ => &mut [],
        }
    }

    /// Whether a large message is being assembled.
    pub(super) fn is_inside_large(&self) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.len >= 2 * DIRECT as u64 && message.is_assembled())
    }

    /// How many bytes are missing of a frame whose message is assembled.
    pub(super) fn missing(&self) -> usize {
        match (&self.frame, &self.message) {
            (Some(frame), Some(message))
                if message.is_assembled() && !frame.opcode.is_control() =>
            {
                usize::try_from(frame.remaining).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    /// Takes the first `count` bytes of the [`direct_buffer`](Self::direct_buffer), which gave at
    /// least as many.
    pub(super) fn receive_direct<'a>(
        &mut self,
        count: usize,
    ) -> Result<Option<Received<'a>>, ProtocolError> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else {
            return Ok(None);
        };
        assert!(
            count as u64 <= frame.remaining,
            "more than the direct buffer holds"
        );
        let key = frame.pass(count);
        match &mut message.kind {
            Kind::Text(text) => text.commit(count, key)?,
            Kind::Binary(bytes) => unmask(bytes.commit(count), key),
            Kind::Fragments { .. } => {}
        }
        if frame.remaining > 0 {
            return Ok(None);
        }
        let is_end = frame.is_end_of_message();
        self.frame = None;
        let received = match self.message.take_if(|_| is_end) {
            Some(message) => message.finish().map(Some),
            None => Ok(None),
        };
        self.note_unfinished();
        received
    }
}

/// Reading straight into the message is worth a read of its own if as much is missing of a frame,
/// and half as much of the message has come.
const DIRECT: usize = 16 << 10;

/// §10.4: limits are checked before anything is kept of what they limit.
#[inline]
const fn check_limits(
    config: &Config,
    message: Option<&Assembly>,
    is_compressed: bool,
    payload_len: u64,
) -> Result<(), ProtocolError> {
    let (len, frames) = match message {
        Some(message) => (message.len, message.frames),
        None => (0, 0),
    };
    if is_compressed {
        // The limit of a message is that of what it inflates to.
        if payload_len > config.compressed_frame_limit() as u64 {
            return Err(ProtocolError::FrameTooLarge);
        }
    } else if payload_len > config.frame_limit() as u64 {
        return Err(ProtocolError::FrameTooLarge);
    } else if len.saturating_add(payload_len) > config.max_message_size as u64 {
        return Err(ProtocolError::MessageTooLarge);
    }
    if frames >= config.max_fragments {
        return Err(ProtocolError::TooManyFragments);
    }
    Ok(())
}

/// §5.6: a message in one frame that lies whole in the input.
fn whole_message(opcode: OpCode, payload: &[u8]) -> Result<Received<'_>, ProtocolError> {
    if opcode == OpCode::Binary {
        return Ok(Received::Binary(Payload::Borrowed(payload)));
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| Utf8Error)?;
    Ok(Received::Text(Text::Borrowed(text)))
}
