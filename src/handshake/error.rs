//! Why an opening handshake failed, and how a server answers each reason.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};

/// Why an opening handshake failed, on either side (§4).
///
/// A server answers with [`response`](Self::response) and closes the connection. A client writes
/// nothing more and closes it: there is no Close frame, because the WebSocket never opened.
///
/// The text of an error never contains what the peer sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    // Faults in the bytes of a head, met by both sides.
    /// The peer speaks TLS on a connection without it.
    Tls,
    /// The first bytes belong to a protocol other than HTTP/1.
    NotHttp,
    /// The request line or the status line does not follow the grammar (RFC 9112 §3, §4).
    StartLine,
    /// The HTTP version is another than 1.1 (§4.1, §4.2.1).
    HttpVersion,
    /// A line ends with something other than CR LF (RFC 9112 §2.2).
    LineEnd,
    /// The name of a header field is empty or not a token, or its line has no colon (RFC 9110
    /// §5.1).
    FieldName,
    /// There is white space in front of a colon (RFC 9112 §5.1).
    SpaceBeforeColon,
    /// The value of a header field has a control character in it (RFC 9110 §5.5).
    FieldValue,
    /// A line begins with white space where none may continue another (RFC 9112 §2.2, §5.2).
    FoldedLine,
    /// The request line is longer than
    /// [`max_line_size`](crate::handshake::Upgrade::max_line_size).
    RequestLineTooLong,
    /// A line is longer than [`max_line_size`](crate::handshake::Upgrade::max_line_size).
    LineTooLong,
    /// The head is longer than [`max_head_size`](crate::handshake::Upgrade::max_head_size).
    HeadTooLarge,
    /// The head has more lines than [`max_headers`](crate::handshake::Upgrade::max_headers).
    TooManyHeaders,
    /// The stream ended before the head did.
    Truncated,
    /// The handshake did not finish within [`timeout`](crate::handshake::Upgrade::timeout).
    TimedOut,

    // Faults in a request, met by a server.
    /// The method is another than GET (§4.2.1).
    Method,
    /// The request target is neither a path nor an absolute http or https URI (RFC 9112 §3.2).
    Target,
    /// There is no Host (§4.2.1).
    MissingHost,
    /// Host is given more than once (RFC 9112 §3.2).
    RepeatedHost,
    /// Host is not a host with an optional port (RFC 9110 §7.2).
    HostSyntax,
    /// The request announces content (RFC 9112 §6.3), which nothing may follow as frames.
    RequestBody,
    /// Upgrade is not a list of protocols (RFC 9110 §7.8).
    UpgradeSyntax,
    /// Connection is not a list of tokens (RFC 9110 §7.6.1).
    ConnectionSyntax,
    /// Upgrade does not list `websocket` (§4.2.1).
    MissingUpgrade,
    /// Connection does not list `Upgrade` (§4.2.1).
    MissingConnection,
    /// There is no Sec-WebSocket-Version (§4.2.1).
    MissingVersion,
    /// Sec-WebSocket-Version is given more than once (§11.3.5).
    RepeatedVersion,
    /// Sec-WebSocket-Version is not a number from 0 to 255 (§4.3).
    VersionSyntax,
    /// Sec-WebSocket-Version is another than 13 (§4.4).
    UnsupportedVersion,
    /// There is no Sec-WebSocket-Key (§4.2.1).
    MissingKey,
    /// Sec-WebSocket-Key is given more than once (§11.3.1).
    RepeatedKey,
    /// Sec-WebSocket-Key is not the base64 form of 16 bytes (§4.2.1).
    KeySyntax,
    /// Origin is given more than once (RFC 6454 §7.3).
    RepeatedOrigin,
    /// The origin is not allowed to connect (§10.2).
    OriginNotAllowed,
    /// Sec-WebSocket-Protocol is not a list of tokens (§4.3).
    ProtocolSyntax,
    /// A subprotocol is offered twice (§4.1).
    RepeatedProtocol,
    /// More than 64 subprotocols are offered.
    TooManyProtocols,
    /// The request is a good one, but the HTTP server that read it cannot hand its connection over.
    NotUpgradable,

    // Faults in a list of extensions, met by both sides.
    /// Sec-WebSocket-Extensions does not follow the grammar (§9.1).
    ExtensionSyntax,
    /// More than 32 extensions are listed.
    TooManyExtensions,

    // Faults in a response, met by a client.
    /// The server answered with another status than 101; this is its response, with as much of the
    /// content as was read (§4.1).
    Refused(Box<Response<Bytes>>),
    /// More than 10 interim responses came before the final one (RFC 9110 §15.2).
    TooManyInterimResponses,
    /// Upgrade in the response is not exactly `websocket` (§4.1).
    WrongUpgrade,
    /// Connection in the response does not list `Upgrade` (§4.1).
    WrongConnection,
    /// Sec-WebSocket-Accept is absent, repeated, or not the answer to our key (§4.1).
    WrongAccept,
    /// The server chose an extension that was not offered, or one twice (§4.1).
    WrongExtension,
    /// The server answered permessage-deflate with parameters that fit none of the offers, or with
    /// a window for the client that cannot be compressed with (RFC 7692 §7.1).
    WrongDeflate,
    /// The server chose a subprotocol that was not offered, or more than one (§4.1).
    WrongProtocol,

    // What the application asked for cannot be done; nothing was written.
    /// The URL has a character in it that must be escaped, or does not have the form of one (§3).
    UrlSyntax,
    /// The scheme of the URL is another than ws and wss (§3).
    UrlScheme,
    /// The URL has a fragment (§3).
    UrlFragment,
    /// The URL has user information in front of the host (§3).
    UrlUserinfo,
    /// The URL has no host, or not a valid one (§3).
    UrlHost,
    /// The port of the URL is not a number from 1 to 65535 (§3).
    UrlPort,
    /// An additional header has a name that is not a token.
    HeaderName,
    /// An additional header has a line break or a control character in its value.
    HeaderValue,
    /// An additional header is one that the handshake itself sets.
    ReservedHeader,
    /// A subprotocol to be offered or accepted is not a token, or named twice (§4.1).
    ProtocolName,
    /// The bits of a window for compression are not 9 to 15 (RFC 7692 §7.1.2).
    WindowBits,
}

impl HandshakeError {
    /// The status that a server answers with.
    ///
    /// It is 500 for what its own application got wrong. For faults that only a client meets it is
    /// 502, what a gateway would tell the one it asks for.
    pub fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// The response that a server refuses the request with: a line of text that quotes nothing of
    /// the request, `Connection: close`, and the headers that the status calls for.
    pub fn response(&self) -> Response<String> {
        let (status, extra) = self.answer();
        let mut response = Response::new(format!("{self}\n"));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, text("text/plain; charset=utf-8"));
        headers.insert(CONNECTION, text("close"));
        match extra {
            Extra::None => {}
            Extra::Allow => {
                headers.insert(ALLOW, text("GET"));
            }
            Extra::Version => {
                headers.insert(SEC_WEBSOCKET_VERSION, text("13"));
            }
            // RFC 9110 §15.5.22: 426 says what to upgrade to; §7.8: Upgrade needs Connection.
            Extra::Upgrade => {
                headers.insert(UPGRADE, text("websocket"));
                headers.insert(CONNECTION, text("Upgrade, close"));
                headers.insert(SEC_WEBSOCKET_VERSION, text("13"));
            }
        }
        response
    }

    /// How each fault is answered.
    fn answer(&self) -> (StatusCode, Extra) {
        match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, Extra::Allow),
            Self::HttpVersion => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, Extra::None),
            Self::RequestLineTooLong => (StatusCode::URI_TOO_LONG, Extra::None),
            Self::LineTooLong | Self::HeadTooLarge | Self::TooManyHeaders => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Extra::None)
            }
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, Extra::None),
            Self::OriginNotAllowed => (StatusCode::FORBIDDEN, Extra::None),
            Self::MissingUpgrade | Self::MissingConnection | Self::UnsupportedVersion => {
                (StatusCode::UPGRADE_REQUIRED, Extra::Upgrade)
            }
            Self::MissingVersion | Self::RepeatedVersion | Self::VersionSyntax => {
                (StatusCode::BAD_REQUEST, Extra::Version)
            }
            Self::Tls
            | Self::NotHttp
            | Self::StartLine
            | Self::LineEnd
            | Self::FieldName
            | Self::SpaceBeforeColon
            | Self::FieldValue
            | Self::FoldedLine
            | Self::Truncated
            | Self::Target
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::HostSyntax
            | Self::RequestBody
            | Self::UpgradeSyntax
            | Self::ConnectionSyntax
            | Self::MissingKey
            | Self::RepeatedKey
            | Self::KeySyntax
            | Self::RepeatedOrigin
            | Self::ProtocolSyntax
            | Self::RepeatedProtocol
            | Self::TooManyProtocols
            | Self::ExtensionSyntax
            | Self::TooManyExtensions => (StatusCode::BAD_REQUEST, Extra::None),
            Self::Refused(_)
            | Self::TooManyInterimResponses
            | Self::WrongUpgrade
            | Self::WrongConnection
            | Self::WrongAccept
            | Self::WrongExtension
            | Self::WrongDeflate
            | Self::WrongProtocol => (StatusCode::BAD_GATEWAY, Extra::None),
            Self::UrlSyntax
            | Self::UrlScheme
            | Self::UrlFragment
            | Self::UrlUserinfo
            | Self::UrlHost
            | Self::UrlPort
            | Self::NotUpgradable
            | Self::HeaderName
            | Self::HeaderValue
            | Self::ReservedHeader
            | Self::ProtocolName
            | Self::WindowBits => (StatusCode::INTERNAL_SERVER_ERROR, Extra::None),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "peer speaks TLS on a plain connection",
            Self::NotHttp => "peer does not speak HTTP/1",
            Self::StartLine => "start line does not follow the grammar of HTTP/1.1",
            Self::HttpVersion => "HTTP version is not 1.1",
            Self::LineEnd => "line does not end with CR LF",
            Self::FieldName => "name of a header is not a token",
            Self::SpaceBeforeColon => "white space in front of the colon of a header",
            Self::FieldValue => "control character in the value of a header",
            Self::FoldedLine => "line begins with white space",
            Self::RequestLineTooLong => "request line is too long",
            Self::LineTooLong => "line of the head is too long",
            Self::HeadTooLarge => "head is too large",
            Self::TooManyHeaders => "head has too many lines",
            Self::Truncated => "stream ended inside the head",
            Self::TimedOut => "handshake took too long",
            Self::Method => "method is not GET",
            Self::Target => "request target is not a path or an http URI",
            Self::MissingHost => "Host is missing",
            Self::RepeatedHost => "Host is repeated",
            Self::HostSyntax => "Host is not a host with an optional port",
            Self::RequestBody => "request to upgrade has content",
            Self::UpgradeSyntax => "Upgrade is not a list of protocols",
            Self::ConnectionSyntax => "Connection is not a list of tokens",
            Self::MissingUpgrade => "request does not ask for an upgrade to websocket",
            Self::MissingConnection => "Connection does not list Upgrade",
            Self::MissingVersion => "Sec-WebSocket-Version is missing",
            Self::RepeatedVersion => "Sec-WebSocket-Version is repeated",
            Self::VersionSyntax => "Sec-WebSocket-Version is not a number from 0 to 255",
            Self::UnsupportedVersion => "version of the WebSocket protocol is not 13",
            Self::MissingKey => "Sec-WebSocket-Key is missing",
            Self::RepeatedKey => "Sec-WebSocket-Key is repeated",
            Self::KeySyntax => "Sec-WebSocket-Key is not 16 bytes in base64",
            Self::RepeatedOrigin => "Origin is repeated",
            Self::OriginNotAllowed => "origin is not allowed",
            Self::ProtocolSyntax => "Sec-WebSocket-Protocol is not a list of tokens",
            Self::RepeatedProtocol => "subprotocol is offered twice",
            Self::TooManyProtocols => "too many subprotocols",
            Self::NotUpgradable => "HTTP server cannot hand the connection over",
            Self::ExtensionSyntax => "Sec-WebSocket-Extensions does not follow the grammar",
            Self::TooManyExtensions => "too many extensions",
            Self::Refused(response) => {
                let status = response.status();
                return write!(
                    f,
                    "server refused the handshake with status {}",
                    status.as_u16()
                );
            }
            Self::TooManyInterimResponses => "too many interim responses",
            Self::WrongUpgrade => "Upgrade in the response is not websocket",
            Self::WrongConnection => "Connection in the response does not list Upgrade",
            Self::WrongAccept => "Sec-WebSocket-Accept does not answer the key",
            Self::WrongExtension => "server chose an extension that was not offered",
            Self::WrongDeflate => "server chose parameters of compression that were not offered",
            Self::WrongProtocol => "server chose a subprotocol that was not offered",
            Self::UrlSyntax => "URL is malformed",
            Self::UrlScheme => "scheme of the URL is not ws or wss",
            Self::UrlFragment => "URL has a fragment",
            Self::UrlUserinfo => "URL has user information",
            Self::UrlHost => "URL has no valid host",
            Self::UrlPort => "port of the URL is not between 1 and 65535",
            Self::HeaderName => "name of an additional header is not a token",
            Self::HeaderValue => "control character in the value of an additional header",
            Self::ReservedHeader => "additional header is one that the handshake sets",
            Self::ProtocolName => "subprotocol to be spoken is not a token or is repeated",
            Self::WindowBits => "bits of a window for compression are not 9 to 15",
        })
    }
}

impl std::error::Error for HandshakeError {}

/// The headers that a status calls for, besides those that every refusal has.
enum Extra {
    None,
    Allow,
    Version,
    Upgrade,
}

fn text(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W3: 426 carries Upgrade, 405 carries Allow.
    #[test]
    fn a_refusal_has_the_headers_its_status_calls_for() {
        let response = HandshakeError::UnsupportedVersion.response();
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()[UPGRADE], "websocket");
        assert_eq!(response.headers()[CONNECTION], "Upgrade, close");
        assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");

        let response = HandshakeError::Method.response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET");
        assert_eq!(response.headers()[CONNECTION], "close");

        let response = HandshakeError::VersionSyntax.response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");
        assert!(!response.headers().contains_key(UPGRADE));
    }

    #[test]
    fn a_refused_handshake_is_shown_by_its_status_only() {
        let mut response = Response::new(Bytes::from_static(b"\x1b[2Jsecret"));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let error = HandshakeError::Refused(Box::new(response));
        assert_eq!(
            error.to_string(),
            "server refused the handshake with status 401"
        );
    }

    #[test]
    fn the_error_can_be_sent_and_boxed() {
        fn takes(_: impl std::error::Error + Send + Sync + 'static) {}
        takes(HandshakeError::Method);
    }
}
