//! The header of a frame (§5.2).
//!
//! ```text
//!  0               1               2 or more bytes     0 or 4 bytes
//! +-+-+-+-+-------+-+-------------+-------------------+--------------+
//! |F|R|R|R| opcode|M| length      | longer length     | mask key     |
//! +-+-+-+-+-------+-+-------------+-------------------+--------------+
//! ```
//!
//! What a header means inside a message is judged in `protocol`.

use crate::error::ProtocolError;
pub use crate::mask::MaskKey;

/// What a frame carries (§5.2). Reserved opcodes have no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpCode {
    /// 0: the next fragment of a message.
    Continuation = 0,
    /// 1: text, or its first fragment.
    Text = 1,
    /// 2: binary data, or its first fragment.
    Binary = 2,
    /// 8: Close.
    Close = 8,
    /// 9: Ping.
    Ping = 9,
    /// 10: Pong.
    Pong = 10,
}

impl OpCode {
    /// Takes the opcode from the lower four bits of the first byte of a frame.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::ReservedOpCode`] for 3 to 7 and 11 to 15.
    pub const fn parse(first: u8) -> Result<Self, ProtocolError> {
        Ok(match first & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(ProtocolError::ReservedOpCode),
        })
    }

    /// Whether this is Close, Ping or Pong (§5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a frame.
///
/// # Examples
///
/// ```
/// use wsroom::frame::{FrameHeader, MaskKey, OpCode};
///
/// // §5.7: a masked text message of five bytes.
/// let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d];
/// let (header, len) = FrameHeader::parse(&bytes)?.expect("the header is complete");
/// assert_eq!(len, 6);
/// assert_eq!(header.opcode, OpCode::Text);
/// assert!(header.fin);
/// assert_eq!(header.payload_len, 5);
/// assert_eq!(header.mask, Some(MaskKey::new([0x37, 0xfa, 0x21, 0x3d])));
/// assert_eq!(header.encode().as_slice(), bytes);
/// # Ok::<(), wsroom::ProtocolError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last fragment of a message.
    pub fin: bool,
    /// RSV1, which an extension may have given a meaning.
    pub rsv1: bool,
    /// What the frame carries.
    pub opcode: OpCode,
    /// The key of a masked frame.
    pub mask: Option<MaskKey>,
    /// The length of the payload in bytes, below 2^63.
    pub payload_len: u64,
}

impl FrameHeader {
    /// The longest header in bytes: two, a length of eight, a key of four.
    pub const MAX_LEN: usize = 14;

    /// Takes a header from the front of `bytes`: the header and its length in bytes, or `None`
    /// while it is incomplete. A fault is reported as soon as its byte is there.
    ///
    /// # Errors
    ///
    /// RSV2 or RSV3 set, a reserved opcode, a control frame that is fragmented or too long, a
    /// length with its highest bit set or not in its shortest form.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::parse_with(bytes, |_| Ok(()))
    }

    /// Parses a header of which each part is judged by `check` before the next one is looked at,
    /// so that the first fault of several is the one of the earliest byte.
    #[inline]
    pub(crate) fn parse_with(
        bytes: &[u8],
        mut check: impl FnMut(HeaderPart) -> Result<(), ProtocolError>,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        // §5.2: no extension that we know uses RSV2 or RSV3.
        if first & 0x30 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        let opcode = OpCode::parse(first)?;
        // §5.5: control frames must not be fragmented.
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControlFrame);
        }
        check(HeaderPart::First { rsv1, opcode })?;

        let &[second, ref rest @ ..] = rest else {
            return Ok(None);
        };
        let (masked, short_len) = (second & 0x80 != 0, second & 0x7f);
        check(HeaderPart::Mask(masked))?;
        // §5.5: a control frame has at most 125 bytes, so it never has a longer form of length.
        if opcode.is_control() && short_len > 125 {
            return Err(ProtocolError::ControlFrameTooLong);
        }

        let Some((payload_len, len_bytes)) = parse_payload_len(short_len, rest)? else {
            return Ok(None);
        };
        check(HeaderPart::Length {
            opcode,
            payload_len,
        })?;

        let mut mask = None;
        if masked {
            let Some(&key) = rest[len_bytes..].first_chunk() else {
                return Ok(None);
            };
            mask = Some(MaskKey::new(key));
        }
        let header = Self {
            fin,
            rsv1,
            opcode,
            mask,
            payload_len,
        };
        Ok(Some((header, 2 + len_bytes + if masked { 4 } else { 0 })))
    }

    /// Makes the bytes of the header, with the length in its shortest form.
    #[inline(always)]
    pub const fn encode(&self) -> EncodedHeader {
        let first = (self.fin as u64) << 7 | (self.rsv1 as u64) << 6 | self.opcode as u64;
        let (mask_bit, key, key_len) = match self.mask {
            Some(key) => (0x8000, u32::from_le_bytes(key.bytes()) as u64, 4),
            None => (0, 0, 0),
        };
        let start = first | mask_bit;
        // Little-endian, so what comes first is lowest.
        let (low, high, len) = match self.payload_len {
            len @ 0..=125 => (start | len << 8 | key << 16, 0, 2),
            len @ 126..=0xffff => {
                let len = (len as u16).swap_bytes() as u64;
                (start | 126 << 8 | len << 16 | key << 32, 0, 4)
            }
            len => {
                let len = len.swap_bytes();
                (start | 127 << 8 | len << 16, len >> 48 | key << 16, 10)
            }
        };
        EncodedHeader {
            bytes: (low as u128 | (high as u128) << 64).to_le_bytes(),
            len: len + key_len,
        }
    }
}

/// The bytes of a header.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHeader {
    /// As many as two registers hold: made of single bytes, they could be loaded only after all of
    /// these have been stored.
    bytes: [u8; 16],
    len: u8,
}

impl EncodedHeader {
    /// The bytes of the header and zeros behind them, and how many bytes it has.
    #[inline]
    pub(crate) const fn padded(self) -> ([u8; 16], usize) {
        (self.bytes, self.len as usize)
    }

    /// The bytes, 2 to 14 of them.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What of a header is known, for a check that needs to know more than the header.
#[derive(Clone, Copy)]
pub(crate) enum HeaderPart {
    First { rsv1: bool, opcode: OpCode },
    Mask(bool),
    Length { opcode: OpCode, payload_len: u64 },
}

/// The length of the payload and how many bytes of `rest`, which follows the second byte, say it.
#[inline]
fn parse_payload_len(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (len, shortest, bytes) = match short {
        126 => match rest.first_chunk() {
            Some(&bytes) => (u64::from(u16::from_be_bytes(bytes)), 126, 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(&bytes) => (u64::from_be_bytes(bytes), 0x1_0000, 8),
            None => return Ok(None),
        },
        _ => (u64::from(short), 0, 0),
    };
    // §5.2: the most significant bit of a 64-bit length is 0.
    if len >> 63 != 0 {
        return Err(ProtocolError::LengthOverflow);
    }
    // §5.2: the minimal number of bytes encodes the length.
    if len < shortest {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((len, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: MaskKey = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);

    const fn header(
        fin: bool,
        opcode: OpCode,
        mask: Option<MaskKey>,
        payload_len: u64,
    ) -> FrameHeader {
        FrameHeader {
            fin,
            rsv1: false,
            opcode,
            mask,
            payload_len,
        }
    }

    /// F5.
    #[test]
    fn the_examples_of_section_5_7_are_parsed_and_encoded() {
        let table: [(&[u8], FrameHeader); 8] = [
            (&[0x81, 0x05], header(true, OpCode::Text, None, 5)),
            (
                &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d],
                header(true, OpCode::Text, Some(KEY), 5),
            ),
            (&[0x01, 0x03], header(false, OpCode::Text, None, 3)),
            (&[0x80, 0x02], header(true, OpCode::Continuation, None, 2)),
            (&[0x89, 0x05], header(true, OpCode::Ping, None, 5)),
            (
                &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d],
                header(true, OpCode::Pong, Some(KEY), 5),
            ),
            (
                &[0x82, 0x7e, 0x01, 0x00],
                header(true, OpCode::Binary, None, 256),
            ),
            (
                &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0],
                header(true, OpCode::Binary, None, 65_536),
            ),
        ];
        for (bytes, header) in table {
            assert_eq!(FrameHeader::parse(bytes), Ok(Some((header, bytes.len()))));
            assert_eq!(header.encode().as_slice(), bytes);
        }
    }

    #[test]
    fn a_header_is_incomplete_until_its_last_byte() {
        let header = header(true, OpCode::Binary, Some(KEY), 1 << 40).encode();
        for len in 0..header.as_slice().len() {
            assert_eq!(FrameHeader::parse(&header.as_slice()[..len]), Ok(None));
        }
    }

    /// F6.
    #[test]
    fn the_length_is_in_its_shortest_form() {
        let table = [
            (125, 2),
            (126, 4),
            (65_535, 4),
            (65_536, 10),
            (u64::MAX >> 1, 10),
        ];
        for (payload_len, len) in table {
            let encoded = header(true, OpCode::Binary, None, payload_len).encode();
            assert_eq!(encoded.as_slice().len(), len);
            let parsed = FrameHeader::parse(encoded.as_slice()).unwrap().unwrap();
            assert_eq!(parsed.0.payload_len, payload_len);
        }
    }

    #[test]
    fn each_fault_of_a_header_is_told_apart() {
        let table: [(&[u8], ProtocolError); 9] = [
            (&[0xa1], ProtocolError::ReservedBits),
            (&[0x91], ProtocolError::ReservedBits),
            (&[0x83], ProtocolError::ReservedOpCode),
            (&[0x8f], ProtocolError::ReservedOpCode),
            (&[0x09], ProtocolError::FragmentedControlFrame),
            (&[0x89, 0x7e], ProtocolError::ControlFrameTooLong),
            (&[0x82, 0x7e, 0, 125], ProtocolError::LengthNotMinimal),
            (
                &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                ProtocolError::LengthNotMinimal,
            ),
            (
                &[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0],
                ProtocolError::LengthOverflow,
            ),
        ];
        for (bytes, error) in table {
            assert_eq!(FrameHeader::parse(bytes), Err(error), "{bytes:x?}");
        }
    }
}
