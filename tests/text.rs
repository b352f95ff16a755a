//! §5.6 and §8.1: text is UTF-8, and a fault in it is found as soon as it is certain.

mod common {
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
}

use common::events::{OwnedEvent, receive};
use common::frames::frame_to;
use common::output::written;
use wsroom::{Agreed, Config, Connection, ProtocolError, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// RFC 3629 §3: overlong forms, surrogates, above U+10FFFF, forms of 5 and 6 bytes.
const INVALID: [&[u8]; 12] = [
    b"\x80",
    b"\xbf",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xff",
];

/// The limits of each length, NUL, a byte order mark, noncharacters.
const VALID: [&str; 9] = [
    "\0",
    "\u{7f}",
    "\u{80}\u{7ff}",
    "\u{800}\u{ffff}",
    "\u{d7ff}\u{e000}",
    "\u{10000}\u{10ffff}",
    "\u{feff}a",
    "\u{fdd0}\u{1fffe}",
    "κόσμε",
];

/// T1, T2, T3: in one frame, and cut into fragments inside characters.
#[test]
fn valid_text_is_accepted_however_it_is_fragmented() {
    for text in VALID {
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_outcome(&[(0x01, head), (0x80, tail)], &text_event(text));
            let outcome = text_event(text);
            assert_outcome(&[(0x01, head), (0x00, b""), (0x80, tail)], &outcome);
        }
        assert_outcome(&[(0x81, text.as_bytes())], &text_event(text));
    }
}

/// T1, T2.
#[test]
fn invalid_text_fails_the_connection_with_1007() {
    for bytes in INVALID {
        let text = [b"valid ", bytes, b" valid"].concat();
        assert_outcome(&[(0x81, bytes)], &Err(ProtocolError::InvalidUtf8));
        assert_outcome(&[(0x81, &text)], &Err(ProtocolError::InvalidUtf8));
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            let frames = [(0x01, head), (0x80, tail)];
            assert_outcome(&frames, &Err(ProtocolError::InvalidUtf8));
        }
    }
    for role in ROLES {
        let mut connection = connection(role);
        receive(&mut connection, [&frame_to(role, 0x81, b"\xff")[..]]);
        assert_eq!(
            connection.close_info().unwrap().sent.unwrap().code.get(),
            1007
        );
        assert_eq!(written(&mut connection)[0], 0x88);
    }
}

/// T1: a character that has not ended when the message does.
#[test]
fn text_must_not_end_inside_a_character() {
    for bytes in ["é", "€", "😀"].map(str::as_bytes) {
        for len in 1..bytes.len() {
            let head = &bytes[..len];
            let error = Err(ProtocolError::InvalidUtf8);
            assert_outcome(&[(0x81, head)], &error);
            assert_outcome(&[(0x01, head), (0x80, b"")], &error);
            assert_outcome(&[(0x01, b"a"), (0x00, head), (0x80, b"")], &error);
        }
    }
}

/// T4, Autobahn 6.4.1 to 6.4.4: before FIN, and before the end of the frame.
#[test]
fn invalid_text_is_found_at_the_first_byte_that_makes_it_certain() {
    for role in ROLES {
        for bytes in INVALID {
            let certain = (1..=bytes.len())
                .find(|&len| {
                    std::str::from_utf8(&bytes[..len]).is_err_and(|e| e.error_len().is_some())
                })
                .unwrap();
            let mut payload = b"abcd".to_vec();
            payload.extend(bytes);
            payload.extend([b'e'; 100]);
            for first in [0x01, 0x81] {
                let frame = frame_to(role, first, &payload);
                let header = frame.len() - payload.len();
                let until = header + 4 + certain;
                let mut connection = connection(role);
                assert_eq!(receive(&mut connection, [&frame[..until - 1]]), []);
                let outcomes = receive(&mut connection, [&frame[until - 1..until]]);
                assert_eq!(outcomes, [Err(ProtocolError::InvalidUtf8)], "{bytes:x?}");
            }
        }
    }
}

/// T4: whatever follows in the same input, right or wrong, was sent later.
#[test]
fn invalid_text_is_found_before_what_follows_it() {
    let following: [(u8, &[u8]); 8] = [
        (0x00, b"fragment"),
        (0x80, b"last fragment"),
        (0x89, b"ping"),
        (0x88, b"\x03\xe8"),
        (0xc1, b"reserved bit"),
        (0x83, b"reserved opcode"),
        (0x82, b"no continuation"),
        (0x00, &[b'a'; 65_536]),
    ];
    for bytes in [b"\xff", b"\xe2"] {
        for (first, payload) in following {
            let fragments = [(0x01, &b"valid"[..]), (0x00, bytes), (0x00, b"valid")];
            let frames = [&fragments[..], &[(first, payload)]].concat();
            assert_outcome(&frames, &Err(ProtocolError::InvalidUtf8));
        }
    }
}

/// §5.4, §5.5: control frames of all lengths between the fragments of a text, of all lengths too.
#[test]
fn text_in_small_fragments_is_whole_whatever_lies_between_them() {
    for role in ROLES {
        for len in [1, 2, 3, 63, 64, 65, 125, 126, 1000] {
            let text = "aé€😀".repeat(500);
            let pings = [0, 1, 7, 8, 125].map(|len| vec![b'p'; len]);
            let mut wire = Vec::new();
            let mut expected = Vec::new();
            for (i, fragment) in text.as_bytes().chunks(len).enumerate() {
                let first = if i == 0 { 0x01 } else { 0x00 };
                wire.extend(frame_to(role, first, fragment));
                if let Some(ping) = pings.get(i % 9) {
                    wire.extend(frame_to(role, 0x89, ping));
                    expected.push(Ok(OwnedEvent::Ping(ping.clone())));
                }
            }
            wire.extend(frame_to(role, 0x80, b""));
            expected.push(text_event(&text));
            for step in [1, 2, 7, 131, 4096, wire.len()] {
                assert_eq!(
                    receive(&mut connection(role), wire.chunks(step)),
                    expected,
                    "fragments of {len}, pieces of {step}"
                );
            }
        }
    }
}

/// T5.
#[test]
fn binary_is_not_inspected() {
    for bytes in INVALID {
        let event = Ok(OwnedEvent::Binary(bytes.to_vec()));
        assert_outcome(&[(0x82, bytes)], &event);
        assert_outcome(&[(0x02, bytes), (0x80, b"")], &event);
    }
}

/// §8.1: one message's unfinished character is not the next one's.
#[test]
fn each_message_is_validated_on_its_own() {
    for role in ROLES {
        let wire = [
            frame_to(role, 0x01, "€".as_bytes()),
            frame_to(role, 0x80, b""),
            frame_to(role, 0x01, b"\xe2\x82"),
            frame_to(role, 0x89, b"\xac"),
            frame_to(role, 0x80, b"\xac"),
            frame_to(role, 0x81, b"\xac"),
        ]
        .concat();
        for step in [1, 1000] {
            assert_eq!(
                receive(&mut connection(role), wire.chunks(step)),
                [
                    text_event("€"),
                    Ok(OwnedEvent::Ping(b"\xac".into())),
                    text_event("€"),
                    Err(ProtocolError::InvalidUtf8),
                ]
            );
        }
    }
}

fn text_event(text: &str) -> Result<OwnedEvent, ProtocolError> {
    Ok(OwnedEvent::Text(text.to_owned()))
}

/// Receives the frames as both roles, whole and as single bytes.
fn assert_outcome(frames: &[(u8, &[u8])], expected: &Result<OwnedEvent, ProtocolError>) {
    for role in ROLES {
        let wire: Vec<u8> = frames
            .iter()
            .flat_map(|&(first, payload)| frame_to(role, first, payload))
            .collect();
        for step in [1, wire.len()] {
            let outcomes = receive(&mut connection(role), wire.chunks(step));
            assert_eq!(
                outcomes,
                std::slice::from_ref(expected),
                "{frames:x?}, pieces of {step}"
            );
        }
    }
}

fn connection(role: Role) -> Connection {
    Connection::new(role, Agreed::default(), Config::default())
}
