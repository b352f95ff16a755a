//! What ends connections: a server that is killed or leaves, and peers that are gone at any byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::{random, random_range};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wsroom::CloseCode;

use crate::chat::{End, Stage, Talk, gone, wait_for};
use crate::server::Server;
use crate::table::Table;
use crate::wire::{self, frame, open_raw, reset};

/// How many share a room.
const ROOM: usize = 30;

/// How often the server is killed.
const KILLS: usize = 3;

/// How connections ended while nobody had told the clients to leave.
#[derive(Default)]
struct Ends {
    connected: AtomicUsize,
    going_away: AtomicUsize,
    clean: AtomicUsize,
    lost: AtomicUsize,
}

/// Rooms go on talking while their server is killed and comes back, and in the end leaves.
pub async fn restart(connections: usize, table: &mut Table) {
    let mut server = Server::start(&[]);
    let port = server.port;
    let (stage, staged) = watch::channel(Stage::Talk);
    let rooms = connections / ROOM;
    let talk = Arc::new(Talk::new(port, rooms, staged));
    let ends = Arc::new(Ends::default());
    let connecting = Arc::new(Semaphore::new(128));
    let mut members = JoinSet::new();
    for member in 0..rooms * ROOM {
        let (talk, ends) = (Arc::clone(&talk), Arc::clone(&ends));
        members.spawn(stay(talk, ends, Arc::clone(&connecting), member));
    }
    let all = rooms * ROOM;
    let mut slowest = Duration::ZERO;
    let mut returned = 0;
    for kills in 0..=KILLS {
        let began = Instant::now();
        let back = || async { load(&ends.connected) >= all * (kills + 1) };
        returned += usize::from(wait_for(back).await);
        slowest = slowest.max(began.elapsed());
        let before = talk.received();
        sleep(Duration::from_secs(4)).await;
        let heard = talk.received() - before;
        // Two a second in each room, less those that were just beginning.
        let expected = (all * 4) as f64;
        table.at_least("messages heard in 4 s", "", heard as f64, expected);
        if kills < KILLS {
            server.kill();
            sleep(Duration::from_millis(200)).await;
            server = Server::start(&[&format!("port={port}")]);
        }
    }
    let lost = load(&ends.lost);
    let cut_cleanly = load(&ends.clean);
    let left = server.leave(Duration::from_secs(30)).await;
    // The clients see that their server is gone, and do not come back.
    stage.send_replace(Stage::Leave);
    while let Some(member) = members.join_next().await {
        member.expect("it does not panic");
    }
    table.exactly("times that all members were connected", returned, KILLS + 1);
    table.note("slowest return", format!("{} ms", slowest.as_millis()));
    table.note("connections that a SIGKILL ended", lost);
    table.exactly("closed by it though nobody said so", cut_cleanly, 0);
    table.exactly("faults: torn, out of order", talk.faults(), 0);
    left_in_order(left, table);
    table.exactly("members told 1001", load(&ends.going_away), all);
}

/// Comes back whenever the connection is lost.
async fn stay(talk: Arc<Talk>, ends: Arc<Ends>, connecting: Arc<Semaphore>, member: usize) {
    let room = member / ROOM;
    while talk.stage() != Stage::Leave {
        let socket = {
            let _place = connecting.acquire().await.expect("it is not closed");
            wire::open(talk.port, &format!("/room/{room}")).await
        };
        let was_open = socket.is_ok();
        ends.connected
            .fetch_add(usize::from(was_open), Ordering::Relaxed);
        match talk
            .converse(socket, room, member.is_multiple_of(ROOM))
            .await
        {
            End::Lost if was_open => ends.lost.fetch_add(1, Ordering::Relaxed),
            End::Lost => 0,
            End::Closed(Some(CloseCode::GOING_AWAY)) => {
                ends.going_away.fetch_add(1, Ordering::Relaxed);
                return;
            }
            End::Closed(_) => ends.clean.fetch_add(1, Ordering::Relaxed),
            End::Left => return,
            End::Fault(fault) => {
                talk.fault(fault);
                return;
            }
        };
        sleep(Duration::from_millis(random_range(50..300))).await;
    }
}

/// How a server left that was told to.
pub fn left_in_order(left: Option<(std::process::ExitStatus, Duration)>, table: &mut Table) {
    let took = left.map_or(f64::INFINITY, |(_, took)| took.as_secs_f64());
    table.at_most("time that the server took to leave", "s", took, 10.0);
    let code = left.and_then(|(status, _)| status.code());
    table.exactly("its exit code", code.map_or(999, |code| code as usize), 0);
}

/// Connections that end at any byte of the handshake or of what follows, with a reset, an orderly
/// end of the stream, or a half of one.
pub async fn crash(connections: usize, table: &mut Table) {
    let server = Server::start(&[]);
    let before = server.trimmed().await;
    let began = Instant::now();
    let mut opened = 0;
    for round in 0..3 {
        let mut crowd = JoinSet::new();
        for i in 0..connections {
            let path = if i % 2 == 0 { "/echo" } else { "/room/crash" };
            crowd.spawn(crash_one(server.port, path));
            if i % 100 == 99 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        while let Some(was_open) = crowd.join_next().await {
            opened += usize::from(was_open.expect("it does not panic"));
        }
        if round == 0 {
            // Those of the first round have made the pools of the threads.
            server.settled(before, Duration::from_secs(15)).await;
        }
    }
    let ended = Instant::now();
    let after = server.settled(before, Duration::from_secs(15)).await;
    table.note(
        "connections, of these past the handshake",
        format!("{}, {opened}", 3 * connections),
    );
    table.exactly(
        "ends that handlers were told",
        after.clean + after.lost,
        after.opened,
    );
    let unseen = after.opened.abs_diff(opened) as f64;
    // A server may have opened one whose client was gone before it had read so.
    table.at_most(
        "opened by one side only",
        "",
        unseen,
        connections as f64 / 20.0,
    );
    let late = ended.elapsed().as_secs_f64();
    table.at_most("time until all were gone", "s", late, 15.0);
    table.note("whole", format!("{} s", began.elapsed().as_secs()));
    gone(before, after, table);
}

/// Whether it came to be open.
async fn crash_one(port: u16, path: &str) -> bool {
    let script = [
        frame(0x81, b"hello"),
        frame(0x89, b"ping"),
        frame(0x01, &[b'a'; 300]),
        frame(0x00, &[b'b'; 70_000]),
        frame(0x80, b"c"),
        frame(0x82, &[7; 1000]),
    ]
    .concat();
    if random_range(0..5) == 0 {
        let Ok(mut stream) = wire::connect(port, None).await else {
            return false;
        };
        let head = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Up";
        let _ = stream.write_all(&head[..random_range(0..head.len())]).await;
        end(stream).await;
        return false;
    }
    let Ok(mut stream) = open_raw(port, path, "", None).await else {
        return false;
    };
    let _ = stream
        .write_all(&script[..random_range(0..script.len())])
        .await;
    if random() {
        sleep(Duration::from_millis(random_range(0..200))).await;
    }
    end(stream).await;
    true
}

async fn end(mut stream: TcpStream) {
    match random_range(0..3) {
        0 => reset(stream),
        1 => drop(stream),
        _ => {
            let _ = stream.shutdown().await;
            sleep(Duration::from_millis(random_range(0..500))).await;
        }
    }
}

fn load(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}
