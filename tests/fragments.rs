//! §5.4: messages that are taken and sent in pieces, in constant memory.

mod common {
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod pair;
}

use bytes::Bytes;
use common::events::{Outcome, OwnedEvent, receive};
use common::frames::frame_to;
use common::pair::Pair;
use wsroom::frame::OpCode;
use wsroom::protocol::{Delivery, Fragment};
use wsroom::{Agreed, Config, Connection, ProtocolError, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// G8: pieces end where a frame or the input ends; only the first has the type.
#[test]
fn a_message_comes_in_pieces_as_its_bytes_come() {
    use OpCode::{Continuation, Text};
    for role in ROLES {
        let wire = [frame_to(role, 0x01, b"abc"), frame_to(role, 0x80, b"de")].concat();
        let piece =
            |opcode, fin, payload: &str| Ok(OwnedEvent::Fragment(opcode, fin, payload.into()));
        let whole = receive(&mut connection(role), [&wire[..]]);
        assert_eq!(
            whole,
            [piece(Text, false, "abc"), piece(Continuation, true, "de")]
        );
        let bytes = receive(&mut connection(role), wire.chunks(1));
        let expected = [
            piece(Text, false, "a"),
            piece(Continuation, false, "b"),
            piece(Continuation, false, "c"),
            piece(Continuation, false, "d"),
            piece(Continuation, true, "e"),
        ];
        assert_eq!(bytes, expected);
    }
}

/// G5: empty frames make no piece, but that a message ended is told.
#[test]
fn empty_fragments_are_not_given_out_except_for_the_end() {
    for role in ROLES {
        for step in [1, 1000] {
            let frames = |frames: &[(u8, &[u8])]| {
                let wire: Vec<u8> = frames
                    .iter()
                    .flat_map(|&(first, payload)| frame_to(role, first, payload))
                    .collect();
                receive(&mut connection(role), wire.chunks(step))
            };
            let end = |opcode| Ok(OwnedEvent::Fragment(opcode, true, vec![]));
            assert_eq!(frames(&[(0x82, b"")]), [end(OpCode::Binary)]);
            assert_eq!(frames(&[(0x01, b""), (0x80, b"")]), [end(OpCode::Text)]);
            assert_eq!(
                frames(&[(0x02, b""), (0x00, b"a"), (0x00, b""), (0x80, b"")]),
                [
                    Ok(OwnedEvent::Fragment(OpCode::Binary, false, b"a".into())),
                    end(OpCode::Continuation)
                ]
            );
        }
    }
}

/// T3, T4: pieces of text may end inside a character, the message may not, and a fault is found
/// at its first byte.
#[test]
fn text_in_pieces_is_validated_as_it_comes() {
    for role in ROLES {
        let euro = frame_to(role, 0x81, "€".as_bytes());
        let outcomes = receive(&mut connection(role), euro.chunks(1));
        assert_eq!(joined(&outcomes), [Ok(OwnedEvent::Text("€".into()))]);

        let cut = [frame_to(role, 0x01, b"\xe2\x82"), frame_to(role, 0x80, b"")].concat();
        let outcomes = receive(&mut connection(role), [&cut[..]]);
        assert_eq!(outcomes.last(), Some(&Err(ProtocolError::InvalidUtf8)));

        let fault = frame_to(role, 0x01, b"\xf4\x90 and more");
        let until = fault.len() - " and more".len();
        let mut connection = connection(role);
        let outcomes = receive(&mut connection, fault[..until].chunks(1));
        assert_eq!(outcomes.len(), 2, "the first byte, and the fault");
        assert_eq!(outcomes[1], Err(ProtocolError::InvalidUtf8));
    }
}

/// G4: control frames come between the pieces, and a Close tells that the rest is missing.
#[test]
fn control_frames_come_between_the_pieces() {
    for role in ROLES {
        let mut connection = connection(role);
        assert!(!connection.is_inside_fragments());
        let wire = [
            frame_to(role, 0x02, b"a"),
            frame_to(role, 0x89, b"ping"),
            frame_to(role, 0x00, b"b"),
        ]
        .concat();
        let outcomes = receive(&mut connection, [&wire[..]]);
        assert_eq!(outcomes.len(), 3);
        assert_eq!(outcomes[1], Ok(OwnedEvent::Ping(b"ping".into())));
        assert!(connection.is_inside_fragments());

        let outcomes = receive(&mut connection, [&frame_to(role, 0x80, b"")[..]]);
        assert_eq!(outcomes.len(), 1);
        assert!(!connection.is_inside_fragments());
    }
}

/// A message is given out in the form in which it began, or whole if nothing of it was given yet.
#[test]
fn the_form_of_delivery_changes_between_messages_only() {
    for role in ROLES {
        let mut connection = Connection::new(role, Agreed::default(), Config::default());
        let message = [frame_to(role, 0x02, b"ab"), frame_to(role, 0x80, b"c")].concat();
        let header = message.len() - frame_to(role, 0x80, b"c").len() - 2;

        assert_eq!(receive(&mut connection, [&message[..header]]), []);
        connection.set_delivery(Delivery::Fragments);
        let outcomes = receive(&mut connection, [&message[header..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Binary(b"abc".into()))]);

        let mut outcomes = receive(&mut connection, [&message[..=header]]);
        connection.set_delivery(Delivery::Messages);
        outcomes.extend(receive(&mut connection, [&message[header + 1..]]));
        assert_eq!(joined(&outcomes), [Ok(OwnedEvent::Binary(b"abc".into()))]);
        assert_eq!(outcomes.len(), 3);

        connection.set_delivery(Delivery::Fragments);
        assert_eq!(receive(&mut connection, [&message[..header]]), []);
        connection.set_delivery(Delivery::Messages);
        let outcomes = receive(&mut connection, [&message[header..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Binary(b"abc".into()))]);
    }
}

/// §10.4, L1: limits hold for messages in pieces too.
#[test]
fn limits_hold_for_messages_in_pieces() {
    let config = Config::default().max_message_size(4).max_fragments(3);
    for role in ROLES {
        for (frames, error) in [
            ([&b"ab"[..], b"ab", b"a"], ProtocolError::MessageTooLarge),
            ([b"abcde", b"", b""], ProtocolError::FrameTooLarge),
        ] {
            let mut connection = Connection::new(role, Agreed::default(), config);
            connection.set_delivery(Delivery::Fragments);
            let wire: Vec<u8> = frames
                .iter()
                .enumerate()
                .flat_map(|(i, payload)| frame_to(role, if i == 0 { 2 } else { 0 }, payload))
                .collect();
            let outcomes = receive(&mut connection, wire.chunks(1));
            assert_eq!(outcomes.last(), Some(&Err(error)));
        }
        let mut connection = Connection::new(role, Agreed::default(), config);
        connection.set_delivery(Delivery::Fragments);
        let wire = [
            &frame_to(role, 2, b"")[..],
            &frame_to(role, 0, b"").repeat(3),
        ]
        .concat();
        let outcomes = receive(&mut connection, [&wire[..]]);
        assert_eq!(outcomes, [Err(ProtocolError::TooManyFragments)]);
    }
}

/// Both ways: a message that neither side holds, with a Ping between its pieces.
#[test]
fn a_message_travels_in_pieces_from_end_to_end() {
    Pair::in_all_cuts(Config::default(), |pair| {
        pair.client.connection.set_delivery(Delivery::Fragments);
        pair.server.connection.set_delivery(Delivery::Fragments);
        let piece = |i: usize| Bytes::from(vec![i as u8; 1 + i * 500]);
        for i in 0..10 {
            for end in [&mut pair.client, &mut pair.server] {
                let fragment = Fragment {
                    opcode: if i == 0 {
                        OpCode::Binary
                    } else {
                        OpCode::Continuation
                    },
                    fin: i == 9,
                    payload: piece(i),
                };
                end.connection.send_fragment(&fragment).unwrap();
                if i == 5 {
                    end.connection.pong(b"between").unwrap();
                }
            }
            pair.pump();
        }
        let whole: Vec<u8> = (0..10).flat_map(piece).collect();
        let expected = [
            Ok(OwnedEvent::Pong(b"between".into(), None)),
            Ok(OwnedEvent::Binary(whole)),
        ];
        assert!(joined(&pair.client.received) == expected);
        assert!(joined(&pair.server.received) == expected);
    });
}

/// Puts pieces together, and checks that the first has a type, the others none.
fn joined(outcomes: &[Outcome]) -> Vec<Outcome> {
    let mut joined = Vec::new();
    let mut message: Option<(OpCode, Vec<u8>)> = None;
    for outcome in outcomes {
        let Ok(OwnedEvent::Fragment(opcode, fin, payload)) = outcome else {
            joined.push(outcome.clone());
            continue;
        };
        assert_eq!(message.is_some(), *opcode == OpCode::Continuation);
        let (opcode, mut bytes) = message.take().unwrap_or((*opcode, Vec::new()));
        bytes.extend(payload);
        match (fin, opcode) {
            (false, _) => message = Some((opcode, bytes)),
            (true, OpCode::Text) => {
                joined.push(Ok(OwnedEvent::Text(String::from_utf8(bytes).unwrap())));
            }
            (true, _) => joined.push(Ok(OwnedEvent::Binary(bytes))),
        }
    }
    joined
}

fn connection(role: Role) -> Connection {
    let mut connection = Connection::new(role, Agreed::default(), Config::default());
    connection.set_delivery(Delivery::Fragments);
    connection
}
