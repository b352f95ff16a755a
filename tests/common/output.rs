//! What a connection writes.

use bytes::{Buf, BufMut};
use wsroom::Connection;

/// Takes all that a connection has to write.
pub(crate) fn written(connection: &mut Connection) -> Vec<u8> {
    let mut wire = Vec::new();
    while connection.output_len() > 0 {
        let len = connection.output_len();
        assert_eq!(connection.output().remaining(), len);
        wire.put(connection.output());
    }
    wire
}
