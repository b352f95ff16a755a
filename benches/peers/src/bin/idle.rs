//! What an idle connection costs the server:
//!
//! ```text
//! cargo build --release && target/release/idle [--short] [--connections N] [--contestant WORD]...
//! ```
//!
//! Opens 10,000 connections, has one message of 4 KiB echoed on each, and then looks at what the
//! server holds: bytes of its heap as its allocator counts them (Rust only), and resident memory.
//! Both are differences to what it held after the first 100 connections, so that what all share is
//! not counted. The kernel's part (sockets) is in neither.

use std::io::{Read, Write};
use std::time::Duration;

use wsroom_peers::Row;
use wsroom_peers::sockets::child::{Server, pin_self};
use wsroom_peers::sockets::client::{Kind, frame, open};
use wsroom_peers::sockets::contestants::{Contestant, IDLE, Program};

/// How many connections come before the first look.
const FIRST: usize = 100;

fn main() {
    let (mut connections, mut words) = (10_000, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
        match &*arg {
            "--short" => connections = 2_000,
            "--connections" => connections = value().parse().expect("a number"),
            "--contestant" => words.push(value()),
            _ => panic!("there is no option {arg}"),
        }
    }
    pin_self();
    raise_file_limit();
    for contestant in IDLE
        .iter()
        .filter(|it| it.is_meant(&words) && it.is_installed())
    {
        run(contestant, connections);
    }
}

/// Measures a contestant and prints its rows.
fn run(contestant: &Contestant, connections: usize) {
    let raw = contestant.program == Program::Raw;
    let counts = matches!(contestant.program, Program::Raw | Program::Rust);
    let (request, reply) = frame(Kind::Text, 4 << 10);
    let request = if raw { &reply } else { &request };
    let mut received = vec![0; reply.len()];
    let mut server = Server::start(contestant, &["--count"]);
    let look = |server: &mut Server| {
        // The last bytes were read before the server's task is waiting again.
        std::thread::sleep(Duration::from_millis(300));
        let heap = if counts { server.heap_bytes() } else { 0 };
        (heap as f64, server.resident_bytes() as f64)
    };
    let mut before = (0.0, 0.0);
    let mut streams = Vec::with_capacity(connections);
    for index in 0..FIRST + connections {
        if index == FIRST {
            before = look(&mut server);
        }
        let mut stream = open(server.address, index, raw);
        stream.write_all(request).expect("the server reads");
        stream
            .read_exact(&mut received)
            .expect("the server answers");
        assert!(received == reply, "a reply is wrong");
        streams.push(stream);
    }
    let after = look(&mut server);
    let each = |before: f64, after: f64| (after - before) / connections as f64;
    let row = |suite: &str, bytes: f64| {
        let row = Row {
            suite: suite.into(),
            workload: format!("{connections} idle connections after one echo of 4 KiB"),
            contestant: contestant.label(),
            unit: "bytes/connection".into(),
            higher_is_better: false,
            samples: vec![bytes],
        };
        row.print();
    };
    let resident = each(before.1, after.1);
    row("memory, resident", resident);
    let heap = counts.then(|| each(before.0, after.0));
    if let Some(heap) = heap {
        row("memory", heap);
    }
    eprintln!(
        "  {:<36} {} of heap, {resident:>7.0} B resident a connection",
        contestant.label(),
        heap.map_or("        ?".into(), |heap| format!("{heap:>7.0} B")),
    );
}

/// Allows this process, and so the servers, as many files as the system lets it have.
fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls only read or write the struct.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}
