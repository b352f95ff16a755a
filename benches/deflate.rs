//! Messages that are compressed: what it costs, and how much smaller they get.
//!
//! The messages are JSON, each a little different from the one before. How long they are when
//! compressed is printed once, before the rows.

mod common;

use std::hint::black_box;

use bytes::Buf;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wsroom::deflate::DeflateParams;
use wsroom::{Agreed, Config, Connection, Event, Message, PreparedMessage, Role};

const SIZES: [usize; 3] = [256, 1 << 10, 16 << 10];

/// How many different messages follow one another: more than a window holds, so that none finds
/// itself in it.
const fn count(size: usize) -> usize {
    (128 << 10) / size
}

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress");
    for size in SIZES {
        let messages = messages(size);
        for takes_over in [false, true] {
            for level in [1, 3, 4, 6, 9] {
                let config = Config::default().compression_level(level);
                let mut server = connection(Role::Server, takes_over, config);
                let wire = wire(&mut server, &messages).len();
                let name = format!("level_{level}_{}", name(takes_over));
                eprintln!("{name}, {size}: {} bytes", wire / count(size));
                group.throughput(common::throughput(count(size), size));
                group.bench_function(BenchmarkId::new(name, size), |b| {
                    b.iter(|| {
                        for message in &messages {
                            server.send(message.clone()).expect("it is open");
                        }
                        let len = server.output_len();
                        server.output().advance(len);
                        len
                    });
                });
            }
        }
    }
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("inflate");
    for size in SIZES {
        let messages = messages(size);
        for takes_over in [false, true] {
            let mut server = connection(Role::Server, takes_over, Config::default());
            let mut client = connection(Role::Client, takes_over, Config::default());
            let mut buffer = wire(&mut server, &messages);
            assert_eq!(receive_all(&mut client, &mut buffer), count(size) * size);
            // What follows refers to what was before, so that it can be taken again and again.
            let wire = wire(&mut server, &messages);
            group.throughput(common::throughput(count(size), size));
            group.bench_function(BenchmarkId::new(name(takes_over), size), |b| {
                b.iter(|| {
                    buffer.clear();
                    buffer.extend_from_slice(black_box(&wire));
                    receive_all(&mut client, &mut buffer)
                });
            });
        }
    }
}

/// One message to a hundred members.
fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("prepared_to_100");
    for size in SIZES {
        let message = &messages(size)[0];
        group.throughput(common::throughput(100, size));
        for takes_over in [false, true] {
            let member = || connection(Role::Server, takes_over, Config::default());
            let mut members: Vec<_> = std::iter::repeat_with(member).take(100).collect();
            group.bench_function(BenchmarkId::new(name(takes_over), size), |b| {
                b.iter(|| {
                    let prepared = PreparedMessage::new(message.clone());
                    for member in &mut members {
                        member.send_prepared(&prepared).expect("it is open");
                        let len = member.output_len();
                        member.output().advance(len);
                    }
                });
            });
        }
    }
}

const fn name(takes_over: bool) -> &'static str {
    if takes_over {
        "takeover"
    } else {
        "no_takeover"
    }
}

fn connection(role: Role, takes_over: bool, config: Config) -> Connection {
    let params = DeflateParams {
        server_no_context_takeover: !takes_over,
        client_no_context_takeover: !takes_over,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    Connection::new(role, Agreed::default().with_deflate(params), config)
}

fn wire(server: &mut Connection, messages: &[Message]) -> Vec<u8> {
    let mut wire = Vec::new();
    for message in messages {
        server.send(message.clone()).expect("it is open");
        common::drain_into(server, &mut wire);
    }
    wire
}

fn receive_all(client: &mut Connection, mut input: &mut [u8]) -> usize {
    let mut len = 0;
    while let Some(event) = client.receive(&mut input).expect("the frames are legal") {
        let Event::Text(text) = black_box(event) else {
            panic!("nobody sent it");
        };
        len += text.len();
    }
    len
}

/// Entries of a feed, as they are sent by chats and games.
fn messages(size: usize) -> Vec<Message> {
    let mut seed = 1_u32;
    let mut next = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let words = [
        "hello", "room", "anyone", "there", "yes", "the", "match", "begins", "now", "wait", "who",
        "has", "seen", "it", "last", "night",
    ];
    let mut message = || {
        let mut text = String::with_capacity(size + 200);
        while text.len() < size {
            text += &format!(
                "{{\"id\":{},\"user\":\"user{}\",\"at\":17000{:05},\"x\":{}.{},\"text\":\"",
                next(1_000_000),
                next(500),
                next(100_000),
                next(1000),
                next(1000),
            );
            for _ in 0..3 + next(8) {
                text += words[next(16) as usize];
                text.push(' ');
            }
            text += "\"},";
        }
        text.truncate(size);
        Message::from(text)
    };
    std::iter::repeat_with(&mut message)
        .take(count(size))
        .collect()
}

criterion_group!(benches, send, receive, broadcast);
criterion_main!(benches);
