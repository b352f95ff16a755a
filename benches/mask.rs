//! Masking in place, beside a copy of the same bytes.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wsroom::frame::MaskKey;

fn mask(c: &mut Criterion) {
    let key = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);
    let mut group = c.benchmark_group("mask");
    for size in common::SIZES {
        let mut payload = vec![0x55; size + 1];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("aligned", size), |b| {
            b.iter(|| key.apply(black_box(&mut payload[..size])));
        });
        group.bench_function(BenchmarkId::new("unaligned", size), |b| {
            b.iter(|| key.apply(black_box(&mut payload[1..])));
        });
        let source = payload.clone();
        group.bench_function(BenchmarkId::new("control_copy", size), |b| {
            b.iter(|| black_box(&mut payload[..size]).copy_from_slice(black_box(&source[..size])));
        });
    }
}

criterion_group!(benches, mask);
criterion_main!(benches);
