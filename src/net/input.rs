//! The bytes that were read and not yet taken, in a buffer that the thread lends.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// A connection holds a buffer only while there are unread bytes in it, so that one that waits
/// holds none.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Option<Buffer>,
    start: usize,
    end: usize,
}

type Buffer = Box<[u8]>;

/// Large enough for hundreds of small messages in a read, small enough to stay in the cache.
const BUFFER_SIZE: usize = 64 << 10;

/// How many buffers a thread keeps. One is in use at a time, unless applications are behind.
const KEPT: usize = 4;

thread_local! {
    static POOL: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

impl Input {
    /// An input in which `bytes` lie already.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            buffer: (!bytes.is_empty()).then(|| bytes.into()),
            start: 0,
            end: bytes.len(),
        }
    }

    /// What was read and not taken.
    #[inline]
    pub(super) fn unread(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => &mut buffer[self.start..self.end],
            None => &mut [],
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Says that only the last `left` bytes are unread. The buffer goes back when none is.
    #[inline]
    pub(super) fn keep(&mut self, left: usize) {
        self.start = self.end - left;
        if left == 0 {
            self.clear();
        }
    }

    /// Drops all that is unread.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        if let Some(buffer) = self.buffer.take() {
            give_back(buffer);
        }
    }

    /// Reads once, if nothing is unread; gives how many bytes came, 0 at the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: Pin<&mut impl AsyncRead>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty());
        let mut buffer = take();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = stream.poll_read(cx, &mut read);
        let count = read.filled().len();
        if count == 0 {
            give_back(buffer);
            ready!(polled)?;
            return Poll::Ready(Ok(0));
        }
        self.buffer = Some(buffer);
        (self.start, self.end) = (0, count);
        Poll::Ready(Ok(count))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.clear();
    }
}

fn take() -> Buffer {
    POOL.try_with(|pool| pool.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_else(|| vec![0; BUFFER_SIZE].into())
}

fn give_back(buffer: Buffer) {
    if buffer.len() != BUFFER_SIZE {
        return;
    }
    // A thread that ends has no pool any more; then the buffer is freed.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    });
}
