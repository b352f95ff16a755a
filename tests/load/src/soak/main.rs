//! Loads a server on real sockets with what a network and its people do, and checks what it
//! promises: `tests/soak` builds and runs it.
//!
//!   soak [NAME...] [--minutes N] [--connections N]
//!
//! Each scenario has a server of its own. All figures are printed in one table.

mod bad;
mod chat;
mod faults;
mod floods;
mod latency;
mod linear;
mod quiet;
mod server;
mod slow;
mod table;
mod wire;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use table::Table;

/// What the run is asked for.
struct Options {
    /// How many connections the large scenarios open.
    connections: usize,
    /// How long the chat goes on among bad members.
    time: Duration,
    wanted: Vec<String>,
}

const SCENARIOS: [&str; 11] = [
    "linear",
    "chat",
    "restart",
    "idle",
    "flood",
    "churn",
    "crash",
    "slow",
    "slow_room",
    "slowloris",
    "bombs",
];

fn main() -> ExitCode {
    if let [_, flag, kind, port] = &*std::env::args().collect::<Vec<_>>()
        && flag == "--flood"
    {
        // A process of its own, which has the lowest priority.
        floods::flood(kind, port.parse().expect("a port"));
    }
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
    let mut table = Table::default();
    let began = Instant::now();
    for name in SCENARIOS {
        if options.wanted.is_empty() || options.wanted.iter().any(|wanted| wanted == name) {
            let start = Instant::now();
            eprintln!("{name} ...");
            table.begin(name);
            let limit = 2 * options.time + Duration::from_secs(180);
            let ended = runtime.block_on(async {
                let scenario = run(name, &options, &mut table);
                tokio::time::timeout(limit, scenario).await.is_ok()
            });
            if !ended {
                table.exactly("scenarios that did not end", 1, 0);
            }
            eprintln!("{name}: {} s", start.elapsed().as_secs());
        }
    }
    print!("{table}");
    println!("\n{} s", began.elapsed().as_secs());
    match table.failed() {
        0 => ExitCode::SUCCESS,
        failed => {
            println!("{failed} failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(name: &str, options: &Options, table: &mut Table) {
    let connections = options.connections;
    match name {
        "linear" => linear::run(table),
        "chat" => chat::run(connections, options.time, table).await,
        "restart" => faults::restart(connections / 3, table).await,
        "idle" => quiet::idle(connections, table).await,
        "flood" => floods::run((connections / 9).min(999), table).await,
        "churn" => quiet::churn(table).await,
        "crash" => faults::crash((connections / 4).min(2000), table).await,
        "slow" => slow::one(table).await,
        "slow_room" => slow::room((connections / 4).min(2000), table).await,
        "slowloris" => quiet::slowloris((connections / 3).min(3000), table).await,
        "bombs" => floods::bombs((connections / 9).min(1000), table).await,
        _ => unreachable!("all scenarios are here"),
    }
}

impl Options {
    fn from_args() -> Result<Self, String> {
        let mut options = Self {
            connections: 9000,
            time: Duration::from_secs(120),
            wanted: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || {
                let number = args.next().and_then(|number| number.parse::<f64>().ok());
                number.ok_or_else(|| format!("{arg} takes a number"))
            };
            match &*arg {
                "--minutes" => options.time = Duration::from_secs_f64(60.0 * number()?),
                "--connections" => options.connections = number()? as usize,
                name if SCENARIOS.contains(&name) => options.wanted.push(arg),
                _ => {
                    let names = SCENARIOS.join(", ");
                    return Err(format!(
                        "{arg} is none of {names}, --minutes N, --connections N"
                    ));
                }
            }
        }
        if options.connections < 300 {
            return Err("less than 300 connections show nothing".into());
        }
        Ok(options)
    }
}
