//! The limits and deadlines of a connection.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{Bound, InForce};

/// Limits and deadlines of a [`Connection`](crate::Connection). Each is finite by default; a limit
/// that is to be none must be written as the largest value of its type.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wsroom::Config;
/// use wsroom::limits::Bound;
///
/// let config = Config::default()
///     .max_message_size(64 << 10)
///     .ping_interval(Duration::from_secs(5));
/// assert_eq!(config.in_force().get("max_frame_size"), Some(Bound::Bytes(64 << 10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) max_message_size: usize,
    pub(crate) max_frame_size: Option<usize>,
    pub(crate) max_fragments: u32,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) pong_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) write_mark: usize,
    pub(crate) compression_level: u8,
    pub(crate) compression_threshold: Option<usize>,
    pub(crate) compression_history: usize,
}

/// Pongs are answers to the peer, so it is the peer who could make them many.
pub(super) const MAX_QUEUED_PONGS: usize = 64 << 10;

impl Default for Config {
    fn default() -> Self {
        DEFAULT
    }
}

static DEFAULT: Config = Config {
    max_message_size: 1 << 20,
    max_frame_size: None,
    max_fragments: 16_384,
    ping_interval: Some(Duration::from_secs(20)),
    pong_timeout: Duration::from_secs(20),
    idle_timeout: Some(Duration::from_secs(120)),
    close_timeout: Duration::from_secs(10),
    write_mark: 64 << 10,
    compression_level: 6,
    compression_threshold: None,
    compression_history: 4 << 10,
};

impl Config {
    /// The longest message that is accepted, in bytes: 1 MiB. A peer can make the connection hold
    /// about this much; a longer message fails the connection with 1009.
    ///
    /// A compressed message is measured while it is inflated, and inflated no further.
    ///
    /// The limit also holds for a message that is taken in fragments, which costs no memory:
    /// `usize::MAX` is then no limit.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// The longest payload of one frame that is accepted, in bytes, as it is on the wire: that of a
    /// message, and if it is compressed an eighth more.
    #[must_use]
    pub const fn max_frame_size(mut self, bytes: usize) -> Self {
        self.max_frame_size = Some(bytes);
        self
    }

    /// The largest number of frames that make one message: 16,384. Each costs time, even an empty
    /// one; more of them fail the connection with 1008.
    #[must_use]
    pub const fn max_fragments(mut self, frames: u32) -> Self {
        self.max_fragments = frames;
        self
    }

    /// How often a Ping is sent: every 20 seconds. `None` sends none, so that a peer that vanished
    /// is found by [`idle_timeout`](Self::idle_timeout) only. Less than a millisecond is taken as
    /// one.
    #[must_use]
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        let interval = interval.into();
        self.ping_interval = interval.map(|interval| interval.max(Duration::from_millis(1)));
        self
    }

    /// How long after a Ping nothing at all may come from the peer: 20 seconds. Then the
    /// connection fails.
    #[must_use]
    pub const fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.pong_timeout = timeout;
        self
    }

    /// How long nothing at all, not even a Pong, may come from the peer: 120 seconds, then the
    /// connection is closed with 1001. A peer that lives answers Pings, so this matters where none
    /// are sent. `None` waits for ever. Silence is noticed at timeouts, so that it can last up to
    /// twice as long, or one ping interval longer.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// How long the closing handshake may take, including what waits to be written before it: 10
    /// seconds. Then the transport is cut.
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How many bytes may wait to be written before the adapter makes a send wait: 64 KiB. What
    /// waits is at most this, one message, and the Pongs.
    #[must_use]
    pub const fn write_mark(mut self, bytes: usize) -> Self {
        self.write_mark = bytes;
        self
    }

    /// How hard messages are compressed where permessage-deflate was agreed on, from 1, the
    /// fastest, to 9: 6. The levels are those of zlib-rs: its 6 is 2 % less thorough than the 6 of
    /// zlib in C, and its 7 as thorough, for up to three quarters more time. With context
    /// takeover, 3 takes less than half the time of 6 for long messages, which become a twentieth
    /// longer; without, all from 2 on differ for long messages only. 1 does without Huffman codes
    /// of its own, which makes it several times as fast, and a third less good.
    #[must_use]
    pub const fn compression_level(mut self, level: u8) -> Self {
        self.compression_level = match level {
            0 => 1,
            1..=9 => level,
            _ => 9,
        };
        self
    }

    /// How long a message must be for it to be compressed, in bytes: 128, or 16 with context takeover,
    /// where a short message is like those before it. A shorter one gains less than it costs.
    /// `usize::MAX` compresses nothing; single messages are sent as they are with
    /// [`PreparedMessage::uncompressed`](crate::PreparedMessage::uncompressed).
    ///
    /// A message that is sent in pieces is compressed if its first piece is that long.
    #[must_use]
    pub const fn compression_threshold(mut self, bytes: usize) -> Self {
        self.compression_threshold = Some(bytes);
        self
    }

    /// How much of what was sent is kept for the next message to refer to, in bytes, with context
    /// takeover: 4 KiB, and never more than the window that was agreed on.
    ///
    /// While no more than four connections of a thread are busy sending, each goes on where it was
    /// and refers to all of its window. Of more, each loads what is kept for each message: 4 KiB
    /// take a third of the time that a short message takes, and 32 KiB several times as long, to
    /// make it a tenth shorter.
    #[must_use]
    pub const fn compression_history(mut self, bytes: usize) -> Self {
        self.compression_history = bytes;
        self
    }

    /// The limits in force as a list, to print or to look through.
    pub fn in_force(&self) -> InForce {
        InForce::new(
            "Config",
            [
                ("max_message_size", Bound::bytes(self.max_message_size)),
                ("max_frame_size", Bound::bytes(self.frame_limit())),
                ("max_fragments", Bound::count(self.max_fragments as usize)),
                ("write_mark", Bound::bytes(self.write_mark)),
                ("ping_interval", Bound::time(self.ping_interval)),
                ("pong_timeout", Bound::time(self.pong_timeout)),
                ("idle_timeout", Bound::time(self.idle_timeout)),
                ("close_timeout", Bound::time(self.close_timeout)),
                (
                    "compression_history",
                    Bound::bytes(self.compression_history),
                ),
            ],
        )
    }

    /// How long a frame of a compressed message may be: what does not shrink grows, by an eighth
    /// at most if nothing is flushed needlessly.
    pub(crate) const fn compressed_frame_limit(&self) -> usize {
        match self.max_frame_size {
            Some(bytes) => bytes,
            None => self
                .max_message_size
                .saturating_add(self.max_message_size / 8)
                .saturating_add(64),
        }
    }

    /// The longest message that may come in one frame.
    #[inline]
    pub(crate) const fn whole_limit(&self) -> usize {
        match self.max_frame_size {
            Some(bytes) if bytes < self.max_message_size => bytes,
            _ => self.max_message_size,
        }
    }

    pub(crate) const fn frame_limit(&self) -> usize {
        match self.max_frame_size {
            Some(bytes) => bytes,
            None => self.max_message_size,
        }
    }
}

/// The configuration of a connection, in memory that it shares with others: it is larger than much
/// of what a connection that waits holds.
pub(super) struct SharedConfig {
    /// None if it is the default.
    config: Option<Arc<Config>>,
}

impl SharedConfig {
    /// Shares with the connection that the thread has made last, if that is configured the same.
    pub(super) fn new(config: Config) -> Self {
        thread_local! {
            static LAST: RefCell<Option<Arc<Config>>> = const { RefCell::new(None) };
        }
        if config == DEFAULT {
            return Self { config: None };
        }
        let share = |last: &RefCell<Option<Arc<Config>>>| {
            let mut last = last.borrow_mut();
            match &*last {
                Some(last) if **last == config => Arc::clone(last),
                _ => Arc::clone(last.insert(Arc::new(config))),
            }
        };
        // A thread that ends remembers none.
        let shared = LAST.try_with(share).unwrap_or_else(|_| Arc::new(config));
        Self {
            config: Some(shared),
        }
    }
}

impl Deref for SharedConfig {
    type Target = Config;

    #[inline]
    fn deref(&self) -> &Config {
        self.config.as_deref().unwrap_or(&DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_configured_the_same_share_that() {
        let address = |shared: &SharedConfig| std::ptr::from_ref(&**shared);
        let small = Config::default().max_message_size(100);
        let [a, b, c, d] = [small, small, Config::default(), small].map(SharedConfig::new);
        assert_eq!(*a, small);
        assert_eq!(*c, Config::default());
        assert!(c.config.is_none(), "the default costs nothing");
        assert_eq!([&b, &d].map(address), [address(&a); 2]);
        let large = SharedConfig::new(small.max_message_size(200));
        assert_eq!(large.max_message_size, 200);
        assert_eq!(a.max_message_size, 100);
    }
}
