//! The bytes that were read and not yet taken, in a buffer that the thread lends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::buffer::{Buffer, copy_into};

/// A connection holds a buffer only while there are unread bytes in it, so that one that waits
/// holds none.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Buffer,
    start: usize,
    end: usize,
}

/// Large enough for hundreds of small messages in a read, small enough to stay in the cache.
pub(super) const READ: usize = 65 << 10;

impl Input {
    /// An input in which `bytes` lie already.
    pub(super) fn new(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let mut buffer = Buffer::new(bytes.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self {
            buffer,
            start: 0,
            end: bytes.len(),
        }
    }

    /// What was read and not taken.
    #[inline]
    pub(super) fn unread(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What was read and not taken, and where it begins, which is to be moved on by what is taken.
    #[inline]
    pub(super) fn unread_and_start(&mut self) -> (&mut [u8], &mut usize) {
        (&mut self.buffer[self.start..self.end], &mut self.start)
    }

    /// Gives the buffer back if nothing in it is unread.
    #[inline]
    pub(super) fn give_back_empty(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops all that is unread.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Has `read` read at most `limit` bytes, if nothing is unread; gives how many came, 0 at the end
    /// of the stream.
    pub(super) fn poll_read(
        &mut self,
        limit: usize,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty());
        let mut buffer = Buffer::new(limit);
        let count = ready!(read(&mut buffer))?;
        if count > 0 {
            *self = Self {
                buffer,
                start: 0,
                end: count,
            };
        }
        Poll::Ready(Ok(count))
    }

    /// Reads behind what is unread, where there is or will be room for `len` bytes in all; gives how
    /// many came, 0 at the end of the stream.
    pub(super) fn poll_read_more(
        &mut self,
        cx: &mut Context<'_>,
        stream: Pin<&mut impl AsyncRead>,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() - self.start < len {
            let mut buffer = Buffer::new(len.max(READ));
            let unread = self.unread();
            copy_into(&mut buffer[..unread.len()], unread);
            self.buffer = buffer;
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = ready!(poll_read(cx, stream, &mut self.buffer[self.end..]))?;
        self.end += count;
        Poll::Ready(Ok(count))
    }
}

/// Reads once into a buffer; gives how many bytes came, 0 at the end of the stream.
pub(super) fn poll_read(
    cx: &mut Context<'_>,
    stream: Pin<&mut impl AsyncRead>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut read = ReadBuf::new(buffer);
    let polled = stream.poll_read(cx, &mut read);
    match read.filled().len() {
        0 => polled.map_ok(|()| 0),
        count => Poll::Ready(Ok(count)),
    }
}
