//! WebSocket (RFC 6455) with rooms: a core without I/O, an adapter for tokio, and rooms on top.
//!
//! | to do what | begin with |
//! |---|---|
#![cfg_attr(
    feature = "tokio",
    doc = "| accept or open a connection | [`accept`], [`connect`], [`WebSocket`] |",
    doc = "| look at the request first | [`Incoming`], [`net::Server`] |",
    doc = "| answer messages where they lie | [`WebSocket::recv_each`] |",
    doc = "| send from many tasks | [`Session`], [`Outbox`] |"
)]
#![cfg_attr(
    feature = "rooms",
    doc = "| rooms, broadcast, who is here | [`Hub`], [`Member`], [`rooms`] |"
)]
//! | set limits and deadlines | [`Config`], [`Upgrade`], all of them in [`limits`] |
//! | use another runtime, or none | [`Connection`], [`handshake`] |
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! async fn echo(stream: tokio::net::TcpStream) -> Result<(), wsroom::Error> {
//!     let mut socket = wsroom::accept(stream).await?;
//!     while let Some(message) = socket.recv().await? {
//!         socket.feed(message).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Layers
//!
//! Leaves are files, layers are folders. An arrow points at what may be used:
//!
//! ```text
//! net ─▶ handshake, protocol, outbox        rooms ─▶ outbox, protocol::{PreparedMessage, PreparedBatch}
//! outbox ─▶ protocol::{Connection, CloseInfo, SendError, PreparedMessage, PreparedBatch}
//! protocol ─▶ agreed, deflate, frame, mask  handshake ─▶ agreed, deflate
//! agreed ─▶ deflate
//!
//! leaves:  frame ─▶ mask, error   error ─▶ close   close, message ─▶ utf8 ─▶ mask   json ─▶ message
//!          mask, handshake ─▶ random
//! ```
//!
//! `net`, `rooms`, `outbox` and `protocol` may use `message`, `close` and `utf8` too; `net`,
//! `protocol` and `utf8` take memory from `buffer`, `net` and `outbox` their queues from `line`;
//! `net` and `rooms` log through `log`; who has settings lists them as `limits`. The extractor for
//! axum names `deflate::Deflate`. `test_util`, a network in memory, uses nothing of the others.
//!
//! `protocol` (§5 to §7) and `handshake` (§4) never see each other: what was negotiated travels
//! from one to the other as a value, [`Agreed`]. Both are functions of bytes and values, without
//! I/O, clock or runtime. tokio's I/O is in `net` and `test_util` only; `outbox` and `rooms` use its
//! locks.
//!
//! # Features
//!
//! `tokio` and `rooms` are on by default; `deflate`, `json`, `tracing`, `hyper`, `axum` and
//! `test-util`, a network in memory for tests, are not. A feature only adds to the interface;
//! compression has to be asked for in an [`Upgrade`] too.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod agreed;
mod buffer;
mod close;
#[cfg(feature = "deflate")]
pub mod deflate;
#[cfg(not(feature = "deflate"))]
mod deflate;
mod error;
pub mod frame;
pub mod handshake;
#[cfg(feature = "json")]
pub mod json;
pub mod limits;
#[cfg(any(feature = "tokio", feature = "rooms"))]
mod line;
#[cfg(any(feature = "tokio", feature = "rooms"))]
mod log;
mod mask;
mod message;
#[cfg(feature = "tokio")]
pub mod net;
#[cfg(any(feature = "tokio", feature = "rooms"))]
pub mod outbox;
pub mod protocol;
mod random;
#[cfg(feature = "rooms")]
pub mod rooms;
#[cfg(feature = "test-util")]
pub mod test_util;
mod utf8;

pub use agreed::Agreed;
pub use close::{CloseCode, CloseFrame};
pub use error::ProtocolError;
pub use handshake::{HandshakeError, Upgrade};
pub use message::Message;
#[cfg(feature = "tokio")]
pub use net::{Error, Incoming, Session, WebSocket, accept, connect};
#[cfg(any(feature = "tokio", feature = "rooms"))]
pub use outbox::Outbox;
pub use protocol::{
    CloseCause, CloseInfo, Config, Connection, Event, Fragment, PreparedMessage, Role, SendError,
};
#[cfg(feature = "rooms")]
pub use rooms::{Hub, Member, MemberId};
pub use utf8::{Utf8Bytes, Utf8Error, Utf8Validator};

#[cfg(all(feature = "axum", feature = "deflate", feature = "json"))]
#[cfg(feature = "rooms")]
#[doc = include_str!("guide.md")]
pub mod guide {}

/// The code of the README is compiled.
#[cfg(all(doctest, feature = "tokio", feature = "rooms"))]
#[doc = include_str!("../README.md")]
mod readme {}
