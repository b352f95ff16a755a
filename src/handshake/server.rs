//! The server's part: judges a request and answers it (§4.2).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use crate::agreed::Agreed;
use crate::deflate::{DeflateParams, PERMESSAGE_DEFLATE};
use crate::handshake::headers::{
    Authority, ExtensionOffer, Fields, elements, extensions_in, single, token,
};
use crate::handshake::{HandshakeError, Upgrade, key};

impl Upgrade {
    /// Judges a request and gives the 101 that answers it, with what was agreed on (§4.2).
    ///
    /// Nothing is written and nothing is decided for good: look at the request before, do what it
    /// takes to let somebody in, and send another response if that fails. For a request that
    /// [`RequestHead`](crate::handshake::RequestHead) read, write
    /// [`encode_accepted`](crate::handshake::encode_accepted) of both; an HTTP server library
    /// writes the response itself.
    ///
    /// The subprotocol is the first of [`protocols`](Self::protocols) that the client offers, if
    /// there is one. To insist on one, look at [`Agreed::protocol`] before the 101 is sent.
    ///
    /// # Errors
    ///
    /// The first fault in the order of HTTP/1.1 framing (version, method, target, Host, content),
    /// the wish to upgrade, version, key, origin, subprotocols, extensions. Answer it with
    /// [`HandshakeError::response`] and close the connection. What an application got wrong itself
    /// (a header it may not set, a subprotocol that is no token) is reported here too, as a 500.
    ///
    /// # Examples
    ///
    /// ```
    /// use wsroom::Upgrade;
    ///
    /// let request = http::Request::get("/chat")
    ///     .header("Host", "server.example.com")
    ///     .header("Upgrade", "websocket")
    ///     .header("Connection", "Upgrade")
    ///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    ///     .header("Sec-WebSocket-Version", "13")
    ///     .header("Sec-WebSocket-Protocol", "chat, superchat")
    ///     .body(())?;
    /// let (response, agreed) = Upgrade::default().protocols(["chat"]).accept(&request)?;
    /// assert_eq!(response.status(), 101);
    /// assert_eq!(agreed.protocol(), Some("chat"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn accept<B>(
        &self,
        request: &Request<B>,
    ) -> Result<(Response<()>, Agreed), HandshakeError> {
        let judged = self.judge(
            request.version(),
            request.method(),
            request.uri(),
            request.headers(),
        )?;
        let agreed = judged.agreed();
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
        answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        answer.insert(SEC_WEBSOCKET_ACCEPT, own_value(judged.accept)?);
        if let Some(protocol) = judged.protocol {
            answer.insert(SEC_WEBSOCKET_PROTOCOL, own_value(protocol)?);
        }
        if let Some((chosen, _)) = judged.deflate {
            answer.insert(SEC_WEBSOCKET_EXTENSIONS, own_value(chosen)?);
        }
        if !self.settings.headers.is_empty() {
            answer.extend(self.settings.headers.clone());
        }
        Ok((response, agreed))
    }

    /// Checks a request, and decides what its answer says.
    pub(super) fn judge<'a, F: Fields + ?Sized>(
        &'a self,
        version: Version,
        method: &Method,
        target: &Uri,
        fields: &F,
    ) -> Result<Judged<'a>, HandshakeError> {
        self.check()?;
        // RFC 9110 §7.8: Upgrade is ignored in HTTP/1.0; HTTP/2 has another handshake.
        if version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        // §4.2.1, item 1.
        if *method != Method::GET {
            return Err(HandshakeError::Method);
        }
        check_target(target)?;
        let host = host(fields)?;
        check_content(fields)?;
        check_wish(fields)?;
        check_version(fields)?;
        let key = client_key(fields)?;
        let authority = target.authority();
        self.check_origin(
            fields,
            authority.map_or(host, |authority| authority.as_str()),
        )?;
        let protocol = self.choose_protocol(fields)?;
        // §9.1: an extension that the answer does not name is declined. The list must be valid.
        let offers = extensions_in(fields)?;
        let deflate = self.choose_deflate(&offers);
        Ok(Judged {
            accept: key::accept(key),
            protocol,
            deflate,
        })
    }

    /// The answer to the first offer of compression that can be granted, and what is agreed on by
    /// it (RFC 7692 §5).
    fn choose_deflate(&self, offers: &[ExtensionOffer<'_>]) -> Option<(String, DeflateParams)> {
        let deflate = self.settings.deflate.as_ref()?;
        let mut offers = offers.iter();
        offers.find_map(|offer| match offer.name() {
            PERMESSAGE_DEFLATE => deflate.accept(offer.params()),
            _ => None,
        })
    }

    /// §10.2: an Origin says that a browser asks, and on whose behalf.
    fn check_origin<F: Fields + ?Sized>(
        &self,
        fields: &F,
        host: &str,
    ) -> Result<(), HandshakeError> {
        let origin = single(fields, &ORIGIN).map_err(|_| HandshakeError::RepeatedOrigin)?;
        let (same_origin, origins) = (self.settings.same_origin, &self.settings.origins);
        let (Some(origin), true) = (origin, same_origin || origins.is_some()) else {
            return Ok(());
        };
        // §4.2.2, item 4: origins are compared in lower case, and as a whole.
        let listed = (origins.iter().flatten())
            .any(|allowed| origin.eq_ignore_ascii_case(allowed.as_bytes()));
        if listed || same_origin && is_same_origin(origin, host) {
            Ok(())
        } else {
            Err(HandshakeError::OriginNotAllowed)
        }
    }

    /// The first of our subprotocols that is offered (§4.2.2, item 5).
    pub(crate) fn choose_protocol<F: Fields + ?Sized>(
        &self,
        fields: &F,
    ) -> Result<Option<&str>, HandshakeError> {
        let offered = protocols_in(fields)?;
        let mut ours = self.settings.protocols.iter().map(String::as_str);
        Ok(ours.find(|name| offered.contains(name)))
    }
}

/// What the answer to a request says that was found good.
pub(super) struct Judged<'a> {
    /// The value of Sec-WebSocket-Accept.
    pub(super) accept: String,
    pub(super) protocol: Option<&'a str>,
    /// The value of Sec-WebSocket-Extensions, and what it means.
    pub(super) deflate: Option<(String, DeflateParams)>,
}

impl Judged<'_> {
    pub(super) fn agreed(&self) -> Agreed {
        let mut agreed = Agreed::default();
        if let Some(protocol) = self.protocol {
            agreed = agreed.with_protocol(protocol);
        }
        agreed.deflate = self.deflate.as_ref().map(|(_, params)| *params);
        agreed
    }
}

/// Reads the subprotocols that a request offers, in the client's order of preference.
///
/// # Errors
///
/// [`ProtocolSyntax`](HandshakeError::ProtocolSyntax) for a value that is not a list of tokens,
/// [`RepeatedProtocol`](HandshakeError::RepeatedProtocol),
/// [`TooManyProtocols`](HandshakeError::TooManyProtocols).
pub fn protocol_offers(headers: &HeaderMap) -> Result<Vec<&str>, HandshakeError> {
    protocols_in(headers)
}

fn protocols_in<F: Fields + ?Sized>(fields: &F) -> Result<Vec<&str>, HandshakeError> {
    let mut offered = Vec::new();
    for element in elements(fields, &SEC_WEBSOCKET_PROTOCOL) {
        let name = token(element).ok_or(HandshakeError::ProtocolSyntax)?;
        // §4.1, item 10: the names are unique.
        if offered.contains(&name) {
            return Err(HandshakeError::RepeatedProtocol);
        }
        if offered.len() == MAX_PROTOCOLS {
            return Err(HandshakeError::TooManyProtocols);
        }
        offered.push(name);
    }
    if offered.is_empty() && fields.values(&SEC_WEBSOCKET_PROTOCOL).next().is_some() {
        return Err(HandshakeError::ProtocolSyntax);
    }
    Ok(offered)
}

/// The most subprotocols of a request that are read. Each is compared with those before it.
const MAX_PROTOCOLS: usize = 64;

/// §4.2.1, item 1: a path, or an absolute http or https URI.
fn check_target(target: &Uri) -> Result<(), HandshakeError> {
    let valid = match (target.scheme_str(), target.authority()) {
        (None, None) => target.path().starts_with('/'),
        (Some(scheme), Some(authority)) => {
            (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
                && Authority::parse(authority.as_str()).is_ok()
        }
        _ => false,
    };
    if valid {
        Ok(())
    } else {
        Err(HandshakeError::Target)
    }
}

/// §4.2.1, item 2; RFC 9112 §3.2: exactly one, with valid syntax.
fn host<F: Fields + ?Sized>(fields: &F) -> Result<&str, HandshakeError> {
    let host = single(fields, &HOST).map_err(|_| HandshakeError::RepeatedHost)?;
    let host = host.ok_or(HandshakeError::MissingHost)?;
    let host = str::from_utf8(host).map_err(|_| HandshakeError::HostSyntax)?;
    Authority::parse(host).map_err(|_| HandshakeError::HostSyntax)?;
    Ok(host)
}

/// The bytes after the head are frames, so nobody on the way may take them for content (RFC 9112
/// §6.3, §11.2).
fn check_content<F: Fields + ?Sized>(fields: &F) -> Result<(), HandshakeError> {
    match single(fields, &CONTENT_LENGTH) {
        Ok(None | Some(b"0")) if fields.values(&TRANSFER_ENCODING).next().is_none() => Ok(()),
        _ => Err(HandshakeError::RequestBody),
    }
}

/// §4.2.1, items 3 and 4: the request asks for an upgrade to `websocket`.
fn check_wish<F: Fields + ?Sized>(fields: &F) -> Result<(), HandshakeError> {
    let mut wanted = false;
    for element in elements(fields, &UPGRADE) {
        // RFC 9110 §7.8: a name, or a name and a version, which `websocket` doesn't have.
        let mut parts = element.splitn(2, |&byte| byte == b'/');
        if !parts.all(|part| token(part).is_some()) {
            return Err(HandshakeError::UpgradeSyntax);
        }
        wanted |= element.eq_ignore_ascii_case(b"websocket");
    }
    let mut named = false;
    for element in elements(fields, &CONNECTION) {
        token(element).ok_or(HandshakeError::ConnectionSyntax)?;
        named |= element.eq_ignore_ascii_case(b"upgrade");
    }
    match (wanted, named) {
        (true, true) => Ok(()),
        (false, _) => Err(HandshakeError::MissingUpgrade),
        (true, false) => Err(HandshakeError::MissingConnection),
    }
}

/// §4.2.1, item 6; §4.4: the version is 13.
fn check_version<F: Fields + ?Sized>(fields: &F) -> Result<(), HandshakeError> {
    let version = single(fields, &SEC_WEBSOCKET_VERSION);
    let version = version.map_err(|_| HandshakeError::RepeatedVersion)?;
    match version.ok_or(HandshakeError::MissingVersion)? {
        b"13" => Ok(()),
        // §4.3: 0 to 255 without leading zeros.
        [b'0'] | [b'1'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] => {
            Err(HandshakeError::UnsupportedVersion)
        }
        [b'1', b'0'..=b'9', b'0'..=b'9']
        | [b'2', b'0'..=b'4', b'0'..=b'9']
        | [b'2', b'5', b'0'..=b'5'] => Err(HandshakeError::UnsupportedVersion),
        _ => Err(HandshakeError::VersionSyntax),
    }
}

/// §4.2.1, item 5: exactly one, of 16 bytes.
fn client_key<F: Fields + ?Sized>(fields: &F) -> Result<&[u8], HandshakeError> {
    let key = single(fields, &SEC_WEBSOCKET_KEY).map_err(|_| HandshakeError::RepeatedKey)?;
    let key = key.ok_or(HandshakeError::MissingKey)?;
    if key::is_valid(key) {
        Ok(key)
    } else {
        Err(HandshakeError::KeySyntax)
    }
}

/// Whether `origin` has the host and port of `host`. The scheme is not compared, because a server
/// behind a TLS proxy doesn't know its own; it only gives the port that is left out.
fn is_same_origin(origin: &[u8], host: &str) -> bool {
    let Ok(origin) = str::from_utf8(origin) else {
        return false;
    };
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    match (Authority::parse(authority), Authority::parse(host)) {
        (Ok(origin), Ok(host)) => {
            origin.host.eq_ignore_ascii_case(host.host)
                && origin.port.unwrap_or(default) == host.port.unwrap_or(default)
        }
        _ => false,
    }
}

/// A value of our own making: a token or base64.
fn own_value(value: impl TryInto<HeaderValue>) -> Result<HeaderValue, HandshakeError> {
    value.try_into().map_err(|_| HandshakeError::HeaderValue)
}
