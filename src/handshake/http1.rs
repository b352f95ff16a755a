//! Heads from bytes and to bytes, as HTTP/1.1 has them (RFC 9112).
//!
//! A reader takes bytes as they come, finds each fault as soon as it is there, and holds at most
//! one head. Bytes after the head stay with the caller: they are the first frames.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::handshake::headers::{Fields, elements};
use crate::handshake::scan::{Head, Kind, Scanner};
use crate::handshake::{HandshakeError, Upgrade};

/// Reads the head of a request from bytes, for a server (RFC 9112 §3).
///
/// # Examples
///
/// ```
/// use wsroom::handshake::{RequestHead, Upgrade};
///
/// let mut head = RequestHead::new(&Upgrade::default());
/// let mut input = &b"GET /chat HTTP/1.1\r\nHost: a.exam"[..];
/// assert!(head.receive(&mut input)?.is_none());
/// let mut input = &b"ple\r\n\r\n\x81\x80"[..];
/// let request = head.receive(&mut input)?.expect("the head is complete");
/// assert_eq!(request.uri(), "/chat");
/// assert_eq!(request.headers()["host"], "a.example");
/// assert_eq!(input, b"\x81\x80");
/// # Ok::<(), wsroom::HandshakeError>(())
/// ```
#[derive(Debug)]
pub struct RequestHead {
    scanner: Scanner,
}

impl RequestHead {
    /// A reader with the limits of `upgrade`.
    pub fn new(upgrade: &Upgrade) -> Self {
        Self {
            scanner: Scanner::new(Kind::Request, upgrade.settings.limits),
        }
    }

    /// Takes bytes off the front of `input` and gives the request once its head is complete.
    ///
    /// `None` means that `input` is used up and the head is not over. Bytes after the head stay in
    /// `input`. Any method and HTTP/1.0 are let through: what the request asks for is judged by
    /// [`Upgrade::accept`], or by the application, which may have plain routes too.
    ///
    /// # Errors
    ///
    /// The first byte that no valid head within the limits can have there is a fault; it and the
    /// bytes behind it stay in `input`. Answer with [`HandshakeError::response`] and close.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Request<()>>, HandshakeError> {
        match self.receive_head(input)? {
            Some(head) => head.request().map(Some),
            None => Ok(None),
        }
    }

    /// As [`receive`](Self::receive), without taking the head apart.
    pub(crate) fn receive_head(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Head>, HandshakeError> {
        self.scanner.receive(input)
    }

    /// Whether no byte has come yet: a peer that leaves now has asked for nothing.
    pub fn is_empty(&self) -> bool {
        self.scanner.is_empty()
    }
}

/// Reads the head of the response from bytes, for a client (RFC 9112 §4).
#[derive(Debug)]
pub struct ResponseHead {
    scanner: Scanner,
}

impl ResponseHead {
    /// A reader with the limits of `upgrade`.
    pub fn new(upgrade: &Upgrade) -> Self {
        Self {
            scanner: Scanner::new(Kind::Response, upgrade.settings.limits),
        }
    }

    /// Takes bytes off the front of `input` and gives the final response once its head is
    /// complete.
    ///
    /// `None` means that `input` is used up and the head is not over. Bytes after the head stay in
    /// `input`. Interim responses (1xx other than 101) are skipped, ten at most; each is measured
    /// against the limits on its own.
    ///
    /// # Errors
    ///
    /// The first byte that no valid head within the limits can have there is a fault; it and the
    /// bytes behind it stay in `input`. Close the connection.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Response<()>>, HandshakeError> {
        match self.scanner.receive(input)? {
            Some(head) => parse_response(&head).map(Some),
            None => Ok(None),
        }
    }

    /// Whether no byte has come yet.
    pub fn is_empty(&self) -> bool {
        self.scanner.is_empty()
    }
}

/// Takes the head of a request apart. The fields are given as the body, where they lie.
pub(super) fn with_request<T>(
    head: &Head,
    take: impl FnOnce(Request<&[httparse::Header<'_>]>) -> Result<T, HandshakeError>,
) -> Result<T, HandshakeError> {
    let mut fields = vec![httparse::EMPTY_HEADER; head.fields];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(&head.bytes).map_err(unlike_scanner)?;
    let (Some(method), Some(target), true) = (parsed.method, parsed.path, status.is_complete())
    else {
        return Err(HandshakeError::StartLine);
    };
    let mut request = Request::new(&*parsed.headers);
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| HandshakeError::StartLine)?;
    *request.uri_mut() = target.parse().map_err(|_| HandshakeError::Target)?;
    *request.version_mut() = version(parsed.version);
    take(request)
}

impl Head {
    /// The request that this is the head of.
    pub(crate) fn request(&self) -> Result<Request<()>, HandshakeError> {
        with_request(self, |request| {
            let (mut parts, fields) = request.into_parts();
            parts.headers = header_map(fields)?;
            Ok(Request::from_parts(parts, ()))
        })
    }
}

fn parse_response(head: &Head) -> Result<Response<()>, HandshakeError> {
    let mut fields = vec![httparse::EMPTY_HEADER; head.fields];
    let mut parsed = httparse::Response::new(&mut fields);
    let status = parsed.parse(&head.bytes).map_err(unlike_scanner)?;
    let (Some(code), true) = (parsed.code, status.is_complete()) else {
        return Err(HandshakeError::StartLine);
    };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).map_err(|_| HandshakeError::StartLine)?;
    *response.version_mut() = version(parsed.version);
    *response.headers_mut() = header_map(parsed.headers)?;
    Ok(response)
}

/// The scanner lets nothing through that httparse refuses. If they ever differ, the stricter wins.
fn unlike_scanner(_: httparse::Error) -> HandshakeError {
    HandshakeError::StartLine
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

fn header_map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HandshakeError> {
    let headers = HeaderMap::try_with_capacity(fields.len());
    let mut headers = headers.map_err(|_| HandshakeError::TooManyHeaders)?;
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| HandshakeError::FieldName)?;
        let value = HeaderValue::from_bytes(field.value);
        let value = value.map_err(|_| HandshakeError::FieldValue)?;
        let appended = headers.try_append(name, value);
        appended.map_err(|_| HandshakeError::TooManyHeaders)?;
    }
    Ok(headers)
}

/// Whether the client waits for a 100 before it goes on (RFC 9110 §10.1.1).
pub fn expects_continue<B>(request: &Request<B>) -> bool {
    request.version() >= Version::HTTP_11 && names_continue(request.headers())
}

pub(super) fn names_continue<F: Fields + ?Sized>(fields: &F) -> bool {
    elements(fields, &EXPECT).any(|element| element.eq_ignore_ascii_case(b"100-continue"))
}

/// The bytes of the 101 that [`Upgrade::accept`] gave for `request`.
///
/// A client that [expects](expects_continue) it gets a 100 first (RFC 9110 §7.8).
pub fn encode_accepted<A, B>(request: &Request<A>, response: &Response<B>) -> Bytes {
    let mut output = BytesMut::with_capacity(256);
    if expects_continue(request) {
        output.put_slice(CONTINUE);
    }
    put_response(&mut output, response.status(), response.headers(), b"");
    output.freeze()
}

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The bytes of a response of a server, in HTTP/1.1.
///
/// The framing is this function's: Content-Length is that of the body, Transfer-Encoding is left
/// out, and a response other than a 1xx has `Connection: close`, because nothing after it is
/// answered (RFC 9112 §9.6). A 1xx, 204 or 304 is written without its body.
pub fn encode_response<B: AsRef<[u8]>>(response: &Response<B>) -> Bytes {
    let body = response.body().as_ref();
    let mut output = BytesMut::with_capacity(256 + body.len());
    put_response(&mut output, response.status(), response.headers(), body);
    output.freeze()
}

fn put_response(output: &mut BytesMut, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    output.put_slice(b"HTTP/1.1 ");
    output.put_slice(status.as_str().as_bytes());
    output.put_slice(b" ");
    output.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.put_slice(b"\r\n");
    for (name, value) in headers {
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            put_field(output, name, value);
        }
    }
    let closes = elements(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"close"));
    if !status.is_informational() && !closes {
        output.put_slice(b"Connection: close\r\n");
    }
    // RFC 9110 §8.6: Content-Length is not sent in these.
    let has_body = !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED;
    if has_body {
        output.put_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        output.put_slice(body);
    } else {
        output.put_slice(b"\r\n");
    }
}

/// The bytes of a request without a body. Host comes first (RFC 9110 §7.2).
pub(super) fn put_request(output: &mut BytesMut, request: &Request<()>) {
    output.put_slice(request.method().as_str().as_bytes());
    output.put_slice(b" ");
    output.put_slice(request.uri().to_string().as_bytes());
    output.put_slice(b" HTTP/1.1\r\n");
    let (host, others): (Vec<_>, Vec<_>) =
        (request.headers().iter()).partition(|(n, _)| **n == HOST);
    for (name, value) in host.into_iter().chain(others) {
        put_field(output, name, value);
    }
    output.put_slice(b"\r\n");
}

/// One line of a head. A `HeaderName` is a token and a `HeaderValue` has no control characters in
/// it, so that no value can end its line.
pub(super) fn put_field(output: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    // Names are case-insensitive; they are written as RFCs write them for peers that forget it.
    for (number, part) in name.as_str().split('-').enumerate() {
        if number > 0 {
            output.put_u8(b'-');
        }
        match part.split_at_checked(1) {
            _ if part == "websocket" => output.put_slice(b"WebSocket"),
            Some((first, rest)) => {
                output.put_u8(first.as_bytes()[0].to_ascii_uppercase());
                output.put_slice(rest.as_bytes());
            }
            None => {}
        }
    }
    output.put_slice(b": ");
    output.put_slice(value.as_bytes());
    output.put_slice(b"\r\n");
}
