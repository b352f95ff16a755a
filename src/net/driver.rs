//! The stream of a connection: reads, writes, deadlines, and the end of it (§7.1.1).
//!
//! It decides when to do what; the protocol is [`Connection`]'s. Everything that is under way is
//! noted in [`Driver`] and nothing in a future, so that every future may be dropped.
//!
//! ```text
//!          a write fails                   all was taken
//!   Open ───────────────▶ Unwritable ──────────────────────────────▶ Ended
//!     │ connection is closed                                           ▲
//!     ▼                                                                │
//!   Writing ── output is written ──▶ Draining ── end of stream, time ──┘
//! ```

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::Error;
use super::input::{Input, READ, poll_read};
use crate::log::debug;
use crate::protocol::{CloseCause, Connection, Delivery, Event, Role};

/// A connection and its stream.
#[derive(Debug)]
pub(super) struct Driver<S> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    input: Input,
    timer: Timer,
    phase: Phase,
    /// To be reported when the transport is done with.
    error: Option<Error>,
    /// Whether the stream has to be flushed since the last write.
    unflushed: bool,
    /// How many bytes of output were ever written.
    pub(super) written: u64,
    pub(super) round_trip: Option<Duration>,
    /// Since when output waits to be written.
    waiting_since: Option<Instant>,
    /// How much was received without waiting, see [`TURN`].
    unwaited: u32,
    /// Whether the last read went straight into a message.
    was_direct: bool,
}

/// How far the transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Carries frames.
    Open,
    /// A write failed: what the peer sent before can still be taken.
    Unwritable,
    /// The connection is closed: what is left is written, what comes is dropped.
    Writing,
    /// §7.1.1: waits for the peer to end the stream, until a time.
    Draining(Instant),
    /// Done with.
    Ended,
}

/// §7.1.1: a client waits this long for the server to end the stream, and a server for the client
/// to see that it did.
const LINGER: Duration = Duration::from_secs(2);

/// A peer that vanished takes nothing, but the buffers in front of it do until they are full. What
/// is taken after this long is no longer theirs.
const FULL: Duration = Duration::from_secs(1);

/// After so many frames' worth of work without waiting, a connection lets others run.
const TURN: u32 = 512;

/// What a read counts in a turn: it may bring thousands of frames that make no event.
const READ_COST: u32 = 32;

/// How many bytes of a message count as much as a frame: it may be inflated from very few, and reads
/// say nothing about them.
const LEN_COST: u32 = 8 << 10;

/// Fewer bytes than this wait for more: what is unmasked while it is in the cache takes less than what
/// is read in one.
const LITTLE: usize = 4 << 10;

/// How much is read between two large messages: enough to know how long the second is, and little
/// to copy.
const READ_BETWEEN: usize = 4 << 10;

/// How many slices go into one vectored write.
const SLICES: usize = 64;

impl<S> Driver<S> {
    /// `unread` is what came from the stream already.
    pub(super) fn new(stream: S, connection: Connection, unread: &[u8]) -> Self {
        debug!("connection opened");
        Self {
            stream,
            connection,
            input: Input::new(unread),
            timer: Timer::default(),
            phase: Phase::Open,
            error: None,
            unflushed: false,
            written: 0,
            round_trip: None,
            waiting_since: None,
            unwaited: 0,
            was_direct: false,
        }
    }

    /// Whether there is nothing to wait for and nothing to report.
    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Ended) && self.error.is_none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Receives whole messages.
    #[inline]
    pub(super) fn poll_whole<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        // The commonest case, in half of the instructions.
        if self.phase == Phase::Open
            && let Some(taken) = self.take_whole(&mut take)
        {
            return Poll::Ready(Ok(Some(taken)));
        }
        self.poll_whole_slowly(cx, take)
    }

    #[inline(never)]
    fn poll_whole_slowly<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.connection.set_delivery(Delivery::Messages);
        if self.connection.is_inside_fragments() {
            return Poll::Ready(Err(Error::InsideFragments));
        }
        self.poll_receive(cx, take)
    }

    /// Offers the next message if it lies whole in the input, and if it is still this connection's
    /// turn.
    #[inline(always)]
    fn take_whole<T>(
        &mut self,
        take: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Option<T> {
        if self.unwaited >= TURN {
            return None;
        }
        let (mut unread, start) = self.input.unread_and_start();
        let end = *start + unread.len();
        let received = self.connection.receive_whole(&mut unread)?;
        self.unwaited += 1;
        // Before it is handed out: if that panics, it must not be handed out again.
        *start = end - unread.len();
        let taken = match received {
            Ok(event) => take(&mut self.connection, event).break_value(),
            Err(error) => {
                self.error = Some(Error::Protocol(error));
                None
            }
        };
        self.input.give_back_empty();
        taken
    }

    /// Offers the messages that lie whole in the input until `take` wants one.
    #[inline]
    fn take_all_whole<T>(
        &mut self,
        take: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Option<T> {
        loop {
            let before = self.unwaited;
            let taken = self.take_whole(take);
            if taken.is_some() || self.unwaited == before {
                return taken;
            }
        }
    }

    /// Offers events to `take` until it wants one; writes, waits and keeps deadlines meanwhile.
    pub(super) fn poll_receive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            match self.phase {
                Phase::Open | Phase::Unwritable => {
                    if self.unwaited >= TURN {
                        ready!(self.poll_yield(cx));
                    }
                    if let Some(taken) = self.take_all_whole(&mut take) {
                        return Poll::Ready(Ok(Some(taken)));
                    }
                    if let Some(taken) = self.take_event(cx, &mut take) {
                        return Poll::Ready(Ok(Some(taken)));
                    }
                    if self.connection.is_closed() {
                        self.phase = Phase::Writing;
                        continue;
                    }
                    if !self.input.is_empty() && !is_cut(&self.connection, self.input.unread()) {
                        continue;
                    }
                    // A peer that does not read may still send: both directions are tried.
                    if self.phase == Phase::Open {
                        let write = self.poll_write_output(cx);
                        self.note_failure(write);
                    }
                    match self.poll_read_direct(cx, &mut take) {
                        Poll::Ready(Some(taken)) => return Poll::Ready(Ok(Some(taken))),
                        Poll::Ready(None) => continue,
                        Poll::Pending => {}
                    }
                    if self.phase == Phase::Unwritable {
                        // All that came before the failure has been taken.
                        self.lose();
                    } else if !self.poll_timer(cx) {
                        self.unwaited = 0;
                        return Poll::Pending;
                    }
                }
                Phase::Writing => ready!(self.poll_finish_writing(cx)),
                Phase::Draining(until) => ready!(self.poll_drain(cx, until)),
                Phase::Ended => return Poll::Ready(self.error.take().map_or(Ok(None), Err)),
            }
        }
    }

    /// Lets other tasks run, since a peer that floods must not keep them from it; nor must it keep
    /// a deadline from being looked at. `Ready` if one has passed.
    fn poll_yield(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.unwaited = 0;
        if self.poll_timer(cx) {
            return Poll::Ready(());
        }
        give_way(cx);
        Poll::Pending
    }

    /// Offers the events that lie in the input.
    #[inline]
    fn take_event<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Option<T> {
        let mut answered = false;
        let mut taken = None;
        let (mut unread, start) = self.input.unread_and_start();
        let end = *start + unread.len();
        while !unread.is_empty() && taken.is_none() && self.unwaited < TURN {
            self.unwaited += 1;
            let received = match self.connection.receive_whole(&mut unread) {
                Some(received) => received.map(Some),
                None if is_cut(&self.connection, unread) => break,
                None => {
                    let received = self.connection.receive(&mut unread);
                    if let Ok(Some(event)) = &received {
                        self.unwaited += len_of(event) / LEN_COST;
                    }
                    received
                }
            };
            *start = end - unread.len();
            match received {
                Ok(Some(event)) => {
                    answered |= matches!(event, Event::Ping(_) | Event::Close(_));
                    if let Event::Pong {
                        pinged_at: Some(at),
                        ..
                    } = event
                    {
                        self.round_trip = Some(elapsed(at));
                    }
                    taken = take(&mut self.connection, event).break_value();
                }
                Ok(None) => break,
                Err(error) => self.error = Some(Error::Protocol(error)),
            }
        }
        self.input.give_back_empty();
        if answered && taken.is_some() && self.phase == Phase::Open {
            // §5.5.2: "as soon as is practical". What cannot be written now leaves later.
            let write = self.poll_write_output(cx);
            self.note_failure(write);
        }
        taken
    }

    /// Reads straight into a large message if one is under way, which is offered when that was the
    /// last of it. `Ready` if anything has changed.
    fn poll_read_direct<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<T>,
    ) -> Poll<Option<T>> {
        if let Some(len) = self.connection.whole_len(self.input.unread()) {
            return self.poll_read_rest(cx, len).map(|()| None);
        }
        let buffer = self.connection.direct_buffer();
        if buffer.is_empty() {
            return self.poll_read(cx).map(|()| None);
        }
        let wanted = buffer.len();
        let stream = Pin::new(&mut self.stream);
        let mut more = More {
            wanted,
            unwaited: &mut self.unwaited,
            error: &mut self.error,
        };
        let read = ready!(more.poll_read(cx, stream, buffer));
        let count = *read.as_ref().unwrap_or(&0);
        self.was_direct = true;
        self.note_read(read);
        match self.connection.receive_direct(count) {
            Ok(event) => {
                let connection = &mut self.connection;
                Poll::Ready(event.and_then(|event| take(connection, event).break_value()))
            }
            Err(error) => {
                self.error = Some(Error::Protocol(error));
                Poll::Ready(None)
            }
        }
    }

    /// Reads the rest of a message that was cut by the end of the buffer behind what there is of it,
    /// so that it is not assembled elsewhere. If it does not come at once, what there is is taken,
    /// so that a connection that waits holds no buffer.
    fn poll_read_rest(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<()> {
        let stream = Pin::new(&mut self.stream);
        let read = self.input.poll_read_more(cx, stream, len);
        if let Poll::Ready(read) = read {
            self.note_read(read);
            return Poll::Ready(());
        }
        if let Err(error) = self.connection.receive(&mut self.input.unread()) {
            self.error = Some(Error::Protocol(error));
            return Poll::Ready(());
        }
        self.input.clear();
        Poll::Pending
    }

    /// Reads into the input; `Ready` if anything has changed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_between_large = self.was_direct || self.connection.is_inside_large();
        let limit = if is_between_large { READ_BETWEEN } else { READ };
        let stream = Pin::new(&mut self.stream);
        let mut more = More {
            wanted: self.connection.missing(),
            unwaited: &mut self.unwaited,
            error: &mut self.error,
        };
        let input = &mut self.input;
        let read = ready!(input.poll_read(limit, |buffer| more.poll_read(cx, stream, buffer)));
        self.was_direct = false;
        self.note_read(read);
        Poll::Ready(())
    }

    fn note_read(&mut self, read: io::Result<usize>) {
        match read {
            Ok(0) => {
                self.error.get_or_insert(Error::ConnectionLost);
                self.lose();
            }
            Ok(_) => self.unwaited += READ_COST,
            Err(error) => {
                self.error.get_or_insert(Error::Io(error));
                self.lose();
            }
        }
    }

    /// Writes the output, for a task that was woken for nothing else. Whether the rest is to be
    /// looked at too.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase != Phase::Open || self.connection.is_closed() {
            return true;
        }
        let write = self.poll_write_output(cx);
        self.note_failure(write);
        self.phase != Phase::Open
    }

    /// Writes the output and flushes the stream.
    fn poll_write_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.written;
        let polled = self.poll_write_all(cx);
        if polled.is_ready() {
            self.waiting_since = None;
            return polled;
        }
        self.connection.output().shrink();
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        if self.written > before && now - since >= FULL {
            // The peer takes what is sent, so it lives, whatever is in front of its Pong.
            self.connection.pause_deadlines();
        }
        polled
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        loop {
            let output = self.connection.output();
            if !output.has_remaining() {
                break;
            }
            let chunk = output.chunk();
            let written = if chunk.len() < output.remaining() && stream.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = output.chunks_vectored(&mut slices);
                ready!(stream.as_mut().poll_write_vectored(cx, &slices[..count]))?
            } else {
                ready!(stream.as_mut().poll_write(cx, chunk))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            self.written += written as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all of the output, and keeps deadlines meanwhile and afterwards: `Ready` only for an
    /// error, or when the connection is closed.
    pub(super) fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_write_below(cx, 0))?;
            if self.connection.is_closed() {
                return Poll::Ready(Ok(()));
            }
            if !self.poll_timer(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Whether at most `mark` bytes of output are left, and nothing is to be reported.
    #[inline]
    pub(super) fn has_room(&self, mark: usize) -> bool {
        self.connection.output_len() <= mark && self.phase != Phase::Ended
    }

    /// Writes until at most `mark` bytes of output are left, all of it for 0.
    pub(super) fn poll_write_below(
        &mut self,
        cx: &mut Context<'_>,
        mark: usize,
    ) -> Poll<Result<(), Error>> {
        loop {
            if self.phase == Phase::Ended {
                return Poll::Ready(self.error.take().map_or(Ok(()), Err));
            }
            if mark > 0 && self.connection.output_len() <= mark {
                return Poll::Ready(Ok(()));
            }
            if self.phase == Phase::Unwritable {
                self.lose();
                continue;
            }
            let before = self.written;
            let write = self.poll_write_output(cx);
            match write {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => {
                    self.note_failure(write);
                    continue;
                }
                Poll::Pending if self.written > before => continue,
                Poll::Pending => {}
            }
            let may_read = !self.connection.is_closed() && self.input.is_empty();
            if may_read && self.poll_read(cx).is_ready() {
                // Nobody takes it yet, but it shows that the peer lives.
                self.connection.pause_deadlines();
                continue;
            }
            if !self.poll_timer(cx) {
                return Poll::Pending;
            }
            if self.connection.is_closed() {
                // The peer is gone, so what it did not take stays.
                self.end(cx);
            }
        }
    }

    /// Writes what is left, and a server ends the stream (§7.1.1). `Ready` when the phase changed.
    fn poll_finish_writing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.input.clear();
        // A peer that writes and does not read must not keep its Close from being written.
        let ended = self.poll_discard(cx).is_ready();
        let mut finished = self.poll_write_output(cx);
        if matches!(finished, Poll::Ready(Ok(()))) && self.connection.role() == Role::Server {
            finished = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        if finished.is_pending() {
            self.poll_timer(cx);
        }
        // A peer that is gone is told so, but not waited for.
        let gone = matches!(self.error, Some(Error::PongTimeout)) || self.connection.is_overdue();
        match finished {
            Poll::Pending if !gone => return Poll::Pending,
            Poll::Ready(Ok(())) if !gone && !ended => {
                self.phase = Phase::Draining(Instant::now() + LINGER);
            }
            _ => self.end(cx),
        }
        Poll::Ready(())
    }

    /// Waits for the peer to end the stream, so that no reset destroys what it has not read yet.
    fn poll_drain(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        if self.poll_discard(cx).is_pending() {
            ready!(self.timer.poll(cx, until));
        }
        match self.connection.role() {
            // It was ended before it was drained.
            Role::Server => self.enter_ended(),
            Role::Client => self.end(cx),
        }
        Poll::Ready(())
    }

    /// Reads and drops; `Ready` at the end of the stream or at a failure.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURN / READ_COST {
            let stream = Pin::new(&mut self.stream);
            let read = ready!(
                self.input
                    .poll_read(READ, |buffer| poll_read(cx, stream, buffer))
            );
            self.input.clear();
            if !matches!(read, Ok(1..)) {
                return Poll::Ready(());
            }
        }
        give_way(cx);
        Poll::Pending
    }

    /// Keeps the deadlines of the connection. Whether one has passed, so that there may be
    /// something to write or nothing to wait for; otherwise the task is woken at the next one.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let connection = &mut self.connection;
        let was_closed = connection.is_closed();
        if connection.next_timeout().is_none() {
            connection.handle_timeout(Instant::now().into_std());
        }
        loop {
            let Some(due) = connection.next_timeout() else {
                return false;
            };
            if self.timer.poll(cx, Instant::from_std(due)).is_pending() {
                return false;
            }
            let output = connection.output_len();
            connection.handle_timeout(Instant::now().into_std());
            let has_ended = connection.is_overdue() || connection.is_closed() != was_closed;
            if has_ended || connection.output_len() != output {
                break;
            }
        }
        if let Some(info) = connection.close_info() {
            self.error = self.error.take().or(match info.cause {
                CloseCause::PongTimeout => Some(Error::PongTimeout),
                CloseCause::IdleTimeout => Some(Error::IdleTimeout),
                _ if connection.is_overdue() => Some(Error::CloseTimeout),
                _ => None,
            });
        }
        true
    }

    /// A failed write is to be reported, but only after what the peer sent before.
    fn note_failure(&mut self, write: Poll<io::Result<()>>) {
        if let Poll::Ready(Err(error)) = write {
            if !self.connection.is_closed() {
                self.error.get_or_insert(Error::Io(error));
            }
            self.phase = Phase::Unwritable;
        }
    }

    /// The transport is no use any more. After a closing handshake that is no loss.
    fn lose(&mut self) {
        self.connection.receive_eof();
        self.enter_ended();
    }

    /// Ends the stream. What is to be said is said, so how that goes no longer matters.
    fn end(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.enter_ended();
    }

    fn enter_ended(&mut self) {
        self.phase = Phase::Ended;
        self.input.clear();
        if let Some(info) = self.connection.close_info() {
            debug!(how = %info, "connection ended");
        }
    }
}

/// One timer for all deadlines. It is set when something waits, and then only brought forward: a
/// deadline that moved away makes it fire early once.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// `Ready` at `due`; otherwise the task is woken then.
    ///
    /// It is looked at last, when reads and writes may have used up the budget that the runtime
    /// gives a task, which must not hide that the time has come.
    fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// How much of a message an event gives.
fn len_of(event: &Event<'_>) -> u32 {
    let len = match event {
        Event::Text(text) => text.len(),
        Event::Binary(payload) => payload.len(),
        Event::Fragment(fragment) => fragment.payload.len(),
        _ => 0,
    };
    len.try_into().unwrap_or(u32::MAX)
}

/// Reads more than once while what has come makes no message, so that what comes in little pieces
/// is taken together.
struct More<'a> {
    /// How many bytes are waited for.
    wanted: usize,
    unwaited: &'a mut u32,
    error: &'a mut Option<Error>,
}

impl More<'_> {
    /// Gives how many bytes came, 0 at the end of the stream.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut impl AsyncRead>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut count = ready!(poll_read(cx, stream.as_mut(), buffer))?;
        let wanted = self.wanted.min(buffer.len()).min(LITTLE);
        // The end of the stream comes again, and an error is reported when it does.
        while (1..wanted).contains(&count) && *self.unwaited < TURN {
            match poll_read(cx, stream.as_mut(), &mut buffer[count..]) {
                Poll::Ready(Ok(more @ 1..)) => count += more,
                Poll::Ready(Err(error)) => {
                    self.error.get_or_insert(Error::Io(error));
                    break;
                }
                Poll::Ready(Ok(_)) | Poll::Pending => break,
            }
            *self.unwaited += READ_COST;
        }
        Poll::Ready(Ok(count))
    }
}

/// Whether `input` is the front part of a message that a buffer holds whole.
fn is_cut(connection: &Connection, input: &[u8]) -> bool {
    let len = connection.whole_len(input);
    len.is_some_and(|len| len > input.len() && len <= READ)
}

/// Has the task woken when others had their turn, and the runtime has looked for those whose stream
/// or time has come: a task that wakes itself would keep it from that for dozens of turns.
fn give_way(cx: &mut Context<'_>) {
    // Its first poll asks for the wake, which it needs not live on for.
    let first = pin!(yield_now()).poll(cx);
    debug_assert!(first.is_pending());
}

pub(super) fn elapsed(since: std::time::Instant) -> Duration {
    Instant::now().into_std().saturating_duration_since(since)
}
