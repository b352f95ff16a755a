//! Every limit there is, with its default, and those in force as values.
//!
//! Each type with settings lists its own by `in_force`: [`Config`](crate::Config::in_force),
//! [`Upgrade`](crate::Upgrade::in_force), `OutboxLimits`, `SessionConfig`, `Hub`; and `net::Server`
//! all that hold for its connections: for a line of log at the start, a health check, or a test that
//! nobody took one away.
//!
//! # Examples
//!
//! ```
//! use wsroom::Config;
//! use wsroom::limits::Bound;
//!
//! let limits = Config::default().ping_interval(None).in_force();
//! assert_eq!(limits.get("max_message_size"), Some(Bound::Bytes(1 << 20)));
//! assert_eq!(limits.get("ping_interval"), Some(Bound::None));
//! assert!(limits.to_string().contains("Config::max_message_size: 1 MiB\n"));
//! ```
#![doc = include_str!("limits.md")]

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

/// A limit in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// The type with the setter.
    pub of: &'static str,
    /// The setter.
    pub name: &'static str,
    /// What it is set to.
    pub bound: Bound,
}

/// How much or how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// So many bytes.
    Bytes(usize),
    /// So many of what the limit names.
    Count(usize),
    /// So long.
    Time(Duration),
    /// There is no limit: the application has said so.
    None,
}

/// Limits in force, one a line where they are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce(Vec<Limit>);

impl InForce {
    pub(crate) fn new<const N: usize>(
        of: &'static str,
        limits: [(&'static str, Bound); N],
    ) -> Self {
        let limit = |(name, bound)| Limit { of, name, bound };
        Self(limits.map(limit).into())
    }

    /// These and others, in one list.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The limit of this name.
    pub fn get(&self, name: &str) -> Option<Bound> {
        let limit = self.0.iter().find(|limit| limit.name == name);
        limit.map(|limit| limit.bound)
    }
}

impl Bound {
    /// The largest number is how an application writes that there is none.
    pub(crate) const fn bytes(bytes: usize) -> Self {
        match bytes {
            usize::MAX => Self::None,
            bytes => Self::Bytes(bytes),
        }
    }

    /// As [`bytes`](Self::bytes).
    pub(crate) const fn count(count: usize) -> Self {
        match count {
            usize::MAX => Self::None,
            count => Self::Count(count),
        }
    }

    pub(crate) fn time(time: impl Into<Option<Duration>>) -> Self {
        match time.into() {
            None | Some(Duration::MAX) => Self::None,
            Some(time) => Self::Time(time),
        }
    }
}

impl Deref for InForce {
    type Target = [Limit];

    fn deref(&self) -> &[Limit] {
        &self.0
    }
}

impl IntoIterator for InForce {
    type Item = Limit;
    type IntoIter = std::vec::IntoIter<Limit>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|limit| writeln!(f, "{limit}"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}: {}", self.of, self.name, self.bound)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bytes(bytes) if bytes > 0 && bytes % (1 << 20) == 0 => {
                write!(f, "{} MiB", bytes >> 20)
            }
            Self::Bytes(bytes) if bytes > 0 && bytes % (1 << 10) == 0 => {
                write!(f, "{} KiB", bytes >> 10)
            }
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Time(time) => write!(f, "{} s", time.as_secs_f64()),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_printed_with_their_units() {
        for (bound, text) in [
            (Bound::Bytes(3 << 20), "3 MiB"),
            (Bound::Bytes(64 << 10), "64 KiB"),
            (Bound::Bytes(1000), "1000 bytes"),
            (Bound::Bytes(0), "0 bytes"),
            (Bound::Count(100_000), "100000"),
            (Bound::Time(Duration::from_millis(1500)), "1.5 s"),
            (Bound::None, "none"),
            (Bound::bytes(usize::MAX), "none"),
            (Bound::count(usize::MAX), "none"),
            (Bound::time(Duration::MAX), "none"),
            (Bound::time(Duration::ZERO), "0 s"),
        ] {
            assert_eq!(bound.to_string(), text);
        }
    }
}
