//! A session whose stream, outbox and owner are on different threads: no wake is lost between them.
//!
//! If the flag were lost that tells a wake by the stream from one by the outbox, one of the two
//! directions would wait for ever. `src/net/stream_wake.rs` has a model of it.

#![cfg(feature = "tokio")]

use std::time::Duration;

use tokio::io::duplex;
use tokio::time::timeout;
use wsroom::{Agreed, Config, Role, Session, WebSocket};

/// How often each direction waits for the other.
const ROUNDS: u32 = 3000;

/// Each pair passes a message to and fro, while a third thread puts others into the outboxes: the
/// wakes of both kinds come at any moment of a poll.
#[test]
fn no_wake_is_lost_whatever_comes_at_the_same_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // From a buffer that holds a few bytes of a message to one that holds several.
        let pairs = [7, 64, 4096].map(|room| tokio::spawn(pass(room)));
        for pair in pairs {
            let passed = timeout(Duration::from_secs(120), pair).await;
            passed.expect("nothing waits for ever").unwrap();
        }
    });
}

async fn pass(room: usize) {
    let (near, far) = duplex(room);
    let session = |stream, role| {
        let config = Config::default().ping_interval(None);
        Session::spawn(WebSocket::new(stream, role, Agreed::default(), config, &[]))
    };
    let (mut left, mut right) = (session(near, Role::Client), session(far, Role::Server));
    let outboxes = [left.outbox().clone(), right.outbox().clone()];
    let noise = tokio::task::spawn_blocking(move || {
        for i in 0..ROUNDS {
            // Full is fine: then the other end has enough to do.
            let _ = outboxes[i as usize % 2].try_send("noise");
            if i % 8 == 0 {
                std::thread::yield_now();
            }
        }
    });
    for round in 0..ROUNDS {
        left.send(round.to_string()).await.unwrap();
        expect(&mut right, round).await;
        right.send(round.to_string()).await.unwrap();
        expect(&mut left, round).await;
    }
    noise.await.unwrap();
}

/// Takes messages up to the one of this round.
async fn expect(session: &mut Session, round: u32) {
    loop {
        let message = session.recv().await.unwrap().expect("it is open");
        match message.as_text() {
            Some("noise") => {}
            text => return assert_eq!(text, Some(&*round.to_string())),
        }
    }
}
