//! A network in memory for tests: it loses, delays and cuts as real ones do, but always in the same
//! way for the same seed.
//!
//! A server and its clients run over it unchanged, since they are generic over their stream; time is
//! tokio's paused clock, so that a minute of silence takes no time. [`simulate`] runs a test with
//! many seeds, and prints the seed of a run that fails.
//!
//! ```text
//!   Network ─▶ pair, listen and connect ─▶ Endpoint, Endpoint   the streams
//!      │                                        │
//!      ▼                                        ▼
//!   Faults  what happens by chance            Link   what the test does: stall, heal, cut, reset
//! ```
//!
//! # What replays
//!
//! A run is the same again if all that the test draws comes from [`Network::draw`], on a runtime of
//! one thread ([`simulate`] makes one) without other sources of events. `tokio::select!` without
//! `biased` draws from elsewhere, and so do a `HashMap`'s order and real sockets, files and threads.
//! [`Network::digest`] shows whether two runs were the same.
//!
//! # Examples
//!
//! A client of a room vanishes without a word, and the others learn it from the keepalive. The
//! whole test, with faults on all links, is `examples/simulation.rs`.
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::Instant;
//! use wsroom::test_util::simulate;
//! use wsroom::{Agreed, Config, Error, Role, WebSocket};
//!
//! simulate(0..10, async |network| {
//!     let (client, server) = network.pair();
//!     let link = server.link();
//!     let mut server =
//!         WebSocket::new(server, Role::Server, Agreed::default(), Config::default(), &[]);
//!     link.cut();
//!
//!     let since = Instant::now();
//!     assert!(matches!(server.recv().await, Err(Error::PongTimeout)));
//!     assert_eq!(since.elapsed(), Duration::from_secs(40));
//!     drop(client);
//! });
//! ```

mod chance;
mod endpoint;
mod faults;
mod link;
mod log;
mod network;
mod simulate;
mod wire;

pub use endpoint::Endpoint;
pub use faults::Faults;
pub use link::{Direction, Link};
pub use log::LogEntry;
pub use network::{Listener, Network};
pub use simulate::simulate;
