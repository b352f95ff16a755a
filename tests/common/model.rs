//! What RFC 6455 makes of the bytes that one end receives, written down once more and plainly: one
//! loop over an index, which shares no code with the crate.

#![allow(dead_code, reason = "no test uses all of it")]

use wsroom::{ProtocolError, Role};

use super::answers::frame_from;
use super::events::{Outcome, OwnedEvent};
use super::reference::{Fault, Reader};

/// The limits of the tables.
const MAX_FRAME: u64 = 65_536;
const MAX_MESSAGE: u64 = 131_072;
const MAX_FRAGMENTS: usize = 128;

/// One end.
pub(crate) struct Model {
    pub(crate) role: Role,
    /// Whether messages may be compressed, and then whether they may refer to those before.
    pub(crate) takes_over: Option<bool>,
    /// It has sent its Close already, so that it sends no other.
    pub(crate) has_closed: bool,
}

/// What must come of a stream.
#[derive(Debug)]
pub(crate) struct Verdict {
    role: Role,
    has_closed: bool,
    steps: Vec<Step>,
    end: End,
    /// Whether the end is in a compressed message: its fault may show before.
    may_fail: bool,
}

#[derive(Debug)]
struct Step {
    event: OwnedEvent,
    /// The event is of a compressed message, or came inside of one: its fault may show before.
    may_fail: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Failed(u16),
}

/// A message that has begun.
struct Message {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
    /// The lengths that its headers announced.
    announced: u64,
    fragments: usize,
}

/// What is not there yet, or wrong.
enum Stop {
    Missing,
    Fault(u16),
    Close,
}

impl Model {
    pub(crate) fn receive(&self, bytes: &[u8]) -> Verdict {
        let mut run = Run {
            model: self,
            bytes,
            at: 0,
            message: None,
            reader: Reader::default(),
            steps: Vec::new(),
        };
        let stop = loop {
            if let Err(stop) = run.frame() {
                break stop;
            }
        };
        Verdict {
            end: match stop {
                Stop::Missing => End::Open,
                Stop::Fault(code) => End::Failed(code),
                Stop::Close => End::Closed,
            },
            role: self.role,
            has_closed: self.has_closed,
            may_fail: run.is_inflating(),
            steps: run.steps,
        }
    }
}

struct Run<'a> {
    model: &'a Model,
    bytes: &'a [u8],
    at: usize,
    message: Option<Message>,
    reader: Reader,
    steps: Vec<Step>,
}

impl<'a> Run<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let taken = self.bytes.get(self.at..self.at + len);
        self.at += len;
        taken.ok_or(Stop::Missing)
    }

    fn is_inflating(&self) -> bool {
        (self.message.as_ref()).is_some_and(|message| message.is_compressed)
    }

    fn step(&mut self, event: OwnedEvent) {
        let may_fail = self.is_inflating();
        self.steps.push(Step { event, may_fail });
    }

    fn frame(&mut self) -> Result<(), Stop> {
        let first = self.take(1)?[0];
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let is_control = opcode >= 8;
        // §5.2, RFC 7692 §6: RSV1 says that a message is compressed, on its first frame only.
        let begins = opcode == 1 || opcode == 2;
        let is_compressed = first & 0x40 != 0;
        if first & 0x30 != 0 || is_compressed && !(begins && self.model.takes_over.is_some()) {
            return Err(Stop::Fault(1002));
        }
        // §5.2, §5.4, §5.5.
        let fits = match opcode {
            0 => self.message.is_some(),
            1 | 2 => self.message.is_none(),
            8..=10 => fin,
            _ => false,
        };
        if !fits {
            return Err(Stop::Fault(1002));
        }
        let second = self.take(1)?[0];
        let is_masked = second & 0x80 != 0;
        let short = second & 0x7f;
        // §5.1, §5.5.
        if is_masked != (self.model.role == Role::Server) || is_control && short > 125 {
            return Err(Stop::Fault(1002));
        }
        let (len, least) = match short {
            126 => (number(self.take(2)?), 126),
            127 => (number(self.take(8)?), 65_536),
            short => (u64::from(short), 0),
        };
        // §5.2: the shortest form, and the top bit is 0.
        if len < least || len >> 63 != 0 {
            return Err(Stop::Fault(1002));
        }
        // §5.5.1: a code takes two bytes.
        if opcode == 8 && len == 1 {
            return Err(Stop::Fault(1002));
        }
        if !is_control {
            if begins {
                self.message = Some(Message {
                    is_text: opcode == 1,
                    is_compressed,
                    payload: Vec::new(),
                    announced: 0,
                    fragments: 0,
                });
            }
            self.check_limits(len)?;
        }
        let key: [u8; 4] = match is_masked {
            true => self.take(4)?.try_into().unwrap(),
            false => [0; 4],
        };
        let there = (len as usize).min(self.bytes.len() - self.at);
        let is_whole = there as u64 == len;
        let masked = self.take(there)?;
        let unmasked = masked
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key);
        if is_control {
            if !is_whole {
                return Err(Stop::Missing);
            }
            return self.control(opcode, &unmasked.collect::<Vec<u8>>());
        }
        let message = self.message.as_mut().unwrap();
        message.payload.extend(unmasked);
        // §8.1: a fault in a text is one as soon as it is certain.
        if message.is_text && !message.is_compressed {
            let fault = std::str::from_utf8(&message.payload).err();
            let ends = is_whole && fin;
            if fault.is_some_and(|fault| ends || fault.error_len().is_some()) {
                return Err(Stop::Fault(1007));
            }
        }
        match (is_whole, fin) {
            (false, _) => Err(Stop::Missing),
            (true, false) => Ok(()),
            (true, true) => self.end_message(),
        }
    }

    /// §10.4, at the header. What was inflated is measured elsewhere.
    fn check_limits(&mut self, len: u64) -> Result<(), Stop> {
        let message = self.message.as_mut().unwrap();
        message.announced += len;
        message.fragments += 1;
        let is_long = !message.is_compressed && message.announced > MAX_MESSAGE;
        if len > MAX_FRAME || is_long {
            return Err(Stop::Fault(1009));
        }
        if message.fragments > MAX_FRAGMENTS {
            return Err(Stop::Fault(1008));
        }
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), Stop> {
        match opcode {
            9 => self.step(OwnedEvent::Ping(payload.to_vec())),
            10 => self.step(OwnedEvent::Pong(payload.to_vec(), None)),
            _ => {
                // §5.5.1, §7.4.
                let (code, reason) = match payload {
                    [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
                        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => (code, reason),
                        _ => return Err(Stop::Fault(1002)),
                    },
                    _ => (1005, &[][..]),
                };
                let Ok(reason) = std::str::from_utf8(reason) else {
                    return Err(Stop::Fault(1007));
                };
                self.step(OwnedEvent::Close(code, reason.to_owned()));
                return Err(Stop::Close);
            }
        }
        Ok(())
    }

    fn end_message(&mut self) -> Result<(), Stop> {
        let message = self.message.as_mut().unwrap();
        let mut payload = std::mem::take(&mut message.payload);
        if message.is_compressed {
            if self.model.takes_over == Some(false) {
                self.reader = Reader::default();
            }
            let (inflated, verdict) = self.reader.message(&payload, MAX_MESSAGE as usize);
            let is_text = !message.is_text || std::str::from_utf8(&inflated).is_ok();
            match verdict {
                Err(Fault::TooLong) => return Err(Stop::Fault(1009)),
                Err(Fault::Invalid) => return Err(Stop::Fault(1007)),
                Ok(()) if !is_text => return Err(Stop::Fault(1007)),
                Ok(()) => payload = inflated,
            }
        }
        let event = match message.is_text {
            true => OwnedEvent::Text(String::from_utf8(payload).expect("it was checked")),
            false => OwnedEvent::Binary(payload),
        };
        self.step(event);
        self.message = None;
        Ok(())
    }
}

impl Verdict {
    /// Compares what came out of a connection, and what it has written since.
    pub(crate) fn check(&self, outcomes: &[Outcome], wire: &[u8]) -> Result<(), String> {
        let mut outcomes = outcomes.iter();
        let mut replies = Vec::new();
        for step in &self.steps {
            match outcomes.next() {
                Some(Ok(event)) if *event == step.event => replies.extend(self.reply(event)),
                Some(Err(fault)) if step.may_fail && is_of_data(fault) => {
                    return self.check_failed(fault, outcomes.as_slice(), &replies, wire);
                }
                other => return Err(format!("{other:?} instead of {:?}", step.event)),
            }
        }
        match (self.end, outcomes.next()) {
            (End::Open | End::Closed, None) if wire == replies => Ok(()),
            (End::Open | End::Closed, None) => {
                Err(format!("{wire:02x?} instead of {replies:02x?}"))
            }
            (End::Failed(code), Some(Err(fault))) if fault.close_code().get() == code => {
                self.check_failed(fault, outcomes.as_slice(), &replies, wire)
            }
            (_, Some(Err(fault))) if self.may_fail && is_of_data(fault) => {
                self.check_failed(fault, outcomes.as_slice(), &replies, wire)
            }
            (end, other) => Err(format!("{other:?} instead of {end:?}")),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    /// The frame that answers an event.
    fn reply(&self, event: &OwnedEvent) -> Vec<u8> {
        match event {
            OwnedEvent::Ping(payload) => frame_from(self.role, 0x8a, payload),
            OwnedEvent::Close(..) if self.has_closed => Vec::new(),
            OwnedEvent::Close(1005, _) => frame_from(self.role, 0x88, b""),
            OwnedEvent::Close(code, _) => frame_from(self.role, 0x88, &code.to_be_bytes()),
            _ => Vec::new(),
        }
    }

    /// One fault, then one Close with its code behind the replies if there was none yet, and
    /// nothing else.
    fn check_failed(
        &self,
        fault: &ProtocolError,
        rest: &[Outcome],
        replies: &[u8],
        wire: &[u8],
    ) -> Result<(), String> {
        if self.has_closed && rest.is_empty() && wire == replies {
            return Ok(());
        }
        let is_client = self.role == Role::Client;
        let code = fault.close_code().get().to_be_bytes();
        let says_so = wire.strip_prefix(replies).and_then(|close| {
            let (header, masked) = close.split_at_checked(if is_client { 6 } else { 2 })?;
            let key = if is_client { &header[2..] } else { &[0] };
            let unmasked = masked.iter().zip(key.iter().cycle());
            let body: Vec<u8> = unmasked.map(|(byte, key)| byte ^ key).collect();
            let is_text = std::str::from_utf8(body.get(2..)?).is_ok();
            // Encoded once more, with the length that it has.
            Some(is_text && body[..2] == code && close == frame_from(self.role, 0x88, &body))
        });
        match (rest, says_so) {
            ([], Some(true)) if !self.has_closed => Ok(()),
            _ => Err(format!("{rest:?}, {wire:02x?} behind {fault:?}")),
        }
    }
}

/// Whether a fault may be one of what was inflated.
fn is_of_data(fault: &ProtocolError) -> bool {
    matches!(fault.close_code().get(), 1007 | 1009)
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
