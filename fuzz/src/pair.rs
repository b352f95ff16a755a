//! Two honest ends, what each said and heard, and a clock.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use bytes::{Buf, Bytes};
use wsroom::frame::OpCode;
use wsroom::protocol::{Delivery, Fragment, State};
use wsroom::{
    CloseCause, CloseCode, CloseFrame, Config, Connection, Event, Message, Role, SendError,
};

use crate::{Cuts, connection, written};

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
    /// The other end reads some of what this one has to write.
    Write {
        count: u16,
        cuts: Cuts,
    },
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
}

/// A client and a server.
pub struct Pair {
    ends: [End; 2],
    now: Instant,
}

impl Pair {
    /// Two ends; `fragments` says which of them take messages in fragments.
    pub fn new(fragments: [bool; 2]) -> Self {
        let config = Config::default()
            .ping_interval(Duration::from_secs(5))
            .pong_timeout(Duration::from_secs(7))
            .idle_timeout(Duration::from_secs(9))
            .close_timeout(Duration::from_secs(3));
        let roles = [(Role::Client, fragments[0]), (Role::Server, fragments[1])];
        Self {
            ends: roles.map(|(role, fragments)| End::new(role, fragments, config)),
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
                peer.read(&end.connection.output().copy_to_bytes(count), *cuts);
            }
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
        let undisturbed = self.ends.iter().all(|end| !end.timed_out());
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
        let overdue = [&*client, &*server].map(|end| end.connection.is_overdue());
        for (end, cut) in [(client, overdue[1]), (server, overdue[0])] {
            if cut {
                end.connection.receive_eof();
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
    fn new(role: Role, fragments: bool, config: Config) -> Self {
        let mut connection = connection(role, config);
        if fragments {
            connection.set_delivery(Delivery::Fragments);
        }
        Self {
            connection,
            said: Vec::new(),
            heard: Vec::new(),
            saying: Default::default(),
            hearing: Default::default(),
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
            Call::Wait { .. } | Call::Write { .. } => {}
        }
        Ok(())
    }

    fn read(&mut self, bytes: &[u8], cuts: Cuts) {
        for mut piece in cuts.cut(bytes) {
            let mut input = &mut piece[..];
            while let Some(event) = self.connection.receive(&mut input).expect("an honest peer") {
                let said = match event {
                    Event::Text(text) => Some(Said::Message(text.into())),
                    Event::Binary(payload) => Some(Said::Message(payload.into())),
                    Event::Fragment(piece) => {
                        assemble(&mut self.hearing, &piece).map(Said::Message)
                    }
                    Event::Ping(payload) if payload.len() != 8 => {
                        Some(Said::Ping(payload.to_vec()))
                    }
                    _ => None,
                };
                self.heard.extend(said);
            }
        }
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

    fn timed_out(&self) -> bool {
        let cause = self.connection.close_info().map(|info| info.cause);
        self.connection.is_overdue()
            || matches!(
                cause,
                Some(CloseCause::PongTimeout | CloseCause::IdleTimeout)
            )
    }
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
