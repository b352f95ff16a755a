//! Batching for a crate that writes each message at once: a stream that holds written bytes back
//! until the crate comes to read again, which is when it has no more messages to give.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that writes before it reads, or when there is much to write.
pub struct Corked {
    stream: TcpStream,
    unwritten: Vec<u8>,
}

/// How much is held back.
const MARK: usize = 64 << 10;

impl Corked {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unwritten: Vec::new(),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        while written < self.unwritten.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.unwritten[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.unwritten.drain(..written);
                    return Poll::Pending;
                }
            }
        }
        self.unwritten.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Corked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What can't be written now wakes the task later, and doesn't keep it from reading.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Corked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unwritten.len() + bytes.len() > MARK {
            ready!(self.poll_drain(cx))?;
            if bytes.len() > MARK {
                return Pin::new(&mut self.stream).poll_write(cx, bytes);
            }
        }
        self.unwritten.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Corked {
    fn drop(&mut self) {
        // The answer to a Close, behind which the crate doesn't read again.
        let _ = self.stream.try_write(&self.unwritten);
    }
}
