//! Messages that are compressed: what it costs, and how much smaller they get.
//!
//! The messages are JSON, each a little different from the one before. How long they are when
//! compressed is printed once, before the rows.

mod common;

use std::hint::black_box;

use bytes::Buf;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::deflate::DeflateParams;
use wsroom::{Agreed, Config, Connection, Event, Message, PreparedMessage, Role};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

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

/// What the codec takes by itself, with one buffer for all messages: the other rows have frames,
/// masks, messages of their own and the window besides.
fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec_alone");
    for size in SIZES {
        let messages = messages(size);
        let mut buffer = vec![0; 2 * size + 64];
        let mut deflate = Deflate::new(6, false, 15);
        group.throughput(common::throughput(count(size), size));
        group.bench_function(BenchmarkId::new("compress_level_6_takeover", size), |b| {
            b.iter(|| {
                for message in &messages {
                    let result =
                        deflate.compress(message.as_bytes(), &mut buffer, DeflateFlush::SyncFlush);
                    black_box(result).expect("there is room");
                }
            });
        });
        let mut deflate = Deflate::new(6, false, 15);
        let payloads: Vec<_> = messages
            .iter()
            .map(|message| {
                let before = deflate.total_out();
                deflate
                    .compress(message.as_bytes(), &mut buffer, DeflateFlush::SyncFlush)
                    .expect("there is room");
                buffer[..(deflate.total_out() - before) as usize].to_vec()
            })
            .collect();
        let mut inflate = Inflate::new(false, 15);
        group.bench_function(BenchmarkId::new("inflate_takeover", size), |b| {
            b.iter(|| {
                // The first of them refers to nothing.
                inflate.reset(false);
                for payload in &payloads {
                    let result = inflate.decompress(payload, &mut buffer, InflateFlush::NoFlush);
                    black_box(result).expect("it was compressed");
                }
            });
        });
    }
}

/// One connection of many sends a message: what it keeps is loaded each time.
fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress_on_1000");
    for size in [256, 1 << 10] {
        let messages = messages(size);
        for (window_bits, history) in [(9, 4 << 10), (12, 4 << 10), (15, 4 << 10), (15, 32 << 10)] {
            let config = Config::default().compression_history(history);
            let params = DeflateParams {
                server_max_window_bits: window_bits,
                ..params(true)
            };
            let agreed = Agreed::default().with_deflate(params);
            let server = || Connection::new(Role::Server, agreed.clone(), config);
            let mut servers: Vec<_> = std::iter::repeat_with(server).take(1000).collect();
            let mut turn = 0;
            let mut send = |server: &mut Connection| {
                turn += 1;
                let message = messages[turn % messages.len()].clone();
                server.send(message).expect("it is open");
                let len = server.output_len();
                server.output().advance(len);
                len
            };
            // Until each has as much as it keeps.
            let rounds = (1 << window_bits) / size + 2;
            for _ in 0..rounds {
                for server in &mut servers {
                    send(server);
                }
            }
            let len: usize = servers.iter_mut().map(&mut send).sum();
            let name = format!("{window_bits}_bits_{history}_kept");
            eprintln!("{name}, {size}: {} bytes", len / servers.len());
            group.throughput(common::throughput(servers.len(), size));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| servers.iter_mut().map(&mut send).sum::<usize>());
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
    let agreed = Agreed::default().with_deflate(params(takes_over));
    Connection::new(role, agreed, config)
}

const fn params(takes_over: bool) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: !takes_over,
        client_no_context_takeover: !takes_over,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    }
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
    // A good source: of a weak one, the repetitions would be found.
    let mut random = StdRng::seed_from_u64(1);
    let mut next = |below: u32| random.random_range(0..below);
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

criterion_group!(benches, send, receive, codec, many, broadcast);
criterion_main!(benches);
