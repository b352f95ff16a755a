//! One message to all members of a room, whose outboxes are then emptied in memory.
//!
//! `queue` is what the publisher pays, and taking the message out; `deliver` is with the frame put
//! into the output of each member's connection.

mod common;

use std::hint::black_box;
use std::task::{Context, Waker};

use bytes::Buf;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader, Outgoing};
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
    }
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
            let Outgoing::Prepared(message) = outgoing else {
                panic!("nobody sent {outgoing:?}");
            };
            self.connection.send_prepared(&message).expect("it is open");
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
