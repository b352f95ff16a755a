//! The opening handshake of RFC 6455 on both sides, without I/O.
//!
//! It implements §3 and §4, the grammar of §9.1 and the origin check of §10.2. A server
//! [accepts](Upgrade::accept) an [`http::Request`]; a client makes an [`Offer`] for a URL and
//! [verifies](Offer::verify) the [`http::Response`]. Where no HTTP library read them, a
//! [`RequestHead`] or a [`ResponseHead`] takes them from bytes. Sockets, the deadline and
//! everything after the 101 are left to the caller.
//!
//! ```text
//!  client                                          server
//!  Upgrade::offer ─▶ Offer::encode ───────────────▶ RequestHead::receive
//!                                                   Upgrade::accept ─▶ Agreed
//!  ResponseHead::receive ◀─────────────────────────  encode_accepted
//!  Offer::verify ─▶ Agreed                          (or HandshakeError::response,
//!  (or Refused, with the content by Refusal)         encode_response)
//! ```
//!
//! # Examples
//!
//! ```
//! use wsroom::handshake::{RequestHead, ResponseHead, Upgrade, encode_accepted};
//!
//! let ours = Upgrade::default().protocols(["chat"]);
//! let theirs = Upgrade::default().protocols(["superchat", "chat"]);
//!
//! let offer = ours.offer("ws://localhost:8080/rooms?name=a")?;
//! let request = RequestHead::new(&theirs).receive(&mut &offer.encode()[..])?.unwrap();
//! let (response, agreed) = theirs.accept(&request)?;
//! let bytes = encode_accepted(&request, &response);
//! let response = ResponseHead::new(&ours).receive(&mut &bytes[..])?.unwrap();
//! assert_eq!(offer.verify(&response)?, agreed);
//! assert_eq!(agreed.protocol(), Some("chat"));
//! # Ok::<(), wsroom::HandshakeError>(())
//! ```

mod client;
#[cfg(feature = "deflate")]
mod compression;
#[cfg(feature = "tokio")]
mod direct;
mod error;
mod headers;
mod http1;
mod key;
mod refusal;
pub(crate) mod scan;
mod server;

pub use client::Offer;
pub use error::HandshakeError;
pub use headers::{ExtensionOffer, extension_offers};
pub use http1::{RequestHead, ResponseHead, encode_accepted, encode_response, expects_continue};
pub use refusal::Refusal;
pub use server::protocol_offers;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::deflate::Deflate;
use crate::limits::{Bound, InForce};

/// What this side of a connection offers or accepts in the opening handshake, and within which
/// limits.
///
/// One value serves any number of connections. What is wrong with it (a subprotocol that is not a
/// token, a header that it may not set) is reported when it is used, before anything is written.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wsroom::Upgrade;
///
/// let upgrade = Upgrade::default()
///     .protocols(["chat.v2", "chat.v1"])
///     .allow_origins(["https://chat.example.com"])
///     .timeout(Duration::from_secs(5));
/// # let _ = upgrade;
/// ```
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Shared by clones, so that a task that holds one is no larger for it.
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    protocols: Vec<String>,
    deflate: Option<Deflate>,
    headers: HeaderMap,
    origin: Option<HeaderValue>,
    origins: Option<Vec<String>>,
    same_origin: bool,
    limits: Limits,
    timeout: Duration,
    /// The first thing that the application got wrong.
    fault: Option<HandshakeError>,
}

/// How much a peer may send before the connection is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head: usize,
    pub(crate) fields: usize,
    pub(crate) line: usize,
    pub(crate) error_body: usize,
}

impl Default for Upgrade {
    fn default() -> Self {
        static DEFAULT: LazyLock<Arc<Settings>> = LazyLock::new(Arc::default);
        Self {
            settings: Arc::clone(&DEFAULT),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocols: Vec::new(),
            deflate: None,
            headers: HeaderMap::new(),
            origin: None,
            origins: None,
            same_origin: false,
            limits: Limits {
                head: 16 * 1024,
                fields: 100,
                line: 8192,
                error_body: 64 * 1024,
            },
            timeout: Duration::from_secs(10),
            fault: None,
        }
    }
}

impl Upgrade {
    /// Sets the subprotocols that this side speaks, in its order of preference (§1.9). None by
    /// default.
    ///
    /// A client offers them. A server takes the first of its own that the client offers, and none
    /// if there is no such.
    #[must_use]
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.set().protocols.clear();
        for protocol in protocols {
            let protocol = protocol.into();
            // §4.1, item 10: tokens, and each of them once.
            let ours = &mut self.set().protocols;
            if headers::token(protocol.as_bytes()).is_none() || ours.contains(&protocol) {
                return self.or_fault(HandshakeError::ProtocolName);
            }
            ours.push(protocol);
        }
        self
    }

    /// Adds a header to the request of a client, or to the 101 of a server.
    ///
    /// The headers that the handshake sets itself can't be set here: Host, Origin (see
    /// [`origin`](Self::origin)), Upgrade, Connection, Sec-WebSocket-*, Content-Length and
    /// Transfer-Encoding. Such a name, or a name or value that could end its line, is an error of
    /// [`offer`](Self::offer) and [`accept`](Self::accept).
    #[must_use]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let Ok(name) = name.try_into() else {
            return self.or_fault(HandshakeError::HeaderName);
        };
        let Ok(value) = value.try_into() else {
            return self.or_fault(HandshakeError::HeaderValue);
        };
        if is_reserved(&name) {
            return self.or_fault(HandshakeError::ReservedHeader);
        }
        match self.set().headers.try_append(name, value) {
            Ok(_) => self,
            Err(_) => self.or_fault(HandshakeError::TooManyHeaders),
        }
    }

    /// Sets the Origin that a client sends: on whose behalf it asks, as browsers say it (§4.1,
    /// item 8). None by default.
    #[must_use]
    pub fn origin<V: TryInto<HeaderValue>>(mut self, origin: V) -> Self {
        let Ok(origin) = origin.try_into() else {
            return self.or_fault(HandshakeError::HeaderValue);
        };
        self.set().origin = Some(origin);
        self
    }

    /// Sets the origins that a server lets in, each as a browser writes it: scheme, host, and the
    /// port if it is not the default one (`https://chat.example.com`). By default any is let in.
    ///
    /// Browsers let a page of any site connect, with the cookies of the server's site, so a server
    /// that trusts cookies must set this or [`same_origin`](Self::same_origin) (§10.2). Upper and
    /// lower case are the same. A request without Origin doesn't come from a page and is let in.
    #[must_use]
    pub fn allow_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.set().origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Has a server let in pages that come from its own host and port, besides those of
    /// [`allow_origins`](Self::allow_origins). Not set by default.
    ///
    /// The host is that of the request. A proxy in front of the server must pass Host on. The
    /// scheme isn't compared, except that it gives the port where that is left out. A name that an
    /// attacker lets point at a server in a private network is the same in both headers, so such a
    /// server should list its origins and not set this.
    #[must_use]
    pub fn same_origin(mut self) -> Self {
        // Settings that are shared are not copied for nothing.
        if !self.settings.same_origin {
            self.set().same_origin = true;
        }
        self
    }

    /// Sets the most bytes that the head of a request or response may have, with the empty line
    /// that ends it. 16 KiB by default; a connection holds as much until its head is complete.
    #[must_use]
    pub fn max_head_size(mut self, bytes: usize) -> Self {
        self.set().limits.head = bytes;
        self
    }

    /// Sets the most header lines that a head may have. 100 by default, several times what
    /// browsers and proxies send.
    #[must_use]
    pub fn max_headers(mut self, lines: usize) -> Self {
        self.set().limits.fields = lines;
        self
    }

    /// Sets the most bytes that a line of a head may have, without its CR LF. 8192 by default: a
    /// target of 8000 bytes should work (RFC 9112 §3).
    #[must_use]
    pub fn max_line_size(mut self, bytes: usize) -> Self {
        self.set().limits.line = bytes;
        self
    }

    /// Sets the most bytes that a client reads of the content of a refusal. 64 KiB by default,
    /// enough for the page of an error; the rest is left out.
    #[must_use]
    pub fn max_error_body_size(mut self, bytes: usize) -> Self {
        self.set().limits.error_body = bytes;
        self
    }

    /// Sets how long the whole handshake may take, from the first byte to the last. 10 s by
    /// default.
    ///
    /// There is no clock in here: the adapter that reads and writes keeps it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.set().timeout = timeout;
        self
    }

    /// The time set by [`timeout`](Self::timeout), for an adapter.
    pub fn time_limit(&self) -> Duration {
        self.settings.timeout
    }

    /// The limits in force as a list, to print or to look through.
    pub fn in_force(&self) -> InForce {
        let limits = &self.settings.limits;
        InForce::new(
            "Upgrade",
            [
                ("max_head_size", Bound::bytes(limits.head)),
                ("max_headers", Bound::count(limits.fields)),
                ("max_line_size", Bound::bytes(limits.line)),
                ("max_error_body_size", Bound::bytes(limits.error_body)),
                ("timeout", Bound::time(self.settings.timeout)),
            ],
        )
    }

    fn set(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    /// Keeps the first fault until the value is used.
    fn or_fault(mut self, fault: HandshakeError) -> Self {
        self.set().fault.get_or_insert(fault);
        self
    }

    /// What the application got wrong in this value, if anything.
    fn check(&self) -> Result<(), HandshakeError> {
        match &self.settings.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }
}

/// Whether the handshake sets this header itself, or it would change where the head ends.
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
        || [
            HOST,
            ORIGIN,
            UPGRADE,
            CONNECTION,
            CONTENT_LENGTH,
            TRANSFER_ENCODING,
        ]
        .contains(name)
}
