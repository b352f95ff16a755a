//! Peers that send as fast as they can what costs the server the most, beside others that echo.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Buf;
use rand::random_range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use wsroom::deflate::DeflateParams;
use wsroom::{Agreed, Config, Connection, Role};

use crate::chat::{gone, twice, wait_for};
use crate::latency::Latency;
use crate::server::Server;
use crate::table::Table;
use crate::wire::{frame, open, open_raw};

/// What floods; the first is what an honest peer sends, to compare with.
const KINDS: [&str; 6] = [
    "messages",
    "pings",
    "pings_unread",
    "empty_fragments",
    "tiny_fragments",
    "bombs",
];

const DEFLATE: &str = "permessage-deflate";

/// One floods, and the others say something ten times a second.
pub async fn run(others: usize, table: &mut Table) {
    let server = Server::start(&["deflate=1"]);
    let before = server.trimmed().await;
    let latencies: Arc<[Latency; KINDS.len() + 1]> =
        Arc::new(std::array::from_fn(|_| Latency::new()));
    let part = Arc::new(AtomicU8::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let cut = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for _ in 0..others {
        let (latencies, part) = (Arc::clone(&latencies), Arc::clone(&part));
        let (stop, cut, port) = (Arc::clone(&stop), Arc::clone(&cut), server.port);
        crowd.spawn(async move {
            if echo(port, &latencies[..], &part, &stop).await.is_err() {
                cut.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    wait_for(|| async { server.stats().await.opened >= others }).await;
    sleep(Duration::from_secs(2)).await;
    latencies[0].clear();
    sleep(Duration::from_secs(6)).await;
    table.note("echoes beside nothing", latencies[0].summary());
    let mut honest = f64::NAN;
    for (at, kind) in KINDS.iter().enumerate() {
        let resident = server.trimmed().await.resident;
        let flooder = Flooder::start(kind, server.port);
        sleep(Duration::from_millis(500)).await;
        part.store(at as u8 + 1, Ordering::Relaxed);
        let (cpu, began) = (server.cpu(), Instant::now());
        let mut most = resident;
        while began.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(100)).await;
            most = most.max(server.resident());
        }
        let share = (server.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        part.store(0, Ordering::Relaxed);
        drop(flooder);
        sleep(Duration::from_millis(500)).await;
        let latency = &latencies[at + 1];
        let summary = format!("{}; server at {share:.2} cores", latency.summary());
        table.note(&format!("echoes beside {kind}"), summary);
        let p99 = latency.p99();
        if at == 0 {
            honest = p99;
        } else {
            let bound = twice(honest);
            table.at_most(&format!("p99 beside {kind}"), "ms", p99, bound);
        }
        let growth = most.saturating_sub(resident) as f64 / f64::from(1 << 20);
        table.at_most(&format!("resident more for {kind}"), "MiB", growth, 8.0);
    }
    stop.store(true, Ordering::Relaxed);
    while crowd.join_next().await.is_some() {}
    table.exactly("of the others cut", cut.load(Ordering::Relaxed), 0);
    let after = server.settled(before, Duration::from_secs(10)).await;
    gone(before, after, table);
}

async fn echo(
    port: u16,
    latencies: &[Latency],
    part: &AtomicU8,
    stop: &AtomicBool,
) -> Result<(), wsroom::Error> {
    let mut socket = open(port, "/echo").await?;
    let mut pace = interval(Duration::from_millis(100));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace.reset_after(Duration::from_millis(random_range(0..100)));
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let part = part.load(Ordering::Relaxed);
        let began = Instant::now();
        socket.send("something to say").await?;
        let heard = socket.recv().await?;
        assert!(heard.is_some(), "the server does not leave");
        latencies[usize::from(part)].add(began.elapsed());
    }
    socket.close(None).await?;
    Ok(())
}

/// A process that floods with the lowest priority, until it is dropped.
struct Flooder(Child);

impl Flooder {
    fn start(kind: &str, port: u16) -> Self {
        let program = std::env::current_exe().expect("Linux knows it");
        let process = Command::new("nice")
            .args(["-n", "19"])
            .arg(program)
            .args(["--flood", kind, &port.to_string()])
            .stdin(Stdio::null())
            .spawn();
        Self(process.expect("nice is there"))
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Floods for ever.
pub fn flood(kind: &str, port: u16) -> ! {
    let deflates = kind == "bombs";
    let block = match kind {
        "messages" => frame(0x82, &[7; 20]).repeat(2000),
        "pings" | "pings_unread" => frame(0x89, &[7; 125]).repeat(500),
        "empty_fragments" => frame(0x00, b"").repeat(10_000),
        "tiny_fragments" => frame(0x00, b"a").repeat(10_000),
        "bombs" => bomb(1_000_000),
        _ => panic!("{kind} is none of {KINDS:?}"),
    };
    loop {
        // Whoever breaks a rule is cut, and comes back.
        if let Err(error) = flood_once(kind, port, deflates, &block)
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            std::process::exit(0);
        }
    }
}

fn flood_once(kind: &str, port: u16, deflates: bool, block: &[u8]) -> std::io::Result<()> {
    let extension = if deflates { DEFLATE } else { "" };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stream = runtime.block_on(open_raw(port, "/echo", extension, None))?;
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    if kind.ends_with("fragments") {
        stream.write_all(&frame(0x02, b""))?;
    }
    if kind != "pings_unread" {
        let mut reader = stream.try_clone()?;
        thread::spawn(move || drain(&mut reader));
    }
    loop {
        stream.write_all(block)?;
    }
}

fn drain(stream: &mut TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// A compressed message of so many zeros, as a client sends it.
fn bomb(len: usize) -> Vec<u8> {
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let agreed = Agreed::default().with_deflate(params);
    let mut connection = Connection::new(Role::Client, agreed, Config::default());
    connection.send(vec![0; len]).expect("it is open");
    let output = connection.output();
    output.copy_to_bytes(output.remaining()).to_vec()
}

/// Each sends 60 MB in 58 KB, and is told that it is too much.
pub async fn bombs(connections: usize, table: &mut Table) {
    let server = Server::start(&["deflate=1"]);
    let before = server.trimmed().await;
    let bomb: Arc<[u8]> = bomb(60_000_000).into();
    let mut crowd = JoinSet::new();
    for _ in 0..connections {
        let (port, bomb) = (server.port, Arc::clone(&bomb));
        crowd.spawn(async move {
            let mut stream = open_raw(port, "/sink", DEFLATE, None).await.ok()?;
            // All are open before the first is sent.
            sleep(Duration::from_secs(2)).await;
            let _ = stream.write_all(&bomb).await;
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            let _ = timeout(Duration::from_secs(60), read).await;
            (answer.len() >= 4 && answer[0] == 0x88)
                .then(|| u16::from_be_bytes([answer[2], answer[3]]))
        });
    }
    wait_for(|| async { server.stats().await.opened >= connections }).await;
    let cpu = server.cpu();
    let mut most = before.resident;
    let mut told = 0;
    loop {
        tokio::select! {
            ended = crowd.join_next() => match ended {
                Some(ended) => told += usize::from(ended.expect("no panic") == Some(1009)),
                None => break,
            },
            () = sleep(Duration::from_millis(20)) => {}
        }
        most = most.max(server.resident());
    }
    let each = (server.cpu() - cpu).as_micros() as f64 / connections as f64 / 1000.0;
    table.note("bytes of a bomb", bomb.len());
    table.exactly("connections told 1009", told, connections);
    table.at_most("server's time for each", "ms", each, 10.0);
    let growth = (most - before.resident) as f64 / f64::from(1 << 20);
    table.at_most("resident at most above the base line", "MiB", growth, 256.0);
    let after = server.settled(before, Duration::from_secs(10)).await;
    gone(before, after, table);
}
