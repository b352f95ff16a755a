//! RFC 7692 §7.2: what one side compresses the other inflates, whatever was agreed on and however
//! it is cut; and another implementation agrees.
#![cfg(feature = "deflate")]

mod common {
    pub(crate) mod cut;
    pub(crate) mod deflate;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod reference;
}

use common::cut::{cut, fragments};
use common::deflate::connection;
use common::events::{Outcome, OwnedEvent, receive};
use common::frames::frame_to;
use common::output::written;
use common::reference::{Fault, Reader, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use wsroom::deflate::DeflateParams;
use wsroom::frame::OpCode;
use wsroom::protocol::Delivery;
use wsroom::{Config, Connection, PreparedMessage, ProtocolError, Role};

/// How a message is sent.
#[derive(Clone, Debug)]
enum Way {
    Whole,
    Prepared,
    Uncompressed,
    /// Cut at these places.
    Fragments(Vec<Index>),
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// E7, E9, E10, E15.
    #[test]
    fn what_one_side_compresses_the_other_inflates(
        params in params(),
        role in prop_oneof![Just(Role::Client), Just(Role::Server)],
        messages in vec((message(), way()), 1..12),
        level in 1_u8..=9,
        threshold in prop_oneof![Just(0), 1_usize..300],
        step in prop_oneof![Just(usize::MAX), 1_usize..3000],
    ) {
        let config = Config::default()
            .compression_level(level)
            .compression_threshold(threshold);
        let peer = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let mut sender = connection(role, params, config);
        let mut wire = Vec::new();
        for (message, way) in &messages {
            way.send(message, &mut sender);
            wire.extend(written(&mut sender));
        }
        let expected: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
        for delivery in [Delivery::Messages, Delivery::Fragments] {
            let mut receiver = connection(peer, params, Config::default());
            receiver.set_delivery(delivery);
            let outcomes = receive(&mut receiver, wire.chunks(step));
            prop_assert!(messages_of(outcomes) == Ok(expected.clone()));
        }
    }

    #[test]
    fn another_implementation_inflates_what_is_compressed(
        params in params(),
        messages in vec(message(), 1..8),
        level in 1_u8..=9,
    ) {
        let config = Config::default().compression_level(level).compression_threshold(0);
        let mut server = connection(Role::Server, params, config);
        let mut reader = Reader::default();
        for message in &messages {
            server.send(message.clone()).unwrap();
            let wire = written(&mut server);
            let header = match wire[1] {
                127 => 10,
                126 => 4,
                _ => 2,
            };
            if wire[0] == 0xc2 {
                if params.server_no_context_takeover {
                    reader = Reader::default();
                }
                let read = reader.message(&wire[header..], message.len());
                prop_assert!(read == (message.clone(), Ok(())));
            } else {
                prop_assert!(wire[header..] == message[..]);
            }
        }
    }

    #[test]
    fn what_another_implementation_compresses_is_inflated(
        messages in vec(message(), 1..8),
        takes_over: bool,
        level in 0..=10,
        step in prop_oneof![Just(usize::MAX), 1_usize..3000],
    ) {
        let mut writer = Writer::new(level);
        let mut wire = Vec::new();
        for message in &messages {
            if !takes_over {
                writer = Writer::new(level);
            }
            wire.extend(frame_to(Role::Client, 0xc2, &writer.message(message)));
        }
        let params = common::deflate::params(15, takes_over);
        let mut client = connection(Role::Client, params, Config::default());
        let outcomes = receive(&mut client, wire.chunks(step));
        prop_assert!(messages_of(outcomes) == Ok(messages));
    }

    /// E11: what is accepted is what the other implementation makes of it, and what it refuses is
    /// refused. It is the laxer one: zlib refuses some tables that it takes.
    #[test]
    fn another_implementation_agrees_on_compressed_data_with_a_fault(
        messages in vec(message(), 1..4),
        level in 0..=9,
        at in any::<Index>(),
        bytes in vec(any::<u8>(), 0..4),
        removed in 0_usize..4,
        limit in prop_oneof![Just(200_000), 0_usize..2000],
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let mut writer = Writer::new(level);
        let mut payload: Vec<u8> = messages
            .iter()
            .flat_map(|message| [writer.message(message), b"\0\0\xff\xff".to_vec()].concat())
            .collect();
        payload.truncate(payload.len() - 4);
        let at = at.index(payload.len());
        let end = payload.len().min(at + removed);
        payload.splice(at..end, bytes);
        assert_agreement(&payload, limit, &cuts);
    }

    #[test]
    fn another_implementation_agrees_on_arbitrary_bytes(
        payload in vec(any::<u8>(), 0..60),
        limit in prop_oneof![Just(200_000), 0_usize..60],
        cuts in vec(any::<Index>(), 0..6),
    ) {
        assert_agreement(&payload, limit, &cuts);
    }
}

fn assert_agreement(payload: &[u8], limit: usize, cuts: &[Index]) {
    let frame = frame_to(Role::Client, 0xc2, payload);
    let mut pieces = vec![vec![&frame[..]], frame.chunks(1).collect()];
    pieces.push(cut(&frame, cuts));
    let outcomes: Vec<_> = pieces
        .into_iter()
        .map(|pieces| {
            let config = Config::default()
                .max_message_size(limit)
                .max_frame_size(1 << 20);
            let params = common::deflate::params(15, false);
            let mut client = connection(Role::Client, params, config);
            let mut outcomes = receive(&mut client, pieces);
            assert_eq!(outcomes.len(), 1);
            outcomes.remove(0)
        })
        .collect();
    assert!(outcomes[0] == outcomes[1] && outcomes[0] == outcomes[2]);
    let (message, verdict) = Reader::default().message(payload, limit);
    match &outcomes[0] {
        Ok(event) => {
            assert_eq!(verdict, Ok(()));
            assert!(*event == OwnedEvent::Binary(message));
        }
        Err(ProtocolError::MessageTooLarge) => assert_eq!(verdict, Err(Fault::TooLong)),
        Err(error) => assert_eq!(*error, ProtocolError::InvalidDeflate),
    }
}

impl Way {
    fn send(&self, message: &[u8], connection: &mut Connection) {
        match self {
            Self::Whole => connection.send(message).unwrap(),
            Self::Prepared => {
                let message = PreparedMessage::new(message);
                connection.send_prepared(&message).unwrap();
            }
            Self::Uncompressed => {
                let message = PreparedMessage::uncompressed(message);
                connection.send_prepared(&message).unwrap();
            }
            Self::Fragments(cuts) => {
                for fragment in fragments(OpCode::Binary, message, cuts) {
                    connection.send_fragment(&fragment).unwrap();
                }
            }
        }
    }
}

/// The messages that came, whole or in fragments.
fn messages_of(outcomes: Vec<Outcome>) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for outcome in outcomes {
        match outcome? {
            OwnedEvent::Binary(bytes) | OwnedEvent::Fragment(OpCode::Binary, _, bytes) => {
                messages.push(bytes);
            }
            OwnedEvent::Fragment(_, _, bytes) => messages.last_mut().unwrap().extend(bytes),
            event => panic!("nobody sent {event:?}"),
        }
    }
    Ok(messages)
}

fn params() -> impl Strategy<Value = DeflateParams> {
    (any::<bool>(), any::<bool>(), 9_u8..=15, 9_u8..=15).prop_map(|(server, client, s, c)| {
        DeflateParams {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: s,
            client_max_window_bits: c,
        }
    })
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        3 => Just(Way::Whole),
        1 => Just(Way::Prepared),
        1 => Just(Way::Uncompressed),
        2 => vec(any::<Index>(), 0..4).prop_map(Way::Fragments),
    ]
}

/// Text that repeats itself and others, noise, runs, nothing.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "room ", "member ", "{\"id\":", "1", ",", "joined", "é",
    ]);
    let words = vec(word, 0..400).prop_map(|words| words.concat().into_bytes());
    prop_oneof![
        4 => words,
        1 => vec(any::<u8>(), 0..3000),
        1 => (any::<u8>(), 0_usize..100_000).prop_map(|(byte, len)| vec![byte; len]),
        1 => Just(Vec::new()),
    ]
}
