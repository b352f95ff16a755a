//! WebSockets over tokio's streams.
//!
//! The protocol is [`crate::protocol`]'s, the handshake [`crate::handshake`]'s; here are the
//! socket, the buffers, the clock and the waiting.
//!
//! ```text
//!   connect, accept, Incoming,
//!   Server, hyper, axum ────────▶ WebSocket<S>  one task owns it: recv, feed, send, close
//!                                      │
//!                                      ▼ Session::spawn
//!                  many tasks ──▶ Outbox ─▶ a task of its own ─▶ Session::recv
//! ```
//!
//! A request comes from a stream ([`accept`]; [`Incoming`], to look at it first), from the small
//! [`Server`], or, with the features of these names, from hyper or axum (the modules `hyper` and
//! `axum`).

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(all(feature = "axum", feature = "deflate"))]
mod axum_deflate;
mod client;
mod driver;
mod error;
#[cfg(feature = "hyper")]
pub mod hyper;
mod inbox;
mod input;
mod listener;
mod server;
mod session;
mod websocket;

pub use client::{connect, connect_over, connect_with};
pub use error::Error;
pub use listener::{Arrival, Server};
pub use server::{Incoming, accept, accept_with};
pub use session::{Session, SessionConfig};
pub use websocket::{Answers, SocketEvent, WebSocket};
