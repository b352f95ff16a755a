//! A stream that is legal but for one fault, with and without compression: the messages before the
//! fault come out, then the fault, and the answers say so, however the bytes are cut.
#![no_main]

#[path = "../../tests/common/events.rs"]
mod events;
#[path = "../../tests/common/frames.rs"]
mod frames;
#[path = "../../tests/common/output.rs"]
mod output;
#[path = "../../tests/common/reference.rs"]
mod reference;
#[path = "../../tests/common/streams.rs"]
mod streams;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use streams::Plan;
use wsroom::deflate::DeflateParams;
use wsroom::protocol::Delivery;
use wsroom::{Agreed, Role};
use wsroom_fuzz::{Cuts, connection_with};

fuzz_target!(|input: (u8, Cuts, &[u8])| {
    let (flags, cuts, choices) = input;
    let plan = Plan {
        role: [Role::Client, Role::Server][usize::from(flags & 1)],
        small_limits: flags & 2 != 0,
        takes_over: (flags & 4 != 0).then_some(flags & 8 != 0),
        faults: [0, 5, 10, 20][usize::from(flags >> 4 & 3)],
    };
    let agreed = plan.takes_over.map_or_else(Agreed::default, |takes_over| {
        Agreed::default().with_deflate(DeflateParams {
            server_no_context_takeover: !takes_over,
            client_no_context_takeover: !takes_over,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        })
    });
    let mut choices = Unstructured::new(choices);
    let stream = plan.stream(&mut |below| choices.int_in_range(0..=below - 1).unwrap_or_default());
    for pieces in [vec![stream.bytes.clone()], cuts.cut(&stream.bytes)] {
        let mut connection = connection_with(plan.role, agreed.clone(), plan.config());
        connection
            .set_delivery([Delivery::Messages, Delivery::Fragments][usize::from(flags >> 6 & 1)]);
        stream.check(&mut connection, pieces.iter().map(Vec::as_slice));
    }
});
