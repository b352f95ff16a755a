//! Masking of a client's payloads (§5.3).

use std::cell::RefCell;

use crate::random;

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
    #[inline]
    pub fn random() -> Self {
        DRAWN.with_borrow_mut(Drawn::next)
    }

    /// Makes sure that a new connection does not mask with keys that were drawn before the process
    /// was forked: the other one has them too.
    pub(crate) fn forget_keys_of_parent() {
        DRAWN.with_borrow_mut(Drawn::forget_keys_of_parent);
    }

    /// The four bytes of the key.
    pub const fn bytes(self) -> [u8; 4] {
        self.0
    }

    /// The key for the rest of a payload of which `len` bytes were masked already.
    #[must_use]
    pub const fn after(self, len: usize) -> Self {
        let key = u32::from_le_bytes(self.0);
        Self(key.rotate_right(len as u32 % 4 * 8).to_le_bytes())
    }

    /// Masks or unmasks a payload in place, from its first byte on; both are the same (§5.3).
    #[inline]
    pub fn apply(self, payload: &mut [u8]) {
        self.apply_and_scan(payload);
    }

    /// Copies a payload to `target`, which is as long, and masks the copy on the way.
    #[inline]
    pub(crate) fn apply_into(self, target: &mut [u8], payload: &[u8]) {
        if payload.len() < WIDE {
            copy_words(self, target, payload);
        } else {
            copy_wide(self, target, payload);
        }
    }

    /// As [`apply`](Self::apply); says whether all the bytes are ASCII afterwards, so that text
    /// need not be read a second time for it.
    #[inline]
    pub(crate) fn apply_and_scan(self, payload: &mut [u8]) -> bool {
        let seen = if payload.len() < WIDE {
            apply_words(self, payload)
        } else {
            apply_wide(self, payload)
        };
        seen & HIGH_BITS == 0
    }
}

/// Keys that were drawn ahead: one by one, the way to the generator takes longer than masking a
/// small payload does, and asking for the process as long as ten of them.
struct Drawn {
    keys: [[u8; 4]; AHEAD],
    used: usize,
    /// In which process.
    process: u32,
}

/// How many are drawn at a time.
const AHEAD: usize = 256;

thread_local! {
    static DRAWN: RefCell<Drawn> = const {
        RefCell::new(Drawn {
            keys: [[0; 4]; AHEAD],
            used: AHEAD,
            process: 0,
        })
    };
}

impl Drawn {
    #[inline]
    fn next(&mut self) -> MaskKey {
        if self.used >= self.keys.len() {
            self.draw();
        }
        let key = self.keys[self.used];
        self.used += 1;
        MaskKey(key)
    }

    #[cold]
    #[inline(never)]
    fn draw(&mut self) {
        self.process = random::fill(self.keys.as_flattened_mut());
        self.used = 0;
    }

    fn forget_keys_of_parent(&mut self) {
        if self.process != random::process() {
            self.used = self.keys.len();
        }
    }
}

/// From this length on, wider registers pay for the call that chooses them.
const WIDE: usize = 512;

/// From this length on, it pays to begin at a boundary of the widest registers.
#[cfg(target_arch = "x86_64")]
const ALIGNED: usize = 1024;

/// The bit of each byte that no ASCII character has.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Eight bytes at a time, or as many as the registers of the caller's target hold; gives all that it
/// made, combined with `|`.
///
/// The end of a payload, which may be no whole word, is taken with the word that ends there: it is
/// read before the words that it overlaps are changed, and written after them.
#[inline(always)]
fn apply_words(key: MaskKey, payload: &mut [u8]) -> u64 {
    let Some(&last) = payload.last_chunk::<8>() else {
        return apply_bytes(key, payload);
    };
    let last = u64::from_le_bytes(last) ^ repeat(key.after(payload.len()));
    let key = repeat(key);
    let mut seen = last;
    for word in payload.as_chunks_mut::<8>().0 {
        let made = u64::from_le_bytes(*word) ^ key;
        *word = made.to_le_bytes();
        seen |= made;
    }
    if let Some(end) = payload.last_chunk_mut::<8>() {
        *end = last.to_le_bytes();
    }
    seen
}

/// As [`apply_words`], for less than a word.
#[inline(always)]
fn apply_bytes(key: MaskKey, payload: &mut [u8]) -> u64 {
    let mut seen = 0;
    for (byte, key) in payload.iter_mut().zip(repeat(key).to_le_bytes()) {
        *byte ^= key;
        seen |= u64::from(*byte);
    }
    seen
}

/// As [`apply_words`], from one place to another, in blocks as large as fit.
#[inline(always)]
fn copy_words(key: MaskKey, target: &mut [u8], payload: &[u8]) {
    match payload.len() {
        32.. => copy_blocks::<32>(key, target, payload),
        16.. => copy_blocks::<16>(key, target, payload),
        8.. => copy_blocks::<8>(key, target, payload),
        4.. => copy_blocks::<4>(key, target, payload),
        _ => {
            target.copy_from_slice(payload);
            apply_bytes(key, target);
        }
    }
}

/// The end of a payload, which may be no whole block, is taken with the block that ends there.
#[inline(always)]
fn copy_blocks<const N: usize>(key: MaskKey, target: &mut [u8], payload: &[u8]) {
    let blocks = payload.as_chunks::<N>().0;
    for (to, from) in target.as_chunks_mut::<N>().0.iter_mut().zip(blocks) {
        *to = masked(key, *from);
    }
    if let (Some(to), Some(from)) = (target.last_chunk_mut(), payload.last_chunk::<N>()) {
        *to = masked(key.after(payload.len()), *from);
    }
}

#[inline(always)]
fn masked<const N: usize>(key: MaskKey, mut block: [u8; N]) -> [u8; N] {
    let key = u32::from_ne_bytes(key.0);
    for word in block.as_chunks_mut::<4>().0 {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    block
}

/// The key twice, as a word.
#[inline(always)]
const fn repeat(key: MaskKey) -> u64 {
    u32::from_le_bytes(key.0) as u64 * 0x1_0000_0001
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn apply_wide(key: MaskKey, payload: &mut [u8]) -> u64 {
    if payload.len() >= ALIGNED && std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the line above found that this machine has AVX-512.
        #[expect(unsafe_code)]
        unsafe {
            apply_avx512(key, payload)
        }
    } else if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the line above found that this machine has AVX2.
        #[expect(unsafe_code)]
        unsafe {
            apply_avx2(key, payload)
        }
    } else {
        apply_words(key, payload)
    }
}

/// As [`apply_wide`], but for registers of 64 bytes, which make no copy faster.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn copy_wide(key: MaskKey, target: &mut [u8], payload: &[u8]) {
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the line above found that this machine has AVX2.
        #[expect(unsafe_code)]
        unsafe {
            copy_avx2(key, target, payload);
        }
    } else {
        copy_words(key, target, payload);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn copy_wide(key: MaskKey, target: &mut [u8], payload: &[u8]) {
    copy_words(key, target, payload);
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn apply_wide(key: MaskKey, payload: &mut [u8]) -> u64 {
    apply_words(key, payload)
}

/// The portable loop, compiled for registers of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2(key: MaskKey, payload: &mut [u8]) -> u64 {
    apply_words(key, payload)
}

/// The portable loop, compiled for registers of 64 bytes, which are at their best where no store
/// crosses a cache line.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn apply_avx512(key: MaskKey, payload: &mut [u8]) -> u64 {
    let edge = payload.as_ptr().align_offset(64).min(payload.len());
    let (edge, aligned) = payload.split_at_mut(edge);
    apply_words(key, edge) | apply_words(key.after(edge.len()), aligned)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_avx2(key: MaskKey, target: &mut [u8], payload: &[u8]) {
    copy_words(key, target, payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_naively(key: MaskKey, payload: &mut [u8]) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key.0[i % 4];
        }
    }

    /// M1.
    #[test]
    fn every_length_and_alignment_equals_the_naive_loop_and_touches_nothing_else() {
        let key = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);
        let lengths = (0..=300).chain([1023, 1024, 4099, 65_537]);
        for len in lengths {
            for offset in 0..64 {
                let mut expected: Vec<u8> = (0..len + 128).map(|i| (i * 7) as u8).collect();
                let mut actual = expected.clone();
                apply_naively(key, &mut expected[offset..offset + len]);
                let payload = &mut actual[offset..offset + len];
                let is_ascii = key.apply_and_scan(payload);
                assert_eq!(is_ascii, payload.is_ascii());
                assert!(actual == expected, "length {len}, offset {offset}");

                let mut copied = vec![7; len + 2];
                let masked = expected[offset..offset + len].to_vec();
                key.apply_into(&mut copied[1..=len], &masked);
                apply_naively(key, &mut copied[1..=len]);
                assert!(copied[1..=len] == masked && copied[0] == 7 && copied[len + 1] == 7);
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

    /// M2, §10.3: keys must not repeat or be guessed from one another.
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
