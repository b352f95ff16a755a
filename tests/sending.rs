//! §5.1 to §5.6: what a connection encodes, and what it refuses to.

mod common {
    pub(crate) mod answers;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod pair;
}

use std::collections::HashSet;

use bytes::{Buf, Bytes};
use common::answers::{connection_with, frame_from};
use common::events::OwnedEvent;
use common::output::written;
use common::pair::Pair;
use wsroom::frame::{FrameHeader, OpCode};
use wsroom::protocol::{Fragment, PreparedBatch};
use wsroom::{Agreed, Config, Connection, Message, PreparedMessage, Role, SendError};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// M3, O07, §5.7.
#[test]
fn the_examples_of_the_rfc_are_encoded() {
    let mut client = connection(Role::Client);
    client.send("Hello").unwrap();
    client.pong(b"Hello").unwrap();
    let hello = b"\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let expected = [b"\x81", &hello[..], b"\x8a", hello].concat();
    assert_eq!(written(&mut client), expected);

    let mut server = connection(Role::Server);
    server.send("Hello").unwrap();
    server
        .send_fragment(&fragment(OpCode::Text, false, b"Hel"))
        .unwrap();
    server
        .send_fragment(&fragment(OpCode::Continuation, true, b"lo"))
        .unwrap();
    server.ping(b"Hello").unwrap();
    let expected = b"\x81\x05Hello\x01\x03Hel\x80\x02lo\x89\x05Hello";
    assert_eq!(written(&mut server), expected);

    for (len, header) in [
        (256, &b"\x82\x7e\x01\x00"[..]),
        (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ] {
        server.send(vec![7; len]).unwrap();
        assert!(written(&mut server) == [header, &vec![7; len]].concat());
    }
}

/// In each way there is to send, a message is the same bytes.
#[test]
fn a_payload_that_is_copied_is_sent_as_one_that_is_not() {
    for role in ROLES {
        for len in [0, 10, 5000, 70_000] {
            let text = "x".repeat(len);
            let [mut copied, mut given] =
                [(); 2].map(|()| connection_with(role, Config::default()));
            copied.send_text(&text).unwrap();
            copied.send_binary(text.as_bytes()).unwrap();
            given.send(text.as_str()).unwrap();
            given.send(Message::binary(text)).unwrap();
            assert!(written(&mut copied) == written(&mut given));
        }
    }
}

/// Memory is given up while a write has to wait, and nothing of what waits.
#[test]
fn an_output_that_shrinks_keeps_what_waits() {
    for role in ROLES {
        for left in [0, 1, 5000, 6000, 60_000] {
            let [mut shrunk, mut plain] =
                [(); 2].map(|()| connection_with(role, Config::default()));
            for connection in [&mut shrunk, &mut plain] {
                for len in [100, 4000, 10_000, 3, 50_000, 5] {
                    connection.send(vec![len as u8; len]).unwrap();
                }
                let gone = connection.output_len() - left;
                connection.output().advance(gone);
            }
            shrunk.output().shrink();
            for connection in [&mut shrunk, &mut plain] {
                connection.send("more").unwrap();
            }
            let wire = written(&mut plain);
            assert!(wire.len() > left && written(&mut shrunk) == wire, "{left}");
        }
    }
}

/// F6, O13, §5.2: in each way there is to send.
#[test]
fn lengths_are_sent_in_their_shortest_form() {
    for role in ROLES {
        for len in [0, 1, 125, 126, 127, 4095, 4096, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; len];
            let text = "x".repeat(len);
            let mut connection = connection(role);
            let message = Message::from(payload.clone());
            connection.send(message.clone()).unwrap();
            connection
                .send_prepared(&PreparedMessage::new(message.clone()))
                .unwrap();
            connection
                .send_batch(&PreparedBatch::new([message, text.as_str().into()]))
                .unwrap();
            connection.send(text.as_str()).unwrap();
            connection
                .send_fragment(&fragment(OpCode::Text, false, &payload))
                .unwrap();
            connection
                .send_fragment(&fragment(OpCode::Continuation, true, &payload))
                .unwrap();
            let expected: Vec<u8> = [0x82, 0x82, 0x82, 0x81, 0x81, 0x01, 0x80]
                .into_iter()
                .flat_map(|first| frame_from(role, first, &payload))
                .collect();
            assert!(
                written(&mut connection) == expected,
                "{role:?}, {len} bytes"
            );
        }
    }
}

/// O03, §5.5.
#[test]
fn a_control_payload_of_126_bytes_is_refused() {
    for role in ROLES {
        let mut connection = connection(role);
        assert_eq!(
            connection.ping(&[0; 126]),
            Err(SendError::ControlFrameTooLong)
        );
        assert_eq!(
            connection.pong(&[0; 126]),
            Err(SendError::ControlFrameTooLong)
        );
        assert_eq!(connection.output_len(), 0);
        assert_eq!(connection.ping(&[0; 125]), Ok(()));
        assert_eq!(written(&mut connection), frame_from(role, 0x89, &[0; 125]));
    }
}

/// O04, §8.1: the pieces of a text are text together. What is refused was not sent, and the
/// message goes on as if it had not been tried.
#[test]
fn fragments_of_text_that_are_not_text_are_refused() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut send =
            |opcode, fin, payload| connection.send_fragment(&fragment(opcode, fin, payload));
        assert_eq!(
            send(OpCode::Text, true, b"\xff"),
            Err(SendError::InvalidUtf8)
        );
        assert_eq!(
            send(OpCode::Text, true, b"\xe2\x82"),
            Err(SendError::InvalidUtf8)
        );
        assert_eq!(send(OpCode::Text, false, b"\xe2\x82"), Ok(()));
        assert_eq!(
            send(OpCode::Continuation, false, b"a"),
            Err(SendError::InvalidUtf8)
        );
        assert_eq!(
            send(OpCode::Continuation, true, b""),
            Err(SendError::InvalidUtf8)
        );
        assert_eq!(send(OpCode::Continuation, true, b"\xac"), Ok(()));
        assert_eq!(send(OpCode::Binary, false, b"\xff"), Ok(()));
        assert_eq!(send(OpCode::Continuation, true, b"\xff"), Ok(()));
        let expected = [
            frame_from(role, 0x01, b"\xe2\x82"),
            frame_from(role, 0x80, b"\xac"),
            frame_from(role, 0x02, b"\xff"),
            frame_from(role, 0x80, b"\xff"),
        ];
        assert_eq!(written(&mut connection), expected.concat());
    }
}

/// §5.4: G2 and G3 for the sending side.
#[test]
fn fragments_out_of_order_are_refused() {
    for role in ROLES {
        let mut connection = connection(role);
        let piece = |opcode| fragment(opcode, false, b"a");
        let continuation = connection.send_fragment(&piece(OpCode::Continuation));
        assert_eq!(continuation, Err(SendError::NoMessageInProgress));
        for opcode in [OpCode::Close, OpCode::Ping, OpCode::Pong] {
            let control = connection.send_fragment(&piece(opcode));
            assert_eq!(control, Err(SendError::ControlFragment));
        }
        assert_eq!(connection.output_len(), 0);

        connection.send_fragment(&piece(OpCode::Text)).unwrap();
        written(&mut connection);
        for opcode in [OpCode::Text, OpCode::Binary] {
            let begun = connection.send_fragment(&piece(opcode));
            assert_eq!(begun, Err(SendError::MessageInProgress));
        }
        assert_eq!(connection.send("whole"), Err(SendError::MessageInProgress));
        let prepared = connection.send_prepared(&"whole".into());
        assert_eq!(prepared, Err(SendError::MessageInProgress));
        let batch = connection.send_batch(&PreparedBatch::new(["whole", "too"]));
        assert_eq!(batch, Err(SendError::MessageInProgress));
        assert_eq!(connection.output_len(), 0);

        connection.ping(b"between").unwrap();
        connection
            .send_fragment(&fragment(OpCode::Continuation, true, b""))
            .unwrap();
        connection.send("whole").unwrap();
        let expected = [
            frame_from(role, 0x89, b"between"),
            frame_from(role, 0x80, b""),
            frame_from(role, 0x81, b"whole"),
        ];
        assert_eq!(written(&mut connection), expected.concat());
    }
}

/// O05 (client), §5.5.1: a Close may cut a message in fragments short.
#[test]
fn a_fragment_after_a_close_is_refused() {
    Pair::in_all_cuts(Config::default(), |pair| {
        let client = &mut pair.client.connection;
        client
            .send_fragment(&fragment(OpCode::Binary, false, b"a"))
            .unwrap();
        client.close(None).unwrap();
        let rest = client.send_fragment(&fragment(OpCode::Continuation, true, b"b"));
        assert_eq!(rest, Err(SendError::Closed));
        pair.pump();
        assert_eq!(
            pair.server.received,
            [Ok(OwnedEvent::Close(1005, String::new()))]
        );
    });
}

/// M2, O08, §5.3: of 10,000 equal messages all are masked, with keys that show no pattern. `Pair`
/// checks for every frame that only clients mask, and that no key repeats in a row.
#[test]
fn equal_messages_of_a_client_are_masked_with_keys_of_their_own() {
    let mut client = Connection::new(Role::Client, Agreed::default(), Config::default());
    let mut wire = Vec::new();
    for _ in 0..10_000 {
        client.send("equal").unwrap();
        wire.extend(written(&mut client));
    }
    let (frames, []) = wire.as_chunks::<11>() else {
        panic!("every frame has 11 bytes");
    };
    let mut keys = HashSet::new();
    let mut counts = [[0_u32; 256]; 4];
    for frame in frames {
        let (header, len) = FrameHeader::parse(frame).unwrap().unwrap();
        let key = header.mask.unwrap();
        let mut payload = frame[len..].to_vec();
        key.apply(&mut payload);
        assert_eq!(payload, b"equal");
        keys.insert(key.bytes());
        for (count, byte) in counts.iter_mut().zip(key.bytes()) {
            count[usize::from(byte)] += 1;
        }
    }
    // Two of 10,000 keys are equal about once in 90 runs; five pairs never are.
    assert!(keys.len() > 9_995);
    // Each byte value comes 39 times, with a standard deviation of 6.
    assert!(
        counts
            .iter()
            .flatten()
            .all(|count| (1..100).contains(count))
    );
}

/// M4, B5: what was sent is not changed by the sender, and shared bytes are not masked in place.
#[test]
fn a_payload_that_is_shared_stays_as_it_is() {
    Pair::in_all_cuts(Config::default(), |pair| {
        let shared = Bytes::from(vec![7; 5_000]);
        let prepared = PreparedMessage::new(shared.clone());
        let batch = PreparedBatch::new([&prepared, &prepared]);
        for end in [&mut pair.client, &mut pair.server] {
            end.connection.send(shared.clone()).unwrap();
            end.connection.send_prepared(&prepared).unwrap();
            end.connection.send_batch(&batch).unwrap();
        }
        pair.pump();
        assert!(shared.iter().all(|&byte| byte == 7));
        assert_eq!(prepared.payload(), shared);
        let message = Ok(OwnedEvent::Binary(vec![7; 5_000]));
        for end in [&pair.client, &pair.server] {
            assert!(end.received == vec![message.clone(); 4]);
        }
    });
}

fn fragment(opcode: OpCode, fin: bool, payload: &[u8]) -> Fragment {
    let payload = Bytes::copy_from_slice(payload);
    Fragment {
        opcode,
        fin,
        payload,
    }
}

fn connection(role: Role) -> Connection {
    connection_with(role, Config::default())
}
