//! What lies at the front of the input.

use crate::frame::{MaskKey, OpCode};

/// A header that lies whole in the input and says what most headers say: not a length of more than
/// 65535, and nothing that is wrong with its length or its mask.
pub(super) struct ShortHeader {
    pub(super) first: u8,
    /// How long it is itself.
    pub(super) len: usize,
    pub(super) key: Option<MaskKey>,
    pub(super) payload_len: usize,
}

/// The part of a frame that has not come yet.
pub(super) struct Frame {
    pub(super) fin: bool,
    pub(super) opcode: OpCode,
    /// Whether it carries a part of a compressed message.
    pub(super) is_compressed: bool,
    /// The key as it is to be applied to the next byte.
    pub(super) mask: Option<MaskKey>,
    pub(super) remaining: u64,
}

impl ShortHeader {
    #[inline(always)]
    pub(super) fn parse(input: &[u8], mask_bit: u8) -> Option<Self> {
        let &[first, second] = input.first_chunk()?;
        let (payload_len, mut len) = match second ^ mask_bit {
            payload_len @ 0..=125 => (usize::from(payload_len), 2),
            126 => {
                let &[_, _, high, low] = input.first_chunk()?;
                match u16::from_be_bytes([high, low]) {
                    // §5.2: not the shortest form.
                    ..=125 => return None,
                    payload_len => (usize::from(payload_len), 4),
                }
            }
            _ => return None,
        };
        let mut key = None;
        if mask_bit != 0 {
            key = Some(MaskKey::new(*input.get(len..)?.first_chunk()?));
            len += 4;
        }
        Some(Self {
            first,
            len,
            key,
            payload_len,
        })
    }

    /// Takes the frame off the front of `input`, if it lies whole there, and gives its payload.
    #[inline(always)]
    pub(super) fn take_payload<'a>(&self, input: &mut &'a mut [u8]) -> Option<&'a mut [u8]> {
        if input.len() < self.len + self.payload_len {
            return None;
        }
        let frame = split_front(input, self.len + self.payload_len);
        Some(frame.split_at_mut(self.len).1)
    }
}

impl Frame {
    /// Takes as much of the payload as there is off the front of `input`, and unmasks it.
    pub(super) fn take_payload<'a>(&mut self, input: &mut &'a mut [u8]) -> &'a [u8] {
        let (piece, key) = self.take_masked(input);
        unmask(piece, key);
        piece
    }

    /// Takes as much of the payload as there is off the front of `input`, with its key.
    pub(super) fn take_masked<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> (&'a mut [u8], Option<MaskKey>) {
        let len = usize::try_from(self.remaining).map_or(input.len(), |len| len.min(input.len()));
        (split_front(input, len), self.pass(len))
    }

    /// Notes that `count` bytes more of the payload have come; gives their key.
    pub(super) const fn pass(&mut self, count: usize) -> Option<MaskKey> {
        let key = self.mask;
        if let Some(key) = key {
            self.mask = Some(key.after(count));
        }
        self.remaining -= count as u64;
        key
    }

    /// Whether this is a whole message, and lies whole in `input`.
    pub(super) const fn is_message_in(&self, input: &[u8]) -> bool {
        self.fin && self.remaining <= input.len() as u64
    }

    /// Whether nothing is missing of it, nor of its message.
    pub(super) const fn is_end_of_message(&self) -> bool {
        self.fin && self.remaining == 0
    }
}

#[inline]
pub(super) fn unmask(payload: &mut [u8], key: Option<MaskKey>) {
    if let Some(key) = key {
        key.apply(payload);
    }
}

/// Splits the first `len` bytes off `input`.
#[inline]
pub(super) fn split_front<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}
