//! From bytes to events.
//!
//! Receiving unmasks in place, so every iteration begins with a copy of the frames; what the copy
//! costs by itself is in the rows `control_copy`.

mod common;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wsroom::frame::OpCode;
use wsroom::protocol::Fragment;
use wsroom::{Connection, Event, Message, Role};

/// Messages that lie whole in the input and are borrowed from it.
fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive");
    for size in common::SIZES {
        let count = common::batch(size);
        group.throughput(common::throughput(count, size));
        let rows = [
            ("masked_binary", Role::Client, common::binary(size)),
            ("masked_ascii", Role::Client, common::ascii(size)),
            ("masked_mixed", Role::Client, common::mixed(size)),
            ("unmasked_binary", Role::Server, common::binary(size)),
        ];
        for (name, from, message) in rows {
            let wire = common::wire(from, &message, count);
            let mut buffer = wire.clone();
            let mut receiver = common::connection(match from {
                Role::Client => Role::Server,
                Role::Server => Role::Client,
            });
            assert_eq!(receive(&mut receiver, &mut buffer), count * size);
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    buffer.copy_from_slice(black_box(&wire));
                    receive(&mut receiver, &mut buffer)
                });
            });
        }
        let wire = common::wire(Role::Client, &common::binary(size), count);
        let mut buffer = wire.clone();
        group.bench_function(BenchmarkId::new("control_copy", size), |b| {
            b.iter(|| black_box(&mut buffer).copy_from_slice(black_box(&wire)));
        });
    }
}

/// Messages that are assembled: the cost must grow with the bytes, not with bytes times pieces.
fn assembled(c: &mut Criterion) {
    let mut group = c.benchmark_group("assemble");
    for size in [16 << 10, 64 << 10, 1 << 20] {
        group.throughput(common::throughput(1, size));
        let mut receiver = common::connection(Role::Server);

        let text = common::mixed(size).into_bytes();
        let wire = fragments(&text, 64);
        let mut buffer = wire.clone();
        assert_eq!(receive(&mut receiver, &mut buffer), size);
        group.bench_function(BenchmarkId::new("text_in_fragments_of_64", size), |b| {
            b.iter(|| {
                buffer.copy_from_slice(black_box(&wire));
                receive(&mut receiver, &mut buffer)
            });
        });

        let text = Message::Binary(text).into_text().expect("it is text");
        let wire = common::wire(Role::Client, &Message::Text(text), 1);
        let mut buffer = wire.clone();
        for read in [1, 4096] {
            let name = format!("text_in_reads_of_{read}");
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    buffer.copy_from_slice(black_box(&wire));
                    let pieces = buffer.chunks_mut(read);
                    pieces
                        .map(|piece| receive(&mut receiver, piece))
                        .sum::<usize>()
                });
            });
        }
    }
}

/// A text in frames of `len` bytes each.
fn fragments(text: &Bytes, len: usize) -> Vec<u8> {
    let mut client = common::connection(Role::Client);
    let mut wire = Vec::new();
    let count = text.len().div_ceil(len);
    for (i, piece) in text.chunks(len).enumerate() {
        let fragment = Fragment {
            opcode: if i == 0 {
                OpCode::Text
            } else {
                OpCode::Continuation
            },
            fin: i + 1 == count,
            payload: text.slice_ref(piece),
        };
        client.send_fragment(&fragment).expect("it is open");
    }
    common::drain_into(&mut client, &mut wire);
    wire
}

/// Takes every message, and gives the sum of their lengths.
fn receive(receiver: &mut Connection, mut input: &mut [u8]) -> usize {
    let mut len = 0;
    while let Some(event) = receiver.receive(&mut input).expect("the frames are legal") {
        len += match black_box(event) {
            Event::Text(text) => text.len(),
            Event::Binary(payload) => payload.len(),
            event => panic!("nobody sent {event:?}"),
        };
    }
    len
}

criterion_group!(benches, whole, assembled);
criterion_main!(benches);
