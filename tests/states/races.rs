//! §5.5 and §7: two ends that send, ping and close, and whose frames are on the way for as long as one
//! likes. Every order in which that can happen is gone through; orders that lead to the same are gone
//! on with once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wsroom::frame::{FrameHeader, MaskKey, OpCode};
use wsroom::protocol::{Fragment, State};
use wsroom::{Agreed, CloseCause, CloseCode, CloseFrame, Config, Connection, Event, Role};

use super::common::frames::KEY;
use super::common::output::written;

/// What an end says, one after the other, if it does not close before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Say {
    Text,
    Begin,
    Finish,
    Ping,
}

/// What can happen next. A number says at which end: that of the client is 0.
#[derive(Clone, Copy, Debug)]
enum Step {
    Say(usize),
    Close(usize),
    /// The next frame of this end is read by the other.
    Deliver(usize),
    /// The first byte of it is.
    DeliverFirst(usize),
    /// The other end reads the end of the stream.
    DeliverEnd(usize),
    /// This end has waited for the end of the closing handshake, and cuts the transport.
    Expire(usize),
    /// The transport is lost, with all that is on the way.
    Lose,
}

/// What may happen in an exploration.
#[derive(Clone, Copy)]
struct Bounds {
    scripts: [&'static [Say]; 2],
    /// Whether the transport may be lost, and a deadline pass.
    disturbed: bool,
}

/// What one end has written, in whole frames.
#[derive(Default, Hash)]
struct Lane {
    frames: Vec<Vec<u8>>,
    delivered: usize,
    /// Whether the first byte of the next one was delivered.
    is_split: bool,
    /// Whether the other end has read the end of the stream.
    is_read: bool,
}

struct World {
    bounds: Bounds,
    ends: [Connection; 2],
    lanes: [Lane; 2],
    said: [Vec<Heard>; 2],
    heard: [Vec<Heard>; 2],
    /// How much of its script each end has said.
    scripts: [usize; 2],
    /// How many pings each end has read.
    pings: [usize; 2],
    is_disturbed: bool,
    now: Instant,
}

#[derive(Clone, Debug, Hash, PartialEq)]
enum Heard {
    Text(String),
    Ping(Vec<u8>),
}

/// Closing, in any order with messages, fragments and Pings: nothing is lost, and both ends know how
/// it ended.
#[test]
fn two_ends_that_close_agree_whatever_is_on_the_way() {
    let bounds = Bounds {
        scripts: [
            &[Say::Begin, Say::Ping, Say::Finish, Say::Text],
            &[Say::Text, Say::Ping, Say::Text, Say::Ping],
        ],
        disturbed: false,
    };
    let (states, ends) = explore(bounds);
    assert!(
        states > 30_000 && ends > 800,
        "{states} states, {ends} ends"
    );
}

/// The same where a deadline passes or the transport is lost at any time: what was heard is what was
/// said first.
#[test]
fn two_ends_that_lose_each_other_do_not_wait_for_ever() {
    let bounds = Bounds {
        scripts: [&[Say::Text, Say::Ping, Say::Text], &[Say::Ping, Say::Text]],
        disturbed: true,
    };
    let (states, ends) = explore(bounds);
    assert!(
        states > 30_000 && ends > 800,
        "{states} states, {ends} ends"
    );
}

/// Goes through all orders; gives how many states there are, and how many of them are the last.
fn explore(bounds: Bounds) -> (usize, usize) {
    let mut seen = HashSet::new();
    let mut paths = vec![Vec::new()];
    let mut ends = 0;
    while let Some(path) = paths.pop() {
        let world = World::after(bounds, &path);
        if !seen.insert(world.fingerprint()) {
            continue;
        }
        world.check(&path);
        let steps = world.steps();
        if steps.is_empty() {
            ends += 1;
            world.check_end(&path);
        }
        for step in steps {
            let mut path = path.clone();
            path.push(step);
            paths.push(path);
        }
    }
    (seen.len(), ends)
}

impl World {
    /// A connection cannot be copied, so each state is reached from the start.
    fn after(bounds: Bounds, path: &[Step]) -> Self {
        let now = Instant::now();
        let config = Config::default().ping_interval(None).idle_timeout(None);
        let ends = [Role::Client, Role::Server].map(|role| {
            let mut connection = Connection::new(role, Agreed::default(), config);
            connection.fix_mask_key(MaskKey::new(KEY));
            connection.handle_timeout(now);
            connection
        });
        let mut world = Self {
            bounds,
            ends,
            lanes: Default::default(),
            said: Default::default(),
            heard: Default::default(),
            scripts: [0; 2],
            pings: [0; 2],
            is_disturbed: false,
            now,
        };
        for &step in path {
            world.take(step);
        }
        world
    }

    /// What can happen next.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for at in 0..2 {
            let (end, lane) = (&self.ends[at], &self.lanes[at]);
            if end.state() == State::Open {
                steps.push(Step::Close(at));
                if self.scripts[at] < self.bounds.scripts[at].len() {
                    steps.push(Step::Say(at));
                }
            }
            if let Some(next) = lane.frames.get(lane.delivered) {
                steps.push(Step::Deliver(at));
                let is_control = next[0] & 8 != 0;
                if is_control && !lane.is_split {
                    steps.push(Step::DeliverFirst(at));
                }
            } else if self.has_ended(at) && !lane.is_read {
                steps.push(Step::DeliverEnd(at));
            }
            if self.bounds.disturbed && end.state() != State::Open && !end.is_overdue() {
                let awaited = !self.lanes[1 - at].is_read;
                steps.extend(awaited.then_some(Step::Expire(at)));
            }
        }
        if self.bounds.disturbed && !self.lanes.iter().all(|lane| lane.is_read) {
            steps.push(Step::Lose);
        }
        steps
    }

    /// §7.1.1: the server ends the stream first; who is overdue does not wait.
    fn has_ended(&self, at: usize) -> bool {
        let end = &self.ends[at];
        let may = end.role() == Role::Server || self.lanes[1 - at].is_read || end.is_overdue();
        end.is_closed() && may
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Say(at) => self.say(at),
            Step::Close(at) => {
                let code = CloseCode::new(4000 + at as u16);
                self.ends[at].close(CloseFrame::from(code)).unwrap();
            }
            Step::Deliver(at) => {
                let lane = &mut self.lanes[at];
                let from = usize::from(std::mem::take(&mut lane.is_split));
                let frame = lane.frames[lane.delivered][from..].to_vec();
                lane.delivered += 1;
                self.read(1 - at, frame);
            }
            Step::DeliverFirst(at) => {
                let lane = &mut self.lanes[at];
                lane.is_split = true;
                let first = lane.frames[lane.delivered][..1].to_vec();
                self.read(1 - at, first);
            }
            Step::DeliverEnd(at) => {
                self.lanes[at].is_read = true;
                self.is_disturbed |= !self.ends[1 - at].is_closed();
                self.ends[1 - at].receive_eof();
            }
            Step::Expire(at) => {
                self.ends[at].handle_timeout(self.now);
                self.now += Duration::from_secs(10);
                self.ends[at].handle_timeout(self.now);
                assert!(self.ends[at].is_overdue());
                self.is_disturbed = true;
            }
            Step::Lose => {
                self.is_disturbed = true;
                for (lane, end) in self.lanes.iter_mut().zip(self.ends.iter_mut().rev()) {
                    lane.delivered = lane.frames.len();
                    lane.is_read = true;
                    end.receive_eof();
                }
            }
        }
        for at in 0..2 {
            let mut wire = &written(&mut self.ends[at])[..];
            while let Some((header, len)) = FrameHeader::parse(wire).unwrap() {
                let (frame, rest) = wire.split_at(len + header.payload_len as usize);
                self.lanes[at].frames.push(frame.to_vec());
                wire = rest;
            }
        }
    }

    fn say(&mut self, at: usize) {
        let nth = self.scripts[at];
        self.scripts[at] += 1;
        let end = &mut self.ends[at];
        let text = format!("{nth}");
        let fragment = |opcode, fin| Fragment {
            opcode,
            fin,
            payload: Bytes::copy_from_slice(text.as_bytes()),
        };
        match self.bounds.scripts[at][nth] {
            Say::Text => {
                end.send(text.as_str()).unwrap();
                self.said[at].push(Heard::Text(text));
            }
            Say::Begin => end.send_fragment(&fragment(OpCode::Text, false)).unwrap(),
            Say::Finish => {
                let last = fragment(OpCode::Continuation, true);
                end.send_fragment(&last).unwrap();
                // It was begun two steps before.
                self.said[at].push(Heard::Text(format!("{}{nth}", nth - 2)));
            }
            Say::Ping => {
                end.ping(text.as_bytes()).unwrap();
                self.said[at].push(Heard::Ping(text.into()));
            }
        }
    }

    fn read(&mut self, at: usize, mut bytes: Vec<u8>) {
        let mut input = &mut bytes[..];
        while let Some(event) = self.ends[at].receive(&mut input).unwrap() {
            match event {
                Event::Text(text) => self.heard[at].push(Heard::Text(text.to_string())),
                Event::Ping(payload) => {
                    self.pings[at] += 1;
                    self.heard[at].push(Heard::Ping(payload.to_vec()));
                }
                _ => {}
            }
        }
    }

    /// Equal for states that what follows cannot tell apart.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.lanes, &self.said, &self.heard, self.scripts).hash(&mut hasher);
        self.is_disturbed.hash(&mut hasher);
        for end in &self.ends {
            (end.state(), end.is_overdue()).hash(&mut hasher);
            format!("{:?}", end.close_info()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What holds at any time.
    fn check(&self, path: &[Step]) {
        for at in 0..2 {
            let firsts: Vec<_> = self.lanes[at].frames.iter().map(|frame| frame[0]).collect();
            let close = firsts.iter().position(|&first| first == 0x88);
            // §5.5.1: no data, and no second Close; §5.5.2: a Ping is answered until a Close comes.
            let behind = &firsts[close.map_or(firsts.len(), |close| close + 1)..];
            assert!(behind.iter().all(|&first| first == 0x8a), "{path:?}");
            let pongs = firsts.iter().filter(|&&first| first == 0x8a).count();
            assert!(pongs == self.pings[at] || self.is_disturbed, "{path:?}");
            assert!(pongs <= self.pings[at], "{path:?}");
            assert!(self.said[at].starts_with(&self.heard[1 - at]), "{path:?}");
            assert_eq!(
                self.ends[at].close_info().is_some(),
                self.ends[at].is_closed()
            );
        }
    }

    /// What holds when nothing can happen any more.
    fn check_end(&self, path: &[Step]) {
        for at in 0..2 {
            let [end, peer] = [at, 1 - at].map(|at| self.ends[at].close_info());
            let (Some(end), Some(peer)) = (end, peer) else {
                panic!("both have ended: {path:?}");
            };
            assert!(
                end.received.is_none() || end.received == peer.sent,
                "{path:?}"
            );
            if self.is_disturbed {
                continue;
            }
            assert!(end.is_clean() && end.received == peer.sent, "{path:?}");
            assert!(self.said[at] == self.heard[1 - at], "{path:?}");
            // Who closed first has the code of its own, or both have closed at once.
            let codes = [end.code().get(), peer.code().get()];
            let own = 4000 + at as u16;
            match (end.cause, peer.cause) {
                (CloseCause::Local, CloseCause::Remote) => assert_eq!(codes, [own, own]),
                (CloseCause::Local, CloseCause::Local) => {
                    assert_eq!(codes, [4001 - at as u16, own]);
                }
                (CloseCause::Remote, CloseCause::Local) => {}
                causes => panic!("{causes:?} after {path:?}"),
            }
        }
    }
}
