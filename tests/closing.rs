//! §5.5.1 and §7: the closing handshake, its codes, its races and its deadline.

mod common {
    pub(crate) mod answers;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod pair;
}

use std::time::{Duration, Instant};

use common::answers::{connection_with, frame_from};
use common::events::{OwnedEvent, receive};
use common::frames::frame_to;
use common::output::written;
use common::pair::Pair;
use wsroom::protocol::State;
use wsroom::{
    Agreed, CloseCause, CloseCode, CloseFrame, Config, Connection, ProtocolError, Role, SendError,
};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// C1, C7, §5.5.1: the same code without the reason; empty for empty. The end is clean.
#[test]
fn a_close_is_answered_with_its_code() {
    for role in ROLES {
        for (body, event, echo) in [
            (&b""[..], (1005, ""), &b""[..]),
            (b"\x03\xe8", (1000, ""), b"\x03\xe8"),
            (b"\x03\xe9bye", (1001, "bye"), b"\x03\xe9"),
            (b"\x13\x87\xe2\x82\xac", (4999, "€"), b"\x13\x87"),
        ] {
            for step in [1, 1000] {
                let mut connection = connection(role);
                let close = frame_to(role, 0x88, body);
                let outcomes = receive(&mut connection, close.chunks(step));
                let (code, reason) = event;
                assert_eq!(outcomes, [Ok(OwnedEvent::Close(code, reason.into()))]);
                assert_eq!(written(&mut connection), frame_from(role, 0x88, echo));
                let info = connection.close_info().unwrap();
                assert_eq!((info.cause, info.code().get()), (CloseCause::Remote, code));
                assert_eq!(info.reason(), reason);
                assert!(info.is_clean() && connection.is_closed());
            }
        }
    }
}

/// C3, §7.4 and the registry: each code there is, received without and with a reason.
#[test]
fn every_close_code_is_accepted_or_refused_on_receive() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let body = [&code.to_be_bytes(), &b"r"[..]].concat();
            let len = if code % 2 == 0 { 2 } else { 3 };
            let reason = if len == 2 { "" } else { "r" };
            let mut connection = connection(role);
            let outcomes = receive(&mut connection, [&frame_to(role, 0x88, &body[..len])[..]]);
            let (expected, answer) = if may_travel(code) {
                (Ok(OwnedEvent::Close(code, reason.into())), code)
            } else {
                let code = CloseCode::new(code);
                (Err(ProtocolError::InvalidCloseCode(code)), 1002)
            };
            assert_eq!(outcomes, [expected]);
            let sent = connection.close_info().unwrap().sent.unwrap();
            assert_eq!(sent.code.get(), answer);
        }
    }
}

/// C3, C7, O01: each code there is, sent. What must not travel leaves the connection as it was.
#[test]
fn every_close_code_is_accepted_or_refused_on_send() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let mut connection = connection(role);
            let result = connection.close(CloseFrame::from(CloseCode::new(code)));
            if may_travel(code) && (code != 1010 || role == Role::Client) {
                assert_eq!(result, Ok(()));
                let expected = frame_from(role, 0x88, &code.to_be_bytes());
                assert_eq!(written(&mut connection), expected);
                assert_eq!(connection.state(), State::Closing);
            } else {
                assert_eq!(result, Err(SendError::InvalidCloseCode), "{code}");
                assert_eq!(connection.output_len(), 0);
                assert_eq!(connection.state(), State::Open);
            }
        }
    }
}

/// C2, C4, C11, §5.5.1, §7.1.7.
#[test]
fn a_close_with_a_faulty_body_fails_the_connection() {
    let no_status = ProtocolError::InvalidCloseCode(CloseCode::NO_STATUS);
    for role in ROLES {
        for (body, error, code) in [
            (&b"\x03"[..], ProtocolError::CloseBodyTooShort, 1002),
            (b"\x03\xe8\xc3\x28", ProtocolError::InvalidCloseReason, 1007),
            (
                b"\x03\xe8a\xe2\x82",
                ProtocolError::InvalidCloseReason,
                1007,
            ),
            (b"\x03\xed\xff", no_status, 1002),
            (&[3; 126], ProtocolError::ControlFrameTooLong, 1002),
        ] {
            for step in [1, 1000] {
                let mut connection = connection(role);
                let close = frame_to(role, 0x88, body);
                assert_eq!(receive(&mut connection, close.chunks(step)), [Err(error)]);
                let info = connection.close_info().unwrap();
                assert_eq!(info.cause, CloseCause::Protocol(error));
                assert_eq!(info.sent.as_ref().unwrap().code.get(), code);
                assert_eq!((info.code().get(), info.is_clean()), (1006, false));
            }
        }
    }
}

/// C2, §5.5.1: that the body has no room for a code is known before it comes.
#[test]
fn a_close_of_one_byte_fails_at_its_header() {
    for role in ROLES {
        let mut connection = connection(role);
        let header = &frame_to(role, 0x88, b"\x03")[..2];
        let expected = [Err(ProtocolError::CloseBodyTooShort)];
        assert_eq!(receive(&mut connection, [header]), expected);
    }
}

/// C4, O02: 123 bytes are the most; a longer reason is refused, not cut.
#[test]
fn a_reason_has_at_most_123_bytes() {
    for role in ROLES {
        Pair::in_all_cuts(Config::default(), |pair| {
            let end = match role {
                Role::Client => &mut pair.client,
                Role::Server => &mut pair.server,
            };
            let long = CloseFrame::new(CloseCode::NORMAL, "é".repeat(62));
            let result = end.connection.close(long);
            assert_eq!(result, Err(SendError::CloseReasonTooLong));
            assert_eq!(end.connection.output_len(), 0);

            let longest = "é".repeat(61) + "e";
            let frame = CloseFrame::new(CloseCode::NORMAL, longest.as_str());
            assert_eq!(end.connection.close(frame), Ok(()));
            pair.pump();
            let peer = match role {
                Role::Client => &pair.server,
                Role::Server => &pair.client,
            };
            assert_eq!(peer.received, [Ok(OwnedEvent::Close(1000, longest))]);
        });
    }
}

/// C1, §7.1.2: either side begins, the other answers, both know who began.
#[test]
fn a_closing_handshake_ends_both_sides() {
    Pair::in_all_cuts(Config::default(), |pair| {
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "see you");
        pair.server.connection.close(frame.clone()).unwrap();
        assert_eq!(pair.server.connection.state(), State::Closing);
        assert_eq!(pair.server.connection.close_info(), None);
        pair.pump();
        let close = Ok(OwnedEvent::Close(1001, "see you".into()));
        assert_eq!(pair.client.received, [close]);
        let echo = Ok(OwnedEvent::Close(1001, String::new()));
        assert_eq!(pair.server.received, [echo]);

        let server = pair.server.connection.close_info().unwrap();
        let client = pair.client.connection.close_info().unwrap();
        assert_eq!(
            (server.cause, client.cause),
            (CloseCause::Local, CloseCause::Remote)
        );
        assert_eq!(
            (server.sent, client.received),
            (Some(frame.clone()), Some(frame))
        );
        assert_eq!(server.received, client.sent);
    });
}

/// C8, O06: each side sees the other's code; one Close each, and no deadlock.
#[test]
fn both_sides_may_close_at_once() {
    Pair::in_all_cuts(Config::default(), |pair| {
        let code = CloseCode::new;
        pair.client
            .connection
            .close(CloseFrame::from(code(4001)))
            .unwrap();
        pair.server
            .connection
            .close(CloseFrame::from(code(4002)))
            .unwrap();
        pair.pump();
        let seen = |code| [Ok(OwnedEvent::Close(code, String::new()))];
        assert_eq!(pair.client.received, seen(4002));
        assert_eq!(pair.server.received, seen(4001));
        for end in [&pair.client, &pair.server] {
            let info = end.connection.close_info().unwrap();
            assert_eq!(info.cause, CloseCause::Local);
            assert!(info.is_clean());
        }
    });
}

/// §5.5.1: the peer may send until it has seen our Close, and all of it arrives.
#[test]
fn data_and_pings_that_cross_a_close_are_received() {
    Pair::in_all_cuts(Config::default(), |pair| {
        pair.client.connection.close(None).unwrap();
        pair.server.connection.send("crossing").unwrap();
        pair.server.connection.ping(b"too").unwrap();
        pair.pump();
        assert_eq!(
            pair.client.received,
            [
                Ok(OwnedEvent::Text("crossing".into())),
                Ok(OwnedEvent::Ping(b"too".into())),
                Ok(OwnedEvent::Close(1005, String::new())),
            ]
        );
        assert_eq!(
            pair.server.received,
            [Ok(OwnedEvent::Close(1005, String::new()))]
        );
        assert!(pair.client.connection.close_info().unwrap().is_clean());
        assert!(pair.server.connection.close_info().unwrap().is_clean());
    });
}

/// C5, O05, O06: whichever side sent its Close first.
#[test]
fn nothing_is_sent_after_a_close() {
    for role in ROLES {
        for ours in [true, false] {
            let mut connection = connection(role);
            if ours {
                connection
                    .close(CloseFrame::from(CloseCode::NORMAL))
                    .unwrap();
            } else {
                receive(&mut connection, [&frame_to(role, 0x88, b"")[..]]);
            }
            written(&mut connection);
            assert_eq!(connection.send("late"), Err(SendError::Closed));
            assert_eq!(
                connection.send_prepared(&"late".into()),
                Err(SendError::Closed)
            );
            assert_eq!(connection.ping(b"late"), Err(SendError::Closed));
            assert_eq!(connection.pong(b"late"), Err(SendError::Closed));
            assert_eq!(
                connection.close(CloseFrame::from(CloseCode::GOING_AWAY)),
                Ok(())
            );
            assert_eq!(connection.output_len(), 0);
        }
    }
}

/// C6, O06, §5.5.1: not processed, not kept, and no fault.
#[test]
fn what_follows_the_close_of_the_peer_is_dropped() {
    for role in ROLES {
        let close = frame_to(role, 0x88, b"\x03\xe8");
        for rest in [
            frame_to(role, 0x81, b"Hello"),
            frame_to(role, 0x89, b"ping"),
            frame_to(role, 0x88, b"\x03\xe9"),
            vec![0xff; 64],
        ] {
            let wire = [&close[..], &rest].concat();
            for step in [1, close.len(), wire.len()] {
                let mut connection = connection(role);
                let outcomes = receive(&mut connection, wire.chunks(step));
                assert_eq!(outcomes, [Ok(OwnedEvent::Close(1000, String::new()))]);
                let echo = frame_from(role, 0x88, b"\x03\xe8");
                assert_eq!(written(&mut connection), echo);
                assert_eq!(connection.close_info().unwrap().code().get(), 1000);
            }
        }
    }
}

/// §7.1.7: a fault of the peer while we close is reported, but no second Close is sent.
#[test]
fn a_fault_after_our_close_sends_no_second_one() {
    for role in ROLES {
        let mut connection = connection(role);
        connection
            .close(CloseFrame::from(CloseCode::NORMAL))
            .unwrap();
        written(&mut connection);
        let outcomes = receive(&mut connection, [&b"\x83"[..]]);
        assert_eq!(outcomes, [Err(ProtocolError::ReservedOpCode)]);
        assert_eq!(connection.output_len(), 0);
        let info = connection.close_info().unwrap();
        assert_eq!(
            info.cause,
            CloseCause::Protocol(ProtocolError::ReservedOpCode)
        );
        assert_eq!(info.sent, Some(CloseCode::NORMAL.into()));
    }
}

/// C7, §7.1.5: the application sees 1006, and what was unfinished is dropped.
#[test]
fn the_end_of_the_input_without_a_close_is_1006() {
    for role in ROLES {
        for frames in [
            vec![],
            frame_to(role, 0x01, b"unfinished"),
            frame_to(role, 0x81, b"cut")[..4].to_vec(),
        ] {
            let mut connection = connection(role);
            assert_eq!(receive(&mut connection, [&frames[..]]), []);
            connection.ping(b"will not be written").unwrap();
            connection.receive_eof();
            let info = connection.close_info().unwrap();
            assert_eq!(info.cause, CloseCause::ConnectionLost);
            assert_eq!((info.code().get(), info.is_clean()), (1006, false));
            assert_eq!((info.sent, info.received), (None, None));
            assert_eq!(connection.output_len(), 0);
            assert_eq!(connection.send("late"), Err(SendError::Closed));
        }
    }
}

/// §7.1.4: the transport ends after the closing handshake, and that changes nothing.
#[test]
fn the_end_of_the_input_after_a_close_is_clean() {
    for role in ROLES {
        let mut connection = connection(role);
        receive(&mut connection, [&frame_to(role, 0x88, b"\x0f\xa0")[..]]);
        connection.receive_eof();
        assert_eq!(
            written(&mut connection),
            frame_from(role, 0x88, b"\x0f\xa0")
        );
        let info = connection.close_info().unwrap();
        assert_eq!((info.code().get(), info.is_clean()), (4000, true));
    }
}

/// C9, §7.1.1: ten seconds for the answer, also if the clock was not looked at when we closed.
#[test]
fn a_close_that_is_not_answered_in_time_is_1006() {
    for role in ROLES {
        let mut connection = Connection::new(role, Agreed::default(), Config::default());
        let now = Instant::now();
        connection.handle_timeout(now);
        connection
            .close(CloseFrame::from(CloseCode::NORMAL))
            .unwrap();
        let at = |millis| now + Duration::from_millis(millis);
        assert!(
            connection.next_timeout().unwrap() <= at(500),
            "the deadline is to be started"
        );
        connection.handle_timeout(at(500));
        assert_eq!(connection.next_timeout(), Some(at(10_500)));

        connection.handle_timeout(at(10_499));
        assert!(!connection.is_closed() && !connection.is_overdue());
        connection.handle_timeout(at(10_500));
        assert!(connection.is_closed() && connection.is_overdue());
        let info = connection.close_info().unwrap();
        assert_eq!((info.cause, info.code().get()), (CloseCause::Local, 1006));
        assert!(!info.is_clean());
        assert_eq!(connection.output_len(), 0);
        assert_eq!(connection.next_timeout(), None);
    }
}

/// C9 (server): a peer that does not read our answer cannot hold the transport either.
#[test]
fn a_closed_connection_that_cannot_write_is_overdue_in_time() {
    let mut server = Connection::new(Role::Server, Agreed::default(), Config::default());
    let now = Instant::now();
    server.handle_timeout(now);
    receive(&mut server, [&frame_to(Role::Server, 0x88, b"")[..]]);
    server.handle_timeout(now);
    assert!(server.output_len() > 0);
    server.handle_timeout(now + Duration::from_secs(10));
    assert!(server.is_overdue());
    assert_eq!(server.output_len(), 0);
}

/// C12 (client): what the peer says is escaped where it is shown.
#[test]
fn a_reason_is_shown_escaped() {
    let mut client = connection(Role::Client);
    receive(&mut client, [&b"\x88\x07\x03\xe8a\r\n\x1b\x07"[..]]);
    let shown = client.close_info().unwrap().to_string();
    let expected =
        r#"closed by the peer, sent 1000 normal, received 1000 normal "a\r\n\u{1b}\u{7}""#;
    assert_eq!(shown, expected);
}

/// §7.4 and the IANA registry, written down once more.
fn may_travel(code: u16) -> bool {
    match code {
        0..1000 => false,
        1004..=1006 | 1015 => false,
        1000..=1014 => true,
        1016..3000 => false,
        3000..5000 => true,
        5000.. => false,
    }
}

fn connection(role: Role) -> Connection {
    connection_with(role, Config::default())
}
