//! Masking of a client's payloads (§5.3).

use rand::RngExt;

/// The key with which a client masks the payload of one frame (§5.3).
///
/// # Examples
///
/// ```
/// use wsroom::frame::MaskKey;
///
/// // §5.7: a masked text message "Hello".
/// let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// MaskKey::new([0x37, 0xfa, 0x21, 0x3d]).apply(&mut payload);
/// assert_eq!(payload, *b"Hello");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskKey([u8; 4]);

impl MaskKey {
    /// Wraps the four bytes of a key as they stand in the frame.
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// A fresh key from the thread's cryptographically strong generator (§10.3).
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The four bytes of the key.
    pub const fn bytes(self) -> [u8; 4] {
        self.0
    }

    /// The key for the rest of a payload of which `len` bytes were masked already.
    #[must_use]
    pub const fn after(self, len: usize) -> Self {
        let [a, b, c, d] = self.0;
        Self(match len % 4 {
            0 => [a, b, c, d],
            1 => [b, c, d, a],
            2 => [c, d, a, b],
            _ => [d, a, b, c],
        })
    }

    /// Masks or unmasks a payload in place, from its first byte on; both are the same (§5.3).
    #[inline]
    pub fn apply(self, payload: &mut [u8]) {
        if payload.len() < WIDE {
            apply_words(self, payload);
        } else {
            apply_wide(self, payload);
        }
    }
}

/// From this length on, wider registers pay for the call that chooses them.
const WIDE: usize = 128;

/// Portable: eight bytes at a time, or as many as the registers of the caller's target hold.
#[inline(always)]
fn apply_words(key: MaskKey, payload: &mut [u8]) {
    let [a, b, c, d] = key.0;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn apply_wide(key: MaskKey, payload: &mut [u8]) {
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the line above found that this machine has AVX2.
        #[expect(unsafe_code)]
        unsafe {
            apply_avx2(key, payload);
        }
    } else {
        apply_words(key, payload);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn apply_wide(key: MaskKey, payload: &mut [u8]) {
    apply_words(key, payload);
}

/// The portable loop, compiled for registers of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2(key: MaskKey, payload: &mut [u8]) {
    apply_words(key, payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_naively(key: MaskKey, payload: &mut [u8]) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key.0[i % 4];
        }
    }

    #[test]
    fn every_length_and_alignment_equals_the_naive_loop_and_touches_nothing_else() {
        let key = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);
        let lengths = (0..=300).chain([1023, 1024, 4099, 65_537]);
        for len in lengths {
            for offset in 0..64 {
                let mut expected: Vec<u8> = (0..len + 128).map(|i| (i * 7) as u8).collect();
                let mut actual = expected.clone();
                apply_naively(key, &mut expected[offset..offset + len]);
                key.apply(&mut actual[offset..offset + len]);
                assert!(actual == expected, "length {len}, offset {offset}");
            }
            if cfg!(miri) && len > 40 {
                break;
            }
        }
    }

    #[test]
    fn a_payload_in_two_pieces_is_masked_like_a_whole_one() {
        let key = MaskKey::new([1, 2, 4, 8]);
        let mut whole = [0x55; 40];
        key.apply(&mut whole);
        for at in 0..=whole.len() {
            let mut pieces = [0x55; 40];
            let (left, right) = pieces.split_at_mut(at);
            key.apply(left);
            key.after(at).apply(right);
            assert_eq!(pieces, whole, "cut at {at}");
        }
    }

    /// §10.3: keys must not repeat or be guessed from one another.
    #[test]
    fn random_keys_are_balanced_in_every_bit() {
        let keys: Vec<u32> = (0..10_000)
            .map(|_| u32::from_ne_bytes(MaskKey::random().bytes()))
            .collect();
        for bit in 0..32 {
            let ones = keys.iter().filter(|&&key| key >> bit & 1 == 1).count();
            // Six standard deviations of 50 each.
            assert!(
                (4_700..=5_300).contains(&ones),
                "bit {bit}: {ones} of 10000"
            );
        }
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
