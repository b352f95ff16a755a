//! The deadlines of a connection: keepalive, silence, closing handshake (§5.5.2, §7.1.1).
//!
//! Time comes in with `handle_timeout` only. That bytes came is noted without a time, and counts
//! as of the next timeout; so receiving costs no clock.

use std::time::{Duration, Instant};

use super::config::Config;

#[derive(Debug, Default)]
pub(super) struct Keepalive {
    /// The latest time that is known, none before the first timeout.
    now: Option<Instant>,
    /// Whether anything has come since then.
    heard: bool,
    ping_due: Option<Instant>,
    pong_due: Option<Instant>,
    idle_due: Option<Instant>,
    close: CloseDeadline,
    /// The newest Ping: its number, which is its payload, and its time.
    ping: Option<(u64, Instant)>,
}

#[derive(Debug, Default)]
enum CloseDeadline {
    #[default]
    Open,
    /// The closing handshake has begun, at a time that the next timeout tells.
    Begun,
    Due(Instant),
    /// The deadline has passed, or there is none: nothing is waited for.
    Ended,
}

/// What is to be done when time has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// A Ping with this payload is to be sent.
    Ping([u8; 8]),
    /// A Ping was not answered.
    Pong,
    /// Nothing has come for too long.
    Idle,
    /// The closing handshake has taken too long.
    Close,
}

impl Keepalive {
    /// Notes that the peer lives.
    #[inline]
    pub(super) const fn heard(&mut self) {
        self.heard = true;
    }

    /// Starts the deadline of the closing handshake, which ends all others.
    pub(super) fn begin_close(&mut self) {
        if matches!(self.close, CloseDeadline::Open) {
            self.close = CloseDeadline::Begun;
        }
    }

    /// When the Ping that a Pong with this payload answers was made.
    pub(super) fn answered(&mut self, payload: &[u8]) -> Option<Instant> {
        let (number, at) = self.ping?;
        if payload != number.to_be_bytes() {
            return None;
        }
        Some(at)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let now = self.now?;
        match self.close {
            CloseDeadline::Due(due) => Some(due),
            CloseDeadline::Begun => Some(now),
            CloseDeadline::Ended => None,
            CloseDeadline::Open => [self.ping_due, self.pong_due, self.idle_due]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// Takes the time, and gives one thing that is due, most final first.
    pub(super) fn handle_timeout(&mut self, now: Instant, config: &Config) -> Option<Expired> {
        let started = self.now.is_none();
        // Time does not go back, whatever the caller says.
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        match self.close {
            CloseDeadline::Open => {}
            CloseDeadline::Begun => {
                self.close = after(now, config.close_timeout)
                    .map_or(CloseDeadline::Ended, CloseDeadline::Due);
                return None;
            }
            CloseDeadline::Due(due) if now >= due => {
                self.close = CloseDeadline::Ended;
                return Some(Expired::Close);
            }
            CloseDeadline::Due(_) | CloseDeadline::Ended => return None,
        }
        if started {
            self.ping_due = config.ping_interval.and_then(|it| after(now, it));
        }
        if started || self.heard {
            self.heard = false;
            self.pong_due = None;
            self.idle_due = config.idle_timeout.and_then(|it| after(now, it));
        }
        if is_past(self.pong_due, now) {
            return Some(Expired::Pong);
        }
        if is_past(self.idle_due, now) {
            return Some(Expired::Idle);
        }
        let interval = config.ping_interval?;
        if !is_past(self.ping_due, now) {
            return None;
        }
        self.ping_due = after(now, interval);
        // A Ping that is unanswered keeps its deadline when the next one is sent.
        self.pong_due = self.pong_due.or_else(|| after(now, config.pong_timeout));
        let number = self.ping.map_or(0, |(number, _)| number.wrapping_add(1));
        self.ping = Some((number, now));
        Some(Expired::Ping(number.to_be_bytes()))
    }
}

/// When `time` will have passed: never, if the clock cannot say it, as with [`Duration::MAX`].
fn after(now: Instant, time: Duration) -> Option<Instant> {
    now.checked_add(time)
}

fn is_past(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| now >= due)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs from one timeout to the next for `seconds` and notes what expires, and when.
    fn run(
        keepalive: &mut Keepalive,
        config: &Config,
        start: Instant,
        seconds: u64,
        mut at: impl FnMut(&mut Keepalive, u64),
    ) -> Vec<(u64, &'static str)> {
        let mut log = Vec::new();
        for second in 0..=seconds {
            let now = start + Duration::from_secs(second);
            at(keepalive, second);
            while keepalive.next_timeout().is_none_or(|due| due <= now) {
                let expired = keepalive.handle_timeout(now, config);
                log.extend(expired.as_ref().map(|expired| {
                    let name = match expired {
                        Expired::Ping(_) => "ping",
                        Expired::Pong => "pong",
                        Expired::Idle => "idle",
                        Expired::Close => "close",
                    };
                    (second, name)
                }));
                if matches!(
                    expired,
                    Some(Expired::Pong | Expired::Idle | Expired::Close)
                ) {
                    return log;
                }
                if keepalive.next_timeout().is_none() {
                    break;
                }
            }
        }
        log
    }

    #[test]
    fn a_peer_that_answers_is_pinged_every_interval() {
        let log = run(
            &mut Keepalive::default(),
            &Config::default(),
            Instant::now(),
            65,
            |keepalive, second| {
                if second % 20 == 1 {
                    keepalive.heard();
                }
            },
        );
        assert_eq!(log, [(20, "ping"), (40, "ping"), (60, "ping")]);
    }

    /// P4, X5: a peer that vanishes is found within interval plus timeout.
    #[test]
    fn a_peer_that_vanishes_is_found_within_40_seconds() {
        let log = run(
            &mut Keepalive::default(),
            &Config::default(),
            Instant::now(),
            200,
            |keepalive, second| {
                if second <= 21 {
                    keepalive.heard();
                }
            },
        );
        assert_eq!(log, [(20, "ping"), (40, "ping"), (60, "pong")]);
    }

    #[test]
    fn an_unanswered_ping_keeps_its_deadline_when_another_is_sent() {
        let config = Config::default().pong_timeout(Duration::from_secs(50));
        let log = run(
            &mut Keepalive::default(),
            &config,
            Instant::now(),
            200,
            |_, _| {},
        );
        assert_eq!(
            log,
            [(20, "ping"), (40, "ping"), (60, "ping"), (70, "pong")]
        );
    }

    #[test]
    fn without_pings_silence_ends_the_connection() {
        let config = Config::default().ping_interval(None);
        let log = run(
            &mut Keepalive::default(),
            &config,
            Instant::now(),
            200,
            |_, _| {},
        );
        assert_eq!(log, [(120, "idle")]);
    }

    /// C9: the deadline of the closing handshake counts from its beginning.
    #[test]
    fn a_closing_handshake_has_ten_seconds_and_ends_the_pings() {
        let log = run(
            &mut Keepalive::default(),
            &Config::default(),
            Instant::now(),
            200,
            |keepalive, second| {
                if second == 30 {
                    keepalive.begin_close();
                }
            },
        );
        assert_eq!(log, [(20, "ping"), (40, "close")]);
    }

    /// §7.1.1: the deadline passes once, so that a loop over all that is due comes to an end.
    #[test]
    fn nothing_is_waited_for_once_the_closing_handshake_is_overdue() {
        let config = Config::default();
        let start = Instant::now();
        let mut keepalive = Keepalive::default();
        keepalive.begin_close();
        assert_eq!(keepalive.handle_timeout(start, &config), None);
        let due = keepalive.next_timeout().unwrap();
        assert_eq!(keepalive.handle_timeout(due, &config), Some(Expired::Close));
        assert_eq!(keepalive.next_timeout(), None);
        assert_eq!(keepalive.handle_timeout(due, &config), None);
    }

    #[test]
    fn the_largest_duration_is_no_deadline() {
        let config = Config::default()
            .ping_interval(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .pong_timeout(Duration::MAX)
            .close_timeout(Duration::MAX);
        let start = Instant::now();
        let mut keepalive = Keepalive::default();
        assert_eq!(keepalive.handle_timeout(start, &config), None);
        assert_eq!(keepalive.next_timeout(), None);

        let config = config.ping_interval(Duration::from_secs(1));
        let mut keepalive = Keepalive::default();
        assert_eq!(keepalive.handle_timeout(start, &config), None);
        let at = start + Duration::from_secs(1);
        let expired = keepalive.handle_timeout(at, &config);
        assert!(matches!(expired, Some(Expired::Ping(_))));
        keepalive.begin_close();
        assert_eq!(keepalive.handle_timeout(at, &config), None);
        assert_eq!(keepalive.next_timeout(), None);
    }

    #[test]
    fn a_pong_answers_the_newest_ping_only() {
        let config = Config::default();
        let mut keepalive = Keepalive::default();
        let start = Instant::now();
        assert_eq!(keepalive.handle_timeout(start, &config), None);
        let at = start + Duration::from_secs(20);
        let Some(Expired::Ping(payload)) = keepalive.handle_timeout(at, &config) else {
            panic!("a ping is due");
        };
        assert_eq!(keepalive.answered(&payload), Some(at));
        assert_eq!(keepalive.answered(b"other"), None);
    }

    #[test]
    fn time_that_goes_back_is_taken_as_standing_still() {
        let config = Config::default();
        let mut keepalive = Keepalive::default();
        let start = Instant::now() + Duration::from_secs(100);
        keepalive.handle_timeout(start, &config);
        let before = keepalive.next_timeout();
        keepalive.handle_timeout(start - Duration::from_secs(50), &config);
        assert_eq!(keepalive.next_timeout(), before);
    }
}
