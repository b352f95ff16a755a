//! One message to all members of a room, whose outboxes are then emptied in memory.
//!
//! `queue` is what the publisher pays, and taking the message out; `deliver` is with the frame put
//! into the output of each member's connection.

mod common;

use std::hint::black_box;
use std::task::{Context, Waker};

use bytes::Buf;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader};
use wsroom::{Connection, Hub, Member, Message, PreparedMessage, Role};

fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("broadcast");
    for size in [64, 16 << 10] {
        for count in [1, 100, 1000] {
            let hub = Hub::new();
            let mut listeners: Vec<_> = (0..count).map(|_| Listener::new(&hub)).collect();
            let message: Message = common::binary(size);
            group.throughput(common::throughput(count, size));
            let id = format!("{size}_bytes_to");
            group.bench_function(BenchmarkId::new(format!("queue_{id}"), count), |b| {
                b.iter(|| {
                    publish(&hub, &message, count);
                    listeners.iter_mut().for_each(|it| it.take().for_each(drop));
                });
            });
            group.bench_function(BenchmarkId::new(format!("deliver_{id}"), count), |b| {
                b.iter(|| {
                    publish(&hub, &message, count);
                    listeners.iter_mut().for_each(Listener::deliver);
                });
            });
        }
        together(&mut group, size);
    }
}

/// 16 messages to 1000 members, one by one and together.
fn together(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let hub = Hub::new();
    let mut listeners: Vec<_> = (0..1000).map(|_| Listener::new(&hub)).collect();
    let messages: [Message; 16] = std::array::from_fn(|_| common::binary(size));
    group.throughput(common::throughput(1000 * messages.len(), size));
    group.bench_function(format!("16_of_{size}_bytes_by_send"), |b| {
        b.iter(|| {
            for message in &messages {
                publish(&hub, message, 1000);
            }
            listeners.iter_mut().for_each(Listener::deliver);
        });
    });
    group.bench_function(format!("16_of_{size}_bytes_by_send_all"), |b| {
        b.iter(|| {
            let report = hub.to("room").send_all(messages.clone());
            assert_eq!(report.queued, 1000);
            listeners.iter_mut().for_each(Listener::deliver);
        });
    });
}

fn publish(hub: &Hub, message: &Message, members: usize) {
    let report = hub.to("room").send(PreparedMessage::new(message.clone()));
    assert_eq!(report.queued, members);
}

/// A member with what its task would own.
struct Listener {
    reader: OutboxReader,
    batch: Batch,
    connection: Connection,
    _member: Member,
}

impl Listener {
    fn new(hub: &Hub) -> Self {
        let (outbox, reader) = outbox::channel(OutboxLimits::default());
        let member = hub.attach(outbox);
        member.join("room").expect("there is room");
        Self {
            reader,
            batch: Batch::default(),
            connection: common::connection(Role::Server),
            _member: member,
        }
    }

    fn take(&mut self) -> &mut Batch {
        let mut context = Context::from_waker(Waker::noop());
        let taken = self
            .reader
            .poll_take(&mut context, usize::MAX, &mut self.batch);
        assert!(taken.is_ready());
        &mut self.batch
    }

    fn deliver(&mut self) {
        self.take();
        for outgoing in &mut self.batch {
            outgoing.send(&mut self.connection).expect("it is open");
        }
        let output = self.connection.output();
        while output.has_remaining() {
            let len = black_box(output.chunk()).len();
            output.advance(len);
        }
    }
}

criterion_group!(benches, broadcast);
criterion_main!(benches);
