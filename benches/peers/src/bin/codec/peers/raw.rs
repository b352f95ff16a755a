//! What the bytes cost without a protocol: controls, no peers.

use std::hint::black_box;
use std::sync::Arc;

use super::{Entry, validate};
use crate::wire::BURST;
use crate::workload::{Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    let is_plain = work.suite == "codec decode" || work.suite == "codec text";
    match work.task {
        Task::Receive if is_plain => {
            let mut jobs = vec![job("raw memcpy", work, false, false)];
            jobs.push(job("raw memcpy + xor", work, true, false));
            if work.is_text {
                jobs.push(job("raw memcpy + xor + simdutf8", work, true, true));
            }
            jobs
        }
        Task::SendAsClient => vec![job("raw memcpy + xor", work, true, false)],
        Task::SendAsServer => vec![job("raw memcpy", work, false, false)],
        Task::Receive | Task::Echo => Vec::new(),
    }
}

/// Copies up to 64 KiB of payloads at a time, as a read would, then does the rest where they lie,
/// one by one. A longer payload is copied to a place of its own.
fn job(name: &str, work: &Arc<Workload>, is_masked: bool, is_validated: bool) -> Entry {
    const KEY: u64 = 0x1234_5678_1234_5678;
    let size = work.payloads[0].len();
    let mut source: Vec<u8> = work.payloads.iter().flatten().copied().collect();
    if is_masked {
        xor(&mut source, KEY);
    }
    let mut buffer = vec![0; size.max(BURST)];
    let run = move || {
        for batch in source.chunks(buffer.len() / size * size) {
            let buffer = &mut buffer[..batch.len()];
            for (from, to) in batch.chunks(BURST).zip(buffer.chunks_mut(BURST)) {
                to.copy_from_slice(black_box(from));
                if is_masked && size > BURST {
                    xor(to, KEY);
                }
            }
            for payload in buffer.chunks_mut(size) {
                if is_masked && size <= BURST {
                    xor(payload, KEY);
                }
                if is_validated {
                    validate(payload);
                }
                black_box(payload);
            }
        }
    };
    (name.to_owned(), Box::new(run))
}

/// In place, as wide as the processor allows.
#[inline]
fn xor(bytes: &mut [u8], key: u64) {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= 64 && is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there.
        return unsafe { xor_avx2(bytes, key) };
    }
    xor_words(bytes, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(bytes: &mut [u8], key: u64) {
    xor_words(bytes, key);
}

#[inline(always)]
fn xor_words(bytes: &mut [u8], key: u64) {
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
}
