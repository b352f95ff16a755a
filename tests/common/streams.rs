//! Streams of frames that are legal but for at most one fault, made from a source of choices, and
//! what must come of them.

#![allow(dead_code, reason = "no test uses all of it")]

use std::ops::Range;

use wsroom::frame::OpCode;
use wsroom::{CloseCode, Config, Connection, Event, ProtocolError, Role};

use super::events::OwnedEvent;
use super::frames::frame_to;
use super::reference::Writer;

/// What the stream is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The side that receives it.
    pub(crate) role: Role,
    /// Limits that are met within a few hundred bytes, or the default ones.
    pub(crate) small_limits: bool,
    /// Whether compression was agreed on, and whether messages may refer to those before them.
    pub(crate) takes_over: Option<bool>,
    /// How many of a hundred messages, or things between them, are faults.
    pub(crate) faults: usize,
}

/// A stream, and what must come of it.
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// Messages and control frames, in the order in which they are complete.
    pub(crate) events: Vec<OwnedEvent>,
    /// What of the last message comes before the fault or the end, at most.
    pub(crate) unfinished: Vec<u8>,
    pub(crate) fault: Option<ProtocolError>,
}

/// What a connection made of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<OwnedEvent>,
    /// What was given out of a message that was not finished.
    pub(crate) unfinished: Vec<u8>,
    pub(crate) fault: Option<ProtocolError>,
}

impl Plan {
    pub(crate) fn config(self) -> Config {
        if self.small_limits {
            return Config::default()
                .max_message_size(300)
                .max_frame_size(200)
                .max_fragments(MAX_FRAGMENTS);
        }
        Config::default()
    }

    /// Makes a stream; `choose` gives a number below the one that it is given.
    pub(crate) fn stream(self, choose: &mut dyn FnMut(usize) -> usize) -> Stream {
        let generator = Generator {
            plan: self,
            choose,
            writer: Writer::new(6),
            stream: Stream {
                bytes: Vec::new(),
                events: Vec::new(),
                unfinished: Vec::new(),
                fault: None,
            },
        };
        generator.run()
    }
}

const MAX_FRAGMENTS: u32 = 4;

/// How long a message and a frame may be.
const SMALL: (usize, usize) = (300, 200);
const LARGE: (usize, usize) = (1 << 20, 1 << 20);

struct Generator<'a> {
    plan: Plan,
    choose: &'a mut dyn FnMut(usize) -> usize,
    writer: Writer,
    stream: Stream,
}

/// What has come of a message, where the next frame is to be wrong.
#[derive(Clone, Copy)]
struct Inside {
    len: usize,
    is_compressed: bool,
}

impl Generator<'_> {
    fn run(mut self) -> Stream {
        for _ in 0..(self.choose)(12) {
            let is_over = match (self.choose)(100) {
                at if at < self.plan.faults => self.fault(None),
                at if at < self.plan.faults + 4 => self.close(),
                at if at < self.plan.faults + 20 => self.control(),
                _ => self.message(),
            };
            if is_over {
                // Nothing of this is looked at.
                let rest = self.bytes(0..30);
                self.stream.bytes.extend(rest);
                break;
            }
        }
        self.stream
    }

    fn message(&mut self) -> bool {
        let is_text = self.either();
        let content = self.content(is_text);
        let is_compressed = self.plan.takes_over.is_some() && self.either();
        let payload = self.payload(&content, is_compressed);
        let pieces = self.pieces(&payload);
        let mut inside = Inside {
            len: 0,
            is_compressed,
        };
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                if (self.choose)(4) == 0 {
                    self.control();
                }
                if (self.choose)(100) < self.plan.faults {
                    self.stream.unfinished = content;
                    return self.fault(Some(inside));
                }
            }
            let opcode = if i > 0 { 0 } else { 2 - u8::from(is_text) };
            let rsv1 = u8::from(is_compressed && i == 0) << 6;
            let fin = u8::from(i + 1 == pieces.len()) << 7;
            self.frame(fin | rsv1 | opcode, piece);
            inside.len += piece.len();
        }
        self.stream.events.push(if is_text {
            OwnedEvent::Text(String::from_utf8(content).unwrap())
        } else {
            OwnedEvent::Binary(content)
        });
        false
    }

    fn control(&mut self) -> bool {
        let payload = self.bytes(0..20);
        let payload = match (self.choose)(10) {
            0 => vec![7; 125],
            _ => payload,
        };
        if self.either() {
            self.frame(0x89, &payload);
            self.stream.events.push(OwnedEvent::Ping(payload));
        } else {
            self.frame(0x8a, &payload);
            self.stream.events.push(OwnedEvent::Pong(payload, None));
        }
        false
    }

    fn close(&mut self) -> bool {
        const CODES: [u16; 8] = [1000, 1001, 1003, 1007, 1014, 3000, 4000, 4999];
        if (self.choose)(4) == 0 {
            self.frame(0x88, b"");
            self.stream
                .events
                .push(OwnedEvent::Close(1005, String::new()));
            return true;
        }
        let code = CODES[(self.choose)(CODES.len())];
        let reason = ["", "bye", "€"][(self.choose)(3)];
        self.frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat());
        self.stream
            .events
            .push(OwnedEvent::Close(code, reason.into()));
        true
    }

    /// Ends the stream with a fault, behind which anything may stand.
    fn fault(&mut self, inside: Option<Inside>) -> bool {
        let fault = match (self.choose)(4) {
            0 => self.faulty_first_byte(inside),
            1 => self.faulty_length(inside),
            2 => self.faulty_close(),
            _ => match inside {
                None => self.faulty_message(),
                Some(_) => self.faulty_first_byte(inside),
            },
        };
        self.stream.fault = Some(fault);
        true
    }

    fn faulty_first_byte(&mut self, inside: Option<Inside>) -> ProtocolError {
        let data = self.data_byte(inside);
        let control = [0x88, 0x89, 0x8a][(self.choose)(3)];
        let legal = if self.either() { data } else { control };
        let reserved = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15][(self.choose)(10)];
        let (first, fault) = match (self.choose)(6) {
            0 => (
                legal | [0x10, 0x20, 0x30, 0x50][(self.choose)(4)],
                ProtocolError::ReservedBits,
            ),
            // RFC 7692 §6.1: only the first frame of a message says that it is compressed.
            1 if inside.is_some() || self.plan.takes_over.is_none() => {
                (legal | 0x40, ProtocolError::ReservedBits)
            }
            1 => (control | 0x40, ProtocolError::ReservedBits),
            2 => (control & 0x7f, ProtocolError::FragmentedControlFrame),
            3 if inside.is_some() => {
                let opcode = 1 + u8::from(self.either());
                (data | opcode, ProtocolError::ExpectedContinuation)
            }
            3 => (data & 0x80, ProtocolError::UnexpectedContinuation),
            4 => (data & 0x80 | reserved, ProtocolError::ReservedOpCode),
            _ => return self.faulty_mask(legal),
        };
        self.frame(first, b"");
        fault
    }

    fn faulty_mask(&mut self, first: u8) -> ProtocolError {
        let (peer, fault) = match self.plan.role {
            Role::Client => (Role::Server, ProtocolError::MaskedByServer),
            Role::Server => (Role::Client, ProtocolError::UnmaskedByClient),
        };
        self.stream.bytes.extend(frame_to(peer, first, b"\x03\xe8"));
        fault
    }

    fn faulty_length(&mut self, inside: Option<Inside>) -> ProtocolError {
        let data = self.data_byte(inside);
        let (message_limit, frame_limit) = if self.plan.small_limits { SMALL } else { LARGE };
        match (self.choose)(5) {
            0 => {
                let control = [0x88, 0x89, 0x8a][(self.choose)(3)];
                let len = 126 + (self.choose)(70_000);
                self.header(control, len as u64);
                ProtocolError::ControlFrameTooLong
            }
            1 => {
                let len = (self.choose)(126) as u8;
                let second = self.mask_bit() | 126;
                self.stream.bytes.extend([data, second, 0, len]);
                ProtocolError::LengthNotMinimal
            }
            2 => {
                let len = (self.choose)(65_536) as u64;
                let second = self.mask_bit() | 127;
                self.stream.bytes.extend([data, second]);
                self.stream.bytes.extend(len.to_be_bytes());
                ProtocolError::LengthNotMinimal
            }
            3 => {
                let len = u64::MAX - (self.choose)(1000) as u64;
                self.header(data, len);
                ProtocolError::LengthOverflow
            }
            _ => match inside {
                Some(inside)
                    if !inside.is_compressed && inside.len + frame_limit > message_limit =>
                {
                    self.header(data, frame_limit as u64);
                    ProtocolError::MessageTooLarge
                }
                Some(Inside {
                    is_compressed: true,
                    ..
                }) if !self.plan.small_limits => {
                    // A compressed frame may be longer than what comes of it.
                    self.header(data, 2 << 20);
                    ProtocolError::FrameTooLarge
                }
                _ => {
                    let more = 1 + (self.choose)(100);
                    self.header(data, (frame_limit + more) as u64);
                    ProtocolError::FrameTooLarge
                }
            },
        }
    }

    fn faulty_close(&mut self) -> ProtocolError {
        const CODES: [u16; 9] = [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535];
        match (self.choose)(3) {
            0 => {
                self.frame(0x88, b"\x03");
                ProtocolError::CloseBodyTooShort
            }
            1 => {
                let code = CODES[(self.choose)(CODES.len())];
                self.frame(0x88, &code.to_be_bytes());
                ProtocolError::InvalidCloseCode(CloseCode::new(code))
            }
            _ => {
                let fault = NOT_TEXT[(self.choose)(NOT_TEXT.len())];
                self.frame(0x88, &[b"\x03\xe8bye", fault].concat());
                ProtocolError::InvalidCloseReason
            }
        }
    }

    /// A message that is wrong in itself.
    fn faulty_message(&mut self) -> ProtocolError {
        let is_compressed = self.plan.takes_over.is_some() && self.either();
        match (self.choose)(4) {
            0 if self.plan.small_limits => {
                for i in 0..=MAX_FRAGMENTS {
                    self.frame(if i == 0 { 2 } else { 0 }, b"");
                }
                ProtocolError::TooManyFragments
            }
            // A few bytes become more than the limit.
            1 if self.plan.small_limits && is_compressed => {
                let content = vec![b'a'; SMALL.0 + 1 + (self.choose)(1000)];
                let payload = self.payload(&content, true);
                self.frame(0xc2, &payload);
                self.stream.unfinished = content;
                ProtocolError::MessageTooLarge
            }
            2 if is_compressed => {
                // §3.2.3 of RFC 1951: a block of type 3.
                self.frame(0xc2, &[6, 0, 0]);
                ProtocolError::InvalidDeflate
            }
            _ => {
                let mut content = self.content(true);
                content.truncate(100);
                while std::str::from_utf8(&content).is_err() {
                    content.pop();
                }
                content.extend(NOT_TEXT[(self.choose)(NOT_TEXT.len())]);
                let payload = self.payload(&content, is_compressed);
                let pieces = self.pieces(&payload);
                for (i, piece) in pieces.iter().enumerate() {
                    let fin = u8::from(i + 1 == pieces.len()) << 7;
                    let rsv1 = u8::from(is_compressed) << 6;
                    self.frame(fin | if i == 0 { rsv1 | 1 } else { 0 }, piece);
                }
                self.stream.unfinished = content;
                ProtocolError::InvalidUtf8
            }
        }
    }

    /// The first byte of a data frame that is legal here.
    fn data_byte(&mut self, inside: Option<Inside>) -> u8 {
        let fin = u8::from(self.either()) << 7;
        let opcode = match inside {
            Some(_) => 0,
            None => 1 + u8::from(self.either()),
        };
        fin | opcode
    }

    /// Within the limits. Compressed, it is hardly longer.
    fn content(&mut self, is_text: bool) -> Vec<u8> {
        const CHARS: [char; 8] = ['a', 'b', '\0', 'é', '€', '\u{ffff}', '😀', '\u{10ffff}'];
        const LENS: [usize; 6] = [125, 126, 127, 20_000, 65_535, 65_536];
        if !self.plan.small_limits && (self.choose)(20) == 0 {
            let len = LENS[(self.choose)(LENS.len())];
            let first = self.bytes(1..2);
            let first = if is_text { b"x" } else { &first[..] };
            return first.repeat(len);
        }
        if !is_text {
            return self.bytes(0..150);
        }
        let len = (self.choose)(30);
        let text: String = (0..len)
            .map(|_| CHARS[(self.choose)(CHARS.len())])
            .collect();
        text.into_bytes()
    }

    fn payload(&mut self, content: &[u8], is_compressed: bool) -> Vec<u8> {
        if !is_compressed {
            return content.to_vec();
        }
        if self.plan.takes_over == Some(false) {
            self.writer = Writer::new(6);
        }
        self.writer.message(content)
    }

    /// A payload in frames.
    fn pieces<'a>(&mut self, payload: &'a [u8]) -> Vec<&'a [u8]> {
        let mut ends: Vec<_> = match (self.choose)(3) {
            0 => (0..(self.choose)(MAX_FRAGMENTS as usize))
                .map(|_| (self.choose)(payload.len() + 1))
                .collect(),
            _ => Vec::new(),
        };
        ends.push(payload.len());
        ends.sort_unstable();
        let mut start = 0;
        ends.into_iter()
            .map(|end| &payload[std::mem::replace(&mut start, end)..end])
            .collect()
    }

    fn bytes(&mut self, len: Range<usize>) -> Vec<u8> {
        let len = len.start + (self.choose)(len.end - len.start);
        (0..len).map(|_| (self.choose)(256) as u8).collect()
    }

    fn either(&mut self) -> bool {
        (self.choose)(2) == 1
    }

    fn frame(&mut self, first: u8, payload: &[u8]) {
        self.stream
            .bytes
            .extend(frame_to(self.plan.role, first, payload));
    }

    /// A header without its payload.
    fn header(&mut self, first: u8, payload_len: u64) {
        let bit = self.mask_bit();
        let bytes = &mut self.stream.bytes;
        bytes.push(first);
        match payload_len {
            len @ 0..=125 => bytes.push(bit | len as u8),
            len @ 126..=0xffff => {
                bytes.push(bit | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(bit | 127);
                bytes.extend(len.to_be_bytes());
            }
        }
        if bit != 0 {
            bytes.extend([0; 4]);
        }
    }

    fn mask_bit(&self) -> u8 {
        match self.plan.role {
            Role::Client => 0,
            Role::Server => 0x80,
        }
    }
}

/// What no text ends with.
const NOT_TEXT: [&[u8]; 6] = [
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x80",
];

/// Has a connection read the stream in these pieces.
pub(crate) fn outcome<'a>(
    connection: &mut Connection,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut outcome = Outcome {
        events: Vec::new(),
        unfinished: Vec::new(),
        fault: None,
    };
    let mut is_text = false;
    for piece in pieces {
        let mut buffer = piece.to_vec();
        let mut input = &mut buffer[..];
        loop {
            let was_closed = connection.is_closed();
            let event = connection.receive(&mut input);
            assert!(
                !was_closed || matches!(event, Ok(None)),
                "nothing comes after the end"
            );
            match event {
                Ok(None) => break,
                Err(fault) => outcome.fault = Some(fault),
                Ok(Some(Event::Fragment(fragment))) => {
                    if fragment.opcode != OpCode::Continuation {
                        assert!(outcome.unfinished.is_empty(), "one message at a time");
                        is_text = fragment.opcode == OpCode::Text;
                    }
                    outcome.unfinished.extend_from_slice(&fragment.payload);
                    if fragment.fin {
                        let message = std::mem::take(&mut outcome.unfinished);
                        outcome.events.push(if is_text {
                            OwnedEvent::Text(String::from_utf8(message).unwrap())
                        } else {
                            OwnedEvent::Binary(message)
                        });
                    }
                }
                Ok(Some(event)) => outcome.events.push(event.into()),
            }
        }
        assert!(input.is_empty(), "`None` means that the input is used up");
    }
    outcome
}

impl Stream {
    /// Checks what a new connection makes of it: the events, the fault, the answers.
    pub(crate) fn check<'a>(
        &self,
        connection: &mut Connection,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) {
        let outcome = outcome(connection, pieces);
        assert_eq!(outcome.fault, self.fault);
        assert!(
            outcome.events == self.events,
            "{:?}, not {:?}",
            outcome.events,
            self.events
        );
        assert!(self.unfinished.starts_with(&outcome.unfinished));
        let has_ended = match self.events.last() {
            Some(OwnedEvent::Close(..)) => true,
            _ => self.fault.is_some(),
        };
        assert_eq!(connection.is_closed(), has_ended);
        self.check_answers(connection);
    }

    /// A Pong for each Ping, and at the end one Close that says what was wrong, or what the peer
    /// said.
    fn check_answers(&self, connection: &mut Connection) {
        let mut expected = Vec::new();
        let peer = match connection.role() {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        for event in &self.events {
            match event {
                OwnedEvent::Ping(payload) => expected.extend(frame_to(peer, 0x8a, payload)),
                OwnedEvent::Close(1005, _) => expected.extend(frame_to(peer, 0x88, b"")),
                OwnedEvent::Close(code, _) => {
                    expected.extend(frame_to(peer, 0x88, &code.to_be_bytes()));
                }
                _ => {}
            }
        }
        if let Some(fault) = self.fault {
            let info = connection.close_info().unwrap();
            let sent = info.sent.unwrap();
            assert_eq!(sent.code, fault.close_code());
            let body = [&sent.code.get().to_be_bytes(), sent.reason.as_bytes()].concat();
            expected.extend(frame_to(peer, 0x88, &body));
        }
        assert_eq!(super::output::written(connection), expected);
    }
}
