//! Large messages that are read straight into their own memory.

mod common {
    pub(crate) mod frames;
}

use common::frames::frame_to;
use wsroom::protocol::Delivery;
use wsroom::{Agreed, CloseCode, Config, Connection, Event, Message, ProtocolError, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Passes `wire` as an adapter does whose reads bring `step` bytes at most; gives the messages, and
/// how many bytes were read directly.
fn receive(
    role: Role,
    wire: &[u8],
    step: usize,
) -> Result<(Vec<Message>, usize), (ProtocolError, Box<Connection>)> {
    let mut connection = Connection::new(role, Agreed::default(), Config::default());
    let mut messages = Vec::new();
    let mut rest = wire;
    let mut direct = 0;
    let keep = |event: Option<Event<'_>>, messages: &mut Vec<Message>| match event {
        Some(Event::Text(text)) => messages.push(text.into()),
        Some(Event::Binary(payload)) => messages.push(payload.into()),
        _ => {}
    };
    while !rest.is_empty() {
        let buffer = connection.direct_buffer();
        if buffer.is_empty() {
            let (read, left) = rest.split_at(step.min(rest.len()));
            rest = left;
            let mut read = read.to_vec();
            let mut input = &mut read[..];
            loop {
                match connection.receive(&mut input) {
                    Ok(None) => break,
                    Ok(event) => keep(event, &mut messages),
                    Err(error) => return Err((error, Box::new(connection))),
                }
            }
            continue;
        }
        let (read, left) = rest.split_at(step.min(buffer.len()).min(rest.len()));
        rest = left;
        buffer[..read.len()].copy_from_slice(read);
        direct += read.len();
        match connection.receive_direct(read.len()) {
            Ok(event) => keep(event, &mut messages),
            Err(error) => return Err((error, Box::new(connection))),
        }
    }
    Ok((messages, direct))
}

#[test]
fn what_is_read_directly_is_the_message_that_was_sent() {
    let text = "aé€😀".repeat(20_000);
    for role in ROLES {
        for (first, payload) in [(0x81, text.as_bytes()), (0x82, &vec![7; 300_000])] {
            let small = frame_to(role, 0x81, b"small");
            let wire = [&frame_to(role, first, payload)[..], &small]
                .concat()
                .repeat(2);
            for step in [1000, 10_007, 1 << 20] {
                let (messages, direct) = receive(role, &wire, step).unwrap_or_else(|_| panic!());
                assert_eq!(messages.len(), 4);
                for large in [&messages[0], &messages[2]] {
                    assert!(large.as_bytes() == payload);
                    assert_eq!(large.is_text(), first == 0x81);
                }
                assert_eq!(messages[1], "small".into());
                if step < payload.len() {
                    assert!(direct > payload.len(), "{direct} of two messages");
                }
            }
        }
    }
}

/// A read that fills the buffer ends the message, and what follows is read as ever.
#[test]
fn a_message_that_ends_in_the_direct_buffer_comes_out_of_it() {
    let text = "aé€😀".repeat(3_300);
    for role in ROLES {
        for (first, payload) in [(0x81, text.as_bytes()), (0x82, &vec![7; 33_000])] {
            for is_last in [true, false] {
                let first = if is_last { first } else { first & 0x7f };
                let mut wire = frame_to(role, first, payload);
                let mut connection = Connection::new(role, Agreed::default(), Config::default());
                assert!(!connection.is_inside_large());
                let (mut begun, rest) = wire.split_at_mut(10_000);
                assert!(connection.receive(&mut begun).unwrap().is_none());
                assert!(connection.is_inside_large());
                assert!(connection.receive_direct(0).unwrap().is_none());
                let direct = connection.direct_buffer();
                assert_eq!(direct.len(), rest.len(), "all that is missing");
                direct.copy_from_slice(rest);
                let mut event = connection.receive_direct(rest.len()).unwrap();
                assert_eq!(event.is_some(), is_last);
                let mut end = frame_to(role, 0x80, b"");
                if !is_last {
                    event = connection.receive(&mut &mut end[..]).unwrap();
                }
                let message = match event {
                    Some(Event::Text(text)) => Message::from(text),
                    Some(Event::Binary(payload)) => payload.into(),
                    event => panic!("{event:?}"),
                };
                assert!(message.as_bytes() == payload && message.is_text() == (first & 1 == 1));
                assert!(connection.direct_buffer().is_empty() && !connection.is_inside_large());
            }
        }
    }
}

/// What an adapter may wait for, to give a message without a copy.
#[test]
fn the_length_of_a_whole_frame_is_known_from_its_header() {
    for role in ROLES {
        let mut connection = Connection::new(role, Agreed::default(), Config::default());
        let whole = frame_to(role, 0x82, &[7; 300]);
        let header = whole.len() - 300;
        assert_eq!(connection.whole_len(&whole[..header]), Some(whole.len()));
        assert_eq!(connection.whole_len(&whole[..header - 1]), None);
        for other in [0x02, 0x89, 0x88, 0x80, 0xc2] {
            let frame = frame_to(role, other, b"abc");
            assert_eq!(connection.whole_len(&frame), None, "{other:02x}");
        }
        let mut begun = frame_to(role, 0x02, b"a");
        assert!(connection.receive(&mut &mut begun[..]).unwrap().is_none());
        assert_eq!(connection.whole_len(&whole), None, "inside a message");
    }
}

/// The last frame of a message that came in fragments, too.
#[test]
fn fragments_are_read_directly_behind_what_came_before() {
    for role in ROLES {
        let mut wire = frame_to(role, 0x02, &[1; 20_000]);
        wire.extend(frame_to(role, 0x00, &[2; 50_000]));
        wire.extend(frame_to(role, 0x89, b"ping"));
        wire.extend(frame_to(role, 0x80, &[3; 100_000]));
        let expected = [&[1; 20_000][..], &[2; 50_000], &[3; 100_000]].concat();
        let (messages, direct) = receive(role, &wire, 9_000).unwrap_or_else(|_| panic!());
        assert!(messages == [Message::from(expected)] && direct > 100_000);
    }
}

/// §8.1: text fails at the byte that makes it invalid, not at the end of the message.
#[test]
fn text_that_is_read_directly_fails_where_it_is_broken() {
    for role in ROLES {
        let mut text = "é".repeat(100_000).into_bytes();
        text[120_001] = 0xff;
        let wire = frame_to(role, 0x81, &text);
        for step in [5_000, 30_000] {
            let received = receive(role, &wire[..125_000], step);
            let Err((error, connection)) = received else {
                panic!("it is broken before");
            };
            assert_eq!(error, ProtocolError::InvalidUtf8);
            let sent = connection.close_info().unwrap().sent.unwrap();
            assert_eq!(sent.code, CloseCode::INVALID_DATA);
        }
    }
}

#[test]
fn a_message_is_received_whole_or_left_where_it_lies() {
    for role in ROLES {
        let mut connection = Connection::new(role, Agreed::default(), Config::default());
        let whole = frame_to(role, 0x82, &[7; 300]);
        for wire in [
            &whole[..],
            &frame_to(role, 0x89, b""),
            &frame_to(role, 0x02, b""),
        ] {
            let len = wire.len() - usize::from(wire == whole);
            let mut wire = wire.to_vec();
            let mut input = &mut wire[..len];
            assert!(connection.receive_whole(&mut input).is_none());
            assert_eq!(input.len(), len, "it has taken nothing");
        }
        let mut wire = [&whole[..], b"next"].concat();
        let mut input = &mut wire[..];
        let received = connection.receive_whole(&mut input).map(Result::unwrap);
        assert!(matches!(received, Some(Event::Binary(payload)) if *payload == [7; 300]));
        assert_eq!(input, b"next");
    }
}

/// Bytes that make no event can be waited for together; what is handed out as it comes can not.
#[test]
fn what_is_missing_of_a_frame_is_said_while_its_message_is_assembled() {
    for role in ROLES {
        let first = frame_to(role, 0x01, &[b'a'; 50]);
        let ping = frame_to(role, 0x89, b"ping");
        let last = frame_to(role, 0x80, &[b'b'; 300]);
        for delivery in [Delivery::Messages, Delivery::Fragments] {
            let is_assembled = delivery == Delivery::Messages;
            let mut connection = Connection::new(role, Agreed::default(), Config::default());
            connection.set_delivery(delivery);
            let mut missing = |wire: &[u8]| {
                let mut wire = wire.to_vec();
                let mut input = &mut wire[..];
                while connection.receive(&mut input).unwrap().is_some() {}
                connection.missing()
            };
            assert_eq!(missing(&first[..20]) > 0, is_assembled);
            assert_eq!(missing(&first[20..]), 0, "the frame is whole");
            assert_eq!(missing(&ping[..6]), 0, "a Ping is an event");
            assert_eq!(missing(&ping[6..]), 0);
            let expected = if is_assembled { 100 } else { 0 };
            assert_eq!(missing(&last[..last.len() - 100]), expected);
            assert_eq!(
                missing(&last[last.len() - 100..]),
                0,
                "the message is whole"
            );
        }
    }
}

#[test]
#[should_panic(expected = "more than the direct buffer holds")]
fn more_than_the_direct_buffer_holds_cannot_be_received() {
    let mut connection = Connection::new(Role::Client, Agreed::default(), Config::default());
    let mut wire = frame_to(Role::Client, 0x82, &[7; 100_000]);
    wire.truncate(50_000);
    assert!(connection.receive(&mut &mut wire[..]).unwrap().is_none());
    assert!(!connection.direct_buffer().is_empty());
    let _ = connection.receive_direct(60_000);
}
