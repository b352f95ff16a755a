//! Connections that agreed on permessage-deflate.

use wsroom::deflate::DeflateParams;
use wsroom::frame::MaskKey;
use wsroom::{Agreed, Config, Connection, Role};

use super::frames::KEY;

/// The same window for both sides.
pub(crate) fn params(window_bits: u8, takes_over: bool) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: !takes_over,
        client_no_context_takeover: !takes_over,
        server_max_window_bits: window_bits,
        client_max_window_bits: window_bits,
    }
}

/// A connection that masks with the key of the frames, if it masks at all.
pub(crate) fn connection(role: Role, params: DeflateParams, config: Config) -> Connection {
    let mut connection = Connection::new(role, Agreed::default().with_deflate(params), config);
    connection.fix_mask_key(MaskKey::new(KEY));
    connection
}
