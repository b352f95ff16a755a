//! Memory for bytes on their way, which each thread keeps for its next use.
//!
//! A connection has a buffer only while there are bytes in it. What it needs for a moment, many
//! times a second, is not asked of the allocator each time.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;

/// Bytes that go back to the thread on which they are dropped. What stands in them is left of
/// earlier uses until it is written to.
#[derive(Default)]
pub(crate) struct Buffer(Box<[u8]>);

/// Lengths are powers of two from this on, and a 64th more: a frame whose payload is a power of two
/// fits in with its header.
const MIN: usize = 64;

/// Longer buffers are not kept.
const MAX: usize = 65 << 15;

/// How many bytes a thread keeps in all.
const KEPT: usize = 4 << 20;

struct Pool {
    /// By length.
    buffers: [Vec<Box<[u8]>>; class(MAX) + 1],
    len: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool {
            buffers: [const { Vec::new() }; class(MAX) + 1],
            len: 0,
        })
    };
}

impl Buffer {
    /// A buffer of at least `len` bytes, and at most twice as many if that is more than 64.
    pub(crate) fn new(len: usize) -> Self {
        Self::kept(len).unwrap_or_else(|| Self(vec![0; class_len(class(len))].into_boxed_slice()))
    }

    /// The same, if the thread has one.
    pub(crate) fn kept(len: usize) -> Option<Self> {
        if len > MAX {
            return None;
        }
        // A thread that ends has none any more.
        POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            let bytes = pool.buffers[class(len)].pop()?;
            pool.len -= bytes.len();
            Some(Self(bytes))
        })
        .ok()
        .flatten()
    }
}

/// Frees what the thread keeps.
pub(crate) fn release_kept() {
    POOL.with_borrow_mut(|pool| {
        pool.buffers.fill_with(Vec::new);
        pool.len = 0;
    });
}

/// Which buffers hold `len` bytes.
const fn class(len: usize) -> usize {
    let power = len - len / 65;
    let power = if power < MIN { MIN } else { power };
    (power.next_power_of_two() / MIN).trailing_zeros() as usize
}

const fn class_len(class: usize) -> usize {
    (MIN << class) + (MIN << class >> 6)
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            give_back(std::mem::take(&mut self.0));
        }
    }
}

fn give_back(bytes: Box<[u8]>) {
    // Without a pool it is freed.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if bytes.len() <= MAX && pool.len + bytes.len() <= KEPT {
            pool.len += bytes.len();
            pool.buffers[class(bytes.len())].push(bytes);
        }
    });
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// Copies `source` to `target`, which is as long.
///
/// The instruction that memcpy uses from about 2 KiB on takes up to 28 times as long on some machines
/// (Zen 5: 16 KiB in 4.6 µs instead of 0.16) if the target lies up to 63 bytes further in its page
/// than the source, which is what headers bring about. Then it is copied in pieces.
#[inline]
pub(crate) fn copy_into(target: &mut [u8], source: &[u8]) {
    let apart = target.as_ptr().addr().wrapping_sub(source.as_ptr().addr()) % 4096;
    if source.len() < 2 * PIECE || !(1..64).contains(&apart) {
        return target.copy_from_slice(source);
    }
    copy_in_pieces(target, source);
}

const PIECE: usize = 1 << 10;

#[inline(never)]
fn copy_in_pieces(target: &mut [u8], source: &[u8]) {
    for (target, source) in target.chunks_mut(PIECE).zip(source.chunks(PIECE)) {
        target.copy_from_slice(source);
    }
}

/// A copy of `bytes`, to keep.
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    if bytes.len() < HANDED_OVER {
        return Bytes::copy_from_slice(bytes);
    }
    let mut copied = Gathered::default();
    copied.extend(bytes, bytes.len());
    copied.finish()
}

/// Bytes of which more may come, until they are handed over whole.
#[derive(Default)]
pub(crate) struct Gathered {
    buffer: Buffer,
    len: usize,
}

/// From this length on, bytes are handed over in a buffer; shorter ones are left to the allocator.
const HANDED_OVER: usize = 2 << 10;

impl Gathered {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a copy of `piece` and gives it. `announced` is how many bytes there will be in all, as
    /// far as that is known.
    ///
    /// The memory is at most four times as much as has come, so nothing is reserved on the peer's
    /// word, and each byte is copied a constant number of times. But what the thread has kept is
    /// used at once: it costs nothing.
    pub(crate) fn extend(&mut self, piece: &[u8], announced: usize) -> &mut [u8] {
        let end = self.len + piece.len();
        if end > self.buffer.len() {
            self.grow(end, announced);
        }
        let added = &mut self.buffer[self.len..end];
        copy_into(added, piece);
        self.len = end;
        added
    }

    /// Room behind what has come, for at most `wanted` bytes, at least one.
    pub(crate) fn spare(&mut self, wanted: usize) -> &mut [u8] {
        if self.len == self.buffer.len() {
            self.grow(self.len + 1, self.len.saturating_add(wanted));
        }
        let room = (self.buffer.len() - self.len).min(wanted);
        &mut self.buffer[self.len..][..room]
    }

    /// Takes in the first `count` bytes of the spare room, and gives them.
    pub(crate) fn commit(&mut self, count: usize) -> &mut [u8] {
        let start = self.len;
        self.len += count;
        &mut self.buffer[start..self.len]
    }

    #[cold]
    fn grow(&mut self, needed: usize, announced: usize) {
        let announced = announced.max(needed);
        let mut grown = match Buffer::kept(announced) {
            Some(kept) => kept,
            None => Buffer::new(needed.saturating_mul(2).min(announced)),
        };
        copy_into(&mut grown[..self.len], &self.buffer[..self.len]);
        self.buffer = grown;
    }

    /// All that has come. What is kept of it keeps at most twice as many bytes, if it is more than
    /// a few.
    pub(crate) fn finish(self) -> Bytes {
        if self.len < HANDED_OVER.max(self.buffer.len() / 2) {
            return Bytes::copy_from_slice(&self.buffer[..self.len]);
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Gathered {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        POOL.with_borrow(|pool| {
            let sum = pool.buffers.iter().flatten().map(|bytes| bytes.len()).sum();
            assert_eq!(pool.len, sum);
            sum
        })
    }

    #[test]
    fn a_buffer_is_as_long_as_was_asked_for_and_at_most_twice_as_long() {
        for len in [1, 63, 64, 65, 66, 4096, 4160, 4161, MAX, MAX + 1] {
            let buffer = Buffer::new(len);
            assert!(
                buffer.len() >= len && buffer.len() <= 2 * len.max(MIN),
                "{len}"
            );
        }
        assert_eq!(Buffer::default().len(), 0);
    }

    #[test]
    fn a_buffer_that_was_dropped_is_used_again_and_a_thread_keeps_only_so_many() {
        assert!(Buffer::kept(10_000).is_none());
        drop(Buffer::new(10_000));
        assert_eq!(kept(), 65 << 8);
        assert!(Buffer::kept(65 << 7).is_none(), "it would be twice as long");
        assert_eq!(Buffer::kept(65 << 8).unwrap().len(), 65 << 8);
        let many: Vec<Buffer> = (0..100).map(|_| Buffer::new(64 << 10)).collect();
        drop(many);
        let many = kept();
        assert!((KEPT - (65 << 10)..=KEPT).contains(&many));
        drop(Buffer::new(MAX + 1));
        assert_eq!(kept(), many);
    }

    #[test]
    fn nothing_is_reserved_on_the_word_of_a_peer() {
        let mut gathered = Gathered::default();
        gathered.extend(&[1; 100], 1 << 30);
        assert!(gathered.buffer.len() <= 260);
        while gathered.len() < 1 << 20 {
            gathered.extend(&[1; 1000], 1 << 30);
            assert!(gathered.buffer.len() <= 4 * gathered.len().max(128));
            assert!(gathered.spare(usize::MAX).len() <= 3 * gathered.len().max(128));
        }
    }

    #[test]
    fn what_is_handed_over_keeps_at_most_twice_its_length() {
        for len in [0, 1, 1000, HANDED_OVER, 33_000, 70_000, 1 << 20] {
            let mut gathered = Gathered::default();
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            for piece in bytes.chunks(7000) {
                assert_eq!(gathered.extend(piece, usize::MAX), piece);
            }
            let capacity = gathered.buffer.len();
            let handed_over = gathered.finish();
            assert_eq!(handed_over, bytes);
            let before = kept();
            drop(handed_over);
            let freed = kept() - before;
            assert!(freed == 0 || freed == capacity && capacity <= 2 * len);
        }
    }

    #[test]
    fn a_copy_is_a_copy_however_the_two_lie_in_their_pages() {
        let source: Vec<u8> = (0..20_000).map(|i| i as u8).collect();
        let mut target = vec![0; 30_000];
        for len in [0, 1, 2047, 2048, 5000, 20_000] {
            for at in (0..70).chain([4095, 4096]) {
                target.fill(0);
                copy_into(&mut target[at..at + len], &source[..len]);
                assert!(target[at..at + len] == source[..len]);
                assert!(
                    target[..at]
                        .iter()
                        .chain(&target[at + len..])
                        .all(|&b| b == 0)
                );
            }
        }
    }

    #[test]
    fn bytes_that_are_written_into_the_spare_room_are_those_that_are_handed_over() {
        let mut gathered = Gathered::default();
        gathered.extend(b"ab", 5);
        let spare = gathered.spare(3);
        assert_eq!(spare.len(), 3);
        spare.copy_from_slice(b"cde");
        assert_eq!(gathered.commit(2), b"cd");
        assert_eq!(gathered.spare(1), b"e");
        assert_eq!(gathered.finish(), "abcd");
    }
}
