//! From messages to bytes, which are then dropped as if they had been written.

mod common;

use std::hint::black_box;

use bytes::{Buf, Bytes};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wsroom::{Connection, Message, PreparedMessage, Role};

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("send");
    for size in common::SIZES {
        let count = common::batch(size);
        group.throughput(common::throughput(count, size));
        let payload: Bytes = common::binary(size).into_bytes();
        let text: Message = common::ascii(size);
        let mut server = common::connection(Role::Server);
        let mut client = common::connection(Role::Client);
        let prepared = PreparedMessage::new(payload.clone());

        group.bench_function(BenchmarkId::new("server_binary", size), |b| {
            b.iter(|| batch(&mut server, count, |server| server.send(payload.clone())));
        });
        group.bench_function(BenchmarkId::new("server_text", size), |b| {
            b.iter(|| batch(&mut server, count, |server| server.send(text.clone())));
        });
        group.bench_function(BenchmarkId::new("server_prepared", size), |b| {
            b.iter(|| batch(&mut server, count, |server| server.send_prepared(&prepared)));
        });
        group.bench_function(BenchmarkId::new("client_binary", size), |b| {
            b.iter(|| batch(&mut client, count, |client| client.send(payload.clone())));
        });
        group.bench_function(BenchmarkId::new("prepare", size), |b| {
            b.iter(|| {
                for _ in 0..count {
                    black_box(PreparedMessage::new(black_box(payload.clone())));
                }
            });
        });
        group.bench_function(BenchmarkId::new("control_copy", size), |b| {
            let mut buffer = Vec::new();
            b.iter(|| {
                buffer.clear();
                for _ in 0..count {
                    buffer.extend_from_slice(black_box(&payload));
                }
                black_box(&buffer).len()
            });
        });
    }
}

/// Sends `count` messages, then writes them all.
fn batch<E: std::fmt::Debug>(
    connection: &mut Connection,
    count: usize,
    send: impl Fn(&mut Connection) -> Result<(), E>,
) {
    for _ in 0..count {
        send(black_box(connection)).expect("it is open");
    }
    let output = connection.output();
    while output.has_remaining() {
        let len = black_box(output.chunk()).len();
        output.advance(len);
    }
}

criterion_group!(benches, send);
criterion_main!(benches);
