//! The two directions of a link, as TCP would have them.
//!
//! ```text
//!   write ─▶ under way ── latency, stall ──▶ arrived ─▶ read
//!            └────── at most so many bytes ──────┘
//! ```

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::chance::Chance;
use super::faults::Faults;
use super::log::{End, Log, What};

/// What the ends and the handles of a link share.
#[derive(Debug)]
pub(super) struct SharedWire(Mutex<Wire>);

#[derive(Debug)]
pub(super) struct Wire {
    number: u64,
    chance: Chance,
    faults: Faults,
    /// What the client writes, and what the server writes.
    lanes: [Lane; 2],
    log: Arc<Log>,
    /// To be woken when the lock is given back.
    woken: Vec<Waker>,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    segments: VecDeque<Segment>,
    /// How many bytes there are in the segments.
    len: usize,
    /// No byte overtakes another.
    last_due: Instant,
    /// The writer has ended the direction; when the reader is to learn it.
    end: Option<Instant>,
    /// The reader is to learn that the connection was reset.
    reset: Option<Reset>,
    hold: Option<Hold>,
    /// The reader is gone: what arrives is answered with a reset.
    is_deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Segment {
    due: Instant,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Reset {
    due: Instant,
    /// Whether the system still gives out what had arrived before.
    keeps_arrived: bool,
    was_told: bool,
}

/// Nothing arrives that was to do so after `since`.
#[derive(Clone, Copy, Debug)]
struct Hold {
    since: Instant,
    /// None: until it is healed.
    until: Option<Instant>,
    is_cut: bool,
}

/// What came of an attempt.
pub(super) enum Attempt<T> {
    Done(io::Result<T>),
    /// To be repeated when woken, or at this time.
    Waits(Option<Instant>),
}

impl SharedWire {
    pub(super) fn new(number: u64, seed: u64, faults: Faults, log: Arc<Log>) -> Self {
        let wire = Wire {
            number,
            chance: Chance::new(seed),
            faults,
            lanes: [Lane::new(), Lane::new()],
            log,
            woken: Vec::new(),
        };
        wire.note(End::Client, What::Opened);
        Self(Mutex::new(wire))
    }

    /// Wakes after the lock was given back.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Wire) -> T) -> T {
        let mut wire = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut wire);
        let mut woken = std::mem::take(&mut wire.woken);
        if woken.len() > 1 && wire.chance.below(2) == 0 {
            woken.reverse();
        }
        drop(wire);
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

impl Wire {
    pub(super) fn read(
        &mut self,
        end: End,
        cx: &Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Attempt<()> {
        if self.pauses(end, cx) {
            return Attempt::Waits(None);
        }
        let now = Instant::now();
        let most = self.chunk(buf.remaining());
        let lane = &mut self.lanes[end.other() as usize];
        let reset = lane.reset.filter(|reset| lane.has_arrived(reset.due, now));
        if reset.is_some_and(|reset| !reset.keeps_arrived) {
            lane.clear();
        }
        let before = buf.filled().len();
        lane.take_arrived(now, most, buf);
        let count = buf.filled().len() - before;
        if count > 0 || most == 0 {
            let writer = lane.writer.take();
            self.woken.extend(writer);
            self.note(end, What::Read(count));
            return Attempt::Done(Ok(()));
        }
        if reset.is_some() {
            self.note(end, What::Failed);
            return Attempt::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if lane.segments.is_empty() && lane.end.is_some_and(|end| lane.has_arrived(end, now)) {
            self.note(end, What::Read(0));
            return Attempt::Done(Ok(()));
        }
        lane.reader = Some(cx.waker().clone());
        Attempt::Waits(lane.next_arrival())
    }

    pub(super) fn write(
        &mut self,
        end: End,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Attempt<usize> {
        if self.pauses(end, cx) {
            return Attempt::Waits(None);
        }
        let now = Instant::now();
        if let Some(error) = self.refuses_write(end, now) {
            self.note(end, What::Failed);
            return Attempt::Done(Err(error));
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let room = self.faults.capacity.saturating_sub(self.lane(end).len);
        if room == 0 && wanted > 0 {
            self.lane(end).writer = Some(cx.waker().clone());
            let back = &self.lanes[end.other() as usize];
            let reset = back.reset.and_then(|reset| back.arrival(reset.due));
            return Attempt::Waits(reset);
        }
        let mut count = self.chunk(wanted.min(room));
        if count > 0 && self.chance.happens(self.faults.ends) {
            count = self.chance.length(count);
            self.push(end, gather(slices, count), now);
            self.end(now);
        } else {
            self.push(end, gather(slices, count), now);
            self.strike(end, now);
        }
        self.note(end, What::Wrote(count));
        Attempt::Done(Ok(count))
    }

    /// Flushes, which is nothing but a chance to wait.
    pub(super) fn flush(&mut self, end: End, cx: &Context<'_>) -> Attempt<()> {
        if self.pauses(end, cx) {
            return Attempt::Waits(None);
        }
        Attempt::Done(Ok(()))
    }

    pub(super) fn shut_down(&mut self, end: End, cx: &Context<'_>) -> Attempt<()> {
        if self.pauses(end, cx) {
            return Attempt::Waits(None);
        }
        let now = Instant::now();
        let back = &self.lanes[end.other() as usize];
        if back
            .reset
            .is_some_and(|reset| back.has_arrived(reset.due, now))
        {
            self.note(end, What::Failed);
            return Attempt::Done(Err(io::ErrorKind::NotConnected.into()));
        }
        self.note(end, What::ShutDown);
        self.end_lane(end, now);
        Attempt::Done(Ok(()))
    }

    /// An end is gone: the other one reads what is under way and then the end, if nothing was left
    /// unread here; otherwise, and if it goes on writing, it is reset.
    pub(super) fn drop_end(&mut self, end: End) {
        let now = Instant::now();
        self.note(end, What::Dropped);
        self.end_lane(end, now);
        let back = self.lane(end.other());
        back.is_deaf = true;
        let due = self.lane(end).last_due;
        self.answer_for_the_gone(end, due);
    }

    /// Answers what arrives at an end that is gone, at `due`.
    fn answer_for_the_gone(&mut self, end: End, due: Instant) {
        let lane = self.lane(end.other());
        if lane.is_deaf && lane.len > 0 && !lane.is_held() {
            lane.clear();
            self.reset_lane(end, due);
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.wake_all();
    }

    /// Holds back what this end writes.
    pub(super) fn stall(&mut self, end: End, until: Option<Instant>) {
        self.note(end, What::Stalled);
        self.lane(end).hold(Instant::now(), until, false);
    }

    pub(super) fn cut(&mut self, end: End) {
        self.note(end, What::Cut);
        self.lane(end).hold(Instant::now(), None, true);
    }

    pub(super) fn heal(&mut self, end: End) {
        self.note(end, What::Healed);
        self.lane(end).hold.take_if(|hold| !hold.is_cut);
        self.answer_for_the_gone(end.other(), Instant::now());
        self.wake_all();
    }

    pub(super) fn reset(&mut self) {
        let now = Instant::now();
        for end in [End::Client, End::Server] {
            self.note(end, What::Reset);
            self.reset_lane(end, now);
        }
    }

    pub(super) fn end(&mut self, now: Instant) {
        for end in [End::Client, End::Server] {
            self.note(end, What::Ended);
            self.end_lane(end, now);
        }
    }

    /// How many bytes this end has written that were not read.
    pub(super) fn len(&self, end: End) -> usize {
        self.lanes[end as usize].len
    }

    pub(super) fn latency(&mut self) -> Duration {
        self.chance.time(&self.faults.latency)
    }

    /// What happens by chance with a write.
    fn strike(&mut self, end: End, now: Instant) {
        if self.chance.happens(self.faults.stalls) {
            let time = self.chance.time(&self.faults.stall_time);
            self.stall(end, Some(now + time));
        }
        if self.chance.happens(self.faults.resets) {
            self.reset();
        }
        if self.chance.happens(self.faults.cuts) {
            let which = self.chance.below(4);
            if which != 0 {
                self.cut(end);
            }
            if which != 1 {
                self.cut(end.other());
            }
        }
    }

    /// Whether this attempt is to be repeated for no reason; it may also be the other direction
    /// whose reader is woken for none.
    fn pauses(&mut self, end: End, cx: &Context<'_>) -> bool {
        if !self.chance.happens(self.faults.pauses) {
            return false;
        }
        if self.chance.below(4) == 0 {
            let reader = self.lanes[end.other() as usize].reader.take();
            self.woken.extend(reader);
            return false;
        }
        self.note(end, What::Paused);
        self.woken.push(cx.waker().clone());
        true
    }

    /// How many bytes of those that could be moved are.
    fn chunk(&mut self, most: usize) -> usize {
        match self.faults.max_chunk {
            Some(chunk) if most > 0 && self.chance.below(4) > 0 => {
                self.chance.length(chunk).min(most)
            }
            _ => most,
        }
    }

    fn refuses_write(&mut self, end: End, now: Instant) -> Option<io::Error> {
        let back = &mut self.lanes[end.other() as usize];
        if let Some(mut reset) = back.reset
            && back.has_arrived(reset.due, now)
        {
            // Only the first is told how it came.
            let kind = match reset.was_told {
                true => io::ErrorKind::BrokenPipe,
                false => io::ErrorKind::ConnectionReset,
            };
            reset.was_told = true;
            back.reset = Some(reset);
            return Some(kind.into());
        }
        let has_ended = self.lane(end).end.is_some();
        has_ended.then(|| io::ErrorKind::BrokenPipe.into())
    }

    fn push(&mut self, end: End, bytes: Bytes, now: Instant) {
        let due = self.due(end, now);
        let lane = self.lane(end);
        lane.len += bytes.len();
        if !bytes.is_empty() {
            lane.segments.push_back(Segment { due, bytes });
        }
        let reader = lane.reader.take();
        self.woken.extend(reader);
        // What is held back for ever is not answered.
        let arrives = self.lane(end).arrival(due).unwrap_or(due);
        let answered = arrives + self.latency();
        self.answer_for_the_gone(end.other(), answered);
    }

    /// When what is sent now arrives.
    fn due(&mut self, end: End, now: Instant) -> Instant {
        let latency = self.latency();
        let lane = self.lane(end);
        let due = lane.last_due.max(now + latency);
        lane.last_due = lane.held_back(due);
        lane.last_due
    }

    fn end_lane(&mut self, end: End, now: Instant) {
        let due = self.due(end, now);
        self.lane(end).end.get_or_insert(due);
        self.wake_all();
    }

    /// Has the reader of what `end` writes learn of a reset.
    fn reset_lane(&mut self, end: End, due: Instant) {
        let keeps_arrived = self.chance.below(2) == 0;
        let due = self.lane(end).held_back(due);
        self.lane(end).reset.get_or_insert(Reset {
            due,
            keeps_arrived,
            was_told: false,
        });
        self.wake_all();
    }

    fn wake_all(&mut self) {
        for lane in &mut self.lanes {
            self.woken.extend(lane.reader.take());
            self.woken.extend(lane.writer.take());
        }
    }

    fn lane(&mut self, end: End) -> &mut Lane {
        &mut self.lanes[end as usize]
    }

    fn note(&self, end: End, what: What) {
        self.log.note(self.number, end, what);
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            len: 0,
            last_due: Instant::now(),
            end: None,
            reset: None,
            hold: None,
            is_deaf: false,
            reader: None,
            writer: None,
        }
    }

    /// Moves at most so many bytes that have arrived.
    fn take_arrived(&mut self, now: Instant, most: usize, buf: &mut ReadBuf<'_>) {
        let mut left = most;
        while left > 0 {
            let due = match self.segments.front() {
                Some(segment) => segment.due,
                None => break,
            };
            let is_lost = self.reset.is_some_and(|reset| due > reset.due);
            if is_lost || !self.has_arrived(due, now) {
                break;
            }
            let Some(segment) = self.segments.front_mut() else {
                break;
            };
            let count = left.min(segment.bytes.len());
            buf.put_slice(&segment.bytes[..count]);
            segment.bytes.advance(count);
            if segment.bytes.is_empty() {
                self.segments.pop_front();
            }
            self.len -= count;
            left -= count;
        }
    }

    /// When something happens for the reader, if it is known.
    fn next_arrival(&self) -> Option<Instant> {
        let first = self.segments.front().map(|segment| segment.due);
        let reset = self.reset.map(|reset| reset.due);
        [first.or(self.end), reset]
            .into_iter()
            .flatten()
            .filter_map(|due| self.arrival(due))
            .min()
    }

    /// What is sent from now on does not arrive in the instant in which the hold began.
    fn held_back(&self, due: Instant) -> Instant {
        match self.hold {
            Some(hold) => due.max(hold.since + Duration::from_nanos(1)),
            None => due,
        }
    }

    /// When something arrives that was to do so at `due`; never, if it is held back for ever.
    fn arrival(&self, due: Instant) -> Option<Instant> {
        match self.hold {
            Some(hold) if due > hold.since => Some(due.max(hold.until?)),
            _ => Some(due),
        }
    }

    /// Whether nothing arrives until it is healed.
    fn is_held(&self) -> bool {
        self.hold.is_some_and(|hold| hold.until.is_none())
    }

    fn has_arrived(&self, due: Instant, now: Instant) -> bool {
        self.arrival(due).is_some_and(|at| at <= now)
    }

    fn hold(&mut self, now: Instant, until: Option<Instant>, is_cut: bool) {
        let mut hold = Hold {
            since: now,
            until,
            is_cut,
        };
        if let Some(old) = self.hold
            && old.until.is_none_or(|until| until > now)
        {
            hold.since = old.since;
            hold.until = old.until.zip(until).map(|(old, new)| old.max(new));
            hold.is_cut |= old.is_cut;
        }
        self.hold = Some(hold);
    }

    fn clear(&mut self) {
        self.segments.clear();
        self.len = 0;
    }
}

/// The first `count` bytes of the slices.
fn gather(slices: &[IoSlice<'_>], count: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(count);
    for slice in slices {
        let left = count - bytes.len();
        bytes.extend_from_slice(&slice[..left.min(slice.len())]);
    }
    bytes.freeze()
}
