//! What client and server agree on about compression (RFC 7692 §7.1).

/// The parameters that an opening handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The server's window is two to the power of this, 9 to 15.
    pub server_max_window_bits: u8,
    /// The client's window is two to the power of this, 9 to 15.
    pub client_max_window_bits: u8,
}
