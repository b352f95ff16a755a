//! The client's part: makes a request for a URL, and judges the answer (§3, §4.1).

use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};

use crate::agreed::Agreed;
use crate::deflate::{Deflate, DeflateParams, PERMESSAGE_DEFLATE};
use crate::handshake::headers::{Authority, BadAuthority, elements, extension_offers, single};
use crate::handshake::{HandshakeError, Upgrade, http1, key};
use crate::random;

impl Upgrade {
    /// The request that asks for the WebSocket at `url`, with a fresh key (§4.1).
    ///
    /// Make a new offer for every attempt: a key is never used twice.
    ///
    /// # Errors
    ///
    /// A URL with another scheme than `ws` or `wss`, without a host, with a port out of range,
    /// with a fragment, or with a character that must be escaped. User information is an error
    /// too: it would not be sent anywhere; set the header `Authorization` instead. What an
    /// application got wrong in `self` (a header it may not set, a subprotocol that is no token)
    /// is reported here as well.
    ///
    /// # Examples
    ///
    /// ```
    /// use wsroom::Upgrade;
    ///
    /// let offer = Upgrade::default().protocols(["chat"]).offer("ws://server.example.com/chat")?;
    /// assert_eq!((offer.host(), offer.port()), ("server.example.com", 80));
    /// assert!(offer.encode().starts_with(b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\n"));
    /// # Ok::<(), wsroom::HandshakeError>(())
    /// ```
    pub fn offer(&self, url: &str) -> Result<Offer, HandshakeError> {
        // §4.1, item 7; §10.3: from a cryptographically strong source.
        let mut nonce = [0; 16];
        random::fill(&mut nonce);
        self.offer_with_nonce(url, nonce)
    }

    /// [`offer`](Self::offer) with a nonce that the caller chose, for tests that compare bytes.
    ///
    /// # Errors
    ///
    /// Those of [`offer`](Self::offer).
    pub fn offer_with_nonce(&self, url: &str, nonce: [u8; 16]) -> Result<Offer, HandshakeError> {
        self.check()?;
        let address = Address::parse(url)?;
        let key = key::encode(nonce);

        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(address.target);
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(HOST, own_value(&address.host_header)?);
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_KEY, own_value(&key)?);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if !self.settings.protocols.is_empty() {
            let list = own_value(&self.settings.protocols.join(", "))?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, list);
        }
        if let Some(deflate) = &self.settings.deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, own_value(&deflate.offers())?);
        }
        if let Some(origin) = &self.settings.origin {
            headers.insert(ORIGIN, origin.clone());
        }
        headers.extend(self.settings.headers.clone());

        Ok(Offer {
            request,
            accept: key::accept(key.as_bytes()),
            protocols: self.settings.protocols.clone(),
            deflate: self.settings.deflate.clone(),
            secure: address.secure,
            host: address.host,
            port: address.port,
        })
    }
}

/// The request of one attempt to connect, and what is needed to judge the answer to it (§4.1).
///
/// [`Upgrade::offer`] makes it.
#[derive(Clone, Debug)]
pub struct Offer {
    request: Request<()>,
    /// The one right value of Sec-WebSocket-Accept.
    accept: String,
    protocols: Vec<String>,
    deflate: Option<Deflate>,
    secure: bool,
    host: String,
    port: u16,
}

impl Offer {
    /// The request, for an HTTP library that sends it. Its URI is the path and query; the host is
    /// in the header.
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// The bytes of the request in HTTP/1.1. Host comes first.
    ///
    /// Nothing else may be sent before the answer has been [verified](Self::verify).
    pub fn encode(&self) -> Bytes {
        let mut output = BytesMut::with_capacity(512);
        http1::put_request(&mut output, &self.request);
        output.freeze()
    }

    /// The host to connect to: a name or an address, an IPv6 one without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to: that of the URL, else 80 for `ws` and 443 for `wss`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is `wss`, so that the connection must be TLS (§3).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Judges the answer (§4.1): whether the WebSocket is open, and what was agreed on.
    ///
    /// # Errors
    ///
    /// A status other than 101 is [`Refused`](HandshakeError::Refused), with the status and the
    /// headers of the response; a [`Refusal`](crate::handshake::Refusal) adds the content. Other
    /// errors say which rule the 101 breaks. Write nothing more and close the connection.
    pub fn verify<B>(&self, response: &Response<B>) -> Result<Agreed, HandshakeError> {
        let headers = response.headers();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut refused = Response::new(Bytes::new());
            *refused.status_mut() = response.status();
            *refused.version_mut() = response.version();
            *refused.headers_mut() = headers.clone();
            return Err(HandshakeError::Refused(Box::new(refused)));
        }
        if response.version() != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        // §4.1, item 2 of the checks: the whole value, once.
        if !matches!(single(headers, &UPGRADE), Ok(Some(v)) if v.eq_ignore_ascii_case(b"websocket"))
        {
            return Err(HandshakeError::WrongUpgrade);
        }
        // Item 3: one token of a list.
        if !elements(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade")) {
            return Err(HandshakeError::WrongConnection);
        }
        // Item 4.
        if single(headers, &SEC_WEBSOCKET_ACCEPT) != Ok(Some(self.accept.as_bytes())) {
            return Err(HandshakeError::WrongAccept);
        }
        let mut agreed = Agreed::default();
        if let Some(params) = self.chosen_deflate(headers)? {
            agreed.deflate = Some(params);
        }
        if let Some(protocol) = self.chosen_protocol(headers)? {
            agreed = agreed.with_protocol(protocol);
        }
        Ok(agreed)
    }

    /// Item 5 of the checks of §4.1: no extension, or the one that was offered, once.
    fn chosen_deflate(&self, headers: &HeaderMap) -> Result<Option<DeflateParams>, HandshakeError> {
        let chosen = extension_offers(headers)?;
        match (&chosen[..], &self.deflate) {
            ([], _) => Ok(None),
            ([chosen], Some(deflate)) if chosen.name() == PERMESSAGE_DEFLATE => {
                match deflate.verify(chosen.params()) {
                    Some(params) => Ok(Some(params)),
                    None => Err(HandshakeError::WrongDeflate),
                }
            }
            _ => Err(HandshakeError::WrongExtension),
        }
    }

    /// Item 6 of the checks of §4.1: none, or exactly one of those offered.
    fn chosen_protocol(&self, headers: &HeaderMap) -> Result<Option<&str>, HandshakeError> {
        let chosen = single(headers, &SEC_WEBSOCKET_PROTOCOL);
        let Some(chosen) = chosen.map_err(|_| HandshakeError::WrongProtocol)? else {
            return Ok(None);
        };
        let mut offered = self.protocols.iter().map(String::as_str);
        match offered.find(|name| name.as_bytes() == chosen) {
            Some(name) => Ok(Some(name)),
            None => Err(HandshakeError::WrongProtocol),
        }
    }
}

/// The parts of a WebSocket URL (§3).
struct Address {
    secure: bool,
    host: String,
    port: u16,
    /// The host, and the port where it is not the default one (§4.1, item 4).
    host_header: String,
    target: PathAndQuery,
}

impl Address {
    fn parse(url: &str) -> Result<Self, HandshakeError> {
        // RFC 3986 §2: everything else is escaped in a URI. `http::Uri` lets some of it pass.
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HandshakeError::UrlSyntax);
        }
        let (scheme, rest) = url.split_once("://").ok_or(HandshakeError::UrlSyntax)?;
        let (secure, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "ws" => (false, 80),
            "wss" => (true, 443),
            _ => return Err(HandshakeError::UrlScheme),
        };
        if rest.contains('#') {
            return Err(HandshakeError::UrlFragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(HandshakeError::UrlUserinfo);
        }
        let authority = Authority::parse(authority).map_err(|fault| match fault {
            BadAuthority::Host => HandshakeError::UrlHost,
            BadAuthority::Port => HandshakeError::UrlPort,
        })?;
        let port = authority.port.unwrap_or(default_port);
        if port == 0 {
            return Err(HandshakeError::UrlPort);
        }
        // RFC 3986 §6.2.2.1: a host is the same in any case, and lower case is the usual one.
        let host = authority.host.to_ascii_lowercase();
        let host_header = if port == default_port {
            host.clone()
        } else {
            format!("{host}:{port}")
        };
        // §3: an empty path is "/".
        let target = match target.strip_prefix('?') {
            Some(query) => format!("/?{query}").parse(),
            None if target.is_empty() => "/".parse(),
            None => target.parse(),
        };
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            host_header,
            target: target.map_err(|_| HandshakeError::UrlSyntax)?,
        })
    }
}

/// A value of our own making: a host, tokens or base64.
fn own_value(value: &str) -> Result<HeaderValue, HandshakeError> {
    HeaderValue::from_str(value).map_err(|_| HandshakeError::HeaderValue)
}
