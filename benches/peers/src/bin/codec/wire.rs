//! The stream that every contestant is given: it lives in memory, and never ends.

use std::cell::RefCell;
use std::future::Future;
use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::counts;
use crate::workload::Workload;

/// A read gives this much at most, and after this much there is nothing to read, once.
pub const BURST: usize = 64 << 10;

/// Reads the frames of a workload over and over, and copies what is written into a small buffer,
/// as a kernel would.
pub struct Wire {
    work: Arc<Workload>,
    at: usize,
    /// How much there is to read before the end.
    left: usize,
    burst: usize,
    sink: Box<[u8]>,
    sunk: usize,
}

impl Wire {
    pub fn new(work: &Arc<Workload>) -> Self {
        Self {
            work: work.clone(),
            at: 0,
            left: work.end,
            burst: BURST,
            sink: vec![0; BURST].into(),
            sunk: 0,
        }
    }

    /// What one read of at most `max` bytes gives. `None` if it would have to wait.
    #[inline]
    pub fn next(&mut self, max: usize) -> Option<&[u8]> {
        counts::read();
        if self.burst == 0 {
            self.burst = BURST;
            return None;
        }
        let len = max.min(self.burst).min(self.work.read_limit).min(self.left);
        self.left -= len;
        self.burst -= len;
        let start = self.at;
        self.at = (start + len) % self.work.wire_len;
        Some(&self.work.wire[start..start + len])
    }

    /// Fills `buffer` with what comes next. `None` if it would have to wait.
    #[inline]
    pub fn fill(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let bytes = self.next(buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Some(bytes.len())
    }

    /// Takes all of `bytes`, in one write.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        counts::written();
        self.copy(bytes);
    }

    /// Takes all of `slices`, in one write.
    #[inline]
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> usize {
        counts::written();
        slices.iter().for_each(|slice| self.copy(slice));
        slices.iter().map(|slice| slice.len()).sum()
    }

    #[inline]
    fn copy(&mut self, mut bytes: &[u8]) {
        if CHECKING.load(Relaxed) {
            WRITTEN.with_borrow_mut(|written| written.extend_from_slice(bytes));
        }
        while !bytes.is_empty() {
            let len = bytes.len().min(self.sink.len() - self.sunk);
            self.sink[self.sunk..self.sunk + len].copy_from_slice(&bytes[..len]);
            self.sunk = (self.sunk + len) % self.sink.len();
            bytes = &bytes[len..];
        }
        black_box(&self.sink);
    }
}

impl AsyncRead for Wire {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.next(buffer.remaining()) {
            Some(bytes) => {
                buffer.put_slice(bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Wire {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Self::write(&mut self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(Self::write_vectored(&mut self, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Read for Wire {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill(buffer)
            .ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Wire {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(Self::write_vectored(self, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Polls a future until it is done: nothing here is ever waited for long.
#[inline]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Polls a future once. `None` if it would have to wait.
#[inline]
pub async fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

static CHECKING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static RECEIVED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Every contestant calls this with every message that it received, after it made sure that a text
/// is UTF-8.
#[inline]
pub fn took(payload: &[u8]) {
    black_box((payload.as_ptr(), payload.len()));
    if CHECKING.load(Relaxed) {
        RECEIVED.with_borrow_mut(|received| received.push(payload.to_vec()));
    }
}

/// What `job` received, and what it wrote.
pub fn observe(job: impl FnOnce()) -> (Vec<Vec<u8>>, Vec<u8>) {
    CHECKING.store(true, Relaxed);
    job();
    CHECKING.store(false, Relaxed);
    (RECEIVED.take(), WRITTEN.take())
}
