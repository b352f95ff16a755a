//! The handles with which a test breaks a link.

use std::sync::Arc;

use tokio::time::Instant;

use super::faults::Faults;
use super::log::End;
use super::wire::{SharedWire, Wire};

/// A connection between two [`Endpoint`](super::Endpoint)s, to be broken and mended by the test.
///
/// [`to_client`](Self::to_client) and [`to_server`](Self::to_server) give one direction only.
///
/// # Examples
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use wsroom::test_util::Network;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let (mut client, mut server) = Network::seeded(1).pair();
/// let link = client.link();
/// link.to_server().stall();
/// client.write_all(b"hello").await?;
/// assert_eq!(link.to_server().in_flight(), 5);
///
/// link.heal();
/// let mut bytes = [0; 5];
/// server.read_exact(&mut bytes).await?;
/// assert_eq!(&bytes, b"hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Link {
    wire: Arc<SharedWire>,
}

/// One direction of a [`Link`].
#[derive(Clone, Debug)]
pub struct Direction {
    wire: Arc<SharedWire>,
    /// Who writes.
    from: End,
}

impl Link {
    pub(super) const fn new(wire: Arc<SharedWire>) -> Self {
        Self { wire }
    }

    /// What the server writes and the client reads.
    pub fn to_client(&self) -> Direction {
        self.direction(End::Server)
    }

    /// What the client writes and the server reads.
    pub fn to_server(&self) -> Direction {
        self.direction(End::Client)
    }

    /// Has nothing arrive any more in either direction until it is [healed](Self::heal). What is
    /// written waits, up to [`Faults::capacity`].
    pub fn stall(&self) {
        self.to_client().stall();
        self.to_server().stall();
    }

    /// Ends a stall: what was held back arrives now. A cut is not healed.
    pub fn heal(&self) {
        self.to_client().heal();
        self.to_server().heal();
    }

    /// Takes the peer away without a word, as if a cable were pulled or a phone out of reach: a
    /// half-open connection. Each end can still write until [`Faults::capacity`] is used up, and
    /// nothing arrives ever again, not even an end or a reset.
    pub fn cut(&self) {
        self.to_client().cut();
        self.to_server().cut();
    }

    /// Resets the connection, as when a process is killed or a router loses its memory: reads and
    /// writes fail with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset), later writes with
    /// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe). What is under way is lost; of what has
    /// arrived and was not read, the seed decides.
    pub fn reset(&self) {
        self.wire.with(Wire::reset);
    }

    /// Ends both directions in an orderly way behind what was written, wherever in a frame that
    /// is: reads give the end of the stream, writes fail with
    /// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
    pub fn end(&self) {
        self.wire.with(|wire| wire.end(Instant::now()));
    }

    /// Sets what happens by chance from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.wire.with(|wire| wire.set_faults(faults));
    }

    fn direction(&self, from: End) -> Direction {
        Direction {
            wire: Arc::clone(&self.wire),
            from,
        }
    }
}

impl Direction {
    /// As [`Link::stall`], in this direction.
    pub fn stall(&self) {
        self.wire.with(|wire| wire.stall(self.from, None));
    }

    /// As [`Link::heal`], in this direction.
    pub fn heal(&self) {
        self.wire.with(|wire| wire.heal(self.from));
    }

    /// As [`Link::cut`], in this direction.
    pub fn cut(&self) {
        self.wire.with(|wire| wire.cut(self.from));
    }

    /// How many bytes were written and not read.
    pub fn in_flight(&self) -> usize {
        self.wire.with(|wire| wire.len(self.from))
    }
}
