//! What goes wrong by itself.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What happens on a link by chance, and how often. What exactly, the seed decides.
///
/// A rate is from 0.0, never, to 1.0, always, and stands for each write of either end, if nothing
/// else is said.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wsroom::test_util::{Faults, Network};
///
/// let ms = Duration::from_millis;
/// let network = Network::seeded(7);
/// // A mobile phone: slow, in bursts, and every now and then gone.
/// network.set_faults(
///     Faults::none()
///         .latency(ms(40)..=ms(200))
///         .stalls(0.05, ms(500)..=ms(8_000))
///         .cuts(0.002),
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Faults {
    pub(super) latency: RangeInclusive<Duration>,
    pub(super) capacity: usize,
    pub(super) max_chunk: Option<usize>,
    pub(super) pauses: f64,
    pub(super) stalls: f64,
    pub(super) stall_time: RangeInclusive<Duration>,
    pub(super) resets: f64,
    pub(super) ends: f64,
    pub(super) cuts: f64,
}

/// As [`none`](Faults::none).
impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// None: all that is written arrives at once and whole; 64 KiB may be under way.
    pub const fn none() -> Self {
        Self {
            latency: Duration::ZERO..=Duration::ZERO,
            capacity: 64 << 10,
            max_chunk: None,
            pauses: 0.0,
            stalls: 0.0,
            stall_time: Duration::ZERO..=Duration::ZERO,
            resets: 0.0,
            ends: 0.0,
            cuts: 0.0,
        }
    }

    /// Whatever a connection must bear: short reads and writes, futures that are polled for
    /// nothing, latency up to 50 ms, 4 KiB under way, stalls up to 3 s. No byte is lost.
    pub const fn lossless() -> Self {
        Self::none()
            .latency(Duration::ZERO..=Duration::from_millis(50))
            .capacity(4 << 10)
            .max_chunk(60)
            .pauses(0.2)
            .stalls(0.01, Duration::from_millis(1)..=Duration::from_secs(3))
    }

    /// As [`lossless`](Self::lossless), and one write in a few hundred is the last one: the
    /// connection is reset, ends in the middle of a frame, or is cut without a word.
    pub const fn fatal() -> Self {
        Self::lossless().resets(0.002).ends(0.002).cuts(0.002)
    }

    /// How long bytes are under way.
    pub const fn latency(mut self, time: RangeInclusive<Duration>) -> Self {
        self.latency = time;
        self
    }

    /// How many bytes may be under way in each direction, those included that were not read: more
    /// have to wait. At least 1.
    pub const fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// How many bytes three of four reads and writes move at most; a fourth moves all it can. At
    /// least 1.
    pub const fn max_chunk(mut self, bytes: usize) -> Self {
        self.max_chunk = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// How often a read, write, flush or shutdown is pending for no reason and asked for again at
    /// once, or a reader is woken for nothing: what is ready comes in another order.
    pub const fn pauses(mut self, rate: f64) -> Self {
        self.pauses = rate;
        self
    }

    /// How often nothing arrives in one direction for a while, and how long.
    pub const fn stalls(mut self, rate: f64, time: RangeInclusive<Duration>) -> Self {
        self.stalls = rate;
        self.stall_time = time;
        self
    }

    /// How often the link is reset. See [`Link::reset`](super::Link::reset).
    pub const fn resets(mut self, rate: f64) -> Self {
        self.resets = rate;
        self
    }

    /// How often the link ends after a part of what is written. See
    /// [`Link::end`](super::Link::end).
    pub const fn ends(mut self, rate: f64) -> Self {
        self.ends = rate;
        self
    }

    /// How often the link is cut, in one direction or in both. See
    /// [`Link::cut`](super::Link::cut).
    pub const fn cuts(mut self, rate: f64) -> Self {
        self.cuts = rate;
        self
    }
}
