//! A socket that is driven by its own task.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::task::yield_now;
use tokio::time::Instant;
use wsroom::net::SessionConfig;
use wsroom::outbox::{OutboxLimits, TrySendError};
use wsroom::{
    CloseCause, CloseCode, CloseFrame, Config, Error, Message, PreparedMessage, Role, Session,
};

use super::pipe::{Chopped, Lane};
use super::{ROOMY, binary, close_body, frames, masked, messages, pipe, plain, socket};

/// A server's session whose client is the test: what it reads and what it writes.
fn session(config: SessionConfig) -> (Session, Lane, Lane, Chopped) {
    let (near, far) = pipe(ROOMY);
    let (reads, writes) = (near.incoming(), near.outgoing());
    let socket = socket(near, Role::Server, Config::default());
    (Session::spawn_with(socket, config), reads, writes, far)
}

/// Lets the other tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_echoes() {
    let (mut session, reads, writes, _far) = session(SessionConfig::default());
    for i in 0..10 {
        reads.put(&masked(1, format!("{i}").as_bytes()));
        let message = session.recv().await.unwrap().unwrap();
        session.send(message).await.unwrap();
    }
    session.flush().await.unwrap();
    let sent: Vec<Message> = (0..10).map(|i| format!("{i}").into()).collect();
    assert_eq!(messages(Role::Client, writes.take()), sent);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_leaves_in_one_write_in_its_order() {
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    settle().await;
    for i in 0..100 {
        session.send(format!("{i}")).await.unwrap();
    }
    session
        .send(PreparedMessage::new(binary(5_000)))
        .await
        .unwrap();
    settle().await;
    assert_eq!(writes.writes(), 1);
    let got = messages(Role::Client, writes.take());
    assert_eq!(got.len(), 101);
    for (i, message) in got[..100].iter().enumerate() {
        assert_eq!(message.as_text(), Some(i.to_string().as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_task_queues_arrives_in_its_order() {
    let (near, far) = pipe(3_000);
    let config = SessionConfig::default().outbox(OutboxLimits::default().max_messages(7));
    let session = Session::spawn_with(socket(near, Role::Server, Config::default()), config);
    let mut client = socket(far, Role::Client, Config::default());
    for task in 0..8 {
        let outbox = session.outbox().clone();
        tokio::spawn(async move {
            for i in 0..200 {
                outbox.send(format!("{task} {i}")).await.unwrap();
            }
        });
    }
    let mut next = [0; 8];
    for _ in 0..8 * 200 {
        let message = client.recv().await.unwrap().unwrap();
        let (task, i) = message.as_text().unwrap().split_once(' ').unwrap();
        let next = &mut next[task.parse::<usize>().unwrap()];
        assert_eq!(i, next.to_string());
        *next += 1;
    }
}

/// A completion that means something.
#[tokio::test(start_paused = true)]
async fn flush_resolves_when_the_message_was_written_and_not_before() {
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    writes.stall();
    let outbox = session.outbox().clone();
    outbox.send("x").await.unwrap();
    let sending = tokio::spawn(async move { outbox.flush().await });
    settle().await;
    assert!(!sending.is_finished());
    writes.resume();
    sending.await.unwrap().unwrap();
    assert_eq!(messages(Role::Client, writes.take()), [Message::from("x")]);
}

/// A member of a large room is woken for what it is sent, thousands of times a second.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_woken_to_send_does_not_read() {
    let (session, reads, writes, _far) = session(SessionConfig::default());
    settle().await;
    let before = reads.reads();
    for _ in 0..5 {
        session.send("news").await.unwrap();
        settle().await;
    }
    assert_eq!(messages(Role::Client, writes.take()).len(), 5);
    assert_eq!(reads.reads(), before);
}

/// What waits beyond the write mark leaves when the peer reads again, without another event.
#[tokio::test(start_paused = true)]
async fn all_that_is_queued_leaves_when_a_stalled_peer_reads_again() {
    let start = Instant::now();
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    settle().await;
    writes.stall();
    let outbox = session.outbox().clone();
    for _ in 0..10 {
        outbox.try_send(binary(50_000)).unwrap();
    }
    settle().await;
    writes.resume();
    session.send("last").await.unwrap();
    session.flush().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(messages(Role::Client, writes.take()).len(), 11);
}

/// L3 (server), O14 (server).
#[tokio::test(start_paused = true)]
async fn an_outbox_is_bounded_in_messages_and_in_bytes() {
    let limits = OutboxLimits::default().max_messages(3).max_bytes(1_000);
    for (len, room) in [(1, 3), (400, 2), (5_000, 1)] {
        let config = SessionConfig::default().outbox(limits);
        let (session, _reads, writes, _far) = session(config);
        writes.stall();
        // Fills the output up to the write mark, which is no part of the outbox.
        session.send(binary(70_000)).await.unwrap();
        settle().await;
        for _ in 0..room {
            session.outbox().try_send(binary(len)).unwrap();
        }
        assert_eq!(
            session.outbox().try_send(binary(len)),
            Err(TrySendError::Full)
        );
        let mut waiting = Box::pin(session.send(binary(len)));
        assert!(waiting.as_mut().now_or_never().is_none());
        writes.resume();
        waiting.await.unwrap();
        settle().await;
        assert_eq!(messages(Role::Client, writes.take()).len(), room + 2);
    }
}

/// Pongs, deliveries and the keepalive do not wait for the application.
#[tokio::test(start_paused = true)]
async fn a_handler_that_sleeps_holds_up_neither_pongs_nor_deliveries() {
    let (mut session, reads, writes, _far) = session(SessionConfig::default());
    reads.put(&masked(1, b"work"));
    assert_eq!(session.recv().await.unwrap(), Some("work".into()));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        reads.put(&masked(9, b"there?"));
        session.outbox().send("news").await.unwrap();
        settle().await;
        let wire = frames(&writes.take());
        assert!(wire.contains(&(0x8a, b"there?".to_vec())));
        assert!(wire.contains(&(0x81, b"news".to_vec())));
    }
}

/// L4: the peer waits while the application is behind, and is not taken for dead.
#[tokio::test(start_paused = true)]
async fn a_full_inbox_makes_the_peer_wait_and_is_no_timeout() {
    let config = SessionConfig::default().inbox_messages(4);
    for (role, frame) in [
        (Role::Server, masked(1, b"m")),
        (Role::Server, masked(2, &[0; 20_000])),
        (Role::Client, plain(0x81, b"m")),
        (Role::Client, plain(0x82, &[0; 20_000])),
    ] {
        let (near, far) = pipe(50_000);
        let reads = near.incoming();
        let socket = socket(near, role, Config::default());
        let mut session = Session::spawn_with(socket, config.inbox_bytes(40_000));
        for _ in 0..10 {
            reads.put(&frame);
        }
        settle().await;
        let unread = reads.len();
        reads.put(&frame);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(reads.len(), unread + frame.len(), "nothing more is read");
        session.send("alive").await.unwrap();
        for _ in 0..11 {
            assert!(session.recv().await.unwrap().is_some());
        }
        drop(far);
        assert!(session.recv().await.is_err());
        assert_eq!(session.recv().await.unwrap(), None);
    }
}

/// All who ask learn the same.
#[tokio::test(start_paused = true)]
async fn all_who_wait_for_the_end_learn_how_it_was() {
    let (session, reads, _writes, _far) = session(SessionConfig::default());
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let outbox = session.outbox().clone();
            tokio::spawn(async move { outbox.closed().await })
        })
        .collect();
    settle().await;
    reads.put(&masked(8, &close_body(4000, "bye")));
    reads.end();
    let info = session.closed().await.unwrap();
    assert_eq!((info.cause, info.reason()), (CloseCause::Remote, "bye"));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Some(info.clone()));
    }
    assert_eq!(session.closed().await, Some(info.clone()));
    assert_eq!(session.outbox().close_info(), Some(info));
    assert_eq!(session.send("late").await.ok(), None);
}

#[tokio::test(start_paused = true)]
async fn messages_that_came_before_the_end_are_given_first() {
    let (session, reads, _writes, _far) = session(SessionConfig::default());
    reads.put(&[masked(1, b"a"), masked(1, b"b"), masked(8, b"")].concat());
    reads.end();
    session.closed().await;
    let got: Vec<Message> = session.map(Result::unwrap).collect().await;
    assert_eq!(got, [Message::from("a"), "b".into()]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_given_once_after_the_messages() {
    let (mut session, reads, writes, _far) = session(SessionConfig::default());
    reads.put(&[masked(1, b"a"), masked(1, b"\xff")].concat());
    reads.end();
    assert_eq!(session.recv().await.unwrap(), Some("a".into()));
    assert!(matches!(session.recv().await, Err(Error::Protocol(_))));
    assert_eq!(session.recv().await.unwrap(), None);
    let wire = frames(&writes.take());
    assert_eq!(wire.len(), 1);
    assert_eq!(wire[0].1[..2], 1007_u16.to_be_bytes());
}

#[tokio::test(start_paused = true)]
async fn recv_timeout_gives_up_and_loses_nothing() {
    let (mut session, reads, _writes, _far) = session(SessionConfig::default());
    let second = Duration::from_secs(1);
    let received = session.recv_timeout(second).await;
    assert!(matches!(received, Err(Error::RecvTimeout)));
    reads.put(&masked(1, b"a"));
    assert_eq!(
        session.recv_timeout(second).await.unwrap(),
        Some("a".into())
    );
}

#[tokio::test(start_paused = true)]
async fn recv_many_takes_what_has_come_up_to_its_limit_and_tells_the_end_as_recv_does() {
    let (mut session, reads, writes, _far) = session(SessionConfig::default());
    let mut messages = vec![Message::from("before")];
    assert_eq!(session.recv_many(&mut messages, 0).await.unwrap(), 0);
    let second = Duration::from_secs(1);
    let nothing = tokio::time::timeout(second, session.recv_many(&mut messages, 3));
    assert!(nothing.await.is_err());
    reads.put(
        &["a", "b", "c", "d", "e"]
            .map(|text| masked(1, text.as_bytes()))
            .concat(),
    );
    settle().await;
    assert_eq!(session.recv_many(&mut messages, 3).await.unwrap(), 3);
    assert_eq!(messages, ["before", "a", "b", "c"].map(Message::from));
    assert_eq!(session.recv().await.unwrap(), Some("d".into()));
    messages.clear();
    assert_eq!(session.recv_many(&mut messages, 3).await.unwrap(), 1);
    assert_eq!(messages, [Message::from("e")]);

    reads.put(&[masked(1, b"f"), masked(1, b"\xff")].concat());
    settle().await;
    assert_eq!(session.recv_many(&mut messages, 3).await.unwrap(), 1);
    let error = session.recv_many(&mut messages, 3).await;
    assert!(matches!(error, Err(Error::Protocol(_))));
    assert_eq!(session.recv_many(&mut messages, 3).await.unwrap(), 0);
    assert_eq!(messages.len(), 2);
    reads.end();
    assert_eq!(frames(&writes.take()).len(), 1);
}

/// A sender that fills the inbox is told when `recv_many` has made room.
#[tokio::test(start_paused = true)]
async fn recv_many_makes_room_in_the_inbox() {
    let config = SessionConfig::default().inbox_messages(2);
    let (mut session, reads, _writes, _far) = session(config);
    reads.put(
        &["a", "b", "c", "d", "e"]
            .map(|text| masked(1, text.as_bytes()))
            .concat(),
    );
    let mut messages = Vec::new();
    while messages.len() < 5 {
        let count = session.recv_many(&mut messages, usize::MAX).await.unwrap();
        assert!((1..=2).contains(&count));
    }
    assert_eq!(messages, ["a", "b", "c", "d", "e"].map(Message::from));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_closes_with_1000() {
    let (session, reads, writes, _far) = session(SessionConfig::default());
    session.send("last").await.unwrap();
    let outbox = session.outbox().clone();
    drop(session);
    settle().await;
    assert_eq!(
        frames(&writes.take()),
        [(0x81, b"last".to_vec()), (0x88, close_body(1000, ""))]
    );
    reads.put(&masked(8, &close_body(1000, "")));
    reads.end();
    assert!(outbox.closed().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_handler_that_panics_closes_with_1011() {
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    let handler = tokio::spawn(async move {
        let _session = session;
        std::panic::panic_any("on purpose");
    });
    assert!(handler.await.is_err());
    settle().await;
    assert_eq!(frames(&writes.take()), [(0x88, close_body(1011, ""))]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ignores_what_comes_lives_until_it_is_closed() {
    let (session, reads, writes, _far) = session(SessionConfig::default());
    let outbox = session.ignore_incoming();
    for _ in 0..1_000 {
        reads.put(&masked(2, &[0; 1_000]));
    }
    settle().await;
    assert_eq!(reads.len(), 0, "nothing waits for a reader");
    outbox.send("still here").await.unwrap();
    outbox.close(CloseFrame::from(CloseCode::GOING_AWAY));
    settle().await;
    let close = (0x88, close_body(1001, ""));
    assert_eq!(frames(&writes.take()).last(), Some(&close));
    reads.end();
    assert!(outbox.closed().await.is_some());
}

/// §7.1.2: after what is queued, and only once.
#[tokio::test(start_paused = true)]
async fn a_close_follows_what_is_queued() {
    let (session, reads, writes, _far) = session(SessionConfig::default());
    writes.stall();
    for i in 0..5 {
        session.outbox().try_send(vec![i; 30_000]).unwrap();
    }
    session.outbox().close(CloseFrame::from(CloseCode::NORMAL));
    session
        .outbox()
        .close(CloseFrame::from(CloseCode::GOING_AWAY));
    assert_eq!(session.outbox().try_send("late"), Err(TrySendError::Closed));
    settle().await;
    writes.resume();
    settle().await;
    let wire = frames(&writes.take());
    assert_eq!(wire.len(), 6);
    assert_eq!(wire[5], (0x88, close_body(1000, "")));
    reads.put(&masked(8, &close_body(1000, "")));
    reads.end();
    assert!(session.closed().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn an_evicted_peer_gets_its_close_instead_of_what_is_queued() {
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    writes.stall();
    session.send(binary(70_000)).await.unwrap();
    settle().await;
    session.send("dropped").await.unwrap();
    let outbox = session.outbox().clone();
    outbox.send("dropped too").await.unwrap();
    let sending = tokio::spawn(async move { outbox.flush().await });
    settle().await;
    let frame = CloseFrame::from(CloseCode::TRY_AGAIN_LATER);
    session.outbox().evict(frame);
    assert!(sending.await.unwrap().is_err());
    writes.resume();
    settle().await;
    let wire = frames(&writes.take());
    assert_eq!(wire.len(), 2);
    assert_eq!(wire[1], (0x88, close_body(1013, "")));
}

/// C9 (server): an evicted peer that reads nothing is cut.
#[tokio::test(start_paused = true)]
async fn an_evicted_peer_that_reads_nothing_is_cut_after_10_seconds() {
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    writes.stall();
    session.send(binary(70_000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    session.outbox().evict(None);
    let info = session.closed().await.unwrap();
    // The Close is put behind what waits already.
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(info.code(), CloseCode::ABNORMAL);
}

#[tokio::test(start_paused = true)]
async fn a_close_code_that_must_not_travel_becomes_an_empty_close() {
    let (session, _reads, writes, _far) = session(SessionConfig::default());
    session
        .outbox()
        .close(CloseFrame::from(CloseCode::ABNORMAL));
    settle().await;
    assert_eq!(frames(&writes.take()), [(0x88, vec![])]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_resets_ends_all_that_waits() {
    let config = SessionConfig::default().outbox(OutboxLimits::default().max_messages(1));
    let (mut session, reads, writes, _far) = session(config);
    writes.stall();
    session.send(binary(70_000)).await.unwrap();
    settle().await;
    session.send("fills it").await.unwrap();
    let outbox = session.outbox().clone();
    let queueing = tokio::spawn(async move { outbox.send("waits").await });
    settle().await;
    reads.reset();
    writes.reset();
    assert!(matches!(session.recv().await, Err(Error::Io(_))));
    assert!(queueing.await.unwrap().is_err());
    assert_eq!(session.closed().await.unwrap().code(), CloseCode::ABNORMAL);
}

/// A message that left together with the failure was written all the same.
#[tokio::test(start_paused = true)]
async fn a_flush_that_is_done_succeeds_although_the_connection_ends_at_once() {
    let (session, reads, writes, _far) = session(SessionConfig::default());
    writes.stall();
    let outbox = session.outbox().clone();
    outbox.send("out").await.unwrap();
    let sending = tokio::spawn(async move { outbox.flush().await });
    settle().await;
    writes.resume();
    reads.end();
    sending.await.unwrap().unwrap();
    assert!(session.closed().await.is_some());
}

#[test]
fn a_runtime_that_is_dropped_ends_the_session() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (mut session, _reads, _writes, _far) = {
        let _guard = first.enter();
        session(SessionConfig::default())
    };
    let outbox = session.outbox().clone();
    drop(first);
    runtime().block_on(async {
        assert_eq!(session.closed().await, None);
        assert!(outbox.send("x").await.is_err());
        assert!(matches!(session.recv().await, Err(Error::ConnectionLost)));
        assert_eq!(session.recv().await.unwrap(), None);
    });
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_is_known_after_a_ping() {
    let (session, reads, writes, _far) = session(SessionConfig::default());
    assert_eq!(session.round_trip(), None);
    tokio::time::sleep(Duration::from_millis(20_300)).await;
    let [(0x89, ping)] = &frames(&writes.take())[..] else {
        panic!("a Ping")
    };
    reads.put(&masked(10, ping));
    settle().await;
    assert_eq!(session.round_trip(), Some(Duration::from_millis(300)));
}

/// X5 (server).
#[tokio::test(start_paused = true)]
async fn a_session_finds_a_peer_that_vanished_within_40_seconds() {
    let start = Instant::now();
    let (mut session, _reads, _writes, _far) = session(SessionConfig::default());
    let outbox = session.outbox().clone();
    // Steady traffic into the buffers of the system is no sign of life.
    tokio::spawn(async move {
        while outbox.send("tick").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(matches!(session.recv().await, Err(Error::PongTimeout)));
    assert_eq!(start.elapsed(), Duration::from_secs(40));
}

/// Real streams and threads, small limits on all sides: a wakeup that gets lost stops it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_that_send_all_they_can_never_stop() {
    const EACH: usize = 400;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = tokio::net::TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let limits = OutboxLimits::default().max_messages(5);
    let config = SessionConfig::default().outbox(limits).inbox_messages(3);
    let mut running = Vec::new();
    for (stream, role) in [(near, Role::Client), (far, Role::Server)] {
        let socket = socket(stream, role, Config::default().write_mark(10_000));
        let mut session = Session::spawn_with(socket, config);
        for _ in 0..4 {
            let outbox = session.outbox().clone();
            tokio::spawn(async move {
                for i in 0..EACH {
                    outbox.send(binary(i * 37 % 9_000)).await.unwrap();
                }
            });
        }
        running.push(tokio::spawn(async move {
            for _ in 0..4 * EACH {
                session.recv().await.unwrap().unwrap();
            }
            session
        }));
    }
    // Kept, so that neither closes before the other has all.
    let mut sessions = Vec::new();
    for running in running {
        let done = tokio::time::timeout(Duration::from_secs(15), running).await;
        sessions.push(done.expect("nothing moves any more").unwrap());
    }
}

/// Who closes may have no room for what still comes, but gets no later message without the ones
/// before it.
#[tokio::test(start_paused = true)]
async fn what_comes_after_the_close_has_no_hole() {
    let config = SessionConfig::default().inbox_messages(2);
    let (mut session, reads, _writes, _far) = session(config);
    reads.put(&[masked(1, b"1"), masked(1, b"2")].concat());
    settle().await;
    session.outbox().close(None);
    settle().await;
    reads.put(&masked(1, b"there is no room for it"));
    settle().await;
    assert_eq!(session.recv().await.unwrap(), Some("1".into()));
    reads.put(&[masked(1, b"4"), masked(8, b"")].concat());
    reads.end();
    assert_eq!(session.recv().await.unwrap(), Some("2".into()));
    assert_eq!(session.recv().await.unwrap(), None);
    assert!(session.closed().await.unwrap().is_clean());
}
