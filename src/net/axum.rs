//! An extractor for axum, and for whatever else is made of axum-core.
//!
//! The request reaches the handler through the same routes, state and middleware as any other, so
//! what may refuse a request (authentication, a limit of rate, another extractor) does so before
//! the upgrade. The handshake is [`crate::handshake`]'s, the handover [`super::hyper`]'s.
//!
//! A WebSocket over HTTP/2 (RFC 8441) is refused with 505: browsers then use HTTP/1.1, unless the
//! server announced the extended CONNECT to them.
//!
//! # Examples
//!
//! ```
//! use axum::Router;
//! use axum::extract::State;
//! use axum::response::Response;
//! use axum::routing::any;
//! use axum::serve::ListenerExt;
//! use wsroom::net::axum::{UpgradedSocket, WebSocketUpgrade};
//!
//! #[derive(Clone)]
//! struct App { /* a Hub, a database, … */ }
//!
//! async fn ws(ws: WebSocketUpgrade, State(app): State<App>) -> Response {
//!     ws.protocols(["chat"])
//!         .same_origin()
//!         .on_upgrade(move |socket| chat(socket, app))
//! }
//!
//! async fn chat(mut socket: UpgradedSocket, app: App) -> Result<(), wsroom::Error> {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let router: Router = Router::new().route("/ws", any(ws)).with_state(App {});
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! // Small frames are to leave at once.
//! let listener = listener.tap_io(|stream| {
//!     let _ = stream.set_nodelay(true);
//! });
//! axum::serve(listener, router).await
//! # }
//! ```

use std::fmt;
use std::future::Future;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, header};
use hyper::upgrade::OnUpgrade;

pub use super::hyper::{UpgradedSocket, UpgradedStream};

use super::error::Error;
use super::hyper::upgrade;
use super::session::Session;
use crate::handshake::{HandshakeError, Upgrade, protocol_offers};
use crate::log::debug;
use crate::protocol::Config;

/// A request for a WebSocket that was found good and not answered yet.
///
/// As an extractor it refuses what is no such request with the status that fits (400, 405, 426,
/// 505; see [`HandshakeError::status`]). As `Option<WebSocketUpgrade>` it is `None` for a request
/// that doesn't speak of an upgrade, so that one route can serve a page too.
///
/// Set what is to be accepted, then return what [`on_upgrade`](Self::on_upgrade) gives. To refuse,
/// return any other response.
///
/// # Examples
///
/// ```
/// use axum::extract::Path;
/// use axum::http::StatusCode;
/// use axum::response::{IntoResponse, Response};
/// use wsroom::net::axum::WebSocketUpgrade;
///
/// async fn ws(ws: WebSocketUpgrade, Path(room): Path<String>) -> Response {
///     let ws = ws.protocols(["chat.v2", "chat.v1"]).max_message_size(4096);
///     if ws.selected_protocol().is_none() {
///         return (StatusCode::BAD_REQUEST, "speak chat.v2 or chat.v1\n").into_response();
///     }
///     ws.on_session(move |mut session| async move {
///         let _ = session.send(format!("welcome to {room}")).await;
///         while let Ok(Some(message)) = session.recv().await {
///             // …
///         }
///     })
/// }
/// ```
#[must_use = "the request is refused unless `on_upgrade` is returned"]
pub struct WebSocketUpgrade {
    request: Request<()>,
    pub(super) upgrade: Upgrade,
    config: Config,
    on_failed_upgrade: Option<FailedUpgrade>,
}

type FailedUpgrade = Box<dyn FnOnce(Error) + Send>;

impl WebSocketUpgrade {
    /// Sets the subprotocols that the server speaks, in its order of preference. See
    /// [`Upgrade::protocols`].
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.upgrade = self.upgrade.protocols(protocols);
        self
    }

    /// Sets the origins whose pages are let in; any by default. See [`Upgrade::allow_origins`].
    pub fn allow_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.upgrade = self.upgrade.allow_origins(origins);
        self
    }

    /// Lets in pages of the server's own host and port only, and of
    /// [`allow_origins`](Self::allow_origins). A server that trusts cookies needs one of the two.
    /// See [`Upgrade::same_origin`].
    pub fn same_origin(mut self) -> Self {
        self.upgrade = self.upgrade.same_origin();
        self
    }

    /// Adds a header to the 101. See [`Upgrade::header`].
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.upgrade = self.upgrade.header(name, value);
        self
    }

    /// Replaces all that is accepted, for a value that several routes share.
    pub fn upgrade(mut self, upgrade: Upgrade) -> Self {
        self.upgrade = upgrade;
        self
    }

    /// Sets the limits and deadlines of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the longest message that is accepted, in bytes: 1 MiB by default. See
    /// [`Config::max_message_size`].
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.config = self.config.max_message_size(bytes);
        self
    }

    /// Sets what is called if nothing comes of the upgrade: the client goes away before the 101 is
    /// written, or that takes too long. Nothing by default, but an event in the log.
    pub fn on_failed_upgrade<F>(mut self, failed: F) -> Self
    where
        F: FnOnce(Error) + Send + 'static,
    {
        self.on_failed_upgrade = Some(Box::new(failed));
        self
    }

    /// Gives the response to return, and runs `handler` with the socket in a task of its own once
    /// that was sent.
    ///
    /// A middleware that refuses must do so before this is called, as authentication does: one that
    /// replaces this response later doesn't keep the handler from being called.
    ///
    /// What the handler gives in the end is dropped. If the request doesn't meet what was set (its
    /// origin isn't allowed), the response is a refusal and the handler is not called.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn on_upgrade<H, F>(mut self, handler: H) -> Response
    where
        H: FnOnce(UpgradedSocket) -> F + Send + 'static,
        F: Future + Send + 'static,
    {
        let (response, upgrading) = match upgrade(&mut self.request, &self.upgrade, self.config) {
            Ok(accepted) => accepted,
            Err(error) => return error.into_response(),
        };
        let failed = self.on_failed_upgrade;
        tokio::spawn(async move {
            match (upgrading.await, failed) {
                (Ok(socket), _) => {
                    handler(socket).await;
                }
                (Err(error), Some(failed)) => failed(error),
                (Err(_), None) => {}
            }
        });
        response.map(|()| Body::empty())
    }

    /// As [`on_upgrade`](Self::on_upgrade), with a [`Session`] that has the default
    /// [`SessionConfig`](crate::net::SessionConfig).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn on_session<H, F>(self, handler: H) -> Response
    where
        H: FnOnce(Session) -> F + Send + 'static,
        F: Future + Send + 'static,
    {
        self.on_upgrade(|socket| handler(Session::spawn(socket)))
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn offered_protocols(&self) -> Vec<&str> {
        // A request whose list is not valid was refused before.
        protocol_offers(self.request.headers()).unwrap_or_default()
    }

    /// The subprotocol that [`on_upgrade`](Self::on_upgrade) would agree on: the first of
    /// [`protocols`](Self::protocols) that is offered.
    pub fn selected_protocol(&self) -> Option<&str> {
        let chosen = self.upgrade.choose_protocol(self.request.headers());
        chosen.unwrap_or_default()
    }

    /// The request, to keep what the session needs of it: path, query, headers.
    pub const fn request(&self) -> &Request<()> {
        &self.request
    }
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = HandshakeError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HandshakeError> {
        Self::take(parts).inspect_err(|error| {
            debug!(status = %error.status(), error = %error, "handshake refused");
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = HandshakeError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, HandshakeError> {
        // Over HTTP/2, an upgrade is a CONNECT (RFC 8441 §4).
        if parts.headers.contains_key(header::UPGRADE) || parts.method == Method::CONNECT {
            <Self as FromRequestParts<S>>::from_request_parts(parts, state)
                .await
                .map(Some)
        } else {
            Ok(None)
        }
    }
}

impl WebSocketUpgrade {
    /// Takes the upgrade out of a request, and copies what may be asked for later.
    fn take(parts: &mut Parts) -> Result<Self, HandshakeError> {
        let mut request = Request::new(());
        request.method_mut().clone_from(&parts.method);
        request.uri_mut().clone_from(&parts.uri);
        *request.version_mut() = parts.version;
        request.headers_mut().clone_from(&parts.headers);
        let upgrade = Upgrade::default();
        upgrade.accept(&request)?;
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        request
            .extensions_mut()
            .insert(on_upgrade.ok_or(HandshakeError::NotUpgradable)?);
        Ok(Self {
            request,
            upgrade,
            config: Config::default(),
            on_failed_upgrade: None,
        })
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers may have a cookie in them.
        f.debug_struct("WebSocketUpgrade")
            .field("upgrade", &self.upgrade)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The refusal of a server: [`HandshakeError::response`].
impl IntoResponse for HandshakeError {
    fn into_response(self) -> Response {
        self.response().map(Body::from)
    }
}
