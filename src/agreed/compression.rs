//! What was agreed on about compression (RFC 7692).

use super::Agreed;
use crate::deflate::DeflateParams;

impl Agreed {
    /// Sets the parameters of permessage-deflate, for an application that did the handshake by its
    /// own means.
    #[must_use]
    pub const fn with_deflate(mut self, params: DeflateParams) -> Self {
        self.deflate = Some(params);
        self
    }

    /// The parameters of permessage-deflate, if it was agreed on.
    pub const fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }
}
