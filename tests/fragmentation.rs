//! §5.4: messages of several frames.

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

/// G1, G5: any number of fragments of any size, empty ones too, in order.
#[test]
fn fragments_are_put_together_in_order() {
    let text = |text: &str| OwnedEvent::Text(text.into());
    assert_outcomes(&[(0x01, "Hel"), (0x80, "lo")], &[Ok(text("Hello"))]);
    assert_outcomes(&[(0x01, ""), (0x00, ""), (0x80, "")], &[Ok(text(""))]);
    assert_outcomes(
        &[(0x01, ""), (0x00, "a"), (0x00, ""), (0x80, "")],
        &[Ok(text("a"))],
    );
    let binary = OwnedEvent::Binary(b"abc".into());
    assert_outcomes(
        &[(0x02, "a"), (0x00, "b"), (0x80, "c"), (0x82, "abc")],
        &[Ok(binary.clone()), Ok(binary)],
    );
}

/// G1: the first frame alone says the type, and each message begins anew.
#[test]
fn the_type_is_that_of_the_first_frame() {
    assert_outcomes(
        &[
            (0x01, "t"),
            (0x80, "t"),
            (0x02, "b"),
            (0x80, "b"),
            (0x81, "t"),
        ],
        &[
            Ok(OwnedEvent::Text("tt".into())),
            Ok(OwnedEvent::Binary(b"bb".into())),
            Ok(OwnedEvent::Text("t".into())),
        ],
    );
}

/// G2.
#[test]
fn a_continuation_without_a_message_fails_the_connection() {
    let error = Err(ProtocolError::UnexpectedContinuation);
    assert_outcomes(&[(0x80, "a")], std::slice::from_ref(&error));
    assert_outcomes(&[(0x00, "")], std::slice::from_ref(&error));
    let a = || Ok(OwnedEvent::Text("a".into()));
    assert_outcomes(&[(0x81, "a"), (0x80, "b")], &[a(), error.clone()]);
    assert_outcomes(
        &[(0x01, ""), (0x80, "a"), (0x80, "b")],
        &[a(), error.clone()],
    );
    let ping = Ok(OwnedEvent::Ping(b"".into()));
    assert_outcomes(&[(0x89, ""), (0x00, "b")], &[ping, error]);
}

/// G3.
#[test]
fn a_new_message_inside_an_unfinished_one_fails_the_connection() {
    for first in [0x01, 0x02] {
        for second in [0x01, 0x02, 0x81, 0x82] {
            assert_outcomes(
                &[(first, "a"), (0x00, ""), (second, "b")],
                &[Err(ProtocolError::ExpectedContinuation)],
            );
        }
    }
}

/// G4, §5.5: control frames stand between fragments and are answered before the message ends.
#[test]
fn a_ping_inside_a_message_is_answered_at_once() {
    for role in ROLES {
        let mut connection = connection(role);
        let begin = [
            frame_to(role, 0x01, b"a"),
            frame_to(role, 0x89, b"ping"),
            frame_to(role, 0x8a, b"pong"),
        ]
        .concat();
        let ping = OwnedEvent::Ping(b"ping".into());
        let pong = OwnedEvent::Pong(b"pong".into(), None);
        let outcomes = receive(&mut connection, begin.chunks(1));
        assert_eq!(outcomes, [Ok(ping), Ok(pong)]);
        assert_eq!(written(&mut connection)[0], 0x8a);

        let end = frame_to(role, 0x80, b"b");
        let outcomes = receive(&mut connection, [&end[..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Text("ab".into()))]);
    }
}

/// §5.5.1: what is unfinished when a Close comes is dropped.
#[test]
fn a_close_inside_a_message_drops_it() {
    assert_outcomes(
        &[(0x01, "a"), (0x88, ""), (0x80, "b")],
        &[Ok(OwnedEvent::Close(1005, String::new()))],
    );
}

/// Receives frames as both roles, whole and as single bytes.
fn assert_outcomes(frames: &[(u8, &str)], expected: &[Result<OwnedEvent, ProtocolError>]) {
    for role in ROLES {
        let wire: Vec<u8> = frames
            .iter()
            .flat_map(|&(first, payload)| frame_to(role, first, payload.as_bytes()))
            .collect();
        let whole = receive(&mut connection(role), [&wire[..]]);
        assert_eq!(whole, expected, "{role:?}, {frames:x?}");
        let bytes = receive(&mut connection(role), wire.chunks(1));
        assert_eq!(bytes, expected, "{role:?}, {frames:x?} in single bytes");
    }
}

fn connection(role: Role) -> Connection {
    Connection::new(role, Agreed::default(), Config::default())
}
