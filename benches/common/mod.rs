//! What the benches share: sizes, payloads, and frames on the wire.

#![allow(dead_code, reason = "no bench uses all of it")]

use bytes::Buf;
use criterion::Throughput;
use wsroom::frame::MaskKey;
use wsroom::{Agreed, Config, Connection, Message, Role};

/// Payloads in bytes: either side of each form of length, and of what fits a cache.
pub(crate) const SIZES: [usize; 7] = [8, 64, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20];

/// How many messages of `size` are handled at a time: as many as one large read has, 64 at most.
pub(crate) fn batch(size: usize) -> usize {
    ((1 << 20) / size).clamp(1, 64)
}

/// Messages and bytes for one iteration.
pub(crate) fn throughput(messages: usize, size: usize) -> Throughput {
    Throughput::ElementsAndBytes {
        elements: messages as u64,
        bytes: (messages * size) as u64,
    }
}

pub(crate) fn connection(role: Role) -> Connection {
    Connection::new(role, Agreed::default(), Config::default())
}

pub(crate) fn binary(size: usize) -> Message {
    (0..size).map(|i| (i * 31) as u8).collect::<Vec<_>>().into()
}

/// Text of one byte a character.
pub(crate) fn ascii(size: usize) -> Message {
    ('a'..='z').cycle().take(size).collect::<String>().into()
}

/// Text of one to four bytes a character.
pub(crate) fn mixed(size: usize) -> Message {
    let mut text = String::with_capacity(size);
    for character in "aé€😀 word".chars().cycle() {
        if text.len() + character.len_utf8() > size {
            break;
        }
        text.push(character);
    }
    text.extend(std::iter::repeat_n('.', size - text.len()));
    text.into()
}

/// The bytes of `count` frames, each with a key of its own if they are a client's.
pub(crate) fn wire(from: Role, message: &Message, count: usize) -> Vec<u8> {
    let mut sender = connection(from);
    let mut wire = Vec::new();
    for i in 0..count as u32 {
        sender.fix_mask_key(MaskKey::new(
            0x9e37_79b9_u32.wrapping_mul(i + 1).to_be_bytes(),
        ));
        sender.send(message.clone()).expect("it is open");
        drain_into(&mut sender, &mut wire);
    }
    wire
}

/// Writes all that waits, as an adapter does.
pub(crate) fn drain_into(connection: &mut Connection, wire: &mut Vec<u8>) {
    let output = connection.output();
    while output.has_remaining() {
        let chunk = output.chunk();
        let len = chunk.len();
        wire.extend_from_slice(chunk);
        output.advance(len);
    }
}
