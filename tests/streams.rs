//! §5 to §8: streams of frames that are legal but for one fault, made at random: the messages before
//! the fault come out, then the fault, and the answers say so, however the bytes are cut.

mod common {
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod reference;
    pub(crate) mod streams;
}

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use common::frames::KEY;
use common::streams::{Plan, Stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::frame::MaskKey;
use wsroom::protocol::Delivery;
use wsroom::{Agreed, Connection, ProtocolError, Role};

/// How many streams there are for each side.
const SEEDS: u64 = 2000;

#[test]
fn a_stream_is_what_was_put_into_it_up_to_its_fault() {
    let faults = (0..SEEDS).flat_map(|seed| check(seed, &[None], |_| Agreed::default()));
    assert_kinds(faults, 17);
}

/// RFC 7692 §6 and §7.2.
#[cfg(feature = "deflate")]
#[test]
fn a_stream_with_compressed_messages_is_what_was_put_into_it_up_to_its_fault() {
    use wsroom::deflate::DeflateParams;

    let agreed = |takes_over| {
        Agreed::default().with_deflate(DeflateParams {
            server_no_context_takeover: takes_over != Some(true),
            client_no_context_takeover: takes_over != Some(true),
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        })
    };
    let kinds = [Some(false), Some(true)];
    assert_kinds((0..SEEDS).flat_map(|seed| check(seed, &kinds, agreed)), 18);
}

/// Each fault of a peer that there is, but for what needs compression.
fn assert_kinds(faults: impl Iterator<Item = ProtocolError>, count: usize) {
    let kinds: HashSet<_> = faults.map(|fault| std::mem::discriminant(&fault)).collect();
    assert_eq!(kinds.len(), count);
}

/// Checks a stream to each side; gives the faults in them.
fn check(
    seed: u64,
    kinds: &[Option<bool>],
    agreed: impl Fn(Option<bool>) -> Agreed,
) -> Vec<ProtocolError> {
    let check_one = |role| {
        let mut random = StdRng::seed_from_u64(seed);
        let plan = Plan {
            role,
            small_limits: random.random(),
            takes_over: kinds[random.random_range(0..kinds.len())],
            faults: [0, 5, 20][random.random_range(0..3)],
        };
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let stream = plan.stream(&mut |below| random.random_range(0..below));
            let sizes: Vec<_> = (0..5).map(|_| random.random_range(1..100)).collect();
            for delivery in [Delivery::Messages, Delivery::Fragments] {
                for pieces in cuts(&stream, &sizes) {
                    let mut connection =
                        Connection::new(role, agreed(plan.takes_over), plan.config());
                    connection.fix_mask_key(MaskKey::new(KEY));
                    connection.set_delivery(delivery);
                    stream.check(&mut connection, pieces);
                }
            }
            stream.fault
        }));
        checked.unwrap_or_else(|panic| {
            eprintln!("seed {seed}, {plan:?}");
            resume_unwind(panic);
        })
    };
    let roles = [Role::Client, Role::Server];
    roles.into_iter().filter_map(check_one).collect()
}

/// Whole, in pieces of these sizes, and a short one in single bytes.
fn cuts<'a>(stream: &'a Stream, sizes: &[usize]) -> Vec<Vec<&'a [u8]>> {
    let mut rest = &stream.bytes[..];
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle().take(200) {
        let (piece, left) = rest.split_at(rest.len().min(*size));
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    let mut cuts = vec![vec![&stream.bytes[..]], pieces];
    if stream.bytes.len() < 1000 {
        cuts.push(stream.bytes.chunks(1).collect());
    }
    cuts
}
