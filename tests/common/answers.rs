//! A connection of which every byte it writes is known beforehand.

#![allow(dead_code, reason = "no test uses all of it")]

use wsroom::frame::MaskKey;
use wsroom::{Agreed, Config, Connection, Role};

use super::frames::{KEY, frame_to};

/// A connection that masks with the key of the frames, if it masks at all.
pub(crate) fn connection_with(role: Role, config: Config) -> Connection {
    let mut connection = Connection::new(role, Agreed::default(), config);
    connection.fix_mask_key(MaskKey::new(KEY));
    connection
}

/// A frame that such a connection of `role` writes.
pub(crate) fn frame_from(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    frame_to(peer, first, payload)
}
