//! The promise of `Connection::receive`: same bytes, same events, however they are cut. And what
//! one side encodes, the other gives back.

mod common {
    pub(crate) mod cut;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod pair;
}

use common::cut::{cut, fragments};
use common::events::{Outcome, OwnedEvent, receive};
use common::frames::frame_to;
use common::output::written;
use common::pair::Pair;
use proptest::prelude::*;
use proptest::sample::Index;
use wsroom::frame::{MaskKey, OpCode};
use wsroom::protocol::{Delivery, State};
use wsroom::{Agreed, CloseCode, CloseFrame, Config, Connection, PreparedMessage, Role};

/// A step of an endpoint that breaks no rule.
#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Binary(Vec<u8>),
    Prepared(String),
    /// A message in fragments, cut at these places, with or without a Ping between them.
    Fragments(String, Vec<Index>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// F9. Random bytes seldom get far, but they get to places that nobody thinks of.
    #[test]
    fn arbitrary_bytes_give_the_same_events_however_they_are_cut(
        role in role(),
        bytes in prop::collection::vec(byte(), 0..200),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        assert_cut_invariant(role, &bytes, &cuts);
    }

    /// F9. One byte of a legal stream is changed, doubled or lost.
    #[test]
    fn a_legal_stream_with_one_fault_gives_the_same_events_however_it_is_cut(
        role in role(),
        steps in steps(),
        at in any::<Index>(),
        byte in byte(),
        mutation in 0..4,
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = sent_to(role, &steps);
        let at = at.index(bytes.len());
        match mutation {
            0 => bytes[at] = byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes.insert(at, byte),
            _ => {
                bytes.remove(at);
            }
        }
        assert_cut_invariant(role, &bytes, &cuts);
    }

    /// F9, G1, M2, M3, O07, §5.4 to §5.6: in both directions at once, in all cuts.
    #[test]
    fn what_one_side_sends_the_other_receives(
        client in steps(),
        server in steps(),
        begins in role(),
    ) {
        let config = Config::default().ping_interval(None);
        Pair::in_all_cuts(config, |pair| {
            for i in 0..client.len().max(server.len()) {
                for (end, steps) in [(&mut pair.client, &client), (&mut pair.server, &server)] {
                    if let Some(step) = steps.get(i) {
                        step.send(&mut end.connection);
                    }
                }
                pair.pump();
            }
            let end = match begins {
                Role::Client => &mut pair.client,
                Role::Server => &mut pair.server,
            };
            let frame = CloseFrame::new(CloseCode::NORMAL, "done");
            end.connection.close(frame).unwrap();
            pair.pump();
            for (end, peer) in [(&pair.client, &server), (&pair.server, &client)] {
                let (received, answers) = split(&end.received);
                let sent: Vec<_> = peer.iter().flat_map(Step::events).collect();
                assert_eq!(received, sent);
                // What each side has pinged came back to it.
                let own = if end.connection.role() == Role::Client { &client } else { &server };
                let pings: Vec<_> = own.iter().flat_map(Step::events).filter_map(ping).collect();
                assert_eq!(answers, pings);
                let info = end.connection.close_info().unwrap();
                assert!(info.is_clean());
                assert_eq!(info.code(), CloseCode::NORMAL);
            }
        });
    }
}

impl Step {
    fn send(&self, connection: &mut Connection) {
        match self {
            Self::Text(text) => connection.send(text.as_str()).unwrap(),
            Self::Binary(bytes) => connection.send(bytes.clone()).unwrap(),
            Self::Prepared(text) => {
                let message = PreparedMessage::new(text.as_str());
                connection.send_prepared(&message).unwrap();
            }
            Self::Fragments(text, cuts, with_ping) => {
                for fragment in fragments(OpCode::Text, text.as_bytes(), cuts) {
                    connection.send_fragment(&fragment).unwrap();
                    if *with_ping && fragment.opcode == OpCode::Text {
                        connection.ping(b"between").unwrap();
                    }
                }
            }
            Self::Ping(payload) => connection.ping(payload).unwrap(),
            Self::Pong(payload) => connection.pong(&tagged(payload)).unwrap(),
        }
    }

    /// What the peer is to receive.
    fn events(&self) -> Vec<OwnedEvent> {
        match self {
            Self::Text(text) | Self::Prepared(text) => vec![OwnedEvent::Text(text.clone())],
            Self::Binary(bytes) => vec![OwnedEvent::Binary(bytes.clone())],
            Self::Fragments(text, cuts, with_ping) => {
                let ping = OwnedEvent::Ping(b"between".into());
                let text = OwnedEvent::Text(text.clone());
                match (with_ping, cuts.len()) {
                    (false, _) => vec![text],
                    (true, 0) => vec![text, ping],
                    (true, _) => vec![ping, text],
                }
            }
            Self::Ping(payload) => vec![OwnedEvent::Ping(payload.clone())],
            Self::Pong(payload) => vec![OwnedEvent::Pong(tagged(payload), None)],
        }
    }
}

/// Splits what came into what the peer sent of its own accord, and the answers to our Pings.
fn split(received: &[Outcome]) -> (Vec<OwnedEvent>, Vec<Vec<u8>>) {
    let mut own = Vec::new();
    let mut answers = Vec::new();
    for outcome in received {
        match outcome.clone().unwrap() {
            OwnedEvent::Close(..) => {}
            OwnedEvent::Pong(payload, None) if !payload.starts_with(UNASKED) => {
                answers.push(payload);
            }
            event => own.push(event),
        }
    }
    (own, answers)
}

fn ping(event: OwnedEvent) -> Option<Vec<u8>> {
    match event {
        OwnedEvent::Ping(payload) => Some(payload),
        _ => None,
    }
}

/// Marks a Pong that answers nothing.
const UNASKED: &[u8] = b"unasked ";

fn tagged(payload: &[u8]) -> Vec<u8> {
    [UNASKED, payload].concat()
}

fn assert_cut_invariant(role: Role, bytes: &[u8], cuts: &[Index]) {
    for delivery in [Delivery::Messages, Delivery::Fragments] {
        let whole = run(role, delivery, vec![bytes]);
        let single = run(role, delivery, bytes.chunks(1).collect());
        assert_eq!(single, whole, "in single bytes, {delivery:?}");
        let pieces = run(role, delivery, cut(bytes, cuts));
        assert_eq!(pieces, whole, "in pieces, {delivery:?}");
    }
}

/// Outcomes, output, and how far the connection is.
fn run(role: Role, delivery: Delivery, pieces: Vec<&[u8]>) -> (Vec<Outcome>, Vec<u8>, State) {
    let config = Config::default()
        .max_message_size(300)
        .max_frame_size(200)
        .max_fragments(4);
    let mut connection = Connection::new(role, Agreed::default(), config);
    connection.fix_mask_key(MaskKey::new([1, 2, 3, 4]));
    connection.set_delivery(delivery);
    let outcomes = join_fragments(receive(&mut connection, pieces));
    let output = written(&mut connection);
    (outcomes, output, connection.state())
}

/// Takes away where fragments are cut, which is no promise: pieces of one message that follow one
/// another are joined, and those of a message that failed are left out, since how much of it came
/// before the fault depends on the cut.
fn join_fragments(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut joined: Vec<Outcome> = Vec::new();
    for outcome in outcomes {
        match (joined.last_mut(), outcome) {
            (
                Some(Ok(OwnedEvent::Fragment(_, last @ false, bytes))),
                Ok(OwnedEvent::Fragment(OpCode::Continuation, fin, more)),
            ) => {
                bytes.extend(more);
                *last = fin;
            }
            (_, outcome) => joined.push(outcome),
        }
    }
    if let [.., Ok(OwnedEvent::Fragment(_, false, _)), Err(_)] = &joined[..] {
        drop(joined.remove(joined.len() - 2));
    }
    joined
}

/// What a legal peer of `role` writes.
fn sent_to(role: Role, steps: &[Step]) -> Vec<u8> {
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut connection = Connection::new(peer, Agreed::default(), Config::default());
    connection.fix_mask_key(MaskKey::new([0x37, 0xfa, 0x21, 0x3d]));
    for step in steps {
        step.send(&mut connection);
    }
    let mut wire = written(&mut connection);
    wire.extend(frame_to(role, 0x88, b"\x03\xe8"));
    wire
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

/// Mostly bytes that mean something in a frame.
fn byte() -> impl Strategy<Value = u8> {
    let telling: &[u8] = &[
        0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x03, 0x7d, 0x7e, 0xfe, 0xff, 0xc3,
        0xa9, 0xe8,
    ];
    prop_oneof![3 => prop::sample::select(telling), 1 => any::<u8>()]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = || prop_oneof![".{0,20}", "[aé€😀]{0,60}"];
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let cuts = prop::collection::vec(any::<Index>(), 0..4);
    let step = prop_oneof![
        3 => text().prop_map(Step::Text),
        2 => bytes(300).prop_map(Step::Binary),
        1 => (4000_usize..5000).prop_map(|len| Step::Binary(vec![7; len])),
        1 => text().prop_map(Step::Prepared),
        3 => (text(), cuts, any::<bool>()).prop_map(|(t, c, p)| Step::Fragments(t, c, p)),
        2 => bytes(100).prop_map(Step::Ping),
        1 => bytes(100).prop_map(Step::Pong),
    ];
    prop::collection::vec(step, 0..8)
}
