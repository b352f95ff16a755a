//! Runs every row of `tests/data/handshake.md`: whole, byte by byte, and split in two.

use http::Response;
use wsroom::Agreed;
use wsroom::handshake::{
    HandshakeError, Offer, RequestHead, ResponseHead, Upgrade, encode_accepted, encode_response,
};

/// Whether permessage-deflate is spoken. Without it the server declines every offer, and the client
/// offers nothing, so that a server which chooses it fails the handshake.
const DEFLATE: bool = cfg!(feature = "deflate");

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

/// What a row expects today.
fn expected(row: &Row) -> String {
    let expected = row.expected.as_str();
    match expected {
        "ok pmd" if !DEFLATE => "fail extension".to_owned(),
        _ if expected.starts_with("101 permessage-deflate") => match expected.split_once(' ') {
            Some((status, answer)) if DEFLATE => {
                format!("{status} Sec-WebSocket-Extensions: {answer}")
            }
            _ => "101".to_owned(),
        },
        _ if expected.starts_with("101 no extension") => "101".to_owned(),
        "101 without the header" | "101 (or 403 when the policy requires Origin)" => {
            "101".to_owned()
        }
        "505 (or 101)" => "505".to_owned(),
        "ok, no subprotocol" => "ok".to_owned(),
        _ => {
            // What the frame layer makes of the rest, and what the connection does.
            let handshake = expected.split("; ").next().unwrap_or(expected);
            handshake
                .split(", closed")
                .next()
                .unwrap_or(handshake)
                .to_owned()
        }
    }
}

/// S1 to S21, S24, S26, S28, W1 to W3.
#[test]
fn the_server_answers_every_row_as_it_says() {
    let rows = rows('S');
    assert_eq!(rows.len(), 168, "the table was read");
    for row in rows {
        let upgrade = server(&row);
        let outcome = run(&row.input, |pieces| serve(&upgrade, pieces), &row.id);
        let want = expected(&row);
        if want == "need" {
            assert_eq!(outcome.answer, "need", "{}", row.id);
            continue;
        }
        let lines: Vec<&str> = outcome.answer.split("\r\n").collect();
        let status = &lines[0]["HTTP/1.1 ".len()..][..3];
        let (statuses, header) = match want.split_once(": ") {
            Some((before, value)) => {
                let (status, name) = before.split_once(' ').unwrap();
                (status, Some(format!("{name}: {value}")))
            }
            None => (want.as_str(), None),
        };
        assert!(
            statuses.split(" or ").any(|want| want == status),
            "{}: {status} instead of {want}",
            row.id
        );
        if let Some(header) = &header {
            assert!(lines.contains(&header.as_str()), "{}: {lines:?}", row.id);
        }
        match status {
            "101" => {
                let others: Vec<_> = (lines.iter())
                    .filter(|line| !line.starts_with("Sec-WebSocket-Accept: "))
                    .filter(|line| header.as_deref() != Some(line))
                    .collect();
                let base = [
                    "HTTP/1.1 101 Switching Protocols",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "",
                    "",
                ];
                assert_eq!(others, base.iter().collect::<Vec<_>>(), "{}", row.id);
                assert_eq!(outcome.rest, row.tail, "{}", row.id);
            }
            "426" => {
                for line in [
                    "Upgrade: websocket",
                    "Connection: Upgrade, close",
                    "Sec-WebSocket-Version: 13",
                ] {
                    assert!(lines.contains(&line), "{}: {lines:?}", row.id);
                }
            }
            _ => assert!(
                lines.contains(&"Connection: close"),
                "{}: {lines:?}",
                row.id
            ),
        }
    }
}

/// A1 to A11, E2 to E5 (client).
#[test]
fn the_client_judges_every_row_as_it_says() {
    let rows = rows('R');
    assert_eq!(rows.len(), 80, "the table was read");
    for row in rows {
        let (upgrade, offer) = client(&row);
        let outcome = run(
            &row.input,
            |pieces| judge(&upgrade, &offer, pieces),
            &row.id,
        );
        assert_eq!(outcome.answer, expected(&row), "{}", row.id);
        if outcome.answer.starts_with("ok") {
            assert_eq!(outcome.rest, row.tail, "{}", row.id);
        }
    }
}

/// S24, row S160: 20 MB in one line (RUSTSEC-2023-0065).
#[test]
fn a_head_that_is_too_large_is_refused_before_it_is_read() {
    for (name, limit) in [("S160", 8192 + 200), ("S164", 16384), ("S025", 16384)] {
        let row = rows('S').into_iter().find(|row| row.id == name).unwrap();
        assert!(row.input.len() > limit);
        let outcome = serve(&server(&row), &[&row.input]);
        assert!(outcome.consumed <= limit, "{name}: {}", outcome.consumed);
    }
}

/// S15, row S095: white space around the key is no part of it.
#[test]
fn white_space_around_a_key_does_not_change_the_answer() {
    let row = rows('S').into_iter().find(|row| row.id == "S095").unwrap();
    let answer = serve(&server(&row), &[&row.input]).answer;
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

/// One row of the tables.
struct Row {
    id: String,
    profile: String,
    input: Vec<u8>,
    /// The bytes after the head.
    tail: Vec<u8>,
    expected: String,
}

/// What came of a row.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The bytes of the response, or the verdict of the client, or "need".
    answer: String,
    /// How many bytes of the input were taken.
    consumed: usize,
    /// The bytes that were left behind.
    rest: Vec<u8>,
}

/// Runs `input` whole and cut, and gives the one result of all runs.
fn run(input: &[u8], run: impl Fn(&[&[u8]]) -> Outcome, id: &str) -> Outcome {
    let outcome = run(&[input]);
    // Long enough for any head; the rest of a longer input is never looked at.
    let bytes: Vec<&[u8]> = input[..input.len().min(20_000)].chunks(1).collect();
    let mut bytewise = run(&bytes);
    bytewise.rest.extend(input.iter().skip(20_000));
    assert_eq!(outcome.answer, bytewise.answer, "{id}: byte by byte");
    assert_eq!(outcome.consumed, bytewise.consumed, "{id}: byte by byte");
    assert_eq!(
        outcome.rest.len(),
        bytewise.rest.len(),
        "{id}: byte by byte"
    );

    let cuts: Vec<usize> = if input.len() <= 1000 {
        (0..=input.len()).collect()
    } else {
        let end = input.len().min(20_000) as u64;
        (0..200)
            .map(|n| (n * 2_654_435_761 % end) as usize)
            .collect()
    };
    for cut in cuts {
        let (first, second) = input.split_at(cut);
        // A copy of 20 MB for each cut would take the test minutes.
        let second = &second[..second.len().min(20_000)];
        let split = run(&[first, second]);
        assert_eq!(outcome.answer, split.answer, "{id}: cut at {cut}");
        assert_eq!(outcome.consumed, split.consumed, "{id}: cut at {cut}");
    }
    outcome
}

/// Plays the server.
fn serve(upgrade: &Upgrade, pieces: &[&[u8]]) -> Outcome {
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
fn judge(upgrade: &Upgrade, offer: &Offer, pieces: &[&[u8]]) -> Outcome {
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

fn kind(fault: &HandshakeError) -> String {
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

fn server(row: &Row) -> Upgrade {
    let upgrade = Upgrade::default().protocols(["chat", "superchat"]);
    let upgrade = with_deflate(upgrade, &row.profile);
    match row.profile.as_str() {
        "-" => upgrade,
        "origin" => upgrade.allow_origins(["https://good.example"]),
        other => panic!("{}: unknown profile {other}", row.id),
    }
}

fn client(row: &Row) -> (Upgrade, Offer) {
    let upgrade = match row.profile.as_str() {
        "-" | "ext-plain" | "ext-smwb10" => Upgrade::default().protocols(["chat", "superchat"]),
        "noproto" => Upgrade::default(),
        other => panic!("{}: unknown profile {other}", row.id),
    };
    let upgrade = with_deflate(upgrade, &row.profile);
    let offer = upgrade.offer_with_nonce("ws://server.example.com/chat", *b"the sample nonce");
    (upgrade, offer.unwrap())
}

/// The rows whose id begins with `letter`.
fn rows(letter: char) -> Vec<Row> {
    include_str!("data/handshake.md")
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
