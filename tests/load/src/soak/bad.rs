//! Members that stall, vanish, or send garbage, again and again.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{random, random_range};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::chat::noise;
use crate::wire::{frame, open_raw, reset};

/// What a bad member does.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Reads nothing.
    Stalls,
    /// Sends something, perhaps in part, and resets the connection.
    Resets,
    /// Breaks the protocol.
    Garbage,
}

/// How often they did it.
#[derive(Default)]
pub struct Tally {
    stalls: usize,
    resets: usize,
    garbage: usize,
    /// Garbage after which the server did not close the connection.
    pub unanswered: usize,
}

/// Goes on until it is told to stop.
pub async fn behave(kind: Kind, port: u16, room: usize, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    // They do not all come at once.
    sleep(Duration::from_millis(random_range(0..3000))).await;
    while !stop.load(Ordering::Relaxed) {
        let buffer = matches!(kind, Kind::Stalls).then_some(4096);
        let Ok(stream) = open_raw(port, &format!("/room/{room}"), "", buffer).await else {
            sleep(Duration::from_millis(500)).await;
            continue;
        };
        match kind {
            Kind::Stalls => {
                // Longer than a server waits for a Pong.
                for _ in 0..random_range(10..30) {
                    sleep(Duration::from_millis(500)).await;
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                tally.stalls += 1;
            }
            Kind::Resets => {
                vanish(stream, room).await;
                tally.resets += 1;
            }
            Kind::Garbage => {
                let answered = babble(stream).await;
                tally.garbage += 1;
                tally.unanswered += usize::from(!answered);
                sleep(Duration::from_millis(random_range(500..2000))).await;
            }
        }
    }
    tally
}

/// Says something and is gone, perhaps in the middle of it.
async fn vanish(mut stream: TcpStream, room: usize) {
    let mut said = frame(0x82, &noise(room));
    if random() {
        said.truncate(random_range(0..said.len()));
    }
    let _ = stream.write_all(&said).await;
    sleep(Duration::from_millis(random_range(0..3000))).await;
    if random_range(0..4) > 0 {
        reset(stream);
    }
}

/// Breaks a rule; whether the server answered with a Close, or at least ended the connection.
async fn babble(mut stream: TcpStream) -> bool {
    let mut garbage = match random_range(0..8) {
        // §5.2: reserved bits and opcodes.
        0 => vec![0xf2, 0x80, 0, 0, 0, 0],
        1 => vec![0x83 + random_range(0..5), 0x80, 0, 0, 0, 0],
        // §5.1: not masked.
        2 => vec![0x82, 5],
        // §5.2: a length beyond all limits, and one that is not the shortest.
        3 => [&[0x82, 0xff][..], &[0x7f; 8], &[0; 4]].concat(),
        4 => [&[0x82, 0xfe][..], &[0, 5], &[0; 4]].concat(),
        // §5.5: a long Ping, and one in fragments.
        5 => [&[0x89, 0xfe][..], &[1, 0], &[0; 4]].concat(),
        6 => frame(0x09, b"part"),
        // §5.4: nothing to continue.
        _ => frame(0x80, b"rest"),
    };
    garbage.extend((0..random_range(0..2000)).map(|_| random::<u8>()));
    if stream.write_all(&garbage).await.is_err() {
        return true;
    }
    let mut rest = Vec::new();
    // A reset has read it too: it had more to say than the server was willing to read.
    timeout(Duration::from_secs(10), stream.read_to_end(&mut rest))
        .await
        .is_ok()
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.stalls += other.stalls;
        self.resets += other.resets;
        self.garbage += other.garbage;
        self.unanswered += other.unanswered;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stalls,
            resets,
            garbage,
            ..
        } = self;
        write!(f, "{stalls}, {resets}, {garbage}")
    }
}
