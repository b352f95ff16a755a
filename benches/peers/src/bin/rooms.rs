//! Rooms: one message goes to all members, one at a time and in bursts.
//!
//! ```text
//! cargo run --release --bin rooms -- [--short] [WORD]...
//! ```
//!
//! Each server runs alone on one core, and all members and the publisher run here, on another. A
//! publisher is no member; its next message, or burst, leaves when all members have the last one.
//! Every member's bytes are counted, and those of eight are compared with what was published.
//!
//! `ws-kit` has rooms but no sockets of its own: it stands on tokio-tungstenite here.

#[allow(dead_code, reason = "each program uses a part of it")]
#[path = "../crowd.rs"]
mod crowd;

use std::io::Write;
use std::time::Duration;

use crowd::{Crowd, Measured, Options, Server, Table};
use rand::seq::SliceRandom;

/// The length of a message.
const LEN: usize = 128;

/// Members, and how many messages are published in one go.
const WORKLOADS: [(usize, usize); 5] = [(100, 1), (1000, 1), (5000, 1), (100, 32), (1000, 16)];

/// The name in the rows and the command of a server.
struct Contestant {
    name: String,
    command: Vec<String>,
}

fn main() {
    let options = Options::from_args();
    let contestants = contestants();
    crowd::pin_self();
    let repetitions = if options.short { 3 } else { 7 };
    let time = Duration::from_millis(if options.short { 100 } else { 1500 });
    for (members, burst) in WORKLOADS {
        if options.short && burst == 1 && members != 1000 {
            continue;
        }
        let workload = match burst {
            1 => format!("to {members} members, {LEN} B text, one at a time"),
            _ => format!("to {members} members, {LEN} B text, {burst} in one go"),
        };
        let wanted = contestants
            .iter()
            .filter(|contestant| options.want(&workload, &contestant.name));
        let mut order: Vec<_> = wanted.collect();
        let mut table = Table::default();
        for repetition in 0..repetitions {
            // The first keeps the order, which is that of the rows.
            if repetition > 0 {
                order.shuffle(&mut rand::rng());
            }
            for contestant in &order {
                let measured = measure(contestant, members, burst, time);
                let mut add = |suite, unit, sample| {
                    table.add(suite, &workload, &contestant.name, (unit, true), sample);
                };
                add("broadcast", "deliveries/s", measured.per_second());
                let per_cpu = measured.per_server_second();
                add("broadcast cpu", "deliveries/CPU second", per_cpu);
                eprintln!(
                    "{workload}: {}: {:.0} k/s, {:.0} k per CPU second, server busy {:.0} %",
                    contestant.name,
                    measured.per_second() / 1e3,
                    per_cpu / 1e3,
                    100.0 * measured.server_share(),
                );
            }
        }
        table.print();
    }
}

fn contestants() -> Vec<Contestant> {
    let server = crowd::sibling("rooms_server");
    let tungstenite = crowd::crate_name("tokio-tungstenite");
    let sockudo = crowd::crate_name("sockudo-ws");
    let kit = crowd::crate_name("ws-kit");
    let rust = [
        ("raw", "raw tokio, a write per member".to_owned()),
        ("wsroom", crowd::crate_name("wsroom")),
        (
            "wsroom-all",
            format!("{}, send_all", crowd::crate_name("wsroom")),
        ),
        ("by-hand", "hand-made room on tokio".to_owned()),
        ("tungstenite", format!("{tungstenite}, broadcast channel")),
        (
            "tungstenite-batched",
            format!("{tungstenite}, broadcast channel, batched"),
        ),
        ("sockudo", format!("{sockudo}, pubsub")),
        ("sockudo-batched", format!("{sockudo}, pubsub, batched")),
        ("ws-kit", format!("{kit}, room")),
        ("ws-kit-batched", format!("{kit}, room, batched")),
    ];
    let rust = rust.into_iter().map(|(contestant, name)| Contestant {
        name,
        command: vec![server.clone(), contestant.to_owned(), "0".to_owned()],
    });
    let bun = crowd::js("node_modules/.bin/bun");
    let scripts = [
        ("bun", bun, "rooms_bun.mjs", ", publish", None),
        ("ws", "node".to_owned(), "rooms_ws.mjs", ", loop", None),
        (
            "ws",
            "node".to_owned(),
            "rooms_ws.mjs",
            ", loop, batched",
            Some("batched"),
        ),
    ];
    let scripts = scripts
        .into_iter()
        .filter_map(|(package, engine, script, adapter, mode)| {
            let Some(name) = crowd::package_name(package) else {
                eprintln!("{package} is left out: run `npm install` in js first");
                return None;
            };
            let mut command = vec![engine, crowd::js(script), "0".to_owned()];
            command.extend(mode.map(str::to_owned));
            Some(Contestant {
                name: name + adapter,
                command,
            })
        });
    rust.chain(scripts).collect()
}

/// Publishes for a time, to a server that is started for it.
fn measure(contestant: &Contestant, members: usize, burst: usize, time: Duration) -> Measured {
    let server = Server::start(&contestant.command);
    let (mut publisher, _) = crowd::open(server.port, "/publish", "");
    let mut crowd = Crowd::open(server.port, "/", "", members);
    let mut expected = Vec::new();
    let mut frames = Vec::new();
    let measured = Measured::rounds(&server, time, || {
        frames.clear();
        let before = expected.len();
        for _ in 0..burst {
            let text = crowd::random_text(LEN);
            crowd::client_frame(&mut frames, crowd::TEXT, text.as_bytes());
            crowd::server_frame(&mut expected, crowd::TEXT, text.as_bytes());
        }
        publisher.write_all(&frames).expect("the server reads");
        crowd.receive(expected.len() - before);
        (members * burst) as u64
    });
    for kept in crowd.kept() {
        assert!(kept == expected, "{} altered a message", contestant.name);
    }
    measured
}
