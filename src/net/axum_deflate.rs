//! Compression, allowed by the extractor for axum.

use super::axum::WebSocketUpgrade;
use crate::deflate::Deflate;

impl WebSocketUpgrade {
    /// Allows permessage-deflate (RFC 7692); not done by default. See
    /// [`Upgrade::deflate`](crate::Upgrade::deflate), and for how hard to compress and what, the
    /// [`Config`](crate::Config).
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::response::Response;
    /// use wsroom::deflate::Deflate;
    /// use wsroom::net::axum::WebSocketUpgrade;
    ///
    /// async fn ws(ws: WebSocketUpgrade) -> Response {
    ///     let deflate = Deflate::default()
    ///         .server_max_window_bits(12)
    ///         .client_max_window_bits(12);
    ///     ws.deflate(deflate).on_upgrade(|mut socket| async move {
    ///         while let Ok(Some(message)) = socket.recv().await {
    ///             // …
    ///         }
    ///     })
    /// }
    /// ```
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.upgrade = self.upgrade.deflate(deflate);
        self
    }
}
