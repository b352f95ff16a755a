//! WebSocket (RFC 6455) with rooms.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod agreed;
mod close;
mod error;
pub mod frame;
pub mod handshake;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "tokio")]
mod log;
mod mask;
mod message;
#[cfg(feature = "tokio")]
pub mod net;
#[cfg(any(feature = "tokio", feature = "rooms"))]
pub mod outbox;
pub mod protocol;
#[cfg(feature = "rooms")]
pub mod rooms;
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
