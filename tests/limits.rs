//! §10.4: limits, checked at the header, before anything is kept of what they limit.

mod common {
    pub(crate) mod events;
    pub(crate) mod frames;
}

use std::time::Duration;

use common::events::{OwnedEvent, receive};
use common::frames::frame_to;
use wsroom::limits::Bound;
use wsroom::{Agreed, Config, Connection, ProtocolError, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// L1, L2, P4, C9: every limit is finite unless the application says otherwise.
#[test]
fn the_default_limits_are_finite() {
    let limits = [
        ("max_message_size", Bound::Bytes(1 << 20)),
        ("max_frame_size", Bound::Bytes(1 << 20)),
        ("max_fragments", Bound::Count(16_384)),
        ("write_mark", Bound::Bytes(64 << 10)),
        ("ping_interval", Bound::Time(Duration::from_secs(20))),
        ("pong_timeout", Bound::Time(Duration::from_secs(20))),
        ("idle_timeout", Bound::Time(Duration::from_secs(120))),
        ("close_timeout", Bound::Time(Duration::from_secs(10))),
        ("compression_history", Bound::Bytes(4 << 10)),
    ];
    let in_force = Config::default().in_force();
    assert!(
        in_force
            .iter()
            .map(|limit| (limit.name, limit.bound))
            .eq(limits)
    );
}

/// L1, F8: the limit itself is accepted, one byte more is refused at the end of the length.
#[test]
fn a_frame_may_have_its_limit_and_no_more() {
    let small = Config::default().max_frame_size(300);
    for role in ROLES {
        for (config, limit) in [(small, 300), (Config::default(), 1 << 20)] {
            let frame = frame_to(role, 0x82, &vec![7; limit]);
            let outcomes = receive(&mut connection(role, config), [&frame[..]]);
            assert_eq!(outcomes, [Ok(OwnedEvent::Binary(vec![7; limit]))]);

            let frame = frame_to(role, 0x82, &vec![7; limit + 1]);
            let until = if limit == 300 { 4 } else { 10 };
            let mut connection = connection(role, config);
            assert_eq!(receive(&mut connection, [&frame[..until - 1]]), []);
            let outcomes = receive(&mut connection, [&frame[until - 1..until]]);
            assert_eq!(outcomes, [Err(ProtocolError::FrameTooLarge)]);
            assert_eq!(sent_code(&connection), 1009);
        }
    }
}

/// G6: where no frame may carry a message, none does, be it empty and however it is cut.
#[test]
fn a_limit_of_no_fragments_refuses_every_message() {
    let config = Config::default().max_fragments(0);
    for role in ROLES {
        for payload in [&b""[..], b"a"] {
            let frame = frame_to(role, 0x82, payload);
            for size in [1, frame.len()] {
                let outcomes = receive(&mut connection(role, config), frame.chunks(size));
                assert_eq!(outcomes, [Err(ProtocolError::TooManyFragments)]);
            }
        }
    }
}

/// F8, G7, L1: the lengths of all fragments together, known at the header of the last.
#[test]
fn a_message_may_have_its_limit_and_no_more() {
    let config = Config::default().max_message_size(1000).max_frame_size(600);
    for role in ROLES {
        let begin = [
            frame_to(role, 0x01, &[b'a'; 600]),
            frame_to(role, 0x00, &[b'a'; 399]),
        ]
        .concat();
        let mut fits = connection(role, config);
        receive(&mut fits, [&begin[..]]);
        let rest = [frame_to(role, 0x00, b"a"), frame_to(role, 0x80, b"")].concat();
        let outcomes = receive(&mut fits, [&rest[..]]);
        assert_eq!(outcomes, [Ok(OwnedEvent::Text("a".repeat(1000)))]);

        let mut exceeds = connection(role, config);
        receive(&mut exceeds, [&begin[..]]);
        let header = &frame_to(role, 0x80, b"aa")[..2];
        let outcomes = receive(&mut exceeds, header.chunks(1));
        assert_eq!(outcomes, [Err(ProtocolError::MessageTooLarge)]);
        assert_eq!(sent_code(&exceeds), 1009);
    }
}

/// F8: what was announced counts, not only what came, and the sum does not overflow.
#[test]
fn the_sum_of_lengths_does_not_wrap() {
    let config = Config::default()
        .max_message_size(usize::MAX >> 2)
        .max_frame_size(usize::MAX);
    for role in ROLES {
        let mut connection = connection(role, config);
        receive(&mut connection, [&frame_to(role, 0x02, b"a")[..]]);
        let mask_bit = if role == Role::Server { 0x80 } else { 0 };
        let mut header = vec![0x80, mask_bit | 127, 0x7f];
        header.extend([0xff; 7]);
        let outcomes = receive(&mut connection, [&header[..]]);
        assert_eq!(outcomes, [Err(ProtocolError::MessageTooLarge)]);
    }
}

/// G6, L1, C11: empty fragments count, control frames do not.
#[test]
fn a_message_may_have_its_number_of_fragments_and_no_more() {
    let small = Config::default().max_fragments(3);
    for role in ROLES {
        for (config, limit) in [(small, 3), (Config::default(), 16_384)] {
            for payload in [&b""[..], b"a"] {
                let ping = frame_to(role, 0x89, b"");
                let next = [ping, frame_to(role, 0x00, payload)].concat();
                let begin = [frame_to(role, 0x02, payload), next.repeat(limit - 2)].concat();
                let mut fits = connection(role, config);
                let pings = receive(&mut fits, [&begin[..]]);
                assert_eq!(pings.len(), limit - 2);
                let outcomes = receive(&mut fits, [&frame_to(role, 0x80, payload)[..]]);
                assert_eq!(outcomes, [Ok(OwnedEvent::Binary(payload.repeat(limit)))]);

                let mut exceeds = connection(role, config);
                receive(&mut exceeds, [&[&begin[..], &next].concat()[..]]);
                let header = &frame_to(role, 0x80, payload)[..2];
                let outcomes = receive(&mut exceeds, [header]);
                assert_eq!(outcomes, [Err(ProtocolError::TooManyFragments)]);
                assert_eq!(sent_code(&exceeds), 1008);
            }
        }
    }
}

/// §5.5, G4: a control frame is no part of a message, full as that may be.
#[test]
fn control_frames_are_not_measured_by_the_limits_of_messages() {
    let config = Config::default()
        .max_frame_size(4)
        .max_message_size(4)
        .max_fragments(2);
    for role in ROLES {
        let wire = [
            frame_to(role, 0x02, b"abcd"),
            frame_to(role, 0x00, b""),
            frame_to(role, 0x89, &[7; 125]),
            frame_to(role, 0x8a, &[7; 125]),
            frame_to(role, 0x88, b"\x03\xe8reason"),
        ]
        .concat();
        let outcomes = receive(&mut connection(role, config), [&wire[..]]);
        let expected = [
            Ok(OwnedEvent::Ping(vec![7; 125])),
            Ok(OwnedEvent::Pong(vec![7; 125], None)),
            Ok(OwnedEvent::Close(1000, "reason".into())),
        ];
        assert_eq!(outcomes, expected);
    }
}

/// L1: a limit holds for each message, not for the connection.
#[test]
fn limits_begin_anew_with_each_message() {
    let config = Config::default().max_message_size(10).max_fragments(2);
    for role in ROLES {
        let message = [
            frame_to(role, 0x01, b"hello"),
            frame_to(role, 0x80, b"world"),
        ]
        .concat();
        let outcomes = receive(&mut connection(role, config), [&message.repeat(50)[..]]);
        assert_eq!(
            outcomes,
            vec![Ok(OwnedEvent::Text("helloworld".into())); 50]
        );
    }
}

/// The order in which faults of one frame are reported: framing, size, number.
#[test]
fn of_several_faults_the_framing_is_reported_first_and_the_number_last() {
    let config = Config::default()
        .max_frame_size(4)
        .max_message_size(4)
        .max_fragments(1);
    for role in ROLES {
        let begin = frame_to(role, 0x01, b"abc");
        for (frame, error) in [
            (
                frame_to(role, 0x81, &[0; 5]),
                ProtocolError::ExpectedContinuation,
            ),
            (
                frame_to(role, 0x89, &[0; 126]),
                ProtocolError::ControlFrameTooLong,
            ),
            (frame_to(role, 0x80, &[0; 5]), ProtocolError::FrameTooLarge),
            (
                frame_to(role, 0x80, &[0; 2]),
                ProtocolError::MessageTooLarge,
            ),
            (
                frame_to(role, 0x80, &[0; 1]),
                ProtocolError::TooManyFragments,
            ),
        ] {
            let mut connection = connection(role, config);
            receive(&mut connection, [&begin[..]]);
            assert_eq!(receive(&mut connection, [&frame[..]]), [Err(error)]);
        }
    }
}

fn sent_code(connection: &Connection) -> u16 {
    connection.close_info().unwrap().sent.unwrap().code.get()
}

fn connection(role: Role, config: Config) -> Connection {
    Connection::new(role, Agreed::default(), config)
}
