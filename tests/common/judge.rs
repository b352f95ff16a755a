//! Runs a row of the tables: exact events, exact answer, however the bytes are cut.

#![allow(dead_code, reason = "no test uses all of it")]

use rand::RngExt;
use rand::rngs::StdRng;
use wsroom::frame::MaskKey;
use wsroom::protocol::State;
use wsroom::{CloseCause, Connection, Role};

use super::answers::frame_from;
use super::events::{OwnedEvent, receive};
use super::frames::{KEY, frame_to};
use super::output::written;
use super::table::Row;

/// From this length on, a row is cut at random positions instead of all.
const LONG: usize = 600;

/// What a row is expected to do.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) events: Vec<OwnedEvent>,
    /// The Pongs, and the echo of a Close.
    replies: Vec<u8>,
    /// The code of a failure.
    fail: Option<u16>,
    closed: bool,
}

impl Expected {
    pub(crate) fn parse(text: &str, role: Role) -> Self {
        let mut expected = Self {
            events: Vec::new(),
            replies: Vec::new(),
            fail: None,
            closed: false,
        };
        for step in text.split("; ") {
            let (times, step) = match step.split_once('*') {
                Some((times, rest)) if times.parse::<usize>().is_ok() => {
                    (times.parse().unwrap(), rest.trim_matches(['(', ')']))
                }
                _ => (1, step),
            };
            for _ in 0..times {
                expected.add(step, role);
            }
        }
        expected
    }

    fn add(&mut self, step: &str, role: Role) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "text" => {
                let text = String::from_utf8(value(rest)).unwrap();
                self.events.push(OwnedEvent::Text(text));
            }
            "bin" => self.events.push(OwnedEvent::Binary(value(rest))),
            "pong" if rest == "event only, nothing sent" => {
                self.events.push(OwnedEvent::Pong(Vec::new(), None));
            }
            "pong" => {
                self.replies.extend(frame_from(role, 0x8a, &value(rest)));
                self.events.push(OwnedEvent::Ping(value(rest)));
            }
            "close" => {
                let (close, echo) = rest.split_once(", echo ").unwrap();
                let (code, reason) = close.split_once(' ').unwrap();
                let reason = String::from_utf8(value(reason)).unwrap();
                self.events
                    .push(OwnedEvent::Close(code.parse().unwrap(), reason));
                let body = match echo.trim_end_matches(" once") {
                    "empty Close" => vec![],
                    code => code.parse::<u16>().unwrap().to_be_bytes().to_vec(),
                };
                self.replies.extend(frame_from(role, 0x88, &body));
                self.closed = true;
            }
            "fail" => {
                self.fail = Some(rest.parse().unwrap());
                self.closed = true;
            }
            // Said of what is checked for every row.
            "need" | "rest" | "partial" => {}
            "then" => assert_eq!(rest, "EOF -> closed 1006, nothing delivered"),
            _ => panic!("{step}"),
        }
    }

    /// Feeds `connection` and compares.
    pub(crate) fn check(&self, row: &Row, mut connection: Connection, pieces: Vec<&[u8]>) {
        let at = || {
            let lens: Vec<_> = pieces.iter().take(3).map(|piece| piece.len()).collect();
            format!("{} in {} pieces of {lens:?}..", row.id, pieces.len())
        };
        let mut outcomes = receive(&mut connection, pieces.iter().copied());
        if let Some(code) = self.fail {
            let error = outcomes
                .pop()
                .unwrap_or_else(|| panic!("{}: no fault", at()));
            let error = error
                .err()
                .unwrap_or_else(|| panic!("{}: an event last", at()));
            assert_eq!(error.close_code().get(), code, "{}", at());
            let info = connection.close_info().unwrap();
            assert_eq!(info.cause, CloseCause::Protocol(error), "{}", at());
        }
        assert_eq!(outcomes.len(), self.events.len(), "{}", at());
        for (outcome, event) in outcomes.iter().zip(&self.events) {
            assert!(outcome.as_ref() == Ok(event), "{}: {event:?}", at());
        }
        assert_eq!(connection.is_closed(), self.closed, "{}", at());
        if !self.closed {
            assert_eq!(connection.state(), State::Open, "{}", at());
        }

        self.check_output(&written(&mut connection), row.role, &at());
        if self.closed {
            let more = [frame_to(row.role, 0x89, b""), vec![0xff; 20]].concat();
            assert_eq!(receive(&mut connection, [&more[..]]), [], "{}", at());
            assert_eq!(connection.output_len(), 0, "{}", at());
        }
        let code = connection.close_info().map(|info| info.code());
        connection.receive_eof();
        let info = connection.close_info().unwrap();
        assert_eq!(
            info.code().get(),
            code.map_or(1006, |code| code.get()),
            "{}",
            at()
        );
    }

    /// The replies, then one Close if the connection failed, and nothing else.
    fn check_output(&self, wire: &[u8], role: Role, at: &str) {
        let rest = wire.strip_prefix(&self.replies[..]);
        let rest = rest.unwrap_or_else(|| panic!("{at}: replied {wire:02x?}"));
        let Some(code) = self.fail else {
            assert!(rest.is_empty(), "{at}");
            return;
        };
        let [0x88, len, body @ ..] = rest else {
            panic!("{at}: no Close but {rest:02x?}");
        };
        let (key, body) = match role {
            Role::Server => (MaskKey::default(), body),
            Role::Client => (MaskKey::new(KEY), body.strip_prefix(&KEY).unwrap()),
        };
        let mut body = body.to_vec();
        key.apply(&mut body);
        assert_eq!(usize::from(len & 0x7f), body.len(), "{at}");
        assert_eq!(body[..2], code.to_be_bytes(), "{at}");
    }
}

/// Feeds new connections with `bytes`, which mean what the row says, in many cuts.
pub(crate) fn run(
    row: &Row,
    bytes: &[u8],
    random_cuts: usize,
    random: &mut StdRng,
    connect: impl Fn(&Row) -> Connection,
) {
    let expected = Expected::parse(row.expected, row.role);
    for pieces in cuts(bytes, random_cuts, random) {
        expected.check(row, connect(row), pieces);
    }
}

/// Whole, in single bytes, and in two at every position or at some.
pub(crate) fn cuts<'a>(
    bytes: &'a [u8],
    random_cuts: usize,
    random: &mut StdRng,
) -> Vec<Vec<&'a [u8]>> {
    let positions: Vec<usize> = if bytes.len() < LONG {
        (1..bytes.len()).collect()
    } else {
        (0..random_cuts)
            .map(|_| random.random_range(1..bytes.len()))
            .collect()
    };
    let halves = positions.into_iter().map(|at| {
        let (left, right) = bytes.split_at(at);
        vec![left, right]
    });
    [vec![bytes], bytes.chunks(1).collect()]
        .into_iter()
        .chain(halves)
        .collect()
}

/// Masks each frame whose key is 00000000 with another one, as far as its payload goes.
pub(crate) fn with_random_keys(bytes: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0_usize;
    while let Some(second) = bytes.get(at.saturating_add(1)) {
        let (is_masked, short) = (second & 0x80 != 0, usize::from(second & 0x7f));
        let len_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(len) = bytes.get(at + 2..at + 2 + len_bytes) else {
            break;
        };
        let len = match len {
            [] => short,
            long => long
                .iter()
                .fold(0, |len: usize, &byte| len << 8 | usize::from(byte)),
        };
        at += 2 + len_bytes;
        if is_masked {
            let payload = at + 4;
            if bytes.get(at..payload) == Some(&[0; 4]) {
                let key: [u8; 4] = random.random();
                bytes[at..payload].copy_from_slice(&key);
                for (byte, key) in bytes[payload..]
                    .iter_mut()
                    .take(len)
                    .zip(key.iter().cycle())
                {
                    *byte ^= key;
                }
            }
            at = payload;
        }
        at = at.saturating_add(len);
    }
    bytes
}

/// `"text"`, `U+0041`, hex digits, `N*` in front of one, `+` between them.
fn value(text: &str) -> Vec<u8> {
    if let Some(chars) = text.strip_prefix("U+") {
        let chars = chars
            .split(" U+")
            .map(|hex| u32::from_str_radix(hex, 16).unwrap());
        let text: String = chars.map(|code| char::from_u32(code).unwrap()).collect();
        return text.into_bytes();
    }
    let mut bytes = Vec::new();
    for part in text.split('+') {
        let (times, part) = part.split_once('*').unwrap_or(("1", part));
        let unit = match part.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap().into(),
            None => hex(part),
        };
        bytes.extend(unit.repeat(times.parse().unwrap()));
    }
    bytes
}

fn hex(digits: &str) -> Vec<u8> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        panic!("{digits}");
    };
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(|pair| byte(&pair[..])).collect()
}
