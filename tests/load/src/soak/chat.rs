//! Rooms in which people talk while a tenth of their members stall, vanish or send garbage.
//!
//! In each room one member publishes numbered messages, and all check that they get each of them
//! once, whole and in order.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::random_range;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use wsroom::{CloseCode, Error, Message};

use crate::bad;
use crate::latency::Latency;
use crate::server::Server;
use crate::table::Table;
use crate::wire::{self, Client};

/// How many share a room.
const ROOM: usize = 30;

/// How many of them are bad.
const BAD: usize = 3;

/// How often there is something new in a room.
const PACE: Duration = Duration::from_millis(500);

/// How many clients connect at a time.
const CONNECTING: usize = 128;

/// What the members of all rooms share.
pub struct Talk {
    pub port: u16,
    began: Instant,
    stage: watch::Receiver<Stage>,
    /// Which part of the run a message belongs to.
    part: AtomicU8,
    latencies: [Latency; 2],
    /// How many messages the publisher of each room has sent.
    published: Vec<AtomicU64>,
    received: AtomicU64,
    faults: Mutex<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Stage {
    Join,
    Talk,
    /// Nothing new is said.
    Listen,
    Leave,
}

/// How a member's connection ended.
#[derive(Debug)]
pub enum End {
    /// It left.
    Left,
    /// The server closed it with this code, or none.
    Closed(Option<CloseCode>),
    /// The transport ended or was reset.
    Lost,
    /// Something that must not be.
    Fault(String),
}

pub async fn run(connections: usize, time: Duration, table: &mut Table) {
    let server = Server::start(&["ping_interval=5", "pong_timeout=5"]);
    let before = server.trimmed().await;
    let (stage, staged) = watch::channel(Stage::Join);
    let rooms = connections / ROOM;
    let talk = Arc::new(Talk::new(server.port, rooms, staged));

    let mut members = JoinSet::new();
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    for room in 0..rooms {
        for seat in 0..ROOM - BAD {
            let (talk, connecting) = (Arc::clone(&talk), Arc::clone(&connecting));
            members.spawn(async move {
                let socket = talk.join(room, &connecting).await;
                talk.converse(socket, room, seat == 0).await
            });
        }
    }
    let healthy = members.len();
    wait_for(|| async { server.stats().await.opened >= healthy }).await;
    stage.send_replace(Stage::Talk);
    // Not measured: all is new, and the first messages wait for memory.
    sleep(Duration::from_secs(3)).await;
    talk.latencies[0].clear();
    let calm = (time / 3).min(Duration::from_secs(40));
    sleep(calm).await;

    talk.part.store(1, Ordering::Relaxed);
    let stop = Arc::new(AtomicBool::new(false));
    let mut guests = JoinSet::new();
    for room in 0..rooms {
        for kind in [bad::Kind::Stalls, bad::Kind::Resets, bad::Kind::Garbage] {
            guests.spawn(bad::behave(kind, talk.port, room, Arc::clone(&stop)));
        }
    }
    let mut most = before.resident;
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        // Not asked for: to count thousands of descriptors would keep a thread of the server busy.
        most = most.max(server.resident());
    }
    stop.store(true, Ordering::Relaxed);
    let mut tally = bad::Tally::default();
    while let Some(guest) = guests.join_next().await {
        tally += guest.expect("it does not panic");
    }

    stage.send_replace(Stage::Listen);
    sleep(PACE * 2).await;
    let published: Vec<u64> = talk.published.iter().map(load).collect();
    let expected = published.iter().sum::<u64>() * (ROOM - BAD) as u64;
    wait_for(|| async { load(&talk.received) >= expected }).await;
    stage.send_replace(Stage::Leave);
    let mut incomplete = 0;
    while let Some(end) = members.join_next().await {
        match end.expect("it does not panic") {
            End::Left => {}
            other => {
                incomplete += 1;
                talk.fault(format!("a healthy member ended: {other:?}"));
            }
        }
    }
    let after = server.settled(before, Duration::from_secs(20)).await;

    table.note(
        "connections: healthy, bad",
        format!("{healthy}, {}", rooms * BAD),
    );
    table.note("bad deeds: stalls, resets, garbage", &tally);
    let silent = published.iter().filter(|&&count| count == 0).count();
    table.note("messages published", published.iter().sum::<u64>());
    table.exactly("rooms in which nothing was said", silent, 0);
    let missing = expected.abs_diff(load(&talk.received)) as usize;
    table.exactly("messages lost or doubled by healthy members", missing, 0);
    table.exactly("healthy members cut", incomplete, 0);
    table.exactly("faults: torn, out of order, missing", talk.faults(), 0);
    table.exactly("garbage that was not answered", tally.unanswered, 0);
    table.note("latency without bad members", talk.latencies[0].summary());
    table.note("latency among bad members", talk.latencies[1].summary());
    let bound = twice(talk.latencies[0].p99());
    table.at_most(
        "p99 among bad members",
        "ms",
        talk.latencies[1].p99(),
        bound,
    );
    table.note("most resident", format!("{} MiB", most >> 20));
    gone(before, after, table);
}

/// What is left when all connections are gone.
pub fn gone(before: crate::server::Stats, after: crate::server::Stats, table: &mut Table) {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let more = |after: usize, before| mib(after.saturating_sub(before));
    // Each of two threads keeps 4 MiB of buffers, and 1.5 MiB of states for compression.
    table.at_most(
        "heap above the base line",
        "MiB",
        more(after.held, before.held),
        12.0,
    );
    let resident = more(after.resident, before.resident);
    table.at_most("resident above the base line", "MiB", resident, 16.0);
    let descriptors = after.descriptors.saturating_sub(before.descriptors);
    table.exactly("descriptors above the base line", descriptors, 0);
    let open = after.opened - after.clean - after.lost;
    table.exactly("connections that did not end", open, 0);
}

/// Twice as long, in milliseconds; or longer by two slices of the scheduler, where it is less than
/// that: server and clients share the cores. Of what was not measured it is no number.
pub fn twice(p99: f64) -> f64 {
    p99 + p99.max(6.0)
}

pub async fn wait_for<F: Future<Output = bool>>(mut done: impl FnMut() -> F) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while !done().await {
        if Instant::now() > end {
            return false;
        }
        sleep(Duration::from_millis(100)).await;
    }
    true
}

impl Talk {
    pub fn new(port: u16, rooms: usize, stage: watch::Receiver<Stage>) -> Self {
        Self {
            port,
            began: Instant::now(),
            stage,
            part: AtomicU8::new(0),
            latencies: [Latency::new(), Latency::new()],
            published: (0..rooms).map(|_| AtomicU64::new(0)).collect(),
            received: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    pub fn fault(&self, fault: String) {
        let mut faults = self.faults.lock().expect("no one panics with it");
        if faults.len() < 5 {
            eprintln!("  fault: {fault}");
        }
        faults.push(fault);
    }

    pub fn faults(&self) -> usize {
        self.faults.lock().expect("no one panics with it").len()
    }

    pub fn received(&self) -> u64 {
        load(&self.received)
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    async fn join(&self, room: usize, connecting: &Semaphore) -> Result<Client, Error> {
        let _place = connecting.acquire().await.expect("it is not closed");
        wire::open(self.port, &format!("/room/{room}")).await
    }

    /// Takes what comes, and publishes, until it is time to leave or the connection ends.
    pub async fn converse(
        &self,
        socket: Result<Client, Error>,
        room: usize,
        publishes: bool,
    ) -> End {
        let mut socket = match socket {
            Ok(socket) => socket,
            Err(Error::Io(_) | Error::ConnectionLost | Error::Handshake(_)) => return End::Lost,
            Err(error) => return End::Fault(error.to_string()),
        };
        let mut stage = self.stage.clone();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace.reset_after(PACE.mul_f64(random_range(0.0..1.0)));
        let epoch = random_range(1..u64::MAX);
        let mut said = 0;
        let mut heard = Heard::default();
        loop {
            tokio::select! {
                received = socket.recv() => match received {
                    Ok(Some(message)) => {
                        if let Err(fault) = self.check(&message, room, &mut heard) {
                            return End::Fault(fault);
                        }
                    }
                    Ok(None) => {
                        let received = socket.close_info().and_then(|info| info.received);
                        return End::Closed(received.map(|frame| frame.code));
                    }
                    Err(Error::Io(_) | Error::ConnectionLost) => return End::Lost,
                    Err(error) => return End::Fault(error.to_string()),
                },
                _ = pace.tick(), if publishes && self.stage() == Stage::Talk => {
                    let message = self.message(room, epoch, said);
                    said += 1;
                    self.published[room].fetch_add(1, Ordering::Relaxed);
                    match socket.send(message).await {
                        Ok(()) => {}
                        Err(Error::Io(_) | Error::ConnectionLost | Error::Send(_)) => {
                            // Why is for the next `recv` to say.
                        }
                        Err(error) => return End::Fault(error.to_string()),
                    }
                }
                changed = stage.changed() => {
                    if changed.is_err() || self.stage() == Stage::Leave {
                        let closing = socket.close(CloseCode::NORMAL);
                        let closed = timeout(Duration::from_secs(15), closing).await;
                        return match closed {
                            Ok(Ok(info)) if info.is_clean() => End::Left,
                            other => End::Fault(format!("close gave {other:?}")),
                        };
                    }
                    // They began to wait at the same time, and are not to speak at the same time.
                    pace.reset_after(PACE.mul_f64(random_range(0.0..1.0)));
                }
            }
        }
    }

    /// Numbered, timed and with a checksum. Most are short, and some fill several segments.
    fn message(&self, room: usize, epoch: u64, number: u64) -> Message {
        let filler = match number % 50 {
            49 => 16 << 10,
            _ => random_range(20..500),
        };
        let now = self.began.elapsed().as_nanos() as u64;
        let part = u64::from(self.part.load(Ordering::Relaxed));
        let mut body = Vec::with_capacity(HEAD + filler);
        for word in [0, NUMBERED, part, room as u64, epoch, number, now] {
            body.extend(word.to_le_bytes());
        }
        body.resize(HEAD + filler, number as u8);
        let sum = checksum(&body[8..]);
        body[..8].copy_from_slice(&sum.to_le_bytes());
        Message::from(Bytes::from(body))
    }

    fn check(&self, message: &Message, room: usize, heard: &mut Heard) -> Result<(), String> {
        let bytes = message.as_bytes();
        let words = bytes.first_chunk::<HEAD>().map(|head| {
            let words = head.as_chunks::<8>().0;
            std::array::from_fn::<u64, { HEAD / 8 }, _>(|i| u64::from_le_bytes(words[i]))
        });
        let Some([sum, kind, part, of, epoch, number, sent]) = words else {
            return Err(format!("a torn message of {} bytes", bytes.len()));
        };
        if sum != checksum(&bytes[8..]) {
            return Err(format!("a torn message of {} bytes", bytes.len()));
        }
        if of != room as u64 {
            return Err(format!("room {room} got a message of room {of}"));
        }
        if kind != NUMBERED {
            return Ok(());
        }
        let expected = match heard.epoch {
            0 => number,
            known if known == epoch => heard.next,
            _ => 0,
        };
        if number != expected {
            return Err(format!("message {number} came instead of {expected}"));
        }
        *heard = Heard {
            epoch,
            next: number + 1,
        };
        self.received.fetch_add(1, Ordering::Relaxed);
        let now = self.began.elapsed().as_nanos() as u64;
        let latency = Duration::from_nanos(now.saturating_sub(sent));
        self.latencies[part.min(1) as usize].add(latency);
        Ok(())
    }
}

/// Of the numbered messages of a room.
#[derive(Default)]
struct Heard {
    /// Of which publisher, or 0.
    epoch: u64,
    next: u64,
}

const HEAD: usize = 7 * 8;

/// What the second word of a numbered message is; of the others, which bad members send, it is 0.
const NUMBERED: u64 = 1;

/// A message that nobody counts, but everybody checks.
pub fn noise(room: usize) -> Vec<u8> {
    let mut body = vec![0; HEAD + random_range(0..300)];
    body[3 * 8..4 * 8].copy_from_slice(&(room as u64).to_le_bytes());
    let sum = checksum(&body[8..]);
    body[..8].copy_from_slice(&sum.to_le_bytes());
    body
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
