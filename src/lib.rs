//! WebSocket (RFC 6455) with rooms.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod agreed;
pub mod handshake;

pub use agreed::Agreed;
pub use handshake::{HandshakeError, Upgrade};
