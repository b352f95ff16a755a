//! What happened on a network.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One thing that happened on a link, and when. Shown as `1.250 s link 3, client: wrote 40`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogEntry {
    at: Duration,
    link: u64,
    end: End,
    what: What,
}

/// One of the two ends of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What happened at an end, or in the direction away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    Opened,
    Wrote(usize),
    Read(usize),
    Failed,
    Paused,
    ShutDown,
    Dropped,
    Stalled,
    Healed,
    Cut,
    Reset,
    Ended,
}

/// Everything in order: the newest entries, and a digest of all.
#[derive(Debug)]
pub(super) struct Log {
    start: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<LogEntry>,
    digest: u64,
}

/// How many entries are kept.
const KEPT: usize = 4096;

impl Log {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            kept: Mutex::default(),
        }
    }

    pub(super) fn note(&self, link: u64, end: End, what: What) {
        let entry = LogEntry {
            at: self.start.elapsed(),
            link,
            end,
            what,
        };
        let mut kept = self.lock();
        // Keys that are fixed: the same in every process.
        let mut hasher = DefaultHasher::new();
        (kept.digest, &entry).hash(&mut hasher);
        kept.digest = hasher.finish();
        if kept.entries.len() == KEPT {
            kept.entries.pop_front();
        }
        kept.entries.push_back(entry);
    }

    pub(super) fn entries(&self) -> Vec<LogEntry> {
        self.lock().entries.iter().cloned().collect()
    }

    pub(super) fn digest(&self) -> u64 {
        self.lock().digest
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Client => "client",
            End::Server => "server",
        };
        let seconds = self.at.as_secs_f64();
        write!(f, "{seconds:.3} s link {}, {end}: ", self.link)?;
        match self.what {
            What::Opened => f.write_str("opened"),
            What::Wrote(bytes) => write!(f, "wrote {bytes}"),
            What::Read(bytes) => write!(f, "read {bytes}"),
            What::Failed => f.write_str("failed"),
            What::Paused => f.write_str("paused"),
            What::ShutDown => f.write_str("shut down"),
            What::Dropped => f.write_str("dropped"),
            What::Stalled => f.write_str("stalled"),
            What::Healed => f.write_str("healed"),
            What::Cut => f.write_str("cut"),
            What::Reset => f.write_str("reset"),
            What::Ended => f.write_str("ended"),
        }
    }
}
