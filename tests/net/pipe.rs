//! A stream in memory whose faults are chosen by the test: short reads and writes, spurious
//! pauses, a direction that stalls, a reset, an end.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a pipe.
#[derive(Debug)]
pub(super) struct Chopped {
    incoming: Lane,
    outgoing: Lane,
    /// Cuts reads and writes at random, if there is any.
    chance: Option<Chance>,
}

/// One direction of a pipe; the test keeps a clone of it to look at it and to break it.
#[derive(Clone, Debug)]
pub(super) struct Lane(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    writes: usize,
    reads: usize,
    ended: bool,
    reset: bool,
    stalled: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends of a pipe that holds `capacity` bytes each way.
pub(super) fn pipe(capacity: usize) -> (Chopped, Chopped) {
    let (one, two) = (Lane::new(capacity), Lane::new(capacity));
    let end = |incoming: &Lane, outgoing: &Lane| Chopped {
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        chance: None,
    };
    (end(&one, &two), end(&two, &one))
}

impl Chopped {
    /// Reads and writes in pieces of a random length, with spurious pauses, from now on.
    pub(super) fn chopped(mut self, seed: u64) -> Self {
        self.chance = Some(Chance::new(seed));
        self
    }

    /// What this end writes.
    pub(super) fn outgoing(&self) -> Lane {
        self.outgoing.clone()
    }

    /// What this end reads.
    pub(super) fn incoming(&self) -> Lane {
        self.incoming.clone()
    }

    /// How many bytes may pass of `wanted`, or a pause.
    fn cut(&mut self, cx: &Context<'_>, wanted: usize) -> Poll<usize> {
        let Some(chance) = &mut self.chance else {
            return Poll::Ready(wanted);
        };
        if chance.below(3) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(wanted.min(1 + chance.below(40)))
    }
}

impl Lane {
    fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            bytes: VecDeque::new(),
            capacity,
            writes: 0,
            reads: 0,
            ended: false,
            reset: false,
            stalled: false,
            reader: None,
            writer: None,
        })))
    }

    /// How many writes took bytes.
    pub(super) fn writes(&self) -> usize {
        self.lock().writes
    }

    /// How often somebody tried to read.
    pub(super) fn reads(&self) -> usize {
        self.lock().reads
    }

    /// How many bytes were written and not read.
    pub(super) fn len(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Takes no more bytes until [`resume`](Self::resume).
    pub(super) fn stall(&self) {
        self.lock().stalled = true;
    }

    /// Takes bytes again.
    pub(super) fn resume(&self) {
        self.change(|state| state.stalled = false);
    }

    /// Ends the direction, as if its writer had shut it down.
    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Whether its writer has shut it down.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Has writes fail from now on, and reads once all was read.
    pub(super) fn reset(&self) {
        self.change(|state| state.reset = true);
    }

    /// Adds bytes as if the other end had written them.
    pub(super) fn put(&self, bytes: &[u8]) {
        self.change(|state| state.bytes.extend(bytes));
    }

    /// Takes all that was written and not read.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut taken = Vec::new();
        self.change(|state| taken = state.bytes.drain(..).collect());
        taken
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl AsyncRead for Chopped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let lane = self.incoming.clone();
        let mut state = lane.lock();
        state.reads += 1;
        if state.bytes.is_empty() {
            if state.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if state.ended {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let wanted = state.bytes.len().min(buf.remaining());
        let Poll::Ready(count) = self.cut(cx, wanted) else {
            return Poll::Pending;
        };
        let (front, back) = state.bytes.as_slices();
        let in_front = count.min(front.len());
        buf.put_slice(&front[..in_front]);
        buf.put_slice(&back[..count - in_front]);
        state.bytes.drain(..count);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chopped {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let lane = self.outgoing.clone();
        let mut state = lane.lock();
        if state.reset || state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = state.capacity.saturating_sub(state.bytes.len());
        if state.stalled || room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let Poll::Ready(count) = self.cut(cx, room.min(wanted)) else {
            return Poll::Pending;
        };
        let mut left = count;
        for slice in slices {
            let taken = left.min(slice.len());
            state.bytes.extend(&slice[..taken]);
            left -= taken;
        }
        state.writes += 1;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end();
        Poll::Ready(Ok(()))
    }
}

/// Who drops an end lets the other one read what is there, and then its end.
impl Drop for Chopped {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.reset();
    }
}

/// Numbers that look random, the same for the same seed (xorshift).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}
