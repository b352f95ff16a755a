//! What a thread keeps for whoever compresses or inflates a message next.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use flate2::{Compress, Compression, Decompress};

use super::codec::Ring;

/// A state for inflating, and 32 KiB for what comes out of it.
pub(super) struct InflateState {
    pub(super) decompress: Decompress,
    pub(super) ring: Ring,
}

/// A state for deflating with this window and level.
pub(super) struct DeflateState {
    pub(super) compress: Compress,
    window_bits: u8,
    level: u8,
}

/// Something that goes back to the thread when it is dropped: not always to the one it came from,
/// since a connection may have moved.
pub(super) struct Lent<T: Pooled>(Option<Box<T>>);

/// Boxed, since a connection that has none is to be small.
type Pool<T> = Vec<Box<T>>;

/// What a thread can keep.
pub(super) trait Pooled: Sized {
    /// How many of them a thread keeps. One is in use at a time but for messages that come, or are
    /// sent, in pieces.
    const KEPT: usize;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R>;

    /// Whether it is fit for another use.
    fn is_kept(&self) -> bool {
        true
    }
}

thread_local! {
    static INFLATE: RefCell<Pool<InflateState>> = const { RefCell::new(Vec::new()) };
    static DEFLATE: RefCell<Pool<DeflateState>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Pool<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A state for inflating a stream from its beginning.
pub(super) fn inflate_state() -> Lent<InflateState> {
    let lent = InflateState::with_pool(Vec::pop)
        .flatten()
        .map(|mut state| {
            state.decompress.reset(false);
            state.ring.clear();
            state
        });
    Lent(Some(lent.unwrap_or_else(|| {
        Box::new(InflateState {
            // The largest window, so that what is inside one message never depends on how its
            // bytes were cut.
            decompress: Decompress::new(false),
            ring: Ring::new(1 << 15),
        })
    })))
}

/// A state for deflating a stream from its beginning.
pub(super) fn deflate_state(window_bits: u8, level: u8) -> Lent<DeflateState> {
    let wanted = (window_bits, level);
    let lent = DeflateState::with_pool(|pool| {
        let at = pool
            .iter()
            .rposition(|state| (state.window_bits, state.level) == wanted)?;
        let mut state = pool.remove(at);
        state.compress.reset();
        Some(state)
    });
    Lent(Some(lent.flatten().unwrap_or_else(|| {
        let level_of = Compression::new(u32::from(level));
        Box::new(DeflateState {
            compress: Compress::new_with_window_bits(level_of, false, window_bits),
            window_bits,
            level,
        })
    })))
}

/// An empty buffer.
pub(super) fn scratch() -> Lent<Vec<u8>> {
    let mut buffer = Vec::<u8>::with_pool(Vec::pop).flatten().unwrap_or_default();
    buffer.clear();
    Lent(Some(buffer))
}

impl Pooled for InflateState {
    const KEPT: usize = 4;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R> {
        INFLATE.try_with(|pool| f(&mut pool.borrow_mut())).ok()
    }
}

impl Pooled for DeflateState {
    const KEPT: usize = 4;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R> {
        DEFLATE.try_with(|pool| f(&mut pool.borrow_mut())).ok()
    }
}

impl Pooled for Vec<u8> {
    const KEPT: usize = 2;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R> {
        SCRATCH.try_with(|pool| f(&mut pool.borrow_mut())).ok()
    }

    fn is_kept(&self) -> bool {
        self.capacity() <= 64 << 10
    }
}

impl<T: Pooled> Drop for Lent<T> {
    fn drop(&mut self) {
        let Some(lent) = self.0.take() else {
            return;
        };
        // A thread that ends has no pool any more; then it is freed. What was kept longest goes,
        // so that what is asked for now is what is there.
        if lent.is_kept() {
            let _ = T::with_pool(|pool| {
                let oldest = (pool.len() >= T::KEPT).then(|| pool.remove(0));
                pool.push(lent);
                oldest
            });
        }
    }
}

impl<T: Pooled> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().expect("it is there until it is dropped")
    }
}

impl<T: Pooled> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0
            .as_deref_mut()
            .expect("it is there until it is dropped")
    }
}
