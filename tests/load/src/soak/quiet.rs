//! Connections that say nothing, come and go, or never finish their handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use wsroom::CloseCode;

use crate::chat::{gone, wait_for};
use crate::faults::left_in_order;
use crate::latency::Latency;
use crate::server::Server;
use crate::table::Table;
use crate::wire;

/// Members that only answer Pings; in the end the server leaves.
pub async fn idle(connections: usize, table: &mut Table) {
    let server = Server::start(&[]);
    let before = server.trimmed().await;
    let mut crowd = JoinSet::new();
    let connecting = Arc::new(Semaphore::new(128));
    let going_away = Arc::new(AtomicUsize::new(0));
    let lost = Arc::new(AtomicUsize::new(0));
    for i in 0..connections {
        let (port, connecting) = (server.port, Arc::clone(&connecting));
        let (going_away, lost) = (Arc::clone(&going_away), Arc::clone(&lost));
        crowd.spawn(async move {
            let place = connecting.acquire_owned().await.expect("it is not closed");
            let Ok(mut socket) = wire::open(port, &format!("/room/{}", i / 30)).await else {
                lost.fetch_add(1, Ordering::Relaxed);
                return;
            };
            drop(place);
            let ended = socket.recv().await;
            let told = socket.close_info().map(|info| info.code());
            let was_told = matches!(ended, Ok(None)) && told == Some(CloseCode::GOING_AWAY);
            let count = if was_told { &going_away } else { &lost };
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    wait_for(|| async {
        server.stats().await.opened + lost.load(Ordering::Relaxed) >= connections
    })
    .await;
    sleep(Duration::from_secs(3)).await;
    let cpu = server.cpu();
    // Two Pings each.
    let time = Duration::from_secs(42);
    sleep(time).await;
    let busy = (server.cpu() - cpu).as_secs_f64() / time.as_secs_f64();
    let during = server.trimmed().await;
    let each = |during: usize, before| (during - before) as f64 / connections as f64 / 1000.0;
    table.exactly("connections lost", lost.load(Ordering::Relaxed), 0);
    table.at_most("heap of each", "kB", each(during.held, before.held), 6.0);
    let resident = each(during.resident, before.resident);
    table.at_most("resident memory for each", "kB", resident, 6.0);
    table.at_most("of a core, with Pings every 20 s", "%", 100.0 * busy, 3.0);
    let left = server.leave(Duration::from_secs(30)).await;
    left_in_order(left, table);
    while let Some(member) = crowd.join_next().await {
        member.expect("it does not panic");
    }
    let told = going_away.load(Ordering::Relaxed);
    table.exactly("members told 1001", told, connections);
}

/// Connect, say something, hear it, close: as often as it goes.
pub async fn churn(table: &mut Table) {
    let server = Server::start(&[]);
    let before = server.trimmed().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut crowd = JoinSet::new();
    for _ in 0..64 {
        let (port, stop) = (server.port, Arc::clone(&stop));
        crowd.spawn(async move {
            let (mut done, mut failed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match come_and_go(port).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        if failed == 0 {
                            eprintln!("  churn: {error}");
                        }
                        failed += 1;
                    }
                }
            }
            (done, failed)
        });
    }
    sleep(Duration::from_secs(10)).await;
    let warm = server.trimmed().await;
    let (cpu, since) = (server.cpu(), Instant::now());
    sleep(Duration::from_secs(30)).await;
    let late = server.trimmed().await;
    let connections = (late.opened - warm.opened) as f64;
    let per_second = connections / since.elapsed().as_secs_f64();
    let each = (server.cpu() - cpu).as_micros() as f64 / connections;
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut failed) = (0, 0);
    while let Some(counts) = crowd.join_next().await {
        let counts = counts.expect("it does not panic");
        done += counts.0;
        failed += counts.1;
    }
    let after = server.settled(before, Duration::from_secs(10)).await;
    table.at_least("connections, each with a message", "/s", per_second, 2000.0);
    table.note("server's time for each", format!("{each:.0} µs"));
    table.note("connections in all", done);
    table.exactly("errors", failed, 0);
    let growth = late.resident as f64 - warm.resident as f64;
    let bound = 0.02 * warm.resident as f64 + f64::from(1 << 20);
    let kib = 1024.0;
    table.at_most(
        "resident after 40 s more than after 10 s",
        "KiB",
        growth / kib,
        bound / kib,
    );
    gone(before, after, table);
}

async fn come_and_go(port: u16) -> Result<(), wsroom::Error> {
    let mut socket = wire::open(port, "/echo").await?;
    socket.send("hello").await?;
    let heard = socket.recv().await?;
    assert_eq!(heard.expect("it is open").as_bytes(), b"hello");
    let info = socket.close(CloseCode::NORMAL).await?;
    assert!(info.is_clean(), "{info}");
    Ok(())
}

/// Heads that come one byte a second, and others that come as they should meanwhile.
pub async fn slowloris(connections: usize, table: &mut Table) {
    // The cap is what such peers would use up; memory for so many heads is there.
    let server = Server::start(&["handshakes=16384"]);
    let before = server.trimmed().await;
    let mut slow = JoinSet::new();
    for _ in 0..connections {
        slow.spawn(trickle(server.port));
        if slow.len().is_multiple_of(100) {
            sleep(Duration::from_millis(20)).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    let during = server.stats().await;
    let latency = Arc::new(Latency::new());
    let failed = Arc::new(AtomicUsize::new(0));
    let mut others = JoinSet::new();
    let mut pace = interval(Duration::from_millis(10));
    for _ in 0..600 {
        pace.tick().await;
        let (latency, failed) = (Arc::clone(&latency), Arc::clone(&failed));
        let port = server.port;
        others.spawn(async move {
            let began = Instant::now();
            match wire::open(port, "/echo").await {
                Ok(_) => latency.add(began.elapsed()),
                Err(_) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while others.join_next().await.is_some() {}
    let (mut least, mut most) = (f64::INFINITY, 0_f64);
    while let Some(took) = slow.join_next().await {
        let took = took.expect("it does not panic");
        (least, most) = (least.min(took), most.max(took));
    }
    let after = server.settled(before, Duration::from_secs(10)).await;
    table.note("connections that trickle", connections);
    table.at_least("the first was closed after", "s", least, 9.0);
    table.at_most("the last was closed after", "s", most, 11.0);
    table.note("handshakes meanwhile", latency.summary());
    table.exactly("of these failed", failed.load(Ordering::Relaxed), 0);
    table.at_most("their p99", "ms", latency.p99(), 100.0);
    let each = (during.held - before.held) as f64 / connections as f64 / 1000.0;
    table.at_most("heap of each that trickles", "kB", each, 6.0);
    gone(before, after, table);
}

/// How many seconds it takes the server to end it.
async fn trickle(port: u16) -> f64 {
    let Ok(stream) = wire::connect(port, None).await else {
        return 0.0;
    };
    let began = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let head = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";
    let write = async {
        for byte in head {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    let mut answer = [0; 12];
    let read = async { reader.read_exact(&mut answer).await.is_ok() };
    let answered = tokio::select! {
        () = write => false,
        answered = timeout(Duration::from_secs(30), read) => answered == Ok(true),
    };
    // §4: 408 says that it took too long.
    match answered && &answer == b"HTTP/1.1 408" {
        true => began.elapsed().as_secs_f64(),
        false => f64::INFINITY,
    }
}
