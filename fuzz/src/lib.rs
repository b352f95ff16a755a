//! What the fuzz targets share: ways to cut bytes, streams that are nearly legal, and two ends.

pub mod head;
pub mod pair;
pub mod stream;

use arbitrary::Arbitrary;
use bytes::Buf;
use wsroom::deflate::DeflateParams;
use wsroom::frame::MaskKey;
use wsroom::{Agreed, Config, Connection, Role};

/// How bytes are cut into pieces: by these sizes less one, over and over.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// The pieces of `bytes`: an empty one first, since an empty read is legal too, and after some
    /// hundreds the rest as one, since more of them only cost time.
    pub fn cut(self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = vec![Vec::new()];
        for size in self.0.into_iter().cycle().take(400) {
            let (piece, rest) = bytes.split_at((1 + usize::from(size)).min(bytes.len()));
            if piece.is_empty() {
                break;
            }
            pieces.push(piece.to_vec());
            bytes = rest;
        }
        pieces.push(bytes.to_vec());
        pieces
    }
}

/// The key with which connections mask, and frames that are made for them.
pub const KEY: MaskKey = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);

/// A connection that masks with a key that both runs of a comparison have.
pub fn connection(role: Role, config: Config) -> Connection {
    connection_with(role, Agreed::default(), config)
}

/// As [`connection`], after a handshake that agreed on this.
pub fn connection_with(role: Role, agreed: Agreed, config: Config) -> Connection {
    let mut connection = Connection::new(role, agreed, config);
    connection.fix_mask_key(KEY);
    connection
}

/// What a handshake can agree on about compression, if anything: flags, and the windows of server
/// and client.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Compression([u8; 3]);

impl Compression {
    pub fn agreed(self) -> Agreed {
        match self.params() {
            Some(params) => Agreed::default().with_deflate(params),
            None => Agreed::default(),
        }
    }

    pub fn params(self) -> Option<DeflateParams> {
        let [flags, server_bits, client_bits] = self.0;
        (flags & 1 != 0).then_some(DeflateParams {
            server_no_context_takeover: flags & 2 != 0,
            client_no_context_takeover: flags & 4 != 0,
            server_max_window_bits: 8 + server_bits % 8,
            client_max_window_bits: 8 + client_bits % 8,
        })
    }
}

/// The other end of `role`.
pub fn peer_of(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// All that `connection` has to write, as an adapter takes it.
pub fn written(connection: &mut Connection) -> Vec<u8> {
    let mut wire = Vec::new();
    while connection.output().has_remaining() {
        let chunk = connection.output().chunk().to_vec();
        connection.output().advance(chunk.len());
        wire.extend(chunk);
    }
    assert_eq!(connection.output_len(), 0);
    wire
}
