//! What a room costs: a message to its members, with outboxes idle and busy, a join and a leave.
//!
//! `idle` members wait for a message, so that each is woken; `busy` ones have not emptied their
//! outbox yet. Emptying them is not measured.

use std::hint::black_box;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader};
use wsroom::{Hub, Member};

/// Messages between two emptyings of `busy` outboxes.
const DEPTH: u64 = 64;

fn broadcast(c: &mut Criterion) {
    let text = "x".repeat(128);
    for (name, depth) in [("broadcast idle", 1), ("broadcast busy", DEPTH)] {
        let mut group = c.benchmark_group(name);
        for members in [1, 100, 1000] {
            let hub = Hub::new();
            let mut room: Vec<_> = (0..members).map(|_| attach(&hub)).collect();
            group.throughput(Throughput::Elements(members));
            group.bench_function(BenchmarkId::from_parameter(members), |b| {
                b.iter_custom(|rounds| {
                    let mut took = Duration::ZERO;
                    let mut left = rounds;
                    while left > 0 {
                        empty(&mut room);
                        let batch = left.min(depth);
                        let start = Instant::now();
                        for _ in 0..batch {
                            black_box(hub.to("room").send(text.as_str()));
                        }
                        took += start.elapsed();
                        left -= batch;
                    }
                    took
                });
            });
        }
        group.finish();
    }
}

fn join_and_leave(c: &mut Criterion) {
    let hub = Hub::new();
    let _room: Vec<_> = (0..1000).map(|_| attach(&hub)).collect();
    let (outbox, _reader) = outbox::channel(OutboxLimits::default());
    let member = hub.attach(outbox);
    for (name, room) in [("a room of 1000", "room"), ("a room of its own", "own")] {
        c.bench_function(&format!("join and leave {name}"), |b| {
            b.iter(|| {
                member.join(room).expect("no limit is near");
                member.leave(room)
            });
        });
    }
}

fn attach(hub: &Hub) -> (Member, OutboxReader) {
    let (outbox, reader) = outbox::channel(OutboxLimits::default());
    let member = hub.attach(outbox);
    member.join("room").expect("no limit is near");
    (member, reader)
}

/// Takes everything out, and waits.
fn empty(room: &mut [(Member, OutboxReader)]) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut batch = Batch::default();
    for (_, reader) in room {
        while reader.poll_take(&mut cx, usize::MAX, &mut batch).is_ready() {}
        batch.by_ref().for_each(drop);
    }
}

criterion_group!(benches, broadcast, join_and_leave);
criterion_main!(benches);
