//! Frames as the peer of a connection makes them, encoded without the code under test.

use wsroom::Role;

/// The key with which a client masks in these tests: that of the examples in §5.7.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame that is sent to `role`: first byte, shortest form of length, masked for a server.
pub(crate) fn frame_to(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let key = (role == Role::Server).then_some(KEY);
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    let mut wire = vec![first];
    match payload.len() {
        len @ 0..126 => wire.push(mask_bit | len as u8),
        len @ 126..65_536 => {
            wire.push(mask_bit | 126);
            wire.extend((len as u16).to_be_bytes());
        }
        len => {
            wire.push(mask_bit | 127);
            wire.extend((len as u64).to_be_bytes());
        }
    }
    wire.extend(key.iter().flatten());
    let key = key.unwrap_or_default();
    wire.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    wire
}
