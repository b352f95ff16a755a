//! What a message costs by its size, in one frame, in fragments and in single bytes: there is no
//! quadratic term.

use std::time::Instant;

use wsroom::{Agreed, Config, Connection, Event, Role};

use crate::table::Table;
use crate::wire::frame;

/// So large that the C library asks the system for all of the memory each time: between smaller
/// sizes there are steps, where it keeps some.
const LARGE: [usize; 3] = [32 << 20, 64 << 20, 128 << 20];

/// Where the work for each byte outweighs the memory.
const SMALL: [usize; 3] = [4 << 20, 8 << 20, 16 << 20];

/// How often each is measured. The shortest time is the one that nothing else ran in.
const TIMES: usize = 5;

/// Its name, how it is made of a size, the sizes, and how many bytes are received at a time.
type Form = (&'static str, fn(usize) -> Vec<u8>, [usize; 3], usize);

pub fn run(table: &mut Table) {
    let mut per_byte = [0.0; 3];
    let forms: [Form; 3] = [
        ("one frame", whole, LARGE, 64 << 10),
        ("fragments of 1 KiB", fragments, LARGE, 64 << 10),
        ("one frame, byte by byte", whole, SMALL, 1),
    ];
    for (at, (form, make, sizes, step)) in forms.into_iter().enumerate() {
        let mut times = [f64::INFINITY; 3];
        // By turns, so that a busy moment falls on all.
        for _ in 0..TIMES {
            for (time, size) in times.iter_mut().zip(sizes) {
                *time = time.min(seconds(&make(size), size, step));
            }
        }
        per_byte[at] = 1e9 * times[2] / sizes[2] as f64;
        table.note(
            &format!("{form}: a byte"),
            format!("{:.2} ns", per_byte[at]),
        );
        // Of two doublings, what one takes; of a quadratic term it would be four times.
        let doubled = (times[2] / times[0]).sqrt();
        table.at_most(&format!("{form}: twice the size"), "times", doubled, 2.6);
    }
    table.at_most(
        "fragments beside one frame",
        "times",
        per_byte[1] / per_byte[0],
        3.0,
    );
}

fn whole(size: usize) -> Vec<u8> {
    frame(0x82, &vec![7; size])
}

fn fragments(size: usize) -> Vec<u8> {
    let count = size / 1024;
    let mut wire = frame(0x02, &[7; 1024]);
    for _ in 2..count {
        wire.extend(frame(0x00, &[7; 1024]));
    }
    wire.extend(frame(0x80, &[7; 1024]));
    wire
}

fn seconds(wire: &[u8], size: usize, step: usize) -> f64 {
    let config = Config::default()
        .max_message_size(size)
        .max_fragments(1 << 20);
    let mut wire = wire.to_vec();
    let mut connection = Connection::new(Role::Server, Agreed::default(), config);
    let began = Instant::now();
    let mut received = 0;
    for mut piece in wire.chunks_mut(step) {
        while let Ok(Some(event)) = connection.receive(&mut piece) {
            if let Event::Binary(payload) = event {
                received += payload.len();
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    assert_eq!(received, size);
    took
}
