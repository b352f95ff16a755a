//! Heads from bytes and to bytes (RFC 9112), and the limits on them.

use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, Response, StatusCode, Version};
use wsroom::handshake::{
    HandshakeError, RequestHead, ResponseHead, Upgrade, encode_accepted, encode_response,
    expects_continue,
};

use crate::{offer_of, request};

/// A2: ten interim responses are skipped, the eleventh is a fault at its status line.
#[test]
fn ten_interim_responses_are_skipped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let last = "HTTP/1.1 101 Switching Protocols\r\n\r\n\x01";
    let bytes = interim.repeat(10) + last;
    let mut head = ResponseHead::new(&Upgrade::default());
    let mut input = bytes.as_bytes();
    assert_eq!(head.receive(&mut input).unwrap().unwrap().status(), 101);
    assert_eq!(input, b"\x01");

    let bytes = interim.repeat(10) + "HTTP/1.1 103 X\r\n";
    let fault = ResponseHead::new(&Upgrade::default()).receive(&mut bytes.as_bytes());
    assert!(matches!(
        fault,
        Err(HandshakeError::TooManyInterimResponses)
    ));
}

/// A12, S24: the limits are those of the configuration, on either side.
#[test]
fn a_head_may_fill_its_limits_and_no_more() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
    let receive = |upgrade: Upgrade| {
        let mut input = &head[..];
        RequestHead::new(&upgrade)
            .receive(&mut input)
            .map(|request| request.is_some())
    };
    let size = Upgrade::default().max_head_size(head.len());
    assert!(receive(size.clone()).unwrap());
    let fault = receive(size.max_head_size(head.len() - 1)).unwrap_err();
    assert!(matches!(fault, HandshakeError::HeadTooLarge));
    assert_eq!(fault.status(), 431);

    assert!(receive(Upgrade::default().max_headers(2)).unwrap());
    let fault = receive(Upgrade::default().max_headers(1)).unwrap_err();
    assert!(matches!(fault, HandshakeError::TooManyHeaders));

    assert!(receive(Upgrade::default().max_line_size(14)).unwrap());
    let fault = receive(Upgrade::default().max_line_size(13)).unwrap_err();
    assert!(matches!(fault, HandshakeError::RequestLineTooLong));
    assert_eq!(fault.status(), 414);

    let head = b"HTTP/1.1 101\r\nA: a\r\nX: yz\r\n\r\n";
    let receive = |upgrade: Upgrade| {
        let mut input = &head[..];
        ResponseHead::new(&upgrade)
            .receive(&mut input)
            .map(|response| response.is_some())
    };
    let size = Upgrade::default().max_head_size(head.len());
    assert!(receive(size.clone()).unwrap());
    let fault = receive(size.max_head_size(head.len() - 1)).unwrap_err();
    assert!(matches!(fault, HandshakeError::HeadTooLarge));
    assert!(receive(Upgrade::default().max_headers(2)).unwrap());
    let fault = receive(Upgrade::default().max_headers(1)).unwrap_err();
    assert!(matches!(fault, HandshakeError::TooManyHeaders));
    assert!(receive(Upgrade::default().max_line_size(12)).unwrap());
    assert!(receive(Upgrade::default().max_line_size(11)).is_err());
}

/// S24: a line of a field is refused at the first byte that is too many.
#[test]
fn a_line_that_is_too_long_is_refused_at_its_first_excess_byte() {
    let start = "GET / HTTP/1.1\r\n";
    let bytes = start.to_owned() + "X: " + &"a".repeat(100);
    let mut input = bytes.as_bytes();
    let fault = RequestHead::new(&Upgrade::default().max_line_size(20)).receive(&mut input);
    assert!(matches!(fault, Err(HandshakeError::LineTooLong)));
    assert_eq!(bytes.len() - input.len(), start.len() + 20);
}

/// A12, S25.
#[test]
fn a_handshake_has_ten_seconds_by_default() {
    assert_eq!(Upgrade::default().time_limit(), Duration::from_secs(10));
    let upgrade = Upgrade::default().timeout(Duration::from_secs(3));
    assert_eq!(upgrade.time_limit(), Duration::from_secs(3));
    assert_eq!(HandshakeError::TimedOut.status(), 408);
}

/// S27, A2.
#[test]
fn a_client_that_expects_100_gets_it_before_the_101() {
    let mut request = request();
    assert!(!expects_continue(&request));
    request
        .headers_mut()
        .insert("expect", HeaderValue::from_static("100-Continue"));
    assert!(expects_continue(&request));
    let (response, _) = Upgrade::default().accept(&request).unwrap();
    let bytes = encode_accepted(&request, &response);
    assert!(
        bytes.starts_with(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n")
    );
    let mut head = ResponseHead::new(&Upgrade::default());
    assert_eq!(
        head.receive(&mut &bytes[..]).unwrap().unwrap().status(),
        101
    );
}

/// S28, A10: what follows the head is left where it is.
#[test]
fn bytes_after_a_head_stay_in_the_input() {
    let mut bytes = offer_of(["chat"]).encode().to_vec();
    bytes.extend(b"\x81\x85GET / HTTP/1.1\r\n\r\n");
    let mut input = &bytes[..];
    let request = RequestHead::new(&Upgrade::default())
        .receive(&mut input)
        .unwrap()
        .unwrap();
    assert_eq!(input, b"\x81\x85GET / HTTP/1.1\r\n\r\n");

    let (response, _) = Upgrade::default().accept(&request).unwrap();
    let mut bytes = encode_accepted(&request, &response).to_vec();
    bytes.extend(b"\x81\x05");
    let mut input = &bytes[..];
    ResponseHead::new(&Upgrade::default())
        .receive(&mut input)
        .unwrap()
        .unwrap();
    assert_eq!(input, b"\x81\x05");
}

/// S3, S6 to S8, S10, S11: A fault is there as soon as its byte is, and asking again gives it
/// again.
#[test]
fn a_fault_is_reported_at_its_byte() {
    for (bytes, at) in [
        ("\x16\x03\x01", 0),
        ("GE(", 2),
        ("GET  ", 4),
        ("GET /a#", 6),
        ("GET /a\"", 6),
        ("GET /\u{e9}", 5),
        ("GET / HTTQ", 9),
        ("GET / HTTP/1.1x", 14),
        ("GET / HTTP/1.1\n", 14),
        ("GET / HTTP/2.0\r\n", 15),
        ("GET / HTTP/1.1\r\n X", 16),
        ("GET / HTTP/1.1\r\n:", 16),
        ("GET / HTTP/1.1\r\nX :", 17),
        ("GET / HTTP/1.1\r\nX\r", 17),
        ("GET / HTTP/1.1\r\nX: \0", 19),
        ("GET / HTTP/1.1\r\nX: a\rb", 21),
    ] {
        let mut head = RequestHead::new(&Upgrade::default());
        let mut input = bytes.as_bytes();
        let fault = head.receive(&mut input).unwrap_err();
        assert_eq!(bytes.len() - input.len(), at, "{bytes:?}");
        let again = head.receive(&mut input).unwrap_err();
        assert_eq!(fault.to_string(), again.to_string(), "{bytes:?}");
    }
}

#[test]
fn tls_on_a_plain_port_has_an_error_of_its_own() {
    let hello = b"\x16\x03\x01\x02\x00\x01";
    let fault = RequestHead::new(&Upgrade::default()).receive(&mut &hello[..]);
    assert!(matches!(fault, Err(HandshakeError::Tls)));
    let alert = b"\x15\x03\x01\x00\x02\x02\x46";
    let fault = ResponseHead::new(&Upgrade::default()).receive(&mut &alert[..]);
    assert!(matches!(fault, Err(HandshakeError::Tls)));
    let greeting = b"220 mx.example ESMTP\r\n";
    let fault = ResponseHead::new(&Upgrade::default()).receive(&mut &greeting[..]);
    assert!(matches!(fault, Err(HandshakeError::NotHttp)));
}

/// RFC 9112 §5.2: a folded line of a response is read as spaces.
#[test]
fn a_folded_line_of_a_response_is_joined() {
    let bytes = b"HTTP/1.1 200 OK\r\nX: a\r\n  b\r\n\tc\r\nY: d\r\n\r\n";
    let mut head = ResponseHead::new(&Upgrade::default());
    let response = head.receive(&mut &bytes[..]).unwrap().unwrap();
    let value: Vec<_> = response.headers()["x"]
        .to_str()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(value, ["a", "b", "c"]);
    assert_eq!(response.headers()["y"], "d");

    let first = b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n";
    let fault = ResponseHead::new(&Upgrade::default()).receive(&mut &first[..]);
    assert!(matches!(fault, Err(HandshakeError::FoldedLine)));
}

#[test]
fn a_reader_knows_whether_anything_came() {
    let mut head = RequestHead::new(&Upgrade::default());
    assert!(head.is_empty());
    assert!(head.receive(&mut &b"G"[..]).unwrap().is_none());
    assert!(!head.is_empty());
}

/// Plain routes are served from the same bytes: the reader lets other requests through.
#[test]
fn a_request_that_is_no_handshake_is_read_as_well() {
    let bytes = b"\r\nPOST /rooms/a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi";
    let mut input = &bytes[..];
    let request = RequestHead::new(&Upgrade::default())
        .receive(&mut input)
        .unwrap()
        .unwrap();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.version(), Version::HTTP_10);
    assert_eq!(request.headers()["content-length"], "2");
    assert_eq!(input, b"hi");
}

/// W1, S29: a 101 has no content, whatever its headers say.
#[test]
fn the_framing_of_a_response_is_not_the_applications() {
    let mut response = Response::new("no");
    *response.status_mut() = StatusCode::FORBIDDEN;
    let headers = response.headers_mut();
    headers.insert("content-length", HeaderValue::from_static("700"));
    headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    headers.insert("www-authenticate", HeaderValue::from_static("Basic"));
    assert_eq!(
        str::from_utf8(&encode_response(&response)).unwrap(),
        "HTTP/1.1 403 Forbidden\r\nWww-Authenticate: Basic\r\nConnection: close\r\n\
         Content-Length: 2\r\n\r\nno"
    );
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().remove("www-authenticate");
    assert_eq!(
        str::from_utf8(&encode_response(&response)).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\n\r\n"
    );
}

/// W4: a short text with its length, and nothing of the request in it.
#[test]
fn a_refusal_has_a_text_with_its_length() {
    let mut request = request();
    let version = HeaderValue::from_static("secret");
    request
        .headers_mut()
        .insert("sec-websocket-version", version);
    let fault = Upgrade::default().accept(&request).unwrap_err();
    assert_eq!(
        str::from_utf8(&encode_response(&fault.response())).unwrap(),
        "HTTP/1.1 400 Bad Request\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Connection: close\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Content-Length: 52\r\n\
         \r\n\
         Sec-WebSocket-Version is not a number from 0 to 255\n"
    );
}
