//! Two honest ends, with and without compression, called in any order and read in any pieces: no end
//! sees a fault, what is said arrives in order, an answer is as long as what it answers, and closing
//! ends both with the same codes.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wsroom_fuzz::Cuts;
use wsroom_fuzz::pair::{Call, Pair, Setup};

#[derive(Arbitrary, Debug)]
struct Input {
    setup: Setup,
    cuts: Cuts,
    calls: Vec<(bool, Call)>,
}

fuzz_target!(|input: Input| {
    let mut pair = Pair::new(&input.setup);
    for (at_server, call) in &input.calls {
        pair.call(*at_server, call);
    }
    pair.finish(input.cuts);
});
