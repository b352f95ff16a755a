//! §5.1 to §5.3 and §5.7: headers and masking, as both roles receive them.

mod common {
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
}

use common::events::{OwnedEvent, receive};
use common::frames::frame_to;
use common::output::written;
use wsroom::protocol::{Payload, Text};
use wsroom::{Agreed, CloseCode, Config, Connection, Event, ProtocolError, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// F5 (client), M1, §5.7.
#[test]
fn the_examples_of_the_rfc_are_understood() {
    let hello = || OwnedEvent::Text("Hello".into());
    let to_client: [(&[u8], OwnedEvent); 3] = [
        (b"\x81\x05Hello", hello()),
        (b"\x01\x03Hel\x80\x02lo", hello()),
        (b"\x89\x05Hello", OwnedEvent::Ping(b"Hello".into())),
    ];
    for (wire, event) in to_client {
        let outcomes = receive(&mut connection(Role::Client), [wire]);
        assert_eq!(outcomes, [Ok(event)]);
    }
    let to_server: [(&[u8], OwnedEvent); 2] = [
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", hello()),
        (
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            OwnedEvent::Pong(b"Hello".into(), None),
        ),
    ];
    for (wire, event) in to_server {
        let outcomes = receive(&mut connection(Role::Server), [wire]);
        assert_eq!(outcomes, [Ok(event)]);
    }
    for (header, len) in [
        (&b"\x82\x7e\x01\x00"[..], 256),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65_536),
    ] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let wire = [header, &payload].concat();
        let outcomes = receive(&mut connection(Role::Client), [&wire[..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Binary(payload))]);
    }
}

/// F1 to F4, F11, F12, G2, G3, §5.1, §5.2, §5.4, §5.5: what the two bytes say is judged by
/// a model that shares no code with the crate, and so is what a payload of zeros then makes of it.
#[test]
fn every_pair_of_first_bytes_is_judged_as_a_plain_model_does() {
    for role in ROLES {
        let begin = frame_to(role, 0x02, b"a");
        for inside in [false, true] {
            for bytes in (0..=u16::MAX).map(u16::to_be_bytes) {
                let mut connection = connection(role);
                if inside {
                    assert_eq!(receive(&mut connection, [&begin[..]]), []);
                }
                let mut outcomes = receive(&mut connection, [&bytes[..]]);
                let failed_at_once = matches!(outcomes[..], [Err(_)]);
                let expected = Model::judge(bytes, role, inside);
                assert_eq!(
                    failed_at_once,
                    expected == Model::Refused,
                    "{bytes:02x?} {role:?} {inside}"
                );
                if bytes[1] & 0x7f <= 125 {
                    outcomes.extend(receive(&mut connection, [&[0; 129][..rest(bytes)]]));
                    let actual = Model::of(&outcomes);
                    assert_eq!(actual, expected, "{bytes:02x?} {role:?} {inside}");
                }
            }
        }
    }
}

/// F1 (server), F2 (server), F6 (server), F7 (server), F8 (server), F11 (server), F12 (server): a
/// fault is told apart and reported at its last byte, not later.
#[test]
fn each_fault_is_reported_at_the_byte_that_makes_it_certain() {
    use ProtocolError::*;
    let to_server: [(&[u8], ProtocolError); 18] = [
        (b"\xc1", ReservedBits),
        (b"\xa1", ReservedBits),
        (b"\x91", ReservedBits),
        (b"\x83", ReservedOpCode),
        (b"\x8b", ReservedOpCode),
        (b"\x09", FragmentedControlFrame),
        (b"\x80", UnexpectedContinuation),
        (b"\x00", UnexpectedContinuation),
        (b"\x81\x05", UnmaskedByClient),
        (b"\x89\xfe", ControlFrameTooLong),
        (b"\x88\xff", ControlFrameTooLong),
        (b"\x88\x81", CloseBodyTooShort),
        (b"\x82\xfe\x00\x7d", LengthNotMinimal),
        (
            b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff",
            LengthNotMinimal,
        ),
        (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", LengthOverflow),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", LengthOverflow),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", FrameTooLarge),
        (b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", FrameTooLarge),
    ];
    for (wire, error) in to_server {
        for pieces in [vec![wire], wire.chunks(1).collect()] {
            let mut server = connection(Role::Server);
            assert_eq!(receive(&mut server, [&wire[..wire.len() - 1]]), []);
            let mut server = connection(Role::Server);
            assert_eq!(receive(&mut server, pieces), [Err(error)], "{wire:02x?}");
            let code = error.close_code().get().to_be_bytes();
            let close = written(&mut server);
            assert_eq!((close[0], &close[2..4]), (0x88, &code[..]), "{wire:02x?}");
        }
    }
    let mut client = connection(Role::Client);
    assert_eq!(
        receive(&mut client, [&b"\x81\x85"[..]]),
        [Err(MaskedByServer)]
    );
}

/// F10, §7.1.7: no pong, no close, no message; one Close frame.
#[test]
fn nothing_behind_a_fault_is_processed() {
    for role in ROLES {
        let wire = [
            frame_to(role, 0x81, b"before"),
            frame_to(role, 0x83, b""),
            frame_to(role, 0x89, b"ping"),
            frame_to(role, 0x81, b"after"),
            frame_to(role, 0x88, &[0x03, 0xe8]),
        ]
        .concat();
        for pieces in [vec![&wire[..]], wire.chunks(1).collect()] {
            let mut connection = connection(role);
            let outcomes = receive(&mut connection, pieces);
            let before = OwnedEvent::Text("before".into());
            assert_eq!(outcomes, [Ok(before), Err(ProtocolError::ReservedOpCode)]);
            let wire = written(&mut connection);
            assert_eq!(wire[0], 0x88);
            let key_len = if role == Role::Client { 4 } else { 0 };
            assert_eq!(wire.len(), 2 + key_len + usize::from(wire[1] & 0x7f));
            assert_eq!(connection.close_info().unwrap().code(), CloseCode::ABNORMAL);
        }
    }
}

/// M1, F5 (server), §5.3: the key starts anew with each frame, wherever the frame lies and is cut.
#[test]
fn a_payload_of_any_length_is_unmasked_exactly() {
    let mut wire = Vec::new();
    let mut expected = Vec::new();
    for len in (0..140).chain([1000, 65_535, 65_536]) {
        let payload: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
        wire.extend(frame_to(Role::Server, 0x82, &payload));
        expected.push(Ok(OwnedEvent::Binary(payload)));
    }
    for step in [1, 3, 64, 1021, wire.len()] {
        let outcomes = receive(&mut connection(Role::Server), wire.chunks(step));
        assert!(outcomes == expected, "pieces of {step}");
    }
}

/// The promise of `Connection::receive`: no copy of what lies whole in the input.
#[test]
fn a_message_that_lies_whole_in_the_input_is_borrowed_from_it() {
    for role in ROLES {
        for cut in [false, true] {
            let mut wire = [
                frame_to(role, 0x81, b"text"),
                frame_to(role, 0x82, b"binary"),
                frame_to(role, 0x89, b"ping"),
            ]
            .concat();
            let mut connection = connection(role);
            let mut borrowed = 0;
            for mut piece in wire.chunks_mut(if cut { 1 } else { 1000 }) {
                while let Some(event) = connection.receive(&mut piece).unwrap() {
                    borrowed += usize::from(matches!(
                        event,
                        Event::Text(Text::Borrowed("text"))
                            | Event::Binary(Payload::Borrowed(b"binary"))
                            | Event::Ping(Payload::Borrowed(b"ping"))
                    ));
                }
            }
            assert_eq!(borrowed, if cut { 0 } else { 3 });
        }
    }
}

/// What comes of two first bytes that are followed by zeros.
#[derive(Debug, PartialEq)]
enum Model {
    /// The two bytes are a fault already.
    Refused,
    Message,
    /// A frame that does not end a message.
    Nothing,
    Ping,
    Pong,
    Close,
    BadClose,
}

impl Model {
    fn judge([first, second]: [u8; 2], role: Role, inside: bool) -> Self {
        let (fin, opcode) = (first >= 0x80, first % 16);
        let len = second % 128;
        let known = [0, 1, 2, 8, 9, 10].contains(&opcode);
        let reserved_bits = first / 16 % 8 != 0;
        let fits = match opcode {
            0 => inside,
            1 | 2 => !inside,
            8 => fin && len <= 125 && len != 1,
            _ => fin && len <= 125,
        };
        let masked = second >= 0x80;
        if !known || reserved_bits || !fits || masked != (role == Role::Server) {
            return Self::Refused;
        }
        match (opcode, fin, len) {
            (8, _, 0) => Self::Close,
            (8, ..) => Self::BadClose,
            (9, ..) => Self::Ping,
            (10, ..) => Self::Pong,
            (_, true, _) => Self::Message,
            (_, false, _) => Self::Nothing,
        }
    }

    fn of(outcomes: &[Result<OwnedEvent, ProtocolError>]) -> Self {
        match outcomes {
            [] => Self::Nothing,
            [Ok(OwnedEvent::Text(_) | OwnedEvent::Binary(_))] => Self::Message,
            [Ok(OwnedEvent::Ping(_))] => Self::Ping,
            [Ok(OwnedEvent::Pong(..))] => Self::Pong,
            [Ok(OwnedEvent::Close(1005, _))] => Self::Close,
            [Err(ProtocolError::InvalidCloseCode(_))] => Self::BadClose,
            [Err(_)] => Self::Refused,
            _ => panic!("{outcomes:?}"),
        }
    }
}

/// How many bytes of a short frame follow its first two.
fn rest([_, second]: [u8; 2]) -> usize {
    let key_len = if second >= 0x80 { 4 } else { 0 };
    key_len + usize::from(second % 128)
}

fn connection(role: Role) -> Connection {
    Connection::new(role, Agreed::default(), Config::default())
}
