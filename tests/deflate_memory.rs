//! RFC 7692 §7.1.2, §10.4: what compression holds, measured by an allocator that counts.
#![cfg(feature = "deflate")]

mod common {
    pub(crate) mod counting;
    pub(crate) mod deflate;
    pub(crate) mod frames;
    pub(crate) mod output;
}

use common::counting::measured;
use common::deflate::{connection, params};
use common::frames::frame_to;
use common::output::written;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::protocol::{Delivery, release_kept};
use wsroom::{Config, Connection, Event, PreparedMessage, ProtocolError, Role};

const KIB: usize = 1 << 10;

/// E14: one of a hundred thousand that wait for something to happen: all that it has.
#[test]
fn an_idle_connection_without_context_takeover_holds_no_state() {
    for role in ROLES {
        for window_bits in [9, 15] {
            fill_pool(window_bits);
            let (connection, _, live) = measured(|| used(role, window_bits, false));
            let all = size_of::<Connection>() + live;
            eprintln!("{role:?}, window of {window_bits} bits, no takeover: {all} bytes");
            assert!(all <= 3 * KIB);
            drop(connection);
        }
    }
}

/// E14: with context takeover: what messages may refer to, in each direction, and nothing else.
#[test]
fn a_connection_with_context_takeover_holds_the_windows_that_were_agreed_on() {
    eprintln!("bits, bytes to receive, to send, both, after one short message");
    for window_bits in 9..=15 {
        // As many as leave the thread all the states that it keeps, and no others.
        drop([(); 8].map(|()| used(Role::Server, window_bits, true)));
        let window = 1 << window_bits;
        let before = held(|_| {}, window_bits);
        let received = held(
            |it| receive_one(it, &text(40_000), Role::Server),
            window_bits,
        );
        let sent = held(
            |it| {
                it.send(text(40_000)).unwrap();
                written(it);
            },
            window_bits,
        );
        let (both, _, both_live) = measured(|| used(Role::Server, window_bits, true));
        drop(both);
        let short = held(|it| receive_one(it, &text(200), Role::Server), window_bits);
        eprintln!("{window_bits}, {received}, {sent}, {both_live}, {short}");
        assert_eq!(received - before, window);
        let history = window.min(4 * KIB);
        assert!(sent - before <= history, "{sent}");
        assert!(
            both_live - before <= window + history + KIB / 2,
            "{both_live}"
        );
        assert!(short - before <= 512, "{short}");
        assert!(before <= 256, "{before}");

        // Who only gets broadcasts has nothing to refer to.
        let prepared = PreparedMessage::new(text(1000));
        let broadcast = held(
            |it| {
                it.send_prepared(&prepared).unwrap();
                written(it);
            },
            window_bits,
        );
        assert!(broadcast <= 2 * KIB, "{broadcast}");
    }
}

/// What is kept of what was sent is for the application to say, up to the window.
#[test]
fn a_connection_holds_as_much_of_what_it_sent_as_it_is_told_to() {
    for (history, held) in [(0, 0), (100, 100), (usize::MAX, (32 << 10) - 262)] {
        let config = Config::default().compression_history(history);
        let mut connections = Vec::with_capacity(12);
        // The others have the thread keep all the states that it keeps.
        for i in 0..12 {
            let mut sender = connection(Role::Server, params(15, true), config);
            let ((), _, live) = measured(|| {
                sender.send(text(40_000)).unwrap();
                written(&mut sender);
            });
            assert!(i < 11 || live == held, "{live}");
            connections.push(sender);
        }
    }
}

/// What a server's connection holds besides itself once `use_it` has used it.
fn held(use_it: impl FnOnce(&mut Connection), window_bits: u8) -> usize {
    let (connection, _, live) = measured(|| {
        let mut connection = new(Role::Server, window_bits, true);
        use_it(&mut connection);
        connection
    });
    drop(connection);
    live
}

/// E13 (client), rows H39 to H42: a bomb costs the limit and a constant, whatever it would inflate
/// to.
#[test]
fn a_bomb_holds_no_more_than_the_limit() {
    let bomb = {
        let mut server = new(Role::Server, 15, false);
        server.send(vec![0; 64 << 20]).unwrap();
        written(&mut server)
    };
    for (delivery, limit, bound) in [
        (Delivery::Messages, 100 * KIB, 2 * 128 * KIB + 160 * KIB),
        (Delivery::Messages, 1024 * KIB, 2 * 1024 * KIB + 160 * KIB),
        (Delivery::Fragments, 32 << 20, 256 * KIB),
    ] {
        for step in [bomb.len(), 1000] {
            for takes_over in [true, false] {
                let config = Config::default().max_message_size(limit);
                let mut client = connection(Role::Client, params(15, takes_over), config);
                client.set_delivery(delivery);
                let mut bomb = bomb.clone();
                release_kept();
                let (result, peak, live) = measured(|| {
                    let result = receive_all(&mut client, &mut bomb, step);
                    release_kept();
                    result
                });
                assert_eq!(result, Err(ProtocolError::MessageTooLarge));
                assert!(peak <= bound, "{peak} bytes of {limit}");
                assert!(live <= 96 * KIB, "what remains is in the pool: {live}");
            }
        }
    }
}

/// A message of any length passes through constant memory, in both directions.
#[test]
fn a_long_message_in_fragments_holds_a_constant_amount() {
    let mut noise = vec![0; 100 * KIB];
    StdRng::seed_from_u64(1).fill(&mut noise[..]);
    let config = Config::default().max_message_size(usize::MAX);
    let mut server = connection(Role::Server, params(15, true), config);
    let mut client = connection(Role::Client, params(15, true), config);
    client.set_delivery(Delivery::Fragments);
    let mut fragment = wsroom::Fragment {
        opcode: wsroom::frame::OpCode::Binary,
        fin: false,
        payload: [noise, vec![0; 100 * KIB]].concat().into(),
    };
    let ((), peak, _) = measured(|| {
        for i in 0..50 {
            fragment.fin = i == 49;
            server.send_fragment(&fragment).unwrap();
            let mut wire = written(&mut server);
            receive_all(&mut client, &mut wire, 10_000).unwrap();
            fragment.opcode = wsroom::frame::OpCode::Continuation;
        }
    });
    assert!(peak <= 1200 * KIB, "{peak}");
}

/// Messages that end, and that are dropped half-way, leave the same few states.
#[test]
fn a_thread_keeps_a_bounded_number_of_states() {
    let half = frame_to(Role::Server, 0x42, b"\xf2\x48");
    let ((), _, live) = measured(|| {
        for window_bits in 9..=15 {
            for level in 1..=9 {
                let config = Config::default().compression_level(level);
                let new = || connection(Role::Server, params(window_bits, true), config);
                let mut connections: Vec<_> = std::iter::repeat_with(new).take(8).collect();
                for connection in &mut connections {
                    connection.send(text(500)).unwrap();
                    receive_all(connection, &mut half.clone(), 1000).unwrap();
                }
            }
        }
    });
    let bound = 4 * 380 * KIB + 4 * 88 * KIB + 128 * KIB;
    assert!(live <= bound, "{live}");
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn new(role: Role, window_bits: u8, takes_over: bool) -> Connection {
    let config = Config::default().max_message_size(64 << 20);
    connection(role, params(window_bits, takes_over), config)
}

/// A connection that has sent and received messages, and has written all.
fn used(role: Role, window_bits: u8, takes_over: bool) -> Connection {
    let mut connection = new(role, window_bits, takes_over);
    for len in [200, 40_000, 100] {
        connection.send(text(len)).unwrap();
        written(&mut connection);
        receive_one(&mut connection, &text(len), role);
    }
    connection
}

/// Has the thread keep what messages borrow, so that it is not counted as a connection's.
fn fill_pool(window_bits: u8) {
    drop([true, false].map(|_| used(Role::Server, window_bits, false)));
    drop([true, false].map(|_| used(Role::Client, window_bits, false)));
}

fn receive_one(connection: &mut Connection, text: &str, role: Role) {
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut sender = new(peer, 9, false);
    sender.send(text).unwrap();
    let mut wire = written(&mut sender);
    receive_all(connection, &mut wire, 1000).unwrap();
}

fn receive_all(
    connection: &mut Connection,
    input: &mut [u8],
    step: usize,
) -> Result<(), ProtocolError> {
    for mut piece in input.chunks_mut(step) {
        while let Some(event) = connection.receive(&mut piece)? {
            if let Event::Fragment(fragment) = event {
                assert!(fragment.payload.len() <= 64 * KIB);
            }
        }
    }
    Ok(())
}

/// Like that of an application: much of it was there before.
fn text(len: usize) -> String {
    let mut text = String::new();
    for i in 0.. {
        if text.len() >= len {
            break;
        }
        text += &format!(
            "{{\"room\":{},\"member\":{},\"said\":\"hello\"}},",
            i % 7,
            i * i
        );
    }
    text.truncate(len);
    text
}
