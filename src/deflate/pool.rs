//! What a thread keeps for whoever compresses or inflates a message next.
//!
//! States cost hundreds of KiB, so no connection has one between two messages. It has its window,
//! which is loaded into a state when the next message begins; unless the state is the one that it
//! gave back and nobody took it since, which is the case where few connections are busy.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use zlib_rs::{Deflate, Inflate};

use super::context::Mark;
use super::ring::Ring;

/// A state for inflating, and 32 KiB for what comes out of it.
pub(super) struct InflateState {
    pub(super) inflate: Inflate,
    pub(super) ring: Ring,
    mark: Option<Mark>,
}

/// A state for deflating with this window and level.
pub(super) struct DeflateState {
    pub(super) deflate: Deflate,
    mark: Option<Mark>,
    window_bits: u8,
    level: u8,
}

/// A buffer that is made once: what is behind its end stays as it is.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    len: usize,
}

/// Something that goes back to the thread when it is dropped: not always to the one it came from,
/// since a connection may have moved.
pub(super) struct Lent<T: Pooled>(Option<Box<T>>);

/// Whether a state has to be told what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is at the beginning of a stream.
    Nothing,
    /// It stands where its mark says.
    All,
}

/// What was given back last is last.
pub(super) struct Pool<T> {
    kept: Vec<Kept<T>>,
    /// How often something was given back.
    now: u64,
}

struct Kept<T> {
    /// Boxed, since a connection that has none is to be small.
    state: Box<T>,
    given_back: u64,
}

/// What a thread can keep.
pub(super) trait Pooled: Sized {
    /// How many of them a thread keeps.
    const KEPT: usize;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R>;

    /// Where it stands, if somebody may want to go on there.
    fn mark(&self) -> Option<Mark>;

    /// Whether it is fit for another use.
    fn is_kept(&self) -> bool {
        true
    }
}

thread_local! {
    static INFLATE: RefCell<Pool<InflateState>> = const { RefCell::new(Pool::new()) };
    static DEFLATE: RefCell<Pool<DeflateState>> = const { RefCell::new(Pool::new()) };
    static SCRATCH: RefCell<Pool<Scratch>> = const { RefCell::new(Pool::new()) };
}

/// A state for inflating what follows on `mark`.
pub(super) fn inflate_state(mark: Option<Mark>) -> (Lent<InflateState>, Known) {
    let Some((mut state, known)) = take(mark, |_: &InflateState| true) else {
        let state = Box::new(InflateState {
            // The largest window, so that what is inside one message never depends on how its
            // bytes were cut.
            inflate: Inflate::new(false, 15),
            ring: Ring::new(1 << 15),
            mark: None,
        });
        return (Lent(Some(state)), Known::Nothing);
    };
    state.ring.clear();
    state.mark = None;
    if known == Known::Nothing {
        state.inflate.reset(false);
    }
    (Lent(Some(state)), known)
}

/// A state for deflating what follows on `mark`.
pub(super) fn deflate_state(
    window_bits: u8,
    level: u8,
    mark: Option<Mark>,
) -> (Lent<DeflateState>, Known) {
    let fits = |state: &DeflateState| (state.window_bits, state.level) == (window_bits, level);
    let Some((mut state, known)) = take(mark, fits) else {
        let state = Box::new(DeflateState {
            deflate: Deflate::new(i32::from(level), false, window_bits),
            mark: None,
            window_bits,
            level,
        });
        return (Lent(Some(state)), Known::Nothing);
    };
    state.mark = None;
    if known == Known::Nothing {
        state.deflate.reset();
    }
    (Lent(Some(state)), known)
}

/// An empty buffer.
pub(super) fn scratch() -> Lent<Scratch> {
    let taken = take(None, |_: &Scratch| true);
    let mut scratch = taken.map_or_else(Box::default, |(scratch, _)| scratch);
    scratch.len = 0;
    Lent(Some(scratch))
}

/// The state that stands at `mark`, or one for another use. `None` if there is none that fits, or
/// another may be made.
fn take<T: Pooled>(mark: Option<Mark>, fits: impl Fn(&T) -> bool) -> Option<(Box<T>, Known)> {
    T::with_pool(|pool| {
        let known = mark.and_then(|_| pool.last(|state| state.mark() == mark));
        if let Some(at) = known {
            return Some((pool.kept.remove(at).state, Known::All));
        }
        let at = pool.unwanted(fits)?;
        Some((pool.kept.remove(at).state, Known::Nothing))
    })
    .flatten()
}

impl<T: Pooled> Pool<T> {
    const fn new() -> Self {
        Self {
            kept: Vec::new(),
            now: 0,
        }
    }

    fn last(&self, is_meant: impl Fn(&T) -> bool) -> Option<usize> {
        self.kept.iter().rposition(|kept| is_meant(&kept.state))
    }

    /// A state that nobody wants back; or, if there are as many as are kept, the oldest that fits,
    /// unless there is one of another kind that has not been used for long and makes room.
    fn unwanted(&self, fits: impl Fn(&T) -> bool) -> Option<usize> {
        let free = self.last(|state| fits(state) && state.mark().is_none());
        if free.is_some() || self.kept.len() < T::KEPT {
            return free;
        }
        let oldest = self.kept.first()?;
        let is_stale = self.now - oldest.given_back > STALE;
        if is_stale && !fits(&oldest.state) {
            return None;
        }
        self.kept.iter().position(|kept| fits(&kept.state))
    }

    /// Keeps what is given back. What was kept longest goes.
    fn keep(&mut self, state: Box<T>) -> Option<Box<T>> {
        self.now += 1;
        let is_full = self.kept.len() >= T::KEPT;
        let oldest = is_full.then(|| self.kept.remove(0).state);
        self.kept.push(Kept {
            state,
            given_back: self.now,
        });
        oldest
    }
}

/// After so many uses of others, a state is not in use.
const STALE: u64 = 16;

impl InflateState {
    /// Says where it stands, for whoever has the same mark.
    pub(super) fn set_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }
}

impl DeflateState {
    /// Says where it stands, for whoever has the same mark.
    pub(super) fn set_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }
}

impl Scratch {
    /// Room for at least so many bytes more.
    pub(super) fn space(&mut self, count: usize) -> &mut [u8] {
        let len = self.len + count;
        if len > self.bytes.len() {
            self.bytes.resize(len.max(2 * self.bytes.len()), 0);
        }
        &mut self.bytes[self.len..]
    }

    /// Says that so much of the space was written to.
    pub(super) fn advance(&mut self, count: usize) {
        self.len += count;
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = len;
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Pooled for InflateState {
    const KEPT: usize = 4;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R> {
        INFLATE.try_with(|pool| f(&mut pool.borrow_mut())).ok()
    }

    fn mark(&self) -> Option<Mark> {
        self.mark
    }
}

impl Pooled for DeflateState {
    const KEPT: usize = 4;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R> {
        DEFLATE.try_with(|pool| f(&mut pool.borrow_mut())).ok()
    }

    fn mark(&self) -> Option<Mark> {
        self.mark
    }
}

impl Pooled for Scratch {
    const KEPT: usize = 2;

    fn with_pool<R>(f: impl FnOnce(&mut Pool<Self>) -> R) -> Option<R> {
        SCRATCH.try_with(|pool| f(&mut pool.borrow_mut())).ok()
    }

    fn mark(&self) -> Option<Mark> {
        None
    }

    fn is_kept(&self) -> bool {
        self.bytes.len() <= 64 << 10
    }
}

impl<T: Pooled> Drop for Lent<T> {
    fn drop(&mut self) {
        let Some(lent) = self.0.take() else {
            return;
        };
        // A thread that ends has no pool any more; then it is freed. What leaves the pool is freed
        // when it is not borrowed any more.
        if lent.is_kept() {
            let _ = T::with_pool(|pool| pool.keep(lent));
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
