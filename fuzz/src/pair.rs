//! Two honest ends, what each said and heard, and a clock.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use bytes::{Buf, Bytes};
use wsroom::frame::OpCode;
use wsroom::protocol::{Delivery, Fragment, State};
use wsroom::{
    CloseCause, CloseCode, CloseFrame, Config, Connection, Event, Message, ProtocolError, Role,
    SendError,
};

use crate::{Compression, Cuts, connection_with, written};

/// A message, mostly short; a few of 70,000 bytes, so that every form of length occurs.
#[derive(Arbitrary, Clone, Debug)]
pub enum AnyMessage {
    Text { part: String, times: u16 },
    Binary { part: Vec<u8>, times: u16 },
}

impl AnyMessage {
    pub fn make(&self) -> Message {
        let times = |part: usize, times: u16| match times {
            0xff00.. => 70_000 / (part + 1),
            0xf000.. => 5_000 / (part + 1),
            _ => usize::from(times % 16),
        };
        match self {
            Self::Text { part, times: n } => part.repeat(times(part.len(), *n)).into(),
            Self::Binary { part, times: n } => part.repeat(times(part.len(), *n)).into(),
        }
    }
}

/// One call at one of the ends, legal or not.
#[derive(Arbitrary, Debug)]
pub enum Call {
    Send {
        message: AnyMessage,
        prepared: bool,
    },
    Fragment {
        kind: u8,
        fin: bool,
        payload: Vec<u8>,
    },
    Ping {
        len: u8,
    },
    Pong {
        len: u8,
    },
    Close {
        frame: Option<(u16, String)>,
    },
    /// Time passes, and this end looks at it.
    Wait {
        milliseconds: u16,
    },
    /// This end does not read for a while.
    Pause,
    /// From the next message on, it takes whole messages or fragments.
    Deliver {
        fragments: bool,
    },
    /// Its transport is gone.
    Lose,
    /// The other end reads some of what this one has to write.
    Write {
        count: u16,
        cuts: Cuts,
    },
}

/// What both ends are set up with.
#[derive(Arbitrary, Debug)]
pub struct Setup {
    compression: Compression,
    level: u8,
    threshold: u8,
    /// How much of what was sent is kept for the next message to refer to.
    history: u16,
    /// Which end takes messages in fragments.
    fragments: [bool; 2],
}

/// What is compared: messages, and Pings of the application, in their order.
#[derive(Debug, PartialEq)]
enum Said {
    Message(Message),
    Ping(Vec<u8>),
}

struct End {
    connection: Connection,
    said: Vec<Said>,
    heard: Vec<Said>,
    /// A message in fragments that is not finished, said and heard.
    saying: (bool, Vec<u8>),
    hearing: (bool, Vec<u8>),
    /// Whether its transport is gone.
    is_lost: bool,
}

/// A client and a server.
pub struct Pair {
    ends: [End; 2],
    now: Instant,
}

impl Pair {
    /// Two ends that have just opened.
    pub fn new(setup: &Setup) -> Self {
        let config = Config::default()
            .ping_interval(Duration::from_secs(5))
            .pong_timeout(Duration::from_secs(7))
            .idle_timeout(Duration::from_secs(9))
            .close_timeout(Duration::from_secs(3))
            .compression_level(setup.level)
            .compression_threshold(setup.threshold.into())
            .compression_history(setup.history.into());
        let end = |role, fragments| {
            let mut connection = connection_with(role, setup.compression.agreed(), config);
            set_delivery(&mut connection, fragments);
            End::new(connection)
        };
        let [client, server] = setup.fragments;
        Self {
            ends: [end(Role::Client, client), end(Role::Server, server)],
            now: Instant::now(),
        }
    }

    /// Makes one call at the client (`false`) or the server (`true`).
    pub fn call(&mut self, at_server: bool, call: &Call) {
        let [client, server] = &mut self.ends;
        let (end, peer) = if at_server {
            (server, client)
        } else {
            (client, server)
        };
        match call {
            Call::Wait { milliseconds } => {
                self.now += Duration::from_millis(u64::from(*milliseconds) % 8_000);
                end.wait(self.now);
            }
            Call::Write { count, cuts } => {
                let count = usize::from(*count).min(end.connection.output_len());
                peer.read(&end.write(count), *cuts);
            }
            Call::Pause => end.connection.pause_deadlines(),
            Call::Deliver { fragments } => set_delivery(&mut end.connection, *fragments),
            Call::Lose => end.lose(),
            _ => {
                let before = (end.connection.output_len(), end.connection.state());
                if end.say(call).is_err() {
                    let after = (end.connection.output_len(), end.connection.state());
                    assert_eq!(before, after, "a call that fails sends nothing");
                }
            }
        }
    }

    /// Delivers everything, closes what is open, and compares what was said and heard.
    pub fn finish(mut self, cuts: Cuts) {
        self.deliver_all(cuts);
        let undisturbed = self.ends.iter().all(|end| !end.is_disturbed());
        let open = self
            .ends
            .iter()
            .all(|end| end.connection.state() == State::Open);
        if open {
            let [client, _] = &mut self.ends;
            client
                .connection
                .close(CloseFrame::from(CloseCode::NORMAL))
                .expect("legal");
            self.deliver_all(cuts);
        }
        let [client, server] = &mut self.ends;
        let gone = [&*client, &*server].map(|end| end.is_gone());
        for (end, peer_is_gone) in [(client, gone[1]), (server, gone[0])] {
            if peer_is_gone {
                end.lose();
            }
        }
        let [client, server] = &self.ends;
        for (end, peer) in [(client, server), (server, client)] {
            assert!(
                end.said.starts_with(&peer.heard),
                "in order, and nothing else"
            );
            assert!(
                !undisturbed || end.said.len() == peer.heard.len(),
                "nothing is lost"
            );
            let info = end.connection.close_info().expect("both ends are closed");
            let told = peer
                .connection
                .close_info()
                .expect("both ends are closed")
                .sent;
            assert!(info.received.is_none() || info.received == told);
            assert!(info.is_clean() || !undisturbed);
            assert_eq!(open, open && info.code() == CloseCode::NORMAL);
        }
    }

    fn deliver_all(&mut self, cuts: Cuts) {
        let [client, server] = &mut self.ends;
        while client.connection.output_len() + server.connection.output_len() > 0 {
            server.read(&written(&mut client.connection), cuts);
            client.read(&written(&mut server.connection), cuts);
        }
    }
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            said: Vec::new(),
            heard: Vec::new(),
            saying: Default::default(),
            hearing: Default::default(),
            is_lost: false,
        }
    }

    fn say(&mut self, call: &Call) -> Result<(), SendError> {
        match call {
            Call::Send { message, prepared } => {
                let message = message.make();
                if *prepared {
                    self.connection.send_prepared(&message.clone().into())?;
                } else {
                    self.connection.send(message.clone())?;
                }
                self.said.push(Said::Message(message));
            }
            Call::Fragment { kind, fin, payload } => {
                let kinds = [
                    OpCode::Continuation,
                    OpCode::Text,
                    OpCode::Binary,
                    OpCode::Ping,
                ];
                let opcode = kinds[usize::from(*kind) % kinds.len()];
                let payload = Bytes::copy_from_slice(payload);
                let fragment = Fragment {
                    opcode,
                    fin: *fin,
                    payload,
                };
                self.connection.send_fragment(&fragment)?;
                self.said
                    .extend(assemble(&mut self.saying, &fragment).map(Said::Message));
            }
            Call::Ping { len } => {
                let payload = vec![*len; usize::from(*len) % 130];
                self.connection.ping(&payload)?;
                // Pings of eight bytes could be those of the keepalive.
                self.said
                    .extend((payload.len() != 8).then_some(Said::Ping(payload)));
            }
            Call::Pong { len } => self.connection.pong(&vec![*len; usize::from(*len) % 130])?,
            Call::Close { frame } => {
                let frame = frame.as_ref();
                let frame = frame
                    .map(|(code, reason)| CloseFrame::new(CloseCode::new(*code), reason.as_str()));
                self.connection.close(frame)?;
            }
            _ => unreachable!("it says nothing"),
        }
        Ok(())
    }

    /// Takes the first `count` bytes of the output, which lie in its slices too.
    fn write(&mut self, count: usize) -> Bytes {
        let output = self.connection.output();
        let mut slices = [IoSlice::new(&[]); 8];
        let used = output.chunks_vectored(&mut slices);
        let gathered: Vec<u8> = slices[..used].iter().flat_map(|it| it.to_vec()).collect();
        let written = output.copy_to_bytes(count);
        let len = count.min(gathered.len());
        assert!(gathered[..len] == written[..len], "the same, in slices");
        written
    }

    /// Reads as an adapter does: what is missing of a large message, straight into it.
    fn read(&mut self, bytes: &[u8], cuts: Cuts) {
        for mut piece in cuts.cut(bytes) {
            let mut input = &mut piece[..];
            loop {
                let waiting = self.connection.output_len();
                let direct = self.connection.direct_buffer();
                let event = if direct.is_empty() {
                    self.connection.receive(&mut input)
                } else {
                    let (read, rest) = input.split_at_mut(direct.len().min(input.len()));
                    direct[..read.len()].copy_from_slice(read);
                    input = rest;
                    self.connection.receive_direct(read.len())
                };
                hear(&mut self.heard, &mut self.hearing, event);
                let answered = self.connection.output_len().saturating_sub(waiting);
                assert!(answered <= 131, "one answer at most");
                if input.is_empty() {
                    break;
                }
            }
        }
    }

    fn lose(&mut self) {
        let is_open = !self.connection.is_closed();
        self.connection.receive_eof();
        assert!(self.connection.is_closed());
        assert!(
            !is_open || self.connection.output_len() == 0,
            "nobody reads it"
        );
        self.is_lost = true;
    }

    /// Does what is due. A few calls are enough: nobody is to call without end.
    fn wait(&mut self, now: Instant) {
        for _ in 0..4 {
            self.connection.handle_timeout(now);
            if self.connection.next_timeout().is_none_or(|due| due > now) {
                return;
            }
        }
        panic!("a timeout is due for ever");
    }

    fn is_disturbed(&self) -> bool {
        let cause = self.connection.close_info().map(|info| info.cause);
        self.is_gone()
            || matches!(
                cause,
                Some(CloseCause::PongTimeout | CloseCause::IdleTimeout)
            )
    }

    /// Whether its transport was lost or cut, which its peer sees.
    fn is_gone(&self) -> bool {
        self.is_lost || self.connection.is_overdue()
    }
}

fn set_delivery(connection: &mut Connection, fragments: bool) {
    connection.set_delivery(if fragments {
        Delivery::Fragments
    } else {
        Delivery::Messages
    });
}

/// Notes an event at one end.
fn hear(
    heard: &mut Vec<Said>,
    hearing: &mut (bool, Vec<u8>),
    event: Result<Option<Event<'_>>, ProtocolError>,
) {
    heard.extend(match event.expect("an honest peer") {
        Some(Event::Text(text)) => Some(Said::Message(text.into())),
        Some(Event::Binary(payload)) => Some(Said::Message(payload.into())),
        Some(Event::Fragment(piece)) => assemble(hearing, &piece).map(Said::Message),
        Some(Event::Ping(payload)) if payload.len() != 8 => Some(Said::Ping(payload.to_vec())),
        _ => None,
    });
}

/// Adds a fragment to `begun`, and gives the message if it is the last one.
fn assemble<P: AsRef<[u8]>>(
    begun: &mut (bool, Vec<u8>),
    fragment: &Fragment<P>,
) -> Option<Message> {
    if fragment.opcode != OpCode::Continuation {
        *begun = (fragment.opcode == OpCode::Text, Vec::new());
    }
    begun.1.extend_from_slice(fragment.payload.as_ref());
    if !fragment.fin {
        return None;
    }
    let (is_text, bytes) = std::mem::take(begun);
    Some(if is_text {
        String::from_utf8(bytes).expect("it was validated").into()
    } else {
        bytes.into()
    })
}
