//! The opening handshake on a request that hyper read.
//!
//! [`Upgrade::accept`] judges the request (§4.2) and hyper writes the response; then hyper hands
//! the connection over, with the frames that came right behind the request.
//!
//! ```text
//! Request ─▶ upgrade ─┬▶ Response ─▶ hyper writes it
//!                     └▶ Upgrading ─▶ (in a task of its own) UpgradedSocket
//! ```
//!
//! # Examples
//!
//! A service for hyper. Serve it with `http1::Builder::serve_connection(..).with_upgrades()`:
//! without that, hyper keeps the connection and [`Upgrading`] fails.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use hyper::body::Incoming;
//! use wsroom::net::hyper::{UpgradedSocket, upgrade};
//! use wsroom::{Config, Error, Upgrade};
//!
//! async fn service(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
//!     if request.uri().path() != "/echo" {
//!         return Ok(Response::new("a page\n".to_owned()));
//!     }
//!     match upgrade(&mut request, &Upgrade::default(), Config::default()) {
//!         Ok((response, upgrading)) => {
//!             tokio::spawn(async move { echo(upgrading.await?).await });
//!             Ok(response.map(|()| String::new()))
//!         }
//!         Err(error) => Ok(error.response()),
//!     }
//! }
//!
//! async fn echo(mut socket: UpgradedSocket) -> Result<(), Error> {
//!     while let Some(message) = socket.recv().await? {
//!         socket.feed(message).await?;
//!     }
//!     Ok(())
//! }
//! ```

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Timeout, timeout};

use super::error::Error;
use super::websocket::WebSocket;
use crate::agreed::Agreed;
use crate::handshake::{HandshakeError, Upgrade};
use crate::log::debug;
use crate::protocol::{Config, Role};

/// Judges a request and gives the response to return from the service, with the future of the
/// socket.
///
/// The future is done after hyper wrote the response, so wait for it in a task of its own. That
/// must come within [`Upgrade::timeout`] from now, 10 s by default.
///
/// Send this response or drop the future. hyper hands over the connection whatever the response
/// was, once it has no more use for it, so who wants to refuse must not let this future run.
///
/// The connection belongs to hyper before, and so do its settings: set `TCP_NODELAY` on it.
///
/// # Errors
///
/// As [`Upgrade::accept`]: return [`HandshakeError::response`] from the service.
/// [`HandshakeError::NotUpgradable`] if the request doesn't come from an HTTP/1.1 connection of
/// hyper, or its upgrade was taken already.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
pub fn upgrade<B>(
    request: &mut Request<B>,
    upgrade: &Upgrade,
    config: Config,
) -> Result<(Response<()>, Upgrading), HandshakeError> {
    let accepted = upgrade.accept(request).and_then(|accepted| {
        let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
        Ok((accepted, on_upgrade.ok_or(HandshakeError::NotUpgradable)?))
    });
    match accepted {
        Ok(((response, agreed), on_upgrade)) => {
            let upgrading = Upgrading {
                handover: Box::pin(timeout(upgrade.time_limit(), on_upgrade)),
                agreed,
                config,
            };
            Ok((response, upgrading))
        }
        Err(error) => {
            debug!(status = %error.status(), error = %error, "handshake refused");
            Err(error)
        }
    }
}

/// A WebSocket on a connection that was hyper's.
pub type UpgradedSocket = WebSocket<UpgradedStream>;

/// The future of the socket of an upgrade, made by [`upgrade`].
///
/// It gives [`Error::Io`] if the connection ended before the response was written,
/// [`Error::Handshake`] with [`HandshakeError::TimedOut`] if that took too long.
///
/// # Cancel safety
///
/// Dropping it before it is done closes the connection after the response.
#[must_use = "the connection closes unless this is awaited"]
pub struct Upgrading {
    handover: Pin<Box<Timeout<OnUpgrade>>>,
    agreed: Agreed,
    config: Config,
}

impl Future for Upgrading {
    type Output = Result<UpgradedSocket, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let error = match ready!(self.handover.as_mut().poll(cx)) {
            Ok(Ok(upgraded)) => {
                let stream = UpgradedStream(TokioIo::new(upgraded));
                let agreed = std::mem::take(&mut self.agreed);
                // What was read behind the request comes out of the stream first.
                let socket = WebSocket::new(stream, Role::Server, agreed, self.config, &[]);
                return Poll::Ready(Ok(socket));
            }
            Ok(Err(error)) => Error::Io(io::Error::other(error)),
            Err(_) => HandshakeError::TimedOut.into(),
        };
        debug!(error = %error, "upgrade failed");
        Poll::Ready(Err(error))
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// The stream of bytes that hyper hands over.
#[derive(Debug)]
pub struct UpgradedStream(TokioIo<Upgraded>);

impl AsyncRead for UpgradedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
