//! Members that stop reading: what they cost, and that they are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use wsroom::Message;

use crate::chat::wait_for;
use crate::latency::Latency;
use crate::server::Server;
use crate::table::Table;
use crate::wire::{Client, open, open_raw};

/// What a member holds that reads nothing: its outbox, the output, and the mark; and what the
/// message takes that is under way.
const OUTBOX: usize = 1 << 20;

/// One member stops reading while the room gets 64 MiB.
pub async fn one(table: &mut Table) {
    const HEALTHY: usize = 8;
    const MESSAGES: usize = 4096;
    const LEN: usize = 16 << 10;
    // Room for several segments of loopback: with less, each message may wait for an ACK that the
    // receiving system delays by 40 ms.
    let server = Server::start(&["send_buffer=524288"]);
    let before = server.trimmed().await;
    let stalled = open_raw(server.port, "/room/one", "", Some(4096)).await;
    let mut crowd = JoinSet::new();
    // How far the publisher may be ahead of each: what is between them waits in its outbox.
    let mut windows = Vec::new();
    for _ in 0..HEALTHY {
        let window = Arc::new(Semaphore::new(16));
        windows.push(Arc::clone(&window));
        let mut socket = open(server.port, "/room/one").await.expect("it listens");
        crowd.spawn(async move {
            let mut heard = 0;
            while heard < MESSAGES {
                match socket.recv().await {
                    Ok(Some(message)) if message.len() == LEN => heard += 1,
                    _ => break,
                }
                window.add_permits(1);
            }
            window.close();
            heard
        });
    }
    wait_for(|| async { server.stats().await.opened > HEALTHY }).await;
    let began = Instant::now();
    let mut publisher = open(server.port, "/room/one").await.expect("it listens");
    let mut most = before.held;
    let mut evicted_at = None;
    for sent in 0..MESSAGES {
        for window in &windows {
            // A member that has ended is missed below.
            if let Ok(permit) = window.acquire().await {
                permit.forget();
            }
        }
        let message = Message::from(vec![7; LEN]);
        if publisher.send(message).await.is_err() || publisher.recv().await.is_err() {
            break;
        }
        if sent % 16 == 0 {
            let now = server.stats().await;
            most = most.max(now.held);
            if now.evicted > 0 && evicted_at.is_none() {
                evicted_at = Some(sent * LEN);
            }
        }
    }
    let mut complete = 0;
    while let Some(heard) = crowd.join_next().await {
        complete += usize::from(heard.expect("it does not panic") == MESSAGES);
    }
    let evicted = server.stats().await.evicted;
    drop(stalled);
    table.note("whole", format!("{} ms", began.elapsed().as_millis()));
    table.exactly("members with every message", complete, HEALTHY);
    table.exactly("members evicted", evicted, 1);
    let at = evicted_at.unwrap_or(usize::MAX) as f64 / f64::from(1 << 20);
    // The buffers of the operating system on both ends come on top of the outbox.
    table.at_most("sent to it when it was evicted", "MiB", at, 4.0);
    let held = most.saturating_sub(before.held) as f64 / f64::from(1 << 20);
    // What is under way to the healthy ones is shared, and kept by the pools of two threads.
    let bound = (OUTBOX as f64 + 16.0 * LEN as f64) / f64::from(1 << 20) + 9.0;
    table.at_most("heap at most above the base line", "MiB", held, bound);
}

/// A large room of which a twentieth stops reading.
pub async fn room(members: usize, table: &mut Table) {
    const LEN: usize = 2 << 10;
    const OUTBOX: usize = 32 << 10;
    let server = Server::start(&["send_buffer=16384", &format!("outbox={OUTBOX}")]);
    let before = server.trimmed().await;
    let latencies = Arc::new([Latency::new(), Latency::new()]);
    let part = Arc::new(AtomicUsize::new(0));
    let cut = Arc::new(AtomicUsize::new(0));
    let stalled = members / 20;
    let healthy = members - stalled;
    let origin = Instant::now();
    let mut crowd = JoinSet::new();
    let connecting = Arc::new(Semaphore::new(128));
    for _ in 0..healthy {
        let (latencies, cut, port) = (Arc::clone(&latencies), Arc::clone(&cut), server.port);
        let connecting = Arc::clone(&connecting);
        crowd.spawn(async move {
            let place = connecting.acquire_owned().await.expect("it is not closed");
            let socket = open(port, "/room/large").await;
            drop(place);
            if let Ok(mut socket) = socket {
                listen(&mut socket, origin, &latencies[..]).await;
            }
            cut.fetch_add(1, Ordering::Relaxed);
        });
    }
    wait_for(|| async { server.stats().await.opened >= healthy }).await;
    let mut publisher = open(server.port, "/room/large").await.expect("it listens");
    publish(&mut publisher, origin, &part, LEN, 20).await;
    latencies[0].clear();
    publish(&mut publisher, origin, &part, LEN, 100).await;

    part.store(1, Ordering::Relaxed);
    let during = server.stats().await;
    let mut bad: Vec<TcpStream> = Vec::new();
    for _ in 0..stalled {
        bad.extend(open_raw(server.port, "/room/large", "", Some(4096)).await);
    }
    let began = server.stats().await;
    publish(&mut publisher, origin, &part, LEN, 40).await;
    let held = server.stats().await.held.saturating_sub(during.held);
    publish(&mut publisher, origin, &part, LEN, 110).await;
    let evicted = server.stats().await.evicted - began.evicted;
    table.note("members: healthy, stalled", format!("{healthy}, {stalled}"));
    table.note("latency without stalled members", latencies[0].summary());
    table.note("latency beside stalled members", latencies[1].summary());
    let [calm, beside] = [&latencies[0], &latencies[1]].map(Latency::p99);
    let bound = (1.2 * calm).max(calm + 3.0);
    table.at_most("p99 beside stalled members", "ms", beside, bound);
    table.exactly("stalled members evicted", evicted, stalled);
    table.exactly("healthy members cut", cut.load(Ordering::Relaxed), 0);
    // The outbox, the mark, and a message; and what the connection itself takes.
    let bound = (stalled * (OUTBOX + (64 << 10) + LEN + 6000)) as f64 / f64::from(1 << 20) + 9.0;
    let held = held as f64 / f64::from(1 << 20);
    table.at_most("heap for the stalled", "MiB", held, bound);
    crowd.abort_all();
    while crowd.join_next().await.is_some() {}
    drop((publisher, bad));
    let after = server.settled(before, Duration::from_secs(20)).await;
    crate::chat::gone(before, after, table);
}

/// Says something ten times a second, and hears it.
async fn publish(
    publisher: &mut Client,
    origin: Instant,
    part: &AtomicUsize,
    len: usize,
    count: usize,
) {
    let mut pace = interval(Duration::from_millis(100));
    for _ in 0..count {
        pace.tick().await;
        let mut message = vec![7; len];
        let now = origin.elapsed().as_nanos() as u64;
        message[..8].copy_from_slice(&now.to_le_bytes());
        message[8] = part.load(Ordering::Relaxed) as u8;
        let sent = publisher.send(message).await;
        assert!(sent.is_ok(), "the publisher is healthy: {sent:?}");
        let heard = publisher.recv().await;
        assert!(matches!(heard, Ok(Some(_))), "the publisher is healthy");
    }
    sleep(Duration::from_millis(100)).await;
}

/// Until the connection ends.
async fn listen(socket: &mut Client, origin: Instant, latencies: &[Latency]) {
    while let Ok(Some(message)) = socket.recv().await {
        let Some((sent, [part, ..])) = message.as_bytes().split_first_chunk() else {
            return;
        };
        let now = origin.elapsed().as_nanos() as u64;
        let latency = now.saturating_sub(u64::from_le_bytes(*sent));
        latencies[usize::from(*part)].add(Duration::from_nanos(latency));
    }
}
