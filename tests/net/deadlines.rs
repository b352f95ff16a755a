//! Keepalive, silence and the closing handshake, by a clock that stands still until all wait.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use wsroom::net::SocketEvent;
use wsroom::{CloseCause, CloseCode, CloseFrame, Config, Error, Role, WebSocket};

use super::adapter::flooded;
use super::pipe::{Chopped, Lane};
use super::{ROOMY, binary, both, close_body, frames, masked, once, pipe, server, socket};

/// A server that has waited for five seconds, so that its deadlines run.
async fn waiting() -> (WebSocket<Chopped>, Lane, Lane, Chopped) {
    let mut parts = server(Config::default());
    let waited = parts.0.recv_timeout(Duration::from_secs(5)).await;
    assert!(matches!(waited, Err(Error::RecvTimeout)));
    parts
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

/// P4 (server), X5 (server): a half-open peer is found within 40 seconds, and told 1011 if it
/// should be there.
#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_is_found_after_40_seconds() {
    let start = Instant::now();
    let (mut socket, _reads, writes, _far) = server(Config::default());
    assert!(matches!(socket.recv().await, Err(Error::PongTimeout)));
    assert_eq!(seconds(start), 40);
    assert_eq!(socket.recv().await.unwrap(), None);
    let info = socket.close_info().unwrap();
    assert_eq!(info.cause, CloseCause::PongTimeout);
    assert_eq!(info.code(), CloseCode::ABNORMAL);
    let wire: Vec<u8> = frames(&writes.take()).iter().map(|frame| frame.0).collect();
    assert_eq!(wire, [0x89, 0x88]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_is_found_although_nothing_can_be_written() {
    let start = Instant::now();
    let (mut socket, _reads, writes, _far) = server(Config::default());
    writes.stall();
    assert!(matches!(socket.recv().await, Err(Error::PongTimeout)));
    assert_eq!(seconds(start), 40);
}

#[tokio::test(start_paused = true)]
async fn a_send_to_a_peer_that_vanished_fails_after_40_seconds() {
    let start = Instant::now();
    let (mut socket, _reads, writes, _far) = server(Config::default());
    writes.stall();
    assert!(matches!(socket.send("x").await, Err(Error::PongTimeout)));
    assert_eq!(seconds(start), 40);
    assert_eq!(socket.recv().await.unwrap(), None);
}

/// X5: that a part of what is sent finds room in the buffers of the system is no sign of life.
#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_is_found_although_writes_make_progress() {
    for seed in 0..10 {
        let start = Instant::now();
        let (near, _far) = pipe(ROOMY);
        let mut socket = socket(near.chopped(seed), Role::Server, Config::default());
        let lost = loop {
            match socket.recv_timeout(Duration::from_secs(1)).await {
                Err(Error::RecvTimeout) if seconds(start) < 600 => {
                    socket.feed(binary(1_000)).await.unwrap();
                }
                ended => break ended,
            }
        };
        assert!(matches!(lost, Err(Error::PongTimeout)), "{lost:?}");
        assert_eq!(seconds(start), 40, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_lives_on_and_its_distance_is_known() {
    let (near, far) = pipe(ROOMY);
    let mut client = socket(near, Role::Client, Config::default());
    let far = socket(far, Role::Server, Config::default().ping_interval(None));
    let answering = tokio::spawn(async move {
        let mut far = far;
        // Half a second passes before it looks.
        tokio::time::sleep(Duration::from_millis(20_500)).await;
        while far.recv().await.unwrap().is_some() {}
    });
    let event = client.recv_event().await.unwrap();
    let half = Some(Duration::from_millis(500));
    assert!(matches!(
        event,
        Some(SocketEvent::Pong { round_trip, .. }) if round_trip == half
    ));
    assert_eq!(client.round_trip(), half);
    assert!(matches!(
        client.recv_timeout(Duration::from_secs(600)).await,
        Err(Error::RecvTimeout)
    ));
    let info = client.close(CloseFrame::from(CloseCode::NORMAL)).await;
    assert!(info.unwrap().is_clean());
    answering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_pings_a_silent_peer_is_closed_after_120_seconds() {
    let start = Instant::now();
    let config = Config::default().ping_interval(None);
    let (mut socket, reads, writes, _far) = server(config);
    // Idle: the peer may live, so it gets two seconds to read the Close.
    assert!(matches!(socket.recv().await, Err(Error::IdleTimeout)));
    assert_eq!(seconds(start), 122);
    let close = close_body(1001, "silent for too long");
    assert_eq!(frames(&writes.take()), [(0x88, close)]);
    drop(reads);
}

/// C9, §7.1.1.
#[tokio::test(start_paused = true)]
async fn a_close_that_is_not_answered_is_cut_after_10_seconds() {
    for role in [Role::Client, Role::Server] {
        let start = Instant::now();
        let (near, _far) = pipe(ROOMY);
        let writes = near.outgoing();
        let mut socket = socket(near, role, Config::default());
        let info = socket
            .close(CloseFrame::from(CloseCode::GOING_AWAY))
            .await
            .unwrap();
        assert_eq!(seconds(start), 10, "{role:?}");
        assert_eq!(info.code(), CloseCode::ABNORMAL);
        assert_eq!(info.cause, CloseCause::Local);
        assert!(!info.is_clean());
        assert!(writes.is_ended(), "the transport is cut");
    }
}

#[tokio::test(start_paused = true)]
async fn recv_says_that_the_closing_handshake_took_too_long() {
    let (mut socket, _reads, writes, _far) = waiting().await;
    let start = Instant::now();
    writes.stall();
    socket.start_close(None).unwrap();
    assert!(matches!(socket.recv().await, Err(Error::CloseTimeout)));
    assert_eq!(seconds(start), 10);
    assert_eq!(socket.recv().await.unwrap(), None);
}

/// §7.1.1: our answer to its Close has a deadline too.
#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_and_reads_nothing_is_cut_after_10_seconds() {
    let (mut socket, reads, writes, _far) = waiting().await;
    let start = Instant::now();
    writes.stall();
    reads.put(&masked(8, b""));
    assert!(matches!(socket.recv().await, Err(Error::CloseTimeout)));
    assert_eq!(seconds(start), 10);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_a_rule_and_reads_nothing_is_cut_after_10_seconds() {
    let (mut socket, reads, writes, _far) = waiting().await;
    let start = Instant::now();
    writes.stall();
    reads.put(b"\xff\xff");
    assert!(matches!(socket.recv().await, Err(Error::Protocol(_))));
    assert_eq!(seconds(start), 10);
}

/// What is in the output when the peer closes is still written, as long as the deadline lets it.
#[tokio::test(start_paused = true)]
async fn flush_goes_on_writing_after_the_peer_has_closed() {
    let (mut socket, reads, writes, _far) = waiting().await;
    writes.stall();
    socket.feed("farewell").await.unwrap();
    reads.put(&masked(8, b""));
    assert!(matches!(
        socket.recv_event().await.unwrap(),
        Some(SocketEvent::Close(_))
    ));
    let resume = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        writes.resume();
    };
    let (flushed, ()) = tokio::join!(socket.flush(), resume);
    flushed.unwrap();
    let wire = frames(&writes.take());
    assert_eq!(wire, [(0x81, b"farewell".to_vec()), (0x88, vec![])]);
}

/// C1 (client), §7.1.1: a client lets the server end the stream, for two seconds.
#[tokio::test(start_paused = true)]
async fn a_client_waits_two_seconds_for_the_server_to_end_the_stream() {
    let start = Instant::now();
    let (near, _far) = pipe(ROOMY);
    let (reads, writes) = (near.incoming(), near.outgoing());
    let mut client = socket(near, Role::Client, Config::default());
    reads.put(b"\x88\x00");
    assert!(once(client.recv()).await.is_pending());
    assert!(!writes.is_ended());
    assert_eq!(client.recv().await.unwrap(), None);
    assert_eq!(seconds(start), 2);
    assert!(writes.is_ended());
}

/// C1 (server): a server ends the stream at once, and waits for the client to see it.
#[tokio::test(start_paused = true)]
async fn a_server_ends_the_stream_at_once() {
    let start = Instant::now();
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&masked(8, b""));
    assert!(once(socket.recv()).await.is_pending());
    assert!(writes.is_ended());
    reads.end();
    assert_eq!(socket.recv().await.unwrap(), None);
    assert_eq!(seconds(start), 0);
}

/// C8.
#[tokio::test(start_paused = true)]
async fn a_closing_handshake_between_two_of_us_takes_no_time() {
    let start = Instant::now();
    let (mut client, mut server) = both(ROOMY, Config::default());
    let (one, two) = tokio::join!(
        client.close(CloseFrame::new(CloseCode::new(4000), "mine")),
        server.close(CloseFrame::new(CloseCode::new(4001), "yours")),
    );
    // C8: each sees the other's code.
    assert_eq!(one.unwrap().reason(), "yours");
    assert_eq!(two.unwrap().reason(), "mine");
    assert_eq!(seconds(start), 0);
}

/// P4 (server): a peer that takes what is sent, however slowly, is not gone.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_is_not_taken_for_dead() {
    for sending in [true, false] {
        let start = Instant::now();
        let (near, far) = pipe(1_000);
        let writes = near.outgoing();
        let mut socket = socket(near, Role::Server, Config::default());
        let slow = tokio::spawn(async move {
            let _far = far;
            for _ in 0..62 {
                tokio::time::sleep(Duration::from_secs(5)).await;
                writes.take();
            }
        });
        if sending {
            socket.send(binary(59_996)).await.unwrap();
        } else {
            socket.feed(binary(59_996)).await.unwrap();
            // Nothing is sent to us, and that is all there is.
            let lost = socket.recv().await;
            assert!(
                matches!(lost, Err(Error::ConnectionLost | Error::Io(_))),
                "{lost:?}"
            );
        }
        assert!(seconds(start) >= 290);
        slow.await.unwrap();
    }
}

/// P4 (server), X5 (server): the buffers in front of a peer that vanished take something too, until
/// they are full.
#[tokio::test(start_paused = true)]
async fn what_is_taken_after_a_second_is_taken_by_the_peer() {
    for (taken, lost) in [(900, 40_000), (1_100, 60_000)] {
        let start = Instant::now();
        let (near, _far) = pipe(1_000);
        let writes = near.outgoing();
        let mut socket = socket(near, Role::Server, Config::default());
        let silence = Duration::from_millis(19_500);
        assert!(socket.recv_timeout(silence).await.is_err());
        socket.feed(binary(9_996)).await.unwrap();
        let take = async {
            tokio::time::sleep(Duration::from_millis(taken)).await;
            writes.take();
        };
        let (received, ()) = tokio::join!(socket.recv(), take);
        assert!(matches!(received, Err(Error::PongTimeout)), "{received:?}");
        assert_eq!(start.elapsed(), Duration::from_millis(lost));
    }
}

/// A handler may be busy for minutes; what came meanwhile counts.
#[tokio::test(start_paused = true)]
async fn a_pong_that_nobody_has_read_yet_is_no_timeout() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    let received = socket.recv_timeout(Duration::from_secs(21)).await;
    assert!(matches!(received, Err(Error::RecvTimeout)));
    let [(0x89, ping)] = &frames(&writes.take())[..] else {
        panic!("a Ping")
    };
    reads.put(&masked(10, ping));
    writes.stall();
    tokio::time::advance(Duration::from_secs(60)).await;
    let resume = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writes.resume();
    };
    let (sent, ()) = tokio::join!(socket.send("done"), resume);
    sent.unwrap();
}

/// The deadline of the closing handshake holds against a peer that sends without end.
#[tokio::test(start_paused = true)]
async fn a_flood_does_not_keep_a_connection_from_being_closed() {
    for frame in [masked(9, b""), masked(1, b"m"), masked(2, &[0; 9_000])] {
        for closing in [true, false] {
            let (mut socket, _) = flooded(frame.clone());
            let closed = tokio::spawn(async move {
                if closing {
                    return socket.close(None).await.map(|info| info.code());
                }
                socket.start_close(None)?;
                while socket.recv().await?.is_some() {}
                Ok(CloseCode::NORMAL)
            });
            tokio::task::yield_now().await;
            assert!(!closed.is_finished());
            tokio::time::advance(Duration::from_secs(10)).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(closed.is_finished());
            match closed.await.unwrap() {
                Ok(code) => assert_eq!(code, CloseCode::ABNORMAL),
                Err(error) => assert!(matches!(error, Error::CloseTimeout)),
            }
        }
    }
}

/// C10: nor from being drained.
#[tokio::test(start_paused = true)]
async fn a_flood_after_the_close_is_dropped_for_two_seconds() {
    let mut frame = masked(1, b"\xff");
    frame.extend(vec![0; 100]);
    let (mut socket, _) = flooded(frame);
    let ended = tokio::spawn(async move { socket.recv().await });
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    assert!(ended.is_finished());
    let ended = ended.await.unwrap();
    assert!(matches!(ended, Err(Error::Protocol(_))), "{ended:?}");
}

/// A stream of tokio's takes part in the budget of a task, which a flood uses up.
#[tokio::test(start_paused = true)]
async fn a_flood_that_uses_up_the_budget_of_the_task_does_not_hold_up_a_deadline() {
    let (near, mut far) = tokio::io::duplex(64 << 20);
    let mut socket = socket(near, Role::Server, Config::default());
    let flood = masked(2, &vec![0; 100_000]).repeat(200);
    far.write_all(&flood).await.unwrap();
    socket.start_close(None).unwrap();
    let mut all = pin!(async {
        while socket.recv().await?.is_some() {}
        Ok(())
    });
    assert!(once(all.as_mut()).await.is_pending());
    tokio::time::advance(Duration::from_secs(10)).await;
    let ended = once(all.as_mut()).await;
    assert!(matches!(ended, Poll::Ready(Err(Error::CloseTimeout))));
}
