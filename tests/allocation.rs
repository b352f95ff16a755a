//! §10.4: what a peer can make a connection allocate, measured by an allocator that counts.

mod common {
    pub(crate) mod counting;
    pub(crate) mod frames;
    pub(crate) mod table;
}

use bytes::Buf;
use common::counting::measured;
use common::frames::frame_to;
use common::table::{Row, config, rows};
use wsroom::protocol::release_kept;
use wsroom::{Agreed, Config, Connection, Event, Message, Role};

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const KIB: usize = 1 << 10;

/// All rows of the corpus, whole, in pieces and as single bytes.
#[test]
fn no_input_makes_a_connection_hold_more_than_four_times_its_length() {
    for row in rows().iter().filter(|row| !is_flood(row)) {
        for step in [row.bytes.len(), 1000, 1] {
            let mut input = row.bytes.clone();
            let mut connection = Connection::new(row.role, Agreed::default(), config());
            release_kept();
            let ((), peak, _) = measured(|| receive_and_drop(&mut connection, &mut input, step));
            let bound = 4 * row.bytes.len() + 64 * KIB;
            assert!(
                peak <= bound,
                "{} in pieces of {step}: {peak} bytes",
                row.id
            );
        }
    }
}

/// L2, rows I01 to I05: however long the flood is.
#[test]
fn a_flood_holds_a_constant_amount() {
    for row in rows().iter().filter(|row| is_flood(row)) {
        let mut input = row.bytes.clone();
        let mut connection = Connection::new(row.role, Agreed::default(), config());
        let ((), peak, _) = measured(|| receive_and_drop(&mut connection, &mut input, 4 * KIB));
        assert!(peak <= 256 * KIB, "{}: {peak} bytes", row.id);
    }
}

/// F8: a length that was only announced costs nothing, and its first byte next to nothing.
#[test]
fn an_announced_length_allocates_nothing() {
    for role in ROLES {
        for first in [0x01, 0x02, 0x81, 0x82] {
            let mut connection = Connection::new(role, Agreed::default(), Config::default());
            let mut frame = frame_to(role, first, &vec![b'a'; 1 << 20]);
            let header = frame.len() - (1 << 20);
            let (head, payload) = frame.split_at_mut(header);
            let ((), peak, _) = measured(|| receive_and_drop(&mut connection, head, 1));
            assert_eq!(peak, 0);
            let ((), peak, _) =
                measured(|| receive_and_drop(&mut connection, &mut payload[..1], 1));
            assert!(peak <= 65, "{peak} bytes");
        }
    }
}

/// A message that is kept pins neither the buffer in which it came nor room it does not need.
#[test]
fn a_message_that_is_kept_keeps_at_most_twice_its_size() {
    for role in ROLES {
        for first in [0x81, 0x82] {
            for len in [65, 100, 127, 128, 129, 1000, 4097, 33_000, 65_537, 300_000] {
                for step in [1, 13, 1000, 1 << 20] {
                    let mut input = frame_to(role, first, &vec![b'a'; len]);
                    let (message, _, live) = measured(|| only_message(role, &mut input, step));
                    assert_eq!(message.len(), len);
                    let bound = 2 * len + SHARED;
                    assert!(live <= bound, "{len} bytes in pieces of {step} keep {live}");
                }
            }
        }
    }
}

/// G1, G7: nor does one that came in fragments.
#[test]
fn a_message_in_fragments_that_is_kept_keeps_at_most_twice_its_size() {
    for role in ROLES {
        for (len, count) in [(1, 100), (50, 20), (4096, 9), (60_000, 2)] {
            let mut input = frame_to(role, 0x02, &vec![7; len]);
            for _ in 2..count {
                input.extend(frame_to(role, 0x00, &vec![7; len]));
            }
            input.extend(frame_to(role, 0x80, &vec![7; len]));
            for step in [1, 1000, 1 << 20] {
                let mut input = input.clone();
                let (message, _, live) = measured(|| only_message(role, &mut input, step));
                assert_eq!(message.len(), len * count);
                let bound = 2 * len * count + SHARED;
                assert!(
                    live <= bound,
                    "{count} of {len} bytes in pieces of {step} keep {live}"
                );
            }
        }
    }
}

/// §7.1.7, C6: what was unfinished is let go at once, not when the transport has ended.
#[test]
fn a_closed_connection_keeps_nothing_of_an_unfinished_message() {
    for role in ROLES {
        for last in [&frame_to(role, 0x88, b"\x03\xe8")[..], b"\x83", b""] {
            let mut input = frame_to(role, 0x02, &[7; 100_000]);
            input.extend(last);
            let mut connection = Connection::new(role, Agreed::default(), Config::default());
            let ((), peak, live) = measured(|| {
                receive_and_drop(&mut connection, &mut input, 1000);
                if last.is_empty() {
                    connection.receive_eof();
                }
                release_kept();
            });
            assert!(connection.is_closed());
            assert!(peak > 100_000 && live <= KIB, "{live} bytes");
        }
    }
}

/// One of a hundred thousand that wait for something to happen.
#[test]
fn an_idle_connection_is_small() {
    let size = size_of::<Connection>();
    let mut worst = 0;
    for role in ROLES {
        let (connection, _, fresh) =
            measured(|| Connection::new(role, Agreed::default(), Config::default()));
        assert_eq!(fresh, 0);
        drop(connection);

        let mut input = frame_to(role, 0x81, &[b'a'; 5000]).repeat(3);
        input.extend(frame_to(role, 0x89, b"ping"));
        let (connection, _, live) = measured(|| {
            let mut connection = Connection::new(role, Agreed::default(), Config::default());
            receive_and_drop(&mut connection, &mut input, 100);
            connection.send(vec![7; 10_000]).unwrap();
            connection.send("small").unwrap();
            let len = connection.output_len();
            connection.output().advance(len);
            connection.send("small").unwrap();
            let len = connection.output_len();
            connection.output().advance(len);
            release_kept();
            connection
        });
        worst = worst.max(live);
        drop(connection);
    }
    eprintln!("an idle connection: {size} bytes, and up to {worst} on the heap after traffic");
    assert!(size <= KIB);
    assert!(worst <= KIB);
}

/// L3: a peer that reads slowly while there is always more to send.
#[test]
fn an_output_that_is_never_empty_holds_a_constant_amount() {
    for role in ROLES {
        for len in [100, 5_000] {
            let mut connection = Connection::new(role, Agreed::default(), Config::default());
            let message = Message::from(vec![7; len]);
            let ((), peak, _) = measured(|| {
                for _ in 0..2_000_000 / len {
                    connection.send(message.clone()).unwrap();
                    let len = connection.output_len();
                    if len > 20 * KIB {
                        connection.output().advance(len - 19 * KIB);
                    }
                }
            });
            assert!(
                peak <= 128 * KIB,
                "{role:?}, messages of {len}: {peak} bytes"
            );
        }
    }
}

fn is_flood(row: &Row) -> bool {
    row.expected.starts_with("bounded")
}

/// Passes all of `input` in pieces, and keeps no event.
fn receive_and_drop(connection: &mut Connection, input: &mut [u8], step: usize) {
    for mut piece in input.chunks_mut(step) {
        // A fault is the end of some rows.
        while let Ok(Some(_)) = connection.receive(&mut piece) {}
    }
}

/// What comes of `input`; the thread keeps nothing of it.
fn only_message(role: Role, input: &mut [u8], step: usize) -> Message {
    let message = receive_message(role, input, step);
    release_kept();
    message
}

fn receive_message(role: Role, input: &mut [u8], step: usize) -> Message {
    let mut connection = Connection::new(role, Agreed::default(), Config::default());
    for mut piece in input.chunks_mut(step) {
        match connection.receive(&mut piece) {
            Ok(Some(Event::Text(text))) => return text.into(),
            Ok(Some(Event::Binary(payload))) => return payload.into(),
            other => assert!(matches!(other, Ok(None))),
        }
    }
    panic!("no message");
}

/// What `Bytes` needs to share a buffer.
const SHARED: usize = 64;
