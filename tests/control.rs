//! §5.5.2, §5.5.3: Ping and Pong, and the keepalive that is made of them.

mod common {
    pub(crate) mod answers;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod pair;
}

use std::time::Duration;

use bytes::Buf;
use common::answers::{connection_with, frame_from};
use common::events::{OwnedEvent, receive};
use common::frames::frame_to;
use common::output::written;
use common::pair::Pair;
use wsroom::frame::FrameHeader;
use wsroom::protocol::State;
use wsroom::{CloseCause, CloseCode, Config, Connection, Message, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const SECOND: Duration = Duration::from_secs(1);

/// P1, §5.5.2: the Pong carries what the Ping carried, unmasked, up to 125 bytes, text or not.
#[test]
fn a_ping_is_answered_with_its_payload() {
    for role in ROLES {
        for payload in [&b""[..], b"\x00\xff\xfe\xfd", &[0xff; 125]] {
            for step in [1, 1000] {
                let mut connection = connection(role);
                let ping = frame_to(role, 0x89, payload);
                let outcomes = receive(&mut connection, ping.chunks(step));
                assert_eq!(outcomes, [Ok(OwnedEvent::Ping(payload.to_vec()))]);
                let pong = written(&mut connection);
                assert_eq!(pong, frame_from(role, 0x8a, payload));
            }
        }
    }
}

/// P2: below the bound each Ping has its Pong, in order.
#[test]
fn each_ping_of_a_few_is_answered() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut pongs = Vec::new();
        for i in 0..10 {
            let ping = frame_to(role, 0x89, &[i]);
            receive(&mut connection, [&ping[..]]);
            pongs.extend(frame_from(role, 0x8a, &[i]));
        }
        assert_eq!(written(&mut connection), pongs);
    }
}

/// P3: ignored, but told to the application.
#[test]
fn a_pong_that_nobody_asked_for_is_not_answered() {
    for role in ROLES {
        let mut connection = connection(role);
        let pong = frame_to(role, 0x8a, b"hello");
        let outcomes = receive(&mut connection, [&pong[..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Pong(b"hello".into(), None))]);
        assert!(written(&mut connection).is_empty());
        assert_eq!(connection.state(), State::Open);
    }
}

/// P2, L2, rows I01 to I02: what waits is bounded, and the newest Ping is answered once there is
/// room.
#[test]
fn a_flood_of_pings_queues_a_bounded_number_of_pongs_and_answers_the_newest() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut ping = frame_to(role, 0x89, &[0x70; 125]);
        for i in 0..100_000 {
            if i == 99_999 {
                ping = frame_to(role, 0x89, b"newest");
            }
            let mut wire = ping.clone();
            let mut input = &mut wire[..];
            assert!(connection.receive(&mut input).unwrap().is_some());
            assert!(connection.output_len() <= (64 << 10) + 131);
        }
        let newest = frame_from(role, 0x8a, b"newest");
        let pongs = written(&mut connection);
        assert!(pongs.ends_with(&newest));
        let (header, len) = FrameHeader::parse(&pongs).unwrap().unwrap();
        assert_eq!(
            (pongs.len() - newest.len()) % (len + header.payload_len as usize),
            0
        );
        assert_eq!(connection.output_len(), 0);

        let ping = frame_to(role, 0x89, b"later");
        receive(&mut connection, [&ping[..]]);
        assert_eq!(written(&mut connection), frame_from(role, 0x8a, b"later"));
    }
}

/// L2: Pongs do not hold up data, and data that never ends does not hold up the newest Pong.
#[test]
fn a_pong_that_was_held_back_leaves_although_data_always_waits() {
    let mut server = connection(Role::Server);
    let pings = frame_to(Role::Server, 0x89, b"p").repeat(30_000);
    receive(&mut server, [&pings[..]]);
    let newest = frame_to(Role::Server, 0x89, b"newest");
    receive(&mut server, [&newest[..]]);
    let mut wire = Vec::new();
    for _ in 0..100 {
        server.send(Message::from(vec![0; 2000])).unwrap();
        let len = server.output_len() - 1000;
        wire.extend_from_slice(&server.output().copy_to_bytes(len));
    }
    let newest = b"\x8a\x06newest";
    assert_eq!(wire.windows(8).filter(|bytes| bytes == newest).count(), 1);
}

/// §5.5.1, §5.5.3: a Pong that was held back does not follow a Close that ends everything.
#[test]
fn the_last_frame_after_a_flood_of_pings_is_the_close() {
    for role in ROLES {
        for last in [&frame_to(role, 0x88, b"\x03\xe8")[..], b"\x83"] {
            let mut connection = connection(role);
            let pings = frame_to(role, 0x89, &[0x70; 125]).repeat(1000);
            receive(&mut connection, [&pings[..]]);
            receive(&mut connection, [last]);
            let close = connection.close_info().unwrap().sent.unwrap();
            let body = [&close.code.get().to_be_bytes(), close.reason.as_bytes()].concat();
            assert!(written(&mut connection).ends_with(&frame_from(role, 0x88, &body)));
        }
    }
}

/// P1: after our Close Pings are still answered, after the peer's not.
#[test]
fn a_ping_is_answered_until_the_peer_has_closed() {
    for role in ROLES {
        let mut connection = connection(role);
        connection.close(None).unwrap();
        written(&mut connection);
        let ping = frame_to(role, 0x89, b"late");
        receive(&mut connection, [&ping[..]]);
        assert_eq!(written(&mut connection), frame_from(role, 0x8a, b"late"));

        let wire = [frame_to(role, 0x88, b""), ping].concat();
        let outcomes = receive(&mut connection, [&wire[..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Close(1005, String::new()))]);
        assert!(written(&mut connection).is_empty());
    }
}

/// §5.5.2: an application's own Ping comes out at the peer, and its Pong comes back.
#[test]
fn a_ping_of_the_application_makes_the_round() {
    Pair::in_all_cuts(quiet(), |pair| {
        pair.client.connection.ping(b"c").unwrap();
        pair.server.connection.ping(&[0xff; 125]).unwrap();
        pair.pump();
        let full = vec![0xff; 125];
        let at_server = [
            Ok(OwnedEvent::Ping(b"c".into())),
            Ok(OwnedEvent::Pong(full.clone(), None)),
        ];
        assert_eq!(pair.server.received, at_server);
        let at_client = [
            Ok(OwnedEvent::Ping(full)),
            Ok(OwnedEvent::Pong(b"c".into(), None)),
        ];
        assert_eq!(pair.client.received, at_client);
    });
}

/// P4: every 20 seconds, and its Pong tells the time of the Ping, so that the round trip is known.
#[test]
fn keepalive_pings_are_answered_and_measure_the_round_trip() {
    Pair::in_all_cuts(Config::default(), |pair| {
        let start = pair.now;
        for _ in 0..300 {
            pair.now += SECOND;
            pair.pump();
        }
        for end in [&pair.client, &pair.server] {
            let times: Vec<_> = end
                .received
                .iter()
                .filter_map(|outcome| match outcome {
                    Ok(OwnedEvent::Pong(_, pinged_at)) => Some(pinged_at.unwrap() - start),
                    _ => None,
                })
                .collect();
            let expected: Vec<_> = (1..=15).map(|i| i * 20 * SECOND).collect();
            assert_eq!(times, expected);
            assert_eq!(end.connection.state(), State::Open);
        }
    });
}

/// P4, C11: a Ping that nothing follows ends the connection: 1011 is tried, 1006 is seen.
#[test]
fn a_peer_that_is_silent_after_a_ping_is_given_up() {
    for role in ROLES {
        let mut connection = connection_with(role, Config::default());
        let now = std::time::Instant::now();
        connection.handle_timeout(now);
        connection.handle_timeout(now + 20 * SECOND);
        let ping = written(&mut connection);
        assert_eq!(ping, frame_from(role, 0x89, &[0; 8]));
        connection.handle_timeout(now + 39 * SECOND);
        assert_eq!(connection.state(), State::Open);
        assert_eq!(connection.next_timeout(), Some(now + 40 * SECOND));

        connection.handle_timeout(now + 40 * SECOND);
        assert!(connection.is_closed());
        let info = connection.close_info().unwrap();
        assert_eq!(info.cause, CloseCause::PongTimeout);
        assert_eq!(info.code(), CloseCode::ABNORMAL);
        assert_eq!(info.sent.unwrap().code, CloseCode::INTERNAL_ERROR);
        assert_eq!(written(&mut connection)[0], 0x88);
    }
}

/// P4 (server): any byte counts, a whole frame is not needed.
#[test]
fn any_byte_of_the_peer_keeps_the_connection() {
    let mut server = connection_with(Role::Server, Config::default());
    let mut now = std::time::Instant::now();
    server.handle_timeout(now);
    let frame = frame_to(Role::Server, 0x82, &[0; 100]);
    for byte in frame.chunks(1) {
        now += 15 * SECOND;
        while server.next_timeout().is_some_and(|due| due <= now) {
            server.handle_timeout(now);
        }
        receive(&mut server, [byte]);
        assert_eq!(server.state(), State::Open);
    }
}

/// P4 (server): an adapter may ask for events without having read anything.
#[test]
fn an_empty_input_is_no_sign_of_life() {
    let mut server = connection_with(Role::Server, Config::default());
    let now = std::time::Instant::now();
    for second in 0..=40 {
        server.handle_timeout(now + second * SECOND);
        assert!(!server.is_closed() || second == 40);
        assert_eq!(receive(&mut server, [&b""[..]]), []);
    }
    assert!(server.is_closed());
}

/// P4 (server): an adapter that does not read because the application is behind does not blame the
/// peer.
#[test]
fn a_pause_counts_as_a_sign_of_life() {
    let mut server = connection_with(Role::Server, Config::default());
    let now = std::time::Instant::now();
    for second in 0..=400 {
        server.handle_timeout(now + second * SECOND);
        server.pause_deadlines();
        assert_eq!(server.state(), State::Open);
    }
}

/// C11 (server): without Pings, silence ends the connection with 1001.
#[test]
fn a_peer_that_is_idle_for_too_long_is_closed() {
    let config = Config::default().ping_interval(None);
    let mut server = connection_with(Role::Server, config);
    let now = std::time::Instant::now();
    server.handle_timeout(now);
    assert_eq!(server.next_timeout(), Some(now + 120 * SECOND));
    server.handle_timeout(now + 119 * SECOND);
    assert_eq!(server.state(), State::Open);
    server.handle_timeout(now + 120 * SECOND);
    let info = server.close_info().unwrap();
    assert_eq!(info.cause, CloseCause::IdleTimeout);
    assert_eq!(info.sent.unwrap().code, CloseCode::GOING_AWAY);
}

/// No keepalive, so that only the test's own frames travel.
fn quiet() -> Config {
    Config::default().ping_interval(None).idle_timeout(None)
}

fn connection(role: Role) -> Connection {
    connection_with(role, quiet())
}
