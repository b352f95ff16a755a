//! Compression as a part of the opening handshake (RFC 7692 §5).

use super::{HandshakeError, Upgrade};
use crate::deflate::Deflate;

impl Upgrade {
    /// Asks for permessage-deflate (RFC 7692), or allows it as a server. Not done by default.
    ///
    /// See [`Deflate`] for the parameters, and [`Agreed::deflate`](crate::Agreed::deflate) for what
    /// became of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use wsroom::Upgrade;
    /// use wsroom::deflate::Deflate;
    ///
    /// let upgrade = Upgrade::default().deflate(Deflate::default().server_max_window_bits(12));
    /// # let _ = upgrade;
    /// ```
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        if deflate.is_faulty() {
            return self.or_fault(HandshakeError::WindowBits);
        }
        self.set().deflate = Some(deflate);
        self
    }
}
