//! How a connection ended.

use std::fmt;

use crate::close::{CloseCode, CloseFrame};
use crate::error::ProtocolError;

/// What ended a connection, or began to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCause {
    /// This side sent the first Close.
    Local,
    /// The peer sent the first Close.
    Remote,
    /// The peer broke a rule.
    Protocol(ProtocolError),
    /// A Ping was not answered in time.
    PongTimeout,
    /// Nothing came from the peer for too long.
    IdleTimeout,
    /// The transport ended without a Close.
    ConnectionLost,
}

/// How a connection ended: who began, and what each side said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseInfo {
    /// What ended it, or began to.
    pub cause: CloseCause,
    /// The Close that this side sent.
    pub sent: Option<CloseFrame>,
    /// The Close that the peer sent.
    pub received: Option<CloseFrame>,
}

impl CloseInfo {
    /// The code of the connection close (§7.1.5): the peer's, 1005 if its Close had none, 1006 if
    /// no Close came.
    pub fn code(&self) -> CloseCode {
        self.received
            .as_ref()
            .map_or(CloseCode::ABNORMAL, |frame| frame.code)
    }

    /// The reason of the connection close (§7.1.6): the peer's, or empty. Escape it before it is
    /// shown.
    pub fn reason(&self) -> &str {
        self.received
            .as_ref()
            .map_or("", |frame| frame.reason.as_str())
    }

    /// Whether both sides sent a Close and no fault was met: nothing that the peer sent was lost.
    pub const fn is_clean(&self) -> bool {
        self.sent.is_some()
            && self.received.is_some()
            && matches!(self.cause, CloseCause::Local | CloseCause::Remote)
    }
}

impl fmt::Display for CloseInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            CloseCause::Local => f.write_str("closed by this side")?,
            CloseCause::Remote => f.write_str("closed by the peer")?,
            CloseCause::Protocol(error) => write!(f, "failed: {error}")?,
            CloseCause::PongTimeout => f.write_str("failed: ping was not answered in time")?,
            CloseCause::IdleTimeout => f.write_str("failed: peer was silent for too long")?,
            CloseCause::ConnectionLost => f.write_str("connection lost without a close")?,
        }
        if let Some(sent) = &self.sent {
            write!(f, ", sent {sent}")?;
        }
        if let Some(received) = &self.received {
            write!(f, ", received {received}")?;
        }
        Ok(())
    }
}
