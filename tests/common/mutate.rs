//! Changes bytes at random, in ways that tell parsers apart.

#![allow(dead_code, reason = "no test uses all of it")]

use rand::RngExt;
use rand::rngs::StdRng;

/// Bytes that mean something in a frame.
const OF_FRAMES: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0xc1, 0xc2, 0xe8,
    0xfe, 0xff,
];

/// Lengths at which forms and limits change.
const LENGTHS: [u64; 16] = [
    0,
    1,
    2,
    125,
    126,
    127,
    65_535,
    65_536,
    65_537,
    131_072,
    131_073,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// One to three changes of a stream of frames. `other` is one to splice with.
pub(crate) fn frames(bytes: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..=3) {
        match random.random_range(0..4) {
            0 => lengthen(&mut bytes, random),
            _ => change(&mut bytes, other, OF_FRAMES, random),
        }
    }
    bytes
}

/// One to three changes of a head. `other` is one to splice with.
pub(crate) fn head(bytes: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let telling = b"\r\n\t \0:;,=\"\\/#%@[]aZ019\x0b\x7f\x80\xe9\xff";
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..=3) {
        match random.random_range(0..4) {
            0 => move_line(&mut bytes, other, random),
            _ => change(&mut bytes, other, telling, random),
        }
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], telling: &[u8], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let end = (at + random.random_range(1..=8)).min(bytes.len());
    let byte = telling[random.random_range(0..telling.len())];
    match random.random_range(0..8) {
        0 if at < end => bytes[at] ^= 1 << random.random_range(0..8),
        1 if at < end => bytes[at] = byte,
        2 => bytes.insert(at, byte),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        5 => bytes.truncate(at),
        6 => {
            let from = random.random_range(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        _ => {
            let from = random.random_range(0..=other.len());
            let to = (from + random.random_range(0..=40)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
    }
}

/// Gives one of the frames another length, in any form, and leaves its payload.
fn lengthen(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let headers = headers(bytes);
    let Some(&(at, end)) = headers.get(random.random_range(0..headers.len().max(1))) else {
        return;
    };
    let len = LENGTHS[random.random_range(0..LENGTHS.len())];
    let mask = bytes[at] & 0x80;
    let field = match random.random_range(0..3) {
        0 => vec![mask | (len as u8 & 0x7f)],
        1 => [&[mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[mask | 127][..], &len.to_be_bytes()].concat(),
    };
    bytes.splice(at..end, field);
}

/// Where the length of each frame lies.
fn headers(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut headers = Vec::new();
    let mut at = 1;
    while let Some(second) = bytes.get(at) {
        let (size, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, usize::from(short)),
        };
        let Some(long) = bytes.get(at + 1..at + 1 + size) else {
            break;
        };
        let end = at + 1 + size;
        headers.push((at, end));
        let key = if second & 0x80 != 0 { 4 } else { 0 };
        let len = long
            .iter()
            .fold(short, |len, byte| len << 8 | usize::from(*byte));
        at = end.saturating_add(key + 1).saturating_add(len);
    }
    headers
}

/// Repeats, removes or adds a line of a head.
fn move_line(bytes: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        lines.map(<[u8]>::to_vec).collect()
    };
    let (mut ours, theirs) = (lines(bytes), lines(other));
    if ours.is_empty() || theirs.is_empty() {
        return;
    }
    let to = random.random_range(0..ours.len());
    match random.random_range(0..3) {
        0 => drop(ours.remove(to)),
        1 => {
            let from = random.random_range(0..ours.len());
            ours.insert(to, ours[from].clone());
        }
        _ => ours.insert(to, theirs[random.random_range(0..theirs.len())].clone()),
    }
    *bytes = ours.concat();
}
