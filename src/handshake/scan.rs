//! The line scanner: takes a head byte by byte, and finds the first fault as soon as it is there.
//!
//! It implements the grammar of RFC 9112 §2.2, §3, §4 and §5 and the limits on a head. What the
//! fields mean is left to `client` and `server`, and taking a complete head apart to httparse.
//!
//! Each byte is looked at once, whatever the reads were, so a head costs time in its length and
//! faults don't depend on how the bytes were cut. Runs of bytes that change nothing, most of a head,
//! are taken together.
//!
//! ```text
//!            ┌─ request ─▶ Method ─▶ Target ─▶ Version ─┐
//! StartLine ─┤                                          ├▶ StartLineEnd ─▶ Field ─▶ HeadEnd ─▶ done
//!            └─ response ▶ Status ─▶ Reason ────────────┘               │    ▲
//!                                                                     Name   │
//!                                                                       └▶ Value ─▶ ValueEnd
//! ```

use crate::handshake::headers::is_token_byte;
use crate::handshake::{HandshakeError, Limits};

/// What has been received of one head.
#[derive(Debug)]
pub(super) struct Scanner {
    kind: Kind,
    limits: Limits,
    head: Vec<u8>,
    at: At,
    /// Bytes of the current line, without its CR LF.
    line: usize,
    fields: usize,
    /// The digits of the version.
    version: [u8; 2],
    /// The digits of the status of a response.
    status: [u8; 3],
    /// Interim responses that were skipped.
    interim: usize,
}

/// Which of the two heads is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// A complete head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(super) bytes: Vec<u8>,
    pub(super) fields: usize,
}

/// What the next byte is looked at as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first byte of a start line.
    StartLine,
    /// The LF of an empty line in front of a request.
    EmptyLine,
    Method,
    /// The first byte of a target.
    Target,
    TargetRest,
    /// The byte of `VERSION` with this number, or the CR after it.
    Version(usize),
    /// The byte of `STATUS` with this number, or what follows it.
    Status(usize),
    Reason,
    /// The LF of the start line.
    StartLineEnd,
    /// The first byte of a line after the start line.
    Field,
    Name,
    Value,
    /// The LF of a field.
    ValueEnd,
    /// The LF of the empty line.
    HeadEnd,
    Done,
}

impl Scanner {
    pub(super) fn new(kind: Kind, limits: Limits) -> Self {
        Self {
            kind,
            limits,
            head: Vec::new(),
            at: At::StartLine,
            line: 0,
            fields: 0,
            version: [0; 2],
            status: [0; 3],
            interim: 0,
        }
    }

    /// Takes bytes off the front of `input` until the head is complete. A byte that is a fault
    /// stays there.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Head>, HandshakeError> {
        self.head.reserve(input.len().min(self.head_room()));
        loop {
            self.take_run(input);
            // Tested before the next byte is needed: a head that fills the limit and isn't
            // complete can't become valid.
            if self.head_room() == 0 {
                return Err(HandshakeError::HeadTooLarge);
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            let next = self.next(byte)?;
            self.take(byte, next);
            *input = rest;
            if self.at == At::Done {
                let interim = self.interim + 1;
                let skip = self.is_interim();
                let done = std::mem::replace(self, Self::new(self.kind, self.limits));
                if skip {
                    self.interim = interim;
                    continue;
                }
                return Ok(Some(Head {
                    bytes: done.head,
                    fields: done.fields,
                }));
            }
        }
    }

    /// Takes the bytes that lead to where the scanner is already, and fit the limits.
    ///
    /// Byte by byte, a head takes three times as many instructions.
    fn take_run(&mut self, input: &mut &[u8]) {
        let room = (self.limits.line.saturating_sub(self.line)).min(self.head_room());
        let within = &input[..input.len().min(room)];
        let end = match self.at {
            At::Method | At::Name => within.iter().position(|&byte| !is_token_byte(byte)),
            At::TargetRest => within.iter().position(|&byte| !is_target_byte(byte)),
            At::Value | At::Reason => within.iter().position(|&byte| !is_value_byte(byte)),
            _ => return,
        };
        let (run, rest) = input.split_at(end.unwrap_or(within.len()));
        self.head.extend_from_slice(run);
        self.line += run.len();
        *input = rest;
    }

    /// How many more bytes the head may have.
    fn head_room(&self) -> usize {
        self.limits.head.saturating_sub(self.head.len())
    }

    /// Whether no byte has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.interim == 0
    }

    /// Whether the status is a 1xx that another response follows (RFC 9110 §15.2).
    fn is_interim(&self) -> bool {
        self.kind == Kind::Response && self.status[0] == b'1' && self.status != *b"101"
    }

    /// Where `byte` leads, or what is wrong with it. Changes nothing.
    fn next(&self, byte: u8) -> Result<At, HandshakeError> {
        let ends_line = matches!(byte, b'\r' | b'\n');
        if self.line == self.limits.line && !ends_line {
            return Err(self.too_long());
        }
        match self.at {
            At::StartLine if self.kind == Kind::Response => self.status_line(0, byte),
            // RFC 9112 §2.2: empty lines in front of a request line are skipped.
            At::StartLine if byte == b'\r' => Ok(At::EmptyLine),
            At::StartLine if is_token_byte(byte) => Ok(At::Method),
            At::StartLine => Err(not_a_start(byte)),
            At::EmptyLine => line_feed(byte, At::StartLine),
            At::Method | At::Target | At::TargetRest | At::Version(_) => self.request_line(byte),
            At::Status(number) => self.status_line(number, byte),
            At::Reason => match byte {
                b'\r' => Ok(At::StartLineEnd),
                _ if is_value_byte(byte) => Ok(At::Reason),
                _ => Err(broken_line(byte, HandshakeError::StartLine)),
            },
            At::StartLineEnd => {
                line_feed(byte, At::Field)?;
                self.end_start_line()
            }
            At::Field => self.field(byte),
            At::Name => match byte {
                b':' => Ok(At::Value),
                b' ' | b'\t' => Err(HandshakeError::SpaceBeforeColon),
                _ if is_token_byte(byte) => Ok(At::Name),
                _ => Err(broken_line(byte, HandshakeError::FieldName)),
            },
            At::Value => match byte {
                b'\r' => Ok(At::ValueEnd),
                _ if is_value_byte(byte) => Ok(At::Value),
                _ => Err(broken_line(byte, HandshakeError::FieldValue)),
            },
            At::ValueEnd => line_feed(byte, At::Field),
            At::HeadEnd | At::Done => line_feed(byte, At::Done),
        }
    }

    /// `method SP request-target SP HTTP-version` (RFC 9112 §3).
    fn request_line(&self, byte: u8) -> Result<At, HandshakeError> {
        match (self.at, byte) {
            (At::Method, b' ') => Ok(At::Target),
            (At::Method, _) if is_token_byte(byte) => Ok(At::Method),
            (At::TargetRest, b' ') => Ok(At::Version(0)),
            (At::Target | At::TargetRest, b'!'..) if is_target_byte(byte) => Ok(At::TargetRest),
            (At::Target | At::TargetRest, b'!'..) => Err(HandshakeError::Target),
            (At::Version(number), _) => match VERSION.get(number) {
                Some(b'0') if byte.is_ascii_digit() => Ok(At::Version(number + 1)),
                Some(&expected) if expected == byte => Ok(At::Version(number + 1)),
                None if byte == b'\r' => Ok(At::StartLineEnd),
                _ => Err(broken_line(byte, HandshakeError::StartLine)),
            },
            _ => Err(broken_line(byte, HandshakeError::StartLine)),
        }
    }

    /// `HTTP-version SP status-code [ SP [ reason-phrase ] ]` (RFC 9112 §4). The second space is
    /// left out by many.
    fn status_line(&self, number: usize, byte: u8) -> Result<At, HandshakeError> {
        match STATUS.get(number) {
            Some(b'0') if byte.is_ascii_digit() => Ok(At::Status(number + 1)),
            Some(b'1') if matches!(byte, b'1'..=b'9') => Ok(At::Status(number + 1)),
            Some(&expected) if expected == byte => Ok(At::Status(number + 1)),
            None if byte == b' ' => Ok(At::Reason),
            None if byte == b'\r' => Ok(At::StartLineEnd),
            _ if number == 0 => Err(match not_a_start(byte) {
                HandshakeError::Tls => HandshakeError::Tls,
                _ => HandshakeError::NotHttp,
            }),
            _ if number < 5 => Err(HandshakeError::NotHttp),
            _ => Err(broken_line(byte, HandshakeError::StartLine)),
        }
    }

    /// What a whole start line tells about the rest.
    fn end_start_line(&self) -> Result<At, HandshakeError> {
        match self.version {
            // RFC 9110 §15.2: HTTP/1.0 has no interim responses.
            [b'1', b'0'] if self.is_interim() => Err(HandshakeError::HttpVersion),
            [b'1', b'0' | b'1'] if self.is_interim() && self.interim == MAX_INTERIM => {
                Err(HandshakeError::TooManyInterimResponses)
            }
            [b'1', b'0' | b'1'] => Ok(At::Field),
            _ => Err(HandshakeError::HttpVersion),
        }
    }

    /// The first byte of a line after the start line.
    fn field(&self, byte: u8) -> Result<At, HandshakeError> {
        match byte {
            b'\r' => Ok(At::HeadEnd),
            // RFC 9112 §5.2: a user agent reads a folded line of a response as spaces.
            b' ' | b'\t' if self.kind == Kind::Response && self.fields > 0 => Ok(At::Value),
            b' ' | b'\t' => Err(HandshakeError::FoldedLine),
            _ if !is_token_byte(byte) => Err(broken_line(byte, HandshakeError::FieldName)),
            _ if self.fields == self.limits.fields => Err(HandshakeError::TooManyHeaders),
            _ => Ok(At::Name),
        }
    }

    /// Records `byte`, which led to `next`.
    fn take(&mut self, byte: u8, next: At) {
        match (self.at, next) {
            (At::Field, At::Name) => self.fields += 1,
            (At::Field, At::Value) => {
                let end = self.head.len() - 2;
                self.head[end..].fill(b' ');
            }
            (At::Version(5) | At::Status(5), _) => self.version[0] = byte,
            (At::Version(7) | At::Status(7), _) => self.version[1] = byte,
            (At::Status(number @ 9..=11), _) => self.status[number - 9] = byte,
            _ => {}
        }
        match byte {
            b'\r' | b'\n' => self.line = 0,
            _ => self.line += 1,
        }
        self.at = next;
        self.head.push(byte);
    }

    fn too_long(&self) -> HandshakeError {
        match self.at {
            At::StartLine | At::Method | At::Target | At::TargetRest | At::Version(_) => {
                HandshakeError::RequestLineTooLong
            }
            _ => HandshakeError::LineTooLong,
        }
    }
}

/// The most interim responses that are skipped. Servers send one or two.
const MAX_INTERIM: usize = 10;

/// The form of a version; `0` stands for any digit.
const VERSION: &[u8] = b"HTTP/0.0";

/// The form of a status line without its reason; `0` stands for any digit, `1` for any but zero.
const STATUS: &[u8] = b"HTTP/0.0 100";

/// Why a head cannot begin with `byte`.
fn not_a_start(byte: u8) -> HandshakeError {
    match byte {
        // The record types of TLS that a connection begins with: handshake and alert.
        0x15 | 0x16 => HandshakeError::Tls,
        b' '..=b'~' => HandshakeError::StartLine,
        b'\n' => HandshakeError::LineEnd,
        _ => HandshakeError::NotHttp,
    }
}

/// `fault`, unless `byte` is a line feed that stands alone.
fn broken_line(byte: u8, fault: HandshakeError) -> HandshakeError {
    match byte {
        b'\n' => HandshakeError::LineEnd,
        _ => fault,
    }
}

/// A CR that no LF follows is a fault (RFC 9112 §2.2).
fn line_feed(byte: u8, next: At) -> Result<At, HandshakeError> {
    match byte {
        b'\n' => Ok(next),
        _ => Err(HandshakeError::LineEnd),
    }
}

/// Whether a request target may have this byte in it: not `#`, because no fragment is sent (§3), and
/// none of those that always delimit a URI (RFC 3986 §2). Others that should be escaped are let
/// through, because they are met in queries.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`')
}

/// Whether a field value or a reason may have this byte in it (RFC 9110 §5.5, RFC 9112 §4).
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
