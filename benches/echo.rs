//! A client, an echo server and the bytes between them, in memory: one round trip of one message,
//! and of 64 at a time.

mod common;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wsroom::{Connection, Event, Message, Role};

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    for size in [8, 125, 1 << 10, 16 << 10] {
        for count in [1, 64] {
            let message = common::binary(size);
            let mut client = common::connection(Role::Client);
            let mut server = common::connection(Role::Server);
            let mut wire = Vec::new();
            group.throughput(common::throughput(count, size));
            group.bench_function(BenchmarkId::new(format!("{count}_at_a_time"), size), |b| {
                b.iter(|| {
                    for _ in 0..count {
                        client.send(message.clone()).expect("it is open");
                    }
                    transfer(&mut client, &mut server, &mut wire, |server, message| {
                        server.send(message).expect("it is open");
                    });
                    let mut echoed = 0;
                    transfer(&mut server, &mut client, &mut wire, |_, message| {
                        echoed += message.len();
                    });
                    assert_eq!(echoed, count * size);
                });
            });
        }
    }
}

/// Writes all of `from`, has `to` read it, and hands it each message.
fn transfer(
    from: &mut Connection,
    to: &mut Connection,
    wire: &mut Vec<u8>,
    mut handle: impl FnMut(&mut Connection, Message),
) {
    wire.clear();
    common::drain_into(from, wire);
    let mut input = &mut wire[..];
    while let Some(event) = to.receive(&mut input).expect("the frames are legal") {
        match event {
            Event::Binary(payload) => handle(to, payload.into()),
            event => panic!("nobody sent {event:?}"),
        }
    }
}

criterion_group!(benches, echo);
criterion_main!(benches);
