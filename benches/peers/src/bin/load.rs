//! Echo over loopback TCP, everyone in turn:
//!
//! ```text
//! cargo build --release && target/release/load [--short] [--seconds S] [--repetitions N]
//!     [--workload WORD]... [--contestant WORD]...
//! ```
//!
//! Each server is a process of its own on one core, and this is on the other. A repetition starts
//! the server, opens the connections, warms up, and measures. The contestants take turns in a new
//! random order each time. Rows go to standard output, one a line: messages a second, and messages
//! a CPU second of the server. Standard error shows them for people, with the share of its core that
//! the load generator was busy: where that is near 100 % and the server's is not, the CPU seconds
//! are the figure to look at.

use std::time::Duration;

use rand::seq::SliceRandom;
use wsroom_peers::Row;
use wsroom_peers::sockets::child::{Server, pin_self};
use wsroom_peers::sockets::client::Kind;
use wsroom_peers::sockets::contestants::{Contestant, ECHO, Program};
use wsroom_peers::sockets::generator::{Generator, Measured, Traffic};
use wsroom_peers::sockets::manners;

struct Workload {
    connections: usize,
    in_flight: usize,
    size: usize,
    kind: Kind,
}

const WORKLOADS: &[Workload] = &[
    workload(1, 1, 20, Kind::Text),
    workload(100, 1, 20, Kind::Text),
    workload(500, 1, 20, Kind::Text),
    workload(16, 16, 20, Kind::Text),
    workload(16, 16, 1 << 10, Kind::Text),
    workload(16, 64, 16, Kind::Text),
    workload(16, 64, 128, Kind::Text),
    workload(16, 1, 16 << 10, Kind::Binary),
    workload(16, 1, 64 << 10, Kind::Binary),
    workload(4, 1, 1 << 20, Kind::Binary),
];

const fn workload(connections: usize, in_flight: usize, size: usize, kind: Kind) -> Workload {
    Workload {
        connections,
        in_flight,
        size,
        kind,
    }
}

impl Workload {
    fn name(&self) -> String {
        let size = match self.size {
            size @ ..1024 => format!("{size} B"),
            size @ 1024..0x10_0000 => format!("{} KiB", size >> 10),
            size => format!("{} MiB", size >> 20),
        };
        let kind = match self.kind {
            Kind::Text => "text",
            Kind::Binary => "binary",
        };
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            more => format!("{more} connections"),
        };
        format!("{connections}, {} in flight, {size} {kind}", self.in_flight)
    }
}

/// What the short form is made of: the rows that batching, size and latency decide, and in each
/// those who came first in long runs.
const SHORT_WORKLOADS: &[&str] = &[
    "100 connections",
    "16 in flight, 20 B",
    "64 in flight, 128 B",
    "64 KiB",
];
const SHORT_CONTESTANTS: &[&str] = &["tokio", "wsroom", "wsroom-session", "bun"];

fn main() {
    let mut seconds = 1.0;
    let mut repetitions = 5;
    let (mut workloads, mut names): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
        match &*arg {
            "--short" => {
                (seconds, repetitions) = (0.2, 3);
                workloads.extend(SHORT_WORKLOADS.iter().map(|&word| word.to_owned()));
                names.extend(SHORT_CONTESTANTS.iter().map(|&word| word.to_owned()));
            }
            "--seconds" => seconds = value().parse().expect("a number"),
            "--repetitions" => repetitions = value().parse().expect("a number"),
            "--workload" => workloads.push(value()),
            "--contestant" => names.push(value()),
            _ => panic!("there is no option {arg}"),
        }
    }
    let contestants: Vec<_> = ECHO.iter().filter(|it| it.is_meant(&names)).collect();
    let time = Duration::from_secs_f64(seconds);
    pin_self();
    for contestant in contestants.iter().filter(|it| it.program != Program::Raw) {
        eprintln!("checking {}", contestant.label());
        manners::check(Server::start(contestant, &[]).address);
    }
    for workload in WORKLOADS {
        let name = workload.name();
        if !workloads.is_empty() && !workloads.iter().any(|word| name.contains(word)) {
            continue;
        }
        let mut runs: Vec<_> = contestants.iter().map(|&it| (it, Vec::new())).collect();
        for _ in 0..repetitions {
            let mut order: Vec<_> = (0..runs.len()).collect();
            order.shuffle(&mut rand::rng());
            for index in order {
                let (contestant, measured) = &mut runs[index];
                measured.push(run(contestant, workload, time));
            }
        }
        eprintln!("\n{name}");
        for (contestant, measured) in &runs {
            report(&name, contestant, measured);
        }
    }
}

/// Starts a server and measures it once.
fn run(contestant: &Contestant, workload: &Workload, time: Duration) -> Measured {
    let raw = contestant.program == Program::Raw;
    let traffic = Traffic::new(workload.kind, workload.size, workload.in_flight, raw);
    let server = Server::start(contestant, &[]);
    let mut generator = Generator::connect(server.address, workload.connections, &traffic, raw);
    generator.run(time.mul_f64(0.3), time, || server.cpu_time())
}

/// Prints the rows of a contestant.
fn report(workload: &str, contestant: &Contestant, runs: &[Measured]) {
    let row = |suite: &str, unit: &str, figure: fn(&Measured) -> f64| {
        let row = Row {
            suite: suite.into(),
            workload: workload.into(),
            contestant: contestant.label(),
            unit: unit.into(),
            higher_is_better: true,
            samples: runs.iter().map(figure).collect(),
        };
        row.print();
        row.median()
    };
    let rate = row("echo", "messages/s", |run| {
        run.messages as f64 / run.elapsed.as_secs_f64()
    });
    let per_cpu = row("echo cpu", "messages/CPU s of the server", |run| {
        run.messages as f64 / run.server_cpu.as_secs_f64()
    });
    let busy = |cpu: fn(&Measured) -> Duration| {
        let sum: f64 = runs
            .iter()
            .map(|run| cpu(run).as_secs_f64() / run.elapsed.as_secs_f64())
            .sum();
        100.0 * sum / runs.len() as f64
    };
    eprintln!(
        "  {:<36} {:>11.0}/s {:>11.0}/CPU s   server busy {:>3.0} %, load generator {:>3.0} %",
        contestant.label(),
        rate,
        per_cpu,
        busy(|run| run.server_cpu),
        busy(|run| run.own_cpu),
    );
}
