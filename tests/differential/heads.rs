//! §4: heads of requests and responses. tungstenite is the laxer one by far, so that only what it
//! refuses and this crate accepts is a difference; what both accept, they answer alike.

use std::io::{self, Read, Write};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tungstenite::error::ProtocolError as TheirFault;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::server::{NoCallback, ServerHandshake};
use tungstenite::{Error, HandshakeError};
use wsroom::Upgrade;
use wsroom::handshake::{Offer, RequestHead, ResponseHead, encode_accepted};

use super::peers::Memory;
use super::{Tally, bytes_of, count};

/// The key of the RFC's example, and what answers it (§1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The lines of a request: what is right comes first, and most often.
const REQUEST: [&[&str]; 7] = [
    &[
        "GET / HTTP/1.1",
        "GET /chat?x=1 HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "POST / HTTP/1.1",
        "GET / HTTP/1.0",
        "GET * HTTP/1.1",
        "get / HTTP/1.1",
    ],
    &[
        "Host: a",
        "host:\ta:80 ",
        "Host: [::1]",
        "",
        "Host: a\r\nHost: b",
        "Host: a b",
    ],
    &[
        "Upgrade: websocket",
        "upgrade: WebSocket",
        "Upgrade: h2c, websocket",
        "Upgrade: h2c\r\nUpgrade: websocket",
        "Upgrade: websockets",
        "",
    ],
    &[
        "Connection: Upgrade",
        "connection: keep-alive, upgrade",
        "Connection: keep-alive\r\nConnection: Upgrade",
        "Connection: keep-alive,\tUpgrade",
        "Connection: close",
        "Connection: notupgrade",
        "",
    ],
    &[
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version:13 ",
        "Sec-WebSocket-Version: 8",
        "",
    ],
    &[
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: a",
        "",
    ],
    &[
        "",
        "Origin: http://a",
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Content-Length: 0",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "X: a\r\n b",
        "X:\u{e9}",
        "X : a",
    ],
];

/// The lines of a response.
const RESPONSE: [&[&str]; 5] = [
    &[
        "HTTP/1.1 101 Switching Protocols",
        "HTTP/1.1 101 ",
        "HTTP/1.1 101",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols",
        "HTTP/1.1 200 OK",
        "HTTP/1.0 101 Switching Protocols",
    ],
    &[
        "Upgrade: websocket",
        "upgrade: WEBSOCKET",
        "Upgrade: h2c, websocket",
        "",
    ],
    &[
        "Connection: Upgrade",
        "connection:upgrade",
        "Connection: keep-alive, Upgrade",
        "Connection: keep-alive\r\nConnection: Upgrade",
        "Connection: close",
        "",
    ],
    &[
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-accept:s3pPLMBiTxaQ9kYGzzhZRbK+xOo=  ",
        "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "",
    ],
    &[
        "",
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Content-Length: 5",
        "X: a\r\n b",
        "X: \u{e9}",
    ],
];

/// What an end made of a head: its answer if it is accepted (a client has none).
#[derive(Debug, PartialEq)]
enum Judged {
    Accepted(String),
    Refused,
    Waiting,
}

#[test]
fn tungstenite_takes_the_requests_that_are_taken_here() {
    compare("requests", &REQUEST, |bytes| {
        let (theirs, why) = their_server(bytes);
        (our_server(bytes), theirs, why, request_difference)
    });
}

#[test]
fn tungstenite_takes_the_responses_that_are_taken_here() {
    compare("responses", &RESPONSE, |bytes| {
        let (theirs, why) = their_client(bytes);
        (our_client(bytes), theirs, why, response_difference)
    });
}

type Name = fn(&[u8], &Error) -> Option<&'static str>;

fn compare(
    what: &str,
    lines: &[&[&str]],
    judge: impl Fn(&[u8]) -> (Judged, Judged, Option<Error>, Name),
) {
    let mut tally = Tally::default();
    for seed in 0..count(20_000) {
        let bytes = head(lines, &mut StdRng::seed_from_u64(seed));
        let (ours, theirs, why, name) = judge(&bytes);
        let known = match (&ours, &theirs, &why) {
            (Judged::Accepted(_), _, _) if ours == theirs => Some("taken by both"),
            (Judged::Accepted(_), Judged::Refused, Some(why)) => name(&bytes, why),
            (Judged::Accepted(_), ..) => None,
            (_, Judged::Accepted(_), _) => Some("taken there only"),
            _ => Some("taken by neither"),
        };
        tally.add(known.unwrap_or_else(|| {
            let bytes = String::from_utf8_lossy(&bytes);
            panic!("seed {seed}, {bytes:?}: ours {ours:?}, theirs {theirs:?} {why:?}")
        }));
    }
    tally.print(what);
    assert!(tally.of("taken by both") > count(20_000) / 10);
}

fn head(lines: &[&[&str]], random: &mut StdRng) -> Vec<u8> {
    let mut head = Vec::new();
    for variants in lines {
        let nth = match random.random_range(0..5) {
            0 => random.random_range(0..variants.len()),
            _ => 0,
        };
        if !variants[nth].is_empty() {
            // Latin-1, as a header may be.
            head.extend(variants[nth].chars().map(|it| u32::from(it) as u8));
            head.extend(b"\r\n");
        }
    }
    head.extend(b"\r\n");
    if random.random_range(0..10) == 0 {
        head.extend(b"\x81\x80\0\0\0\0");
    }
    for _ in 0..[0, 0, 1, 2][random.random_range(0..4)] {
        bytes_of::edit(&mut head, random);
    }
    head
}

fn our_server(mut bytes: &[u8]) -> Judged {
    let upgrade = Upgrade::default();
    match RequestHead::new(&upgrade).receive(&mut bytes) {
        Ok(None) => Judged::Waiting,
        Err(_) => Judged::Refused,
        Ok(Some(request)) => match upgrade.accept(&request) {
            Ok((response, _)) => {
                Judged::Accepted(accept_value(&encode_accepted(&request, &response)))
            }
            Err(_) => Judged::Refused,
        },
    }
}

fn our_client(mut bytes: &[u8]) -> Judged {
    match ResponseHead::new(&Upgrade::default()).receive(&mut bytes) {
        Ok(None) => Judged::Waiting,
        Err(_) => Judged::Refused,
        Ok(Some(response)) => match offer().verify(&response) {
            Ok(_) => Judged::Accepted(String::new()),
            Err(_) => Judged::Refused,
        },
    }
}

fn offer() -> Offer {
    let offer = Upgrade::default().offer_with_nonce("ws://a/", *b"the sample nonce");
    offer.unwrap()
}

fn their_server(bytes: &[u8]) -> (Judged, Option<Error>) {
    let stream = Recording {
        input: Memory(bytes),
        written: Vec::new(),
    };
    match ServerHandshake::start(stream, NoCallback, None).handshake() {
        Ok(socket) => (
            Judged::Accepted(accept_value(&socket.get_ref().written)),
            None,
        ),
        Err(HandshakeError::Interrupted(_)) => (Judged::Waiting, None),
        Err(HandshakeError::Failure(error)) => (Judged::Refused, Some(error)),
    }
}

fn their_client(bytes: &[u8]) -> (Judged, Option<Error>) {
    let stream = Recording {
        input: Memory(bytes),
        written: Vec::new(),
    };
    let mut request = offer().request().clone();
    *request.uri_mut() = "ws://a/".parse().unwrap();
    assert_eq!(request.headers()["sec-websocket-key"], KEY);
    match ClientHandshake::start(stream, request, None)
        .unwrap()
        .handshake()
    {
        Ok(_) => (Judged::Accepted(String::new()), None),
        Err(HandshakeError::Interrupted(_)) => (Judged::Waiting, None),
        Err(HandshakeError::Failure(error)) => (Judged::Refused, Some(error)),
    }
}

/// Why this crate accepts a request that tungstenite refuses.
fn request_difference(bytes: &[u8], why: &Error) -> Option<&'static str> {
    let Error::Protocol(why) = why else {
        return None;
    };
    match why {
        TheirFault::MissingUpgradeWebSocketHeader if is_list(bytes, "upgrade") => {
            Some("RFC 9110 §7.8: Upgrade is a list")
        }
        TheirFault::MissingConnectionUpgradeHeader if is_list(bytes, "connection") => {
            Some("RFC 9110 §5.3 and §5.6.1: a list may have tabs, and stand in several lines")
        }
        TheirFault::InvalidSecWebSocketKey => {
            Some("§4.1: the key of the example, AQIDBAUGBwgJCgsMDQ4PEC==, has spare bits")
        }
        TheirFault::JunkAfterRequest => Some("frames may come right behind the request"),
        _ => None,
    }
}

/// Why this crate accepts a response that tungstenite refuses.
fn response_difference(bytes: &[u8], why: &Error) -> Option<&'static str> {
    match why {
        Error::Http(response) if response.status().is_informational() => {
            Some("RFC 9110 §15.2: interim responses may come before")
        }
        Error::Protocol(TheirFault::MissingConnectionUpgradeHeader)
            if is_list(bytes, "connection") =>
        {
            Some("§4.1: Connection includes the token, among others")
        }
        Error::HttpFormat(_) | Error::Protocol(TheirFault::HttparseError(_))
            if lines(bytes).any(|line| line.starts_with([' ', '\t'])) =>
        {
            Some("RFC 9112 §5.2: a user agent reads a folded line")
        }
        _ => None,
    }
}

/// Whether a header has more than one element.
fn is_list(bytes: &[u8], name: &str) -> bool {
    let values: Vec<_> = lines(bytes)
        .filter_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
        .collect();
    values.len() > 1 || values.iter().any(|value| value.contains(','))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.split("\r\n")
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// The accept value of a response.
fn accept_value(response: &[u8]) -> String {
    let value = lines(response).find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-accept")
            .then(|| value.to_owned())
    });
    value.expect("it is accepted")
}

struct Recording<'a> {
    input: Memory<'a>,
    written: Vec<u8>,
}

impl Read for Recording<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Recording<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_answer_to_the_example_is_that_of_the_rfc() {
    let request = REQUEST.map(|variants| variants[0]).join("\r\n") + "\r\n";
    let expected = Judged::Accepted(ACCEPT.into());
    assert_eq!(our_server(request.as_bytes()), expected);
    assert_eq!(their_server(request.as_bytes()).0, expected);
}
