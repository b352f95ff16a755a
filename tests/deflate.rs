//! RFC 7692: every row of `tests/data/deflate.md`, and messages that are sent and taken compressed.
#![cfg(feature = "deflate")]

mod common {
    pub(crate) mod answers;
    pub(crate) mod deflate;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod judge;
    pub(crate) mod output;
    pub(crate) mod table;
}

use std::time::Instant;

use bytes::Bytes;
use common::deflate::{connection, params};
use common::events::{Outcome, OwnedEvent, receive};
use common::frames::frame_to;
use common::judge::{Expected, cuts, run, with_random_keys};
use common::output::written;
use common::table::{Row, config, rows_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::frame::OpCode;
use wsroom::protocol::{Delivery, Fragment, PreparedBatch};
use wsroom::{Config, Connection, PreparedMessage, ProtocolError, Role};

const TABLE: &str = include_str!("data/deflate.md");

/// E6, E7 (server), E8, E9, E10 (server), E11, E12 (server), E13.
#[test]
fn every_row_gives_its_result_however_it_is_cut() {
    let mut random = StdRng::seed_from_u64(1);
    let rows = rows_of(TABLE);
    assert!(rows.len() > 45, "the table was read");
    for row in rows {
        run(&row, &row.bytes, 50, &mut random, connect);
    }
}

#[test]
fn every_row_gives_its_result_with_a_random_key() {
    let mut random = StdRng::seed_from_u64(2);
    for row in rows_of(TABLE) {
        if row.role == Role::Server {
            let bytes = with_random_keys(&row.bytes, &mut random);
            run(&row, &bytes, 5, &mut random, connect);
        }
    }
}

/// Of several faults, the one is reported whose byte comes first, and that is the same however the
/// bytes are cut.
#[test]
fn of_several_faults_in_compressed_text_the_first_one_is_reported_in_any_cut() {
    // A block that is stored as it is (RFC 1951 §3.2.4).
    let stored = |announced: u16, content: &[u8]| {
        let len = [announced.to_le_bytes(), (!announced).to_le_bytes()].concat();
        [&[0], &len[..], content].concat()
    };
    let mut wrong_and_long = vec![b'x'; 300];
    let too_long = [stored(300, &wrong_and_long), vec![0]].concat();
    wrong_and_long[50] = 0xff;
    let wrong_and_long = [stored(300, &wrong_and_long), vec![0]].concat();
    for (payload, fault) in [
        (too_long, ProtocolError::MessageTooLarge),
        (wrong_and_long, ProtocolError::InvalidUtf8),
        // Inside a block and inside a character.
        (stored(2, b"\xc3"), ProtocolError::InvalidDeflate),
        (stored(2, b"\xff"), ProtocolError::InvalidUtf8),
        (
            [stored(1, b"\xc3"), vec![0]].concat(),
            ProtocolError::InvalidUtf8,
        ),
    ] {
        for delivery in [Delivery::Messages, Delivery::Fragments] {
            for step in [1, 7, 100, usize::MAX] {
                let config = Config::default().max_message_size(200).max_frame_size(1000);
                let mut client = connection(Role::Client, params(15, true), config);
                client.set_delivery(delivery);
                let wire = frame_to(Role::Client, 0xc1, &payload);
                let outcomes = receive(&mut client, wire.chunks(step));
                assert_eq!(outcomes.last(), Some(&Err(fault)), "{step}, {payload:02x?}");
            }
        }
    }
}

/// What a message before leaves in the window or in the pool changes nothing.
#[test]
fn every_row_but_an_empty_window_gives_its_result_behind_compressed_messages() {
    let mut random = StdRng::seed_from_u64(3);
    for mut row in rows_of(TABLE) {
        if row.id.starts_with("H33") || row.id.starts_with("H34") {
            continue;
        }
        // A stored block, and a final one.
        let stored = frame_to(row.role, 0xc2, b"\x00\x03\x00\xfc\xffabc\x00");
        let last = frame_to(row.role, 0xc2, b"\x01\x01\x00\xfe\xff\x07");
        row.bytes.splice(0..0, [stored, last].concat());
        let mut expected = Expected::parse(row.expected, row.role);
        let before = [b"abc".to_vec(), vec![7]].map(OwnedEvent::Binary);
        expected.events.splice(0..0, before);
        for pieces in cuts(&row.bytes, 5, &mut random) {
            expected.check(&row, connect(&row), pieces);
        }
    }
}

/// E10, §7.2.3.1, §7.2.3.2: the examples, byte by byte.
#[test]
fn a_message_is_sent_as_in_the_examples() {
    let mut server = connection(Role::Server, params(15, true), all());
    server.send("Hello").unwrap();
    assert_eq!(written(&mut server), HELLO);
    server.send("Hello").unwrap();
    assert_eq!(written(&mut server), b"\xc1\x05\xf2\x00\x11\x00\x00");
    let mut client = connection(Role::Client, params(15, true), all());
    client.send("Hello").unwrap();
    assert_eq!(
        written(&mut client),
        frame_to(Role::Server, 0xc1, &HELLO[2..])
    );
}

/// §6: a message may be sent as it is, and leaves the window alone.
#[test]
fn what_is_short_or_would_grow_is_sent_as_it_is() {
    let config = Config::default().compression_threshold(100);
    for takes_over in [true, false] {
        let mut server = connection(Role::Server, params(15, takes_over), config);
        for (len, first) in [(0, 0x82), (1, 0x82), (99, 0x82), (100, 0xc2), (1000, 0xc2)] {
            server.send(vec![7; len]).unwrap();
            assert_eq!(written(&mut server)[0], first, "{len} bytes");
        }
        let mut noise = vec![0; 1000];
        StdRng::seed_from_u64(1).fill(&mut noise[..]);
        server.send(noise.clone()).unwrap();
        let wire = written(&mut server);
        // With context takeover the compressor has it, so the peer must get it.
        assert_eq!(wire[0], if takes_over { 0xc2 } else { 0x82 });
        assert!(wire.len() <= 1020);
        let mut client = connection(Role::Client, params(15, takes_over), config);
        assert_eq!(
            receive(&mut client, [&wire[..]]),
            [Ok(OwnedEvent::Binary(noise))]
        );
    }
}

/// Unless it is said otherwise: what is worth it depends on what a message can refer to.
#[test]
fn short_messages_are_compressed_with_context_takeover_only() {
    for (takes_over, least) in [(true, 16), (false, 128)] {
        let mut server = connection(Role::Server, params(15, takes_over), Config::default());
        for len in [least - 1, least] {
            server.send(vec![7; len]).unwrap();
            let is_compressed = written(&mut server)[0] == 0xc2;
            assert_eq!(is_compressed, len == least, "{len} bytes");
            // By itself a message refers to nothing, whatever was agreed on.
            let prepared = PreparedMessage::new(vec![8; len]);
            server.send_prepared(&prepared).unwrap();
            let is_compressed = written(&mut server)[0] == 0xc2;
            assert_eq!(is_compressed, len >= 128, "{len} bytes, prepared");
        }
    }
}

/// E15, RFC 7692 §8: a secret is not to be compressed together with what an attacker chose.
#[test]
fn a_message_that_is_not_to_be_compressed_is_not() {
    for role in ROLES {
        let mut sender = connection(role, params(15, true), all());
        sender.send("Hello").unwrap();
        let message = PreparedMessage::uncompressed("Hello");
        sender.send_prepared(&message).unwrap();
        sender.send("Hello").unwrap();
        let wire = written(&mut sender);
        let peer = other(role);
        let expected = [
            frame_to(peer, 0xc1, &HELLO[2..]),
            frame_to(peer, 0x81, b"Hello"),
            frame_to(peer, 0xc1, b"\xf2\x00\x11\x00\x00"),
        ];
        assert_eq!(wire, expected.concat());
    }
}

/// §7.1.1: the sender of a prepared message begins a new context, since the peer alone has it.
#[test]
fn a_prepared_message_is_compressed_by_itself_and_begins_a_new_context() {
    let text = "Hello, hello, hello, hello";
    let prepared = PreparedMessage::new(text);
    let batch = PreparedBatch::new([&prepared, &prepared]);
    for role in ROLES {
        let mut by_itself = connection(role, params(15, false), all());
        by_itself.send(text).unwrap();
        let frame = written(&mut by_itself);
        let mut sender = connection(role, params(15, true), all());
        let mut receiver = connection(other(role), params(15, true), all());
        for _ in 0..2 {
            sender.send(text).unwrap();
            sender.send(text).unwrap();
            sender.send_batch(&batch).unwrap();
            sender.send_prepared(&prepared).unwrap();
            sender.send(text).unwrap();
            let wire = written(&mut sender);
            assert!(wire.len() < 6 * frame.len(), "one refers to another");
            assert!(wire.ends_with(&frame.repeat(4)));
            let outcomes = receive(&mut receiver, [&wire[..]]);
            assert_eq!(outcomes, vec![Ok(OwnedEvent::Text(text.into())); 6]);
        }
    }
}

#[test]
fn a_prepared_message_is_shared_by_members_of_all_kinds() {
    let text = "all members get the same text, the same text, the same".repeat(20);
    let message = PreparedMessage::new(text.as_str());
    let long = Config::default().compression_threshold(5_000);
    let mut frames = Vec::new();
    for window_bits in 9..=15 {
        for takes_over in [true, false] {
            for (config, is_compressed) in [(all(), true), (long, false)] {
                let params = params(window_bits, takes_over);
                let mut member = connection(Role::Server, params, config);
                member.send_prepared(&message).unwrap();
                let frame = written(&mut member);
                assert_eq!(frame[0] == 0xc1, is_compressed);
                let mut client = connection(Role::Client, params, config);
                assert_eq!(
                    receive(&mut client, [&frame[..]]),
                    [Ok(OwnedEvent::Text(text.clone()))]
                );
                frames.push(frame);
            }
        }
    }
    // The text is longer than the smallest window, and shorter than the largest.
    assert!(frames[0].len() < 200 && frames[0].len() >= frames[26].len());
    assert_eq!(frames[24], frames[26]);
}

/// E6 (server), E10 (server), §7.2.1: the tail is taken off the last fragment only.
#[test]
fn a_message_in_fragments_is_compressed_as_it_is_sent() {
    for takes_over in [true, false] {
        let mut server = connection(Role::Server, params(15, takes_over), all());
        for (opcode, fin, text) in [
            (OpCode::Text, false, "Hel"),
            (OpCode::Continuation, false, ""),
            (OpCode::Continuation, true, "lo"),
        ] {
            server.send_fragment(&fragment(opcode, fin, text)).unwrap();
        }
        let wire = written(&mut server);
        assert_eq!(wire[0], 0x41);
        let first = usize::from(wire[1]) + 2;
        assert!(wire[..first].ends_with(b"\0\0\xff\xff"));
        assert_eq!(wire[first..first + 2], [0x00, 0]);
        assert_eq!(wire[first + 2], 0x80);
        assert!(!wire.ends_with(b"\0\0\xff\xff"));
        let mut client = connection(Role::Client, params(15, takes_over), all());
        for _ in 0..2 {
            assert_eq!(
                receive(&mut client, [&wire[..]]),
                [Ok(OwnedEvent::Text("Hello".into()))]
            );
        }
    }
}

/// E10 (server), §7.2.3.6: what is empty behind a flush is one byte.
#[test]
fn a_last_fragment_that_is_empty_is_one_byte() {
    let mut server = connection(Role::Server, params(15, true), all());
    server
        .send_fragment(&fragment(OpCode::Text, false, "Hello"))
        .unwrap();
    written(&mut server);
    server
        .send_fragment(&fragment(OpCode::Continuation, true, ""))
        .unwrap();
    assert_eq!(written(&mut server), [0x80, 1, 0]);
}

#[test]
fn a_message_whose_first_fragment_is_short_is_sent_as_it_is() {
    let config = Config::default().compression_threshold(4);
    let mut server = connection(Role::Server, params(15, true), config);
    server
        .send_fragment(&fragment(OpCode::Text, false, "Hel"))
        .unwrap();
    server
        .send_fragment(&fragment(OpCode::Continuation, true, "lo, Hello, Hello"))
        .unwrap();
    let wire = written(&mut server);
    assert_eq!(wire[..5], *b"\x01\x03Hel");
}

/// O16: what is refused was not compressed either, so that what follows is understood.
#[test]
fn a_send_that_is_refused_leaves_the_compressor_as_it_was() {
    for role in ROLES {
        let mut sender = connection(role, params(15, true), all());
        sender.send("Hello").unwrap();
        let bad = fragment(OpCode::Continuation, true, "Hello");
        assert!(sender.send_fragment(&bad).is_err());
        let mut bad = fragment(OpCode::Text, true, "");
        bad.payload = Bytes::from_static(b"Hello \xff");
        assert!(sender.send_fragment(&bad).is_err());
        let first = fragment(OpCode::Text, false, "Hello, ");
        sender.send_fragment(&first).unwrap();
        assert!(sender.send("Hello").is_err());
        assert!(sender.send_prepared(&"Hello".into()).is_err());
        let last = fragment(OpCode::Continuation, true, "Hello");
        sender.send_fragment(&last).unwrap();
        sender.send("Hello").unwrap();

        let wire = written(&mut sender);
        let mut receiver = connection(other(role), params(15, true), all());
        let text = |text: &str| Ok(OwnedEvent::Text(text.into()));
        assert_eq!(
            receive(&mut receiver, [&wire[..]]),
            [text("Hello"), text("Hello, Hello"), text("Hello")]
        );
        sender.close(None).unwrap();
        let closed = written(&mut sender).len();
        assert!(closed <= 6 && sender.send("Hello").is_err());
        assert_eq!(sender.output_len(), 0);
    }
}

/// §10.4: a large message passes through in pieces, and none waits when the input is used up.
#[test]
fn fragments_come_out_as_they_are_inflated() {
    for takes_over in [true, false] {
        let mut server = connection(Role::Server, params(15, takes_over), all());
        let message = vec![7; 1_000_000];
        server.send(message.clone()).unwrap();
        let wire = written(&mut server);
        assert!(wire.len() < 2_000);
        for step in [1, 100, usize::MAX] {
            let mut client = connection(Role::Client, params(15, takes_over), all());
            client.set_delivery(Delivery::Fragments);
            let mut inflated = Vec::new();
            for (i, piece) in wire.chunks(step).enumerate() {
                for outcome in receive(&mut client, [piece]) {
                    let Ok(OwnedEvent::Fragment(opcode, fin, bytes)) = outcome else {
                        panic!("{outcome:?}");
                    };
                    assert_eq!(opcode == OpCode::Binary, inflated.is_empty());
                    inflated.extend_from_slice(&bytes);
                    assert_eq!(fin, inflated.len() == message.len());
                    assert!(bytes.len() <= 64 << 10);
                }
                // A run of one byte is 258 bytes in two bits.
                let known = (i + 1)
                    .saturating_mul(step)
                    .saturating_sub(40)
                    .saturating_mul(4 * 258);
                assert!(inflated.len() >= known.min(message.len()), "{i}");
            }
            assert!(inflated == message);
        }
    }
}

/// E13 (client), rows H40 to H42: in fragments too, not one byte more than the limit, and the
/// fault at once.
#[test]
fn the_limit_holds_for_what_is_inflated() {
    let config = all().max_message_size(100_000);
    for delivery in [Delivery::Messages, Delivery::Fragments] {
        for (len, is_legal) in [(100_000, true), (100_001, false), (50_000_000, false)] {
            let mut server = connection(Role::Server, params(15, false), config);
            server.send(vec![0; len]).unwrap();
            let wire = written(&mut server);
            for step in [7, usize::MAX] {
                let mut client = connection(Role::Client, params(15, false), config);
                client.set_delivery(delivery);
                let outcomes = receive(&mut client, wire.chunks(step));
                let given: usize = outcomes.iter().map(len_of).sum();
                if is_legal {
                    assert_eq!(given, len);
                } else {
                    let fault = Err(ProtocolError::MessageTooLarge);
                    assert_eq!(outcomes.last(), Some(&fault));
                    assert!(given <= 100_000);
                }
            }
        }
    }
}

/// §10.4 for time: blocks that hold nothing, or little, take time for their own length only.
#[test]
fn a_flood_of_small_blocks_is_linear_work() {
    // Ten bits each: not final, fixed codes, the end.
    let fixed = [0x02, 0x08, 0x20, 0x80, 0x00];
    // As many final blocks as a message may have.
    let padded = [&b"\x00\x39\x00\xc6\xff"[..], &[7; 57], b"\x03\x00"].concat();
    let with_output = [
        &b"\x00\x38\x00\xc7\xff"[..],
        &[7; 56],
        b"\x01\x01\x00\xfe\xff!",
    ]
    .concat();
    for (block, len) in [
        (&b"\x00\x00\x00\xff\xff"[..], 0),
        (&b"\x00\x01\x00\xfe\xff!"[..], 1),
        (&fixed, 0),
        (&padded, 57),
        (&with_output, 57),
    ] {
        let [short, long] = [16 << 10, 1 << 20].map(|size| {
            let count = size / block.len();
            let payload = [&block.repeat(count)[..], &[0]].concat();
            let wire = frame_to(Role::Server, 0xc2, &payload);
            let times = [(); 3].map(|()| {
                let mut server = connection(Role::Server, params(15, true), all());
                let begin = Instant::now();
                let outcomes = receive(&mut server, [&wire[..]]);
                let time = begin.elapsed();
                assert_eq!(outcomes.iter().map(len_of).sum::<usize>(), len * count);
                assert!(outcomes.iter().all(Result::is_ok));
                time
            });
            times.into_iter().min().unwrap()
        });
        // 64 times as long; it would be 4096 times the work if each block were as much as all.
        assert!(long < 1000 * short, "{block:x?}: {short:?}, {long:?}");
    }
    // More final blocks than that are not waited for.
    let wire = frame_to(Role::Server, 0xc2, &b"\x03\x00".repeat(256 << 10));
    let mut server = connection(Role::Server, params(15, true), all());
    let outcomes = receive(&mut server, [&wire[..2000]]);
    assert_eq!(outcomes, [Err(ProtocolError::InvalidDeflate)]);
}

/// E11 (client), §7.1.2.1: how far back a message may refer to those before it.
#[test]
fn a_window_that_is_larger_than_agreed_is_noticed_behind_a_message() {
    // "Hello", noise, "Hello": with a window for all of it, the second is found in the first.
    let mut noise = vec![0; 3000];
    StdRng::seed_from_u64(1).fill(&mut noise[..]);
    let mut server = connection(Role::Server, params(15, true), all());
    let mut wire = Vec::new();
    for message in [&b"once upon a time"[..], &noise, b"once upon a time"] {
        server.send(message.to_vec()).unwrap();
        wire.extend(written(&mut server));
    }
    for (window_bits, is_legal) in [(15, true), (12, true), (11, false), (9, false)] {
        let mut client = connection(Role::Client, params(window_bits, true), all());
        let outcomes = receive(&mut client, [&wire[..]]);
        let expected = if is_legal {
            Ok(OwnedEvent::Binary(b"once upon a time".into()))
        } else {
            Err(ProtocolError::InvalidDeflate)
        };
        assert_eq!(outcomes.last(), Some(&expected), "{window_bits}");
    }
}

/// E12 (client), §8.1: text is judged as it is inflated, not when the message ends.
#[test]
fn a_text_that_is_not_utf8_fails_at_the_first_byte_that_shows_it() {
    for delivery in [Delivery::Messages, Delivery::Fragments] {
        let mut client = connection(Role::Client, params(15, true), all());
        client.set_delivery(delivery);
        // A stored block of "a", FF and more; the frame is not complete.
        let outcomes = receive(&mut client, [&b"\x41\x20\x00\x09\x00\xf6\xffa\xff"[..]]);
        assert_eq!(outcomes.last(), Some(&Err(ProtocolError::InvalidUtf8)));
    }
}

/// The larger overhead of a message that does not shrink is no fault of it.
#[test]
fn a_message_at_the_limit_may_be_longer_when_it_is_compressed() {
    let mut noise = vec![0; 1 << 20];
    StdRng::seed_from_u64(1).fill(&mut noise[..]);
    let mut server = connection(Role::Server, params(15, true), all());
    server.send(noise.clone()).unwrap();
    let wire = written(&mut server);
    assert!(wire[0] == 0xc2 && wire.len() > (1 << 20) + 10);
    let mut client = connection(Role::Client, params(15, true), all());
    let outcomes = receive(&mut client, wire.chunks(10_000));
    assert!(outcomes == [Ok(OwnedEvent::Binary(noise))]);
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// §7.2.3.1, as a server sends it.
const HELLO: &[u8] = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";

/// Everything is compressed.
fn all() -> Config {
    Config::default().compression_threshold(0)
}

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

fn fragment(opcode: OpCode, fin: bool, text: &'static str) -> Fragment {
    Fragment {
        opcode,
        fin,
        payload: Bytes::from_static(text.as_bytes()),
    }
}

fn len_of(outcome: &Outcome) -> usize {
    match outcome {
        Ok(OwnedEvent::Fragment(_, _, bytes) | OwnedEvent::Binary(bytes)) => bytes.len(),
        _ => 0,
    }
}

fn connect(row: &Row) -> Connection {
    let takes_over = match row.extension {
        "pmd" => true,
        "pmd-nct" => false,
        extension => panic!("{}: {extension}", row.id),
    };
    connection(row.role, params(15, takes_over), config())
}
