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

fn connection(role: Role) -> Connection {
    Connection::new(role, Agreed::default(), Config::default())
}
