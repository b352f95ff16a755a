//! The rows of `tests/data/handshake.md`, and both sides of a handshake that read them.

#![allow(dead_code, reason = "no test uses all of it")]

use http::Response;
use wsroom::Agreed;
use wsroom::handshake::{
    HandshakeError, Offer, RequestHead, ResponseHead, Upgrade, encode_accepted, encode_response,
};

/// One row of the tables.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) profile: String,
    pub(crate) input: Vec<u8>,
    /// The bytes after the head.
    pub(crate) tail: Vec<u8>,
    pub(crate) expected: String,
}

/// What came of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The bytes of the response, or the verdict of the client, or "need".
    pub(crate) answer: String,
    /// How many bytes of the input were taken.
    pub(crate) consumed: usize,
    /// The bytes that were left behind.
    pub(crate) rest: Vec<u8>,
}

/// The rows whose id begins with `letter`.
pub(crate) fn rows(letter: char) -> Vec<Row> {
    include_str!("../data/handshake.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter(|line| line.starts_with(letter))
        .map(|line| {
            let cells: Vec<&str> = line.splitn(6, " | ").collect();
            let [id, _side, profile, edits, expected, ..] = cells[..] else {
                panic!("a row has six cells: {line}");
            };
            let base = if letter == 'S' { REQUEST } else { RESPONSE };
            let (input, tail) = build(base, edits.trim_matches('`'));
            Row {
                id: id.to_owned(),
                profile: profile.to_owned(),
                input,
                tail,
                expected: expected.to_owned(),
            }
        })
        .collect()
}

/// Carries out the edits of a row, and gives the input and the bytes after the head.
fn build(base: &[&str], edits: &str) -> (Vec<u8>, Vec<u8>) {
    let mut lines: Vec<String> = base.iter().map(|&line| line.to_owned()).collect();
    let mut raw = None;
    let mut tail = Vec::new();
    let mut blank: &[u8] = b"\r\n";
    let edits = repeat(edits);
    for edit in edits.split(" // ").filter(|&edit| edit != "(base)") {
        let named = |line: &String, name: &str| {
            (line.split_once(':')).is_some_and(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        if let Some(text) = edit.strip_prefix("raw ") {
            raw = Some(unescape(text));
        } else if edit == "then (base)" {
            let mut input = raw.take().unwrap();
            input.extend(unescape(&(lines.join("\r\n") + "\r\n\r\n")));
            return (input, tail);
        } else if let Some(line) = edit.strip_prefix("line ") {
            lines[0] = line.to_owned();
        } else if let Some(hex) = edit.strip_prefix("end ") {
            let bytes = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16));
            tail = bytes.map(Result::unwrap).collect();
        } else if edit == "noend" {
            blank = b"";
        } else if let Some(name) = edit.strip_prefix('-') {
            lines.retain(|line| !named(line, name));
        } else if let Some(line) = edit.strip_prefix('=') {
            let (name, _) = line.split_once(':').unwrap();
            let old = lines.iter_mut().find(|line| named(line, name)).unwrap();
            *old = line.to_owned();
        } else if let Some(line) = edit.strip_prefix('+') {
            lines.push(line.to_owned());
        } else if let Some(line) = edit.strip_prefix('^') {
            lines.insert(1, line.to_owned());
        } else {
            panic!("unknown edit {edit}");
        }
    }
    if let Some(raw) = raw {
        return (raw, tail);
    }
    let mut input = Vec::new();
    for line in lines {
        input.extend(unescape(&line));
        input.extend(b"\r\n");
    }
    input.extend(blank);
    input.extend(&tail);
    (input, tail)
}

/// Writes `{N*t}` out.
fn repeat(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else {
        return text.to_owned();
    };
    let (repeated, after) = rest.split_once('}').unwrap();
    let (count, unit) = repeated.split_once('*').unwrap();
    let count: usize = count.parse().unwrap();
    let repeated: String = if unit.contains('%') {
        let units = (0..count).map(|number| unit.replace('%', &number.to_string()));
        units.collect()
    } else {
        unit.repeat(count)
    };
    before.to_owned() + &repeated + &repeat(after)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (value, length) = match (byte, after.first()) {
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'\\')) => (b'\\', 2),
            (b'\\', Some(b'x')) => {
                let digits = str::from_utf8(&after[1..3]).unwrap();
                (u8::from_str_radix(digits, 16).unwrap(), 4)
            }
            _ => (byte, 1),
        };
        bytes.push(value);
        rest = &rest[length..];
    }
    bytes
}

const REQUEST: &[&str] = &[
    "GET /chat HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

const RESPONSE: &[&str] = &[
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

pub(crate) fn server(row: &Row) -> Upgrade {
    let upgrade = Upgrade::default().protocols(["chat", "superchat"]);
    let upgrade = with_deflate(upgrade, &row.profile);
    match row.profile.as_str() {
        "-" => upgrade,
        "origin" => upgrade.allow_origins(["https://good.example"]),
        other => panic!("{}: unknown profile {other}", row.id),
    }
}

pub(crate) fn client(row: &Row) -> (Upgrade, Offer) {
    let upgrade = match row.profile.as_str() {
        "-" | "ext-plain" | "ext-smwb10" => Upgrade::default().protocols(["chat", "superchat"]),
        "noproto" => Upgrade::default(),
        other => panic!("{}: unknown profile {other}", row.id),
    };
    let upgrade = with_deflate(upgrade, &row.profile);
    let offer = upgrade.offer_with_nonce("ws://server.example.com/chat", *b"the sample nonce");
    (upgrade, offer.unwrap())
}

/// Plays the server.
pub(crate) fn serve(upgrade: &Upgrade, pieces: &[&[u8]]) -> Outcome {
    let mut head = RequestHead::new(upgrade);
    receive(
        pieces,
        |input| head.receive(input),
        |request| match request.and_then(|request| {
            let (response, _) = upgrade.accept(&request)?;
            Ok(encode_accepted(&request, &response))
        }) {
            Ok(response) => String::from_utf8(response.to_vec()).unwrap(),
            Err(fault) => String::from_utf8(encode_response(&fault.response()).to_vec()).unwrap(),
        },
    )
}

/// Plays the client.
pub(crate) fn judge(upgrade: &Upgrade, offer: &Offer, pieces: &[&[u8]]) -> Outcome {
    let mut head = ResponseHead::new(upgrade);
    receive(
        pieces,
        |input| head.receive(input),
        |response: Result<Response<()>, _>| match response
            .and_then(|response| offer.verify(&response))
        {
            Ok(agreed) if has_deflate(&agreed) => "ok pmd".to_owned(),
            Ok(_) => "ok".to_owned(),
            Err(fault) => format!("fail {}", kind(&fault)),
        },
    )
}

fn receive<T>(
    pieces: &[&[u8]],
    mut receive: impl FnMut(&mut &[u8]) -> Result<Option<T>, HandshakeError>,
    answer: impl FnOnce(Result<T, HandshakeError>) -> String,
) -> Outcome {
    let mut consumed = 0;
    for (number, piece) in pieces.iter().enumerate() {
        let mut input = *piece;
        let result = receive(&mut input).transpose();
        consumed += piece.len() - input.len();
        if let Some(result) = result {
            return Outcome {
                answer: answer(result),
                consumed,
                rest: [input, &pieces[number + 1..].concat()].concat(),
            };
        }
        assert!(input.is_empty(), "nothing is passed twice");
    }
    Outcome {
        answer: "need".to_owned(),
        consumed,
        rest: Vec::new(),
    }
}

/// Whether permessage-deflate is spoken. Without it the server declines every offer, and the client
/// offers nothing, so that a server which chooses it fails the handshake.
pub(crate) const DEFLATE: bool = cfg!(feature = "deflate");

/// Offers or allows compression, as the profile of a row says.
#[cfg(feature = "deflate")]
fn with_deflate(upgrade: Upgrade, profile: &str) -> Upgrade {
    use wsroom::deflate::Deflate;

    match profile {
        "ext-plain" => upgrade.deflate(Deflate::default().full_client_window()),
        "ext-smwb10" => upgrade.deflate(
            Deflate::default()
                .server_max_window_bits(10)
                .full_client_window(),
        ),
        _ => upgrade.deflate(Deflate::default()),
    }
}

#[cfg(feature = "deflate")]
fn has_deflate(agreed: &Agreed) -> bool {
    agreed.deflate().is_some()
}

#[cfg(not(feature = "deflate"))]
fn with_deflate(upgrade: Upgrade, _profile: &str) -> Upgrade {
    upgrade
}

#[cfg(not(feature = "deflate"))]
fn has_deflate(_agreed: &Agreed) -> bool {
    false
}

/// What a row calls a fault.
pub(crate) fn kind(fault: &HandshakeError) -> String {
    match fault {
        HandshakeError::Tls
        | HandshakeError::NotHttp
        | HandshakeError::StartLine
        | HandshakeError::LineEnd
        | HandshakeError::FieldName
        | HandshakeError::SpaceBeforeColon
        | HandshakeError::FieldValue
        | HandshakeError::FoldedLine => "parse".to_owned(),
        HandshakeError::HttpVersion => "version".to_owned(),
        HandshakeError::LineTooLong
        | HandshakeError::HeadTooLarge
        | HandshakeError::TooManyHeaders => "head too large".to_owned(),
        HandshakeError::TooManyInterimResponses => "too many interim".to_owned(),
        HandshakeError::Refused(response) => format!("status {}", response.status().as_u16()),
        HandshakeError::WrongUpgrade => "upgrade".to_owned(),
        HandshakeError::WrongConnection => "connection".to_owned(),
        HandshakeError::WrongAccept => "accept".to_owned(),
        HandshakeError::ExtensionSyntax
        | HandshakeError::TooManyExtensions
        | HandshakeError::WrongExtension
        | HandshakeError::WrongDeflate => "extension".to_owned(),
        HandshakeError::WrongProtocol => "subprotocol".to_owned(),
        other => panic!("a client never meets {other:?}"),
    }
}
