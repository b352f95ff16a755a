//! Streams that are legal, nearly legal, or noise.

use rand::RngExt;
use rand::rngs::StdRng;
use wsroom::Role;

use super::common::frames::frame_to;
use super::common::streams::Plan;

/// A stream to the side that the plan is for.
pub(crate) fn stream(plan: Plan, random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..10) {
        0..4 => legal(plan, random),
        4..8 => {
            let mut bytes = legal(plan, random);
            for _ in 0..random.random_range(1..4) {
                edit(&mut bytes, random);
            }
            bytes
        }
        8 => frames(plan.role, random),
        _ => noise(40, random),
    }
}

/// But for one fault, in some of them.
fn legal(plan: Plan, random: &mut StdRng) -> Vec<u8> {
    plan.stream(&mut |below| random.random_range(0..below))
        .bytes
}

/// Changes, removes, doubles or adds a few bytes.
pub(crate) fn edit(bytes: &mut Vec<u8>, random: &mut StdRng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    let end = (at + random.random_range(0..6)).min(bytes.len());
    match random.random_range(0..6) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            let piece = noise(5, random);
            bytes.splice(at..at, piece);
        }
    }
}

/// Frames with first bytes and payloads of any kind, in no order.
fn frames(role: Role, random: &mut StdRng) -> Vec<u8> {
    const FIRST: [u8; 10] = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x08];
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..8) {
        let first = match random.random_range(0..12) {
            0 => random.random(),
            _ => FIRST[random.random_range(0..FIRST.len())],
        };
        let mut payload = noise(12, random);
        match random.random_range(0..3) {
            0 => payload.iter_mut().for_each(|byte| *byte &= 0x7f),
            // A close code is more than 999.
            1 if payload.len() > 1 => payload[0] = random.random_range(3..20),
            _ => {}
        }
        bytes.extend(frame_to(role, first, &payload));
    }
    bytes
}

fn noise(longest: usize, random: &mut StdRng) -> Vec<u8> {
    let len = random.random_range(0..=longest);
    (0..len).map(|_| random.random()).collect()
}
