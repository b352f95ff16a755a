//! The streams at the ends of a link.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::Link;
use super::log::End;
use super::wire::{Attempt, SharedWire};

/// One end of a [`Link`]: a stream of bytes that behaves as one over TCP does.
///
/// Dropping it with everything read lets the peer read what is under way, and then the end.
/// Dropping it with something unread, or before the peer writes more, resets the connection.
#[derive(Debug)]
pub struct Endpoint {
    wire: Arc<SharedWire>,
    end: End,
    /// Timers of the reader and of the writer.
    reading: Timer,
    writing: Timer,
}

type Timer = Option<Pin<Box<Sleep>>>;

impl Endpoint {
    pub(super) const fn new(wire: Arc<SharedWire>, end: End) -> Self {
        Self {
            wire,
            end,
            reading: None,
            writing: None,
        }
    }

    /// The link, to break it.
    pub fn link(&self) -> Link {
        Link::new(Arc::clone(&self.wire))
    }

    /// How long it takes to hear from the other end.
    pub(super) fn round_trip(&self) -> Duration {
        self.wire.with(|wire| wire.latency() + wire.latency())
    }
}

impl AsyncRead for Endpoint {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        poll(cx, &mut this.reading, |cx| {
            this.wire.with(|wire| wire.read(this.end, cx, buf))
        })
    }
}

impl AsyncWrite for Endpoint {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        poll(cx, &mut this.writing, |cx| {
            this.wire.with(|wire| wire.write(this.end, cx, slices))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        poll(cx, &mut this.writing, |cx| {
            this.wire.with(|wire| wire.flush(this.end, cx))
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        poll(cx, &mut this.writing, |cx| {
            this.wire.with(|wire| wire.shut_down(this.end, cx))
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.wire.with(|wire| wire.drop_end(self.end));
    }
}

/// Attempts it again and again, whenever there is a time to wait for and that has come.
fn poll<T>(
    cx: &mut Context<'_>,
    timer: &mut Timer,
    mut attempt: impl FnMut(&Context<'_>) -> Attempt<T>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt(cx) {
            Attempt::Done(result) => return Poll::Ready(result),
            Attempt::Waits(None) => return Poll::Pending,
            Attempt::Waits(Some(until)) => ready!(poll_until(cx, timer, until)),
        }
    }
}

fn poll_until(cx: &mut Context<'_>, timer: &mut Timer, until: Instant) -> Poll<()> {
    let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
    if sleep.deadline() != until {
        sleep.as_mut().reset(until);
    }
    sleep.as_mut().poll(cx)
}
