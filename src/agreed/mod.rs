//! What an opening handshake negotiated, on its way from `handshake` to `protocol`.

#[cfg(feature = "deflate")]
mod compression;

use crate::deflate::DeflateParams;

/// What client and server agreed on in the opening handshake (§4.2.2, §9.1).
///
/// The handshake makes it, a [`Connection`](crate::Connection) is built with it, and the
/// application reads it. The default value is a handshake that negotiated nothing.
///
/// # Examples
///
/// ```
/// use wsroom::Agreed;
///
/// assert_eq!(Agreed::default().protocol(), None);
/// assert_eq!(Agreed::default().with_protocol("chat").protocol(), Some("chat"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    protocol: Option<Box<str>>,
    /// The parameters of permessage-deflate, if it was agreed on.
    pub(crate) deflate: Option<DeflateParams>,
}

impl Agreed {
    /// Sets the subprotocol, for an application that did the handshake by its own means.
    #[must_use]
    pub fn with_protocol(mut self, protocol: impl Into<Box<str>>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// The subprotocol that both sides speak, if one was agreed on (§1.9).
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }
}
