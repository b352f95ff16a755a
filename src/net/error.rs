//! What can go wrong with a connection over a socket.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::error::ProtocolError;
use crate::handshake::HandshakeError;
use crate::protocol::SendError;

/// A WebSocket over a socket failed, or was asked for what it cannot do.
///
/// All but [`Send`](Self::Send), [`RecvTimeout`](Self::RecvTimeout) and
/// [`InsideFragments`](Self::InsideFragments) are final. A close that both sides agreed on is no
/// error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule of the protocol. It was told so with a Close.
    Protocol(ProtocolError),
    /// A Ping was not answered in time: the peer is gone.
    PongTimeout,
    /// Nothing came from the peer for too long.
    IdleTimeout,
    /// The closing handshake took too long, and the transport was cut.
    CloseTimeout,
    /// The transport ended without a Close (§7.1.5, code 1006).
    ConnectionLost,
    /// The transport failed.
    Io(io::Error),
    /// The opening handshake failed.
    Handshake(HandshakeError),
    /// The connection was asked to send what it must not; it lives on.
    Send(SendError),
    /// Nothing came within the time given to `recv_timeout`; the connection lives on.
    RecvTimeout,
    /// A whole message was asked for, but one is being taken in fragments; take the rest of it.
    InsideFragments,
    /// A `wss` URL was given to a function that has no TLS. Connect the TLS stream by other means
    /// and pass it to [`connect_over`](super::connect_over).
    TlsNeeded,
}

impl Error {
    /// Whether the peer vanished or the transport failed, so that another attempt may succeed.
    pub const fn is_connection_lost(&self) -> bool {
        matches!(
            self,
            Self::PongTimeout
                | Self::IdleTimeout
                | Self::CloseTimeout
                | Self::ConnectionLost
                | Self::Io(_)
        )
    }

    /// Whether a time ran out: of a Ping, of silence, of a handshake, or the caller's own.
    pub const fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::PongTimeout
                | Self::IdleTimeout
                | Self::CloseTimeout
                | Self::RecvTimeout
                | Self::Handshake(HandshakeError::TimedOut)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => write!(f, "peer broke the protocol: {error}"),
            Self::PongTimeout => f.write_str("ping was not answered in time"),
            Self::IdleTimeout => f.write_str("peer was silent for too long"),
            Self::CloseTimeout => f.write_str("closing handshake took too long"),
            Self::ConnectionLost => f.write_str("connection ended without a close"),
            Self::Io(error) => write!(f, "transport failed: {error}"),
            Self::Handshake(error) => write!(f, "opening handshake failed: {error}"),
            Self::Send(error) => write!(f, "cannot send: {error}"),
            Self::RecvTimeout => f.write_str("no message came in the given time"),
            Self::InsideFragments => f.write_str("a message is being taken in fragments"),
            Self::TlsNeeded => f.write_str("wss needs a TLS stream"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Send(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}
