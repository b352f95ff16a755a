//! What a `WebSocket` takes and sends, and when it writes.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FusedStream;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsroom::net::{Answers, SocketEvent};
use wsroom::protocol::{Payload, PreparedBatch, State, Text};
use wsroom::{
    Agreed, CloseCode, CloseFrame, Config, Error, Event, Message, PreparedMessage, Role, SendError,
    WebSocket,
};

use super::{
    ROOMY, binary, both, close_body, frames, masked, messages, once, pipe, plain, server, socket,
};

#[tokio::test]
async fn what_is_sent_arrives_in_order_and_as_it_was() {
    let sent: Vec<Message> = vec![
        "".into(),
        "text".into(),
        binary(0),
        binary(125),
        binary(126),
        binary(65_535),
        binary(65_536),
        "ü".repeat(100_000).into(),
    ];
    for seed in 0..4 {
        let (near, far) = pipe(4096);
        let mut client = socket(near.chopped(seed), Role::Client, Config::default());
        let mut server = socket(far.chopped(seed + 100), Role::Server, Config::default());
        let echo = tokio::spawn(async move {
            while let Some(message) = server.recv().await.unwrap() {
                server.send(message).await.unwrap();
            }
        });
        for message in &sent {
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap().as_ref(), Some(message));
        }
        let info = client.close(CloseFrame::from(CloseCode::NORMAL)).await;
        assert!(info.unwrap().is_clean());
        echo.await.unwrap();
    }
}

/// A reply does not cost a write each.
#[tokio::test]
async fn an_echo_with_feed_makes_one_write_for_each_read() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    let sixteen: Vec<u8> = (0..16).flat_map(|i| masked(1, &[b'a' + i])).collect();
    for round in 1..=3 {
        reads.put(&sixteen);
        for _ in 0..16 {
            let message = socket.recv().await.unwrap().unwrap();
            socket.feed(message).await.unwrap();
        }
        assert!(socket.recv().now_or_never().is_none());
        assert_eq!(writes.writes(), round);
        assert_eq!(frames(&writes.take()).len(), 16);
    }
}

/// §5.5.2: "as soon as is practical".
#[tokio::test]
async fn a_pong_is_on_the_wire_when_recv_event_gives_the_ping() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&masked(9, b"hi"));
    let event = socket.recv_event().await.unwrap();
    assert_eq!(event, Some(SocketEvent::Ping("hi".into())));
    assert_eq!(frames(&writes.take()), [(0x8a, b"hi".to_vec())]);
}

#[tokio::test]
async fn a_pong_is_on_the_wire_when_recv_gives_the_next_message() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&[masked(9, b"hi"), masked(1, b"m"), masked(1, b"n")].concat());
    assert_eq!(socket.recv().await.unwrap(), Some("m".into()));
    assert_eq!(frames(&writes.take()), [(0x8a, b"hi".to_vec())]);
}

#[tokio::test]
async fn a_pong_leaves_while_recv_waits_for_a_message() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&masked(9, b"hi"));
    assert!(socket.recv().now_or_never().is_none());
    assert_eq!(frames(&writes.take()), [(0x8a, b"hi".to_vec())]);
}

/// §5.5.1.
#[tokio::test]
async fn a_close_is_answered_on_the_wire_when_recv_event_gives_it() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&masked(8, &close_body(4001, "bye")));
    let event = socket.recv_event().await.unwrap();
    let frame = CloseFrame::new(CloseCode::new(4001), "bye");
    assert_eq!(event, Some(SocketEvent::Close(frame)));
    assert_eq!(frames(&writes.take()), [(0x88, close_body(4001, ""))]);
    reads.end();
    assert_eq!(socket.recv_event().await.unwrap(), None);
}

#[tokio::test]
async fn a_clean_close_gives_none_and_none_again() {
    let (mut socket, reads, _writes, _far) = server(Config::default());
    reads.put(&[masked(1, b"last"), masked(8, &close_body(1000, ""))].concat());
    reads.end();
    assert_eq!(socket.recv().await.unwrap(), Some("last".into()));
    assert_eq!(socket.recv().await.unwrap(), None);
    assert_eq!(socket.recv().await.unwrap(), None);
    assert_eq!(socket.recv_event().await.unwrap(), None);
    assert_eq!(socket.recv_fragment().await.unwrap(), None);
    assert!(matches!(
        socket.send("more").await,
        Err(Error::Send(SendError::Closed))
    ));
    socket.flush().await.unwrap();
}

/// X4 (server), C11 (server), §7.1.7: one event.
#[tokio::test]
async fn a_fault_is_reported_once_and_told_to_the_peer_once() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&[masked(1, b"good"), masked(1, b"\xff"), masked(1, b"more")].concat());
    reads.end();
    assert_eq!(socket.recv().await.unwrap(), Some("good".into()));
    assert!(matches!(socket.recv().await, Err(Error::Protocol(_))));
    assert_eq!(socket.recv().await.unwrap(), None);
    let reason = close_body(1007, "text is not valid UTF-8");
    assert_eq!(frames(&writes.take()), [(0x88, reason)]);
}

/// X4 (server), C7 (server), §7.1.5: an end without a Close.
#[tokio::test]
async fn a_stream_that_ends_without_a_close_is_a_loss_reported_once() {
    let in_the_middle: [&[u8]; 4] = [b"", b"\x81", b"\x81\x85\0\0\0\0he", b"\x01\x81\0\0\0\0h"];
    for bytes in in_the_middle {
        let (mut socket, reads, _writes, _far) = server(Config::default());
        reads.put(bytes);
        reads.end();
        assert!(matches!(socket.recv().await, Err(Error::ConnectionLost)));
        assert_eq!(socket.recv().await.unwrap(), None);
        assert_eq!(socket.close_info().unwrap().code(), CloseCode::ABNORMAL);
    }
}

#[tokio::test]
async fn recv_timeout_tells_silence_from_the_end() {
    tokio::time::pause();
    let (mut socket, reads, _writes, _far) = server(Config::default());
    let second = Duration::from_secs(1);
    assert!(matches!(
        socket.recv_timeout(second).await,
        Err(Error::RecvTimeout)
    ));
    reads.put(&masked(1, b"late"));
    assert_eq!(
        socket.recv_timeout(second).await.unwrap(),
        Some("late".into())
    );
    reads.end();
    assert!(matches!(
        socket.recv_timeout(second).await,
        Err(Error::ConnectionLost)
    ));
    assert_eq!(socket.recv_timeout(second).await.unwrap(), None);
}

#[tokio::test]
async fn recv_with_hands_out_what_lies_whole_in_the_input_without_a_copy() {
    let (mut socket, reads, _writes, _far) = server(Config::default());
    reads.put(&[masked(9, b"p"), masked(1, b"text"), masked(2, b"data")].concat());
    let borrowed = |event: Event<'_>| match event {
        Event::Text(Text::Borrowed(text)) => text.to_owned(),
        Event::Binary(Payload::Borrowed(bytes)) => format!("{bytes:?}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        socket.recv_with(borrowed).await.unwrap().as_deref(),
        Some("text")
    );
    assert_eq!(
        socket.recv_with(borrowed).await.unwrap().as_deref(),
        Some("[100, 97, 116, 97]")
    );
}

/// What was handed out is not handed out again, unmasked a second time, if that panicked.
#[tokio::test]
async fn a_message_whose_handler_panics_is_over() {
    let (mut socket, reads, _writes, _far) = server(Config::default());
    let numbers: Vec<u8> = (0..5).flat_map(|i| masked(2, &[i; 20])).collect();
    reads.put(&numbers);
    for _ in 0..2 {
        let panics = socket.recv_with(|_| panic!("on purpose"));
        assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
    }
    let panics = socket.recv_each(|event, _| assert!(matches!(event, Event::Text(_))));
    assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
    for i in 3..5 {
        let message = socket.recv().await.unwrap();
        assert_eq!(message, Some(Message::Binary(vec![i; 20].into())));
    }
}

fn echo(event: Event<'_>, answers: &mut Answers<'_>) {
    match event {
        Event::Text(Text::Borrowed(text)) => answers.send_text(text),
        Event::Binary(Payload::Borrowed(bytes)) => answers.send_binary(bytes),
        other => panic!("{other:?}"),
    }
    .unwrap();
}

#[tokio::test]
async fn recv_each_answers_all_that_one_read_brings_with_one_write() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    let sixteen: Vec<u8> = (0..16).flat_map(|i| masked(1, &[b'a' + i])).collect();
    for round in 1..=3 {
        reads.put(&[sixteen.clone(), masked(9, b"ping"), masked(2, b"last")].concat());
        assert!(socket.recv_each(echo).now_or_never().is_none());
        assert_eq!(writes.writes(), round);
        let wire = frames(&writes.take());
        assert_eq!(wire.len(), 18);
        assert_eq!(
            wire[15..],
            [
                (0x81, b"p".to_vec()),
                (0x8a, b"ping".to_vec()),
                (0x82, b"last".to_vec())
            ]
        );
    }
    reads.put(&masked(8, &close_body(1000, "")));
    reads.end();
    socket.recv_each(echo).await.unwrap();
    assert!(socket.close_info().unwrap().is_clean());
}

/// L3 (server): a peer that sends and does not read.
#[tokio::test]
async fn recv_each_takes_no_message_beyond_the_write_mark() {
    let (mut socket, reads, writes, _far) = server(Config::default().write_mark(10_000));
    writes.stall();
    for i in 0..100 {
        reads.put(&masked(2, &[i; 1_000]));
    }
    for _ in 0..3 {
        assert!(socket.recv_each(echo).now_or_never().is_none());
        let held = socket.connection().output_len();
        assert!((10_000..12_000).contains(&held), "{held}");
    }
    writes.resume();
    assert!(socket.recv_each(echo).now_or_never().is_none());
    let expected: Vec<Message> = (0..100).map(|i| vec![i; 1_000].into()).collect();
    assert_eq!(messages(Role::Client, writes.take()), expected);
}

#[tokio::test]
async fn a_handler_may_close_and_then_sends_no_more() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(
        &[
            masked(1, b"bye"),
            masked(1, b"late"),
            masked(8, &close_body(4000, "")),
        ]
        .concat(),
    );
    reads.end();
    let mut heard = Vec::new();
    let handled = socket.recv_each(|event, answers| {
        if let Event::Text(text) = event {
            let closed = answers.close(CloseCode::new(4000));
            let sent = answers.send_prepared(&PreparedMessage::new("never"));
            heard.push((text.to_string(), closed, sent));
        }
    });
    handled.await.unwrap();
    let refused = Err(SendError::Closed);
    let expected = [("bye", Ok(()), refused), ("late", Ok(()), refused)];
    assert_eq!(
        heard,
        expected.map(|(text, closed, sent)| (text.to_owned(), closed, sent))
    );
    assert_eq!(frames(&writes.take()), [(0x88, close_body(4000, ""))]);
}

#[tokio::test]
async fn it_is_a_stream_and_a_sink() {
    let (mut client, mut server) = both(ROOMY, Config::default());
    let sent: Vec<Message> = (0..10).map(|i| format!("{i}").into()).collect();
    client
        .send_all(&mut futures_util::stream::iter(sent.clone()).map(Ok))
        .await
        .unwrap();
    let serve = async {
        let got: Vec<Message> = server.by_ref().map(Result::unwrap).collect().await;
        assert!(server.is_terminated());
        got
    };
    let (closed, got) = tokio::join!(SinkExt::close(&mut client), serve);
    closed.unwrap();
    assert_eq!(got, sent);
    assert_eq!(client.close_info().unwrap().code(), CloseCode::NORMAL);
}

/// §5.5.2, §5.5.3.
#[tokio::test]
async fn ping_is_written_and_its_pong_is_an_event() {
    let (mut client, mut server) = both(ROOMY, Config::default());
    client.ping(b"there?").await.unwrap();
    let event = server.recv_event().await.unwrap();
    assert_eq!(event, Some(SocketEvent::Ping("there?".into())));
    let event = client.recv_event().await.unwrap();
    let pong = SocketEvent::Pong {
        payload: "there?".into(),
        round_trip: None,
    };
    assert_eq!(event, Some(pong));
    assert!(matches!(
        client.ping(&[0; 126]).await,
        Err(Error::Send(SendError::ControlFrameTooLong))
    ));
}

#[tokio::test]
async fn prepared_messages_are_the_same_on_the_wire() {
    let (mut socket, _reads, writes, _far) = server(Config::default());
    for message in [Message::from("small"), binary(70_000)] {
        let prepared = PreparedMessage::new(message.clone());
        let batch = PreparedBatch::new([&prepared, &prepared]);
        socket.feed_prepared(&prepared).await.unwrap();
        socket.feed(message.clone()).await.unwrap();
        socket.feed_batch(&batch).await.unwrap();
        socket.flush().await.unwrap();
        let sent = messages(Role::Client, writes.take());
        assert_eq!(sent, vec![message; 4]);
    }
}

/// L3 (server), O14 (server): what waits for a peer that does not read is bounded, and a feed waits.
#[tokio::test]
async fn feed_waits_beyond_the_write_mark() {
    let config = Config::default().write_mark(10_000);
    let (mut socket, _reads, writes, _far) = server(config);
    writes.stall();
    for _ in 0..10 {
        socket.feed(binary(1_000)).await.unwrap();
    }
    let held = socket.connection().output_len();
    assert!((10_000..12_000).contains(&held), "{held}");
    assert!(socket.feed(binary(1_000)).now_or_never().is_none());
    assert_eq!(
        socket.connection().output_len(),
        held,
        "a dropped feed added nothing"
    );
    writes.resume();
    socket.feed("after").await.unwrap();
    socket.flush().await.unwrap();
    assert_eq!(messages(Role::Client, writes.take()).len(), 11);
}

#[tokio::test]
async fn a_mark_of_zero_still_lets_one_message_in() {
    let (mut socket, _reads, writes, _far) = server(Config::default().write_mark(0));
    writes.stall();
    socket.feed("one").await.unwrap();
    assert!(socket.feed("two").now_or_never().is_none());
}

/// A peer that reads nothing may still send, and be answered later.
#[tokio::test]
async fn messages_are_taken_while_nothing_can_be_written() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    writes.stall();
    for i in 0..100 {
        reads.put(&[masked(9, b"ping"), masked(1, format!("{i}").as_bytes())].concat());
        let message = socket.recv().await.unwrap().unwrap();
        socket.feed(message).await.unwrap();
    }
    writes.resume();
    socket.flush().await.unwrap();
    let wire = frames(&writes.take());
    assert_eq!(wire.iter().filter(|frame| frame.0 == 0x8a).count(), 100);
    assert_eq!(wire.iter().filter(|frame| frame.0 == 0x81).count(), 100);
}

/// L2 (server), §5.5.3: Pongs that nobody reads do not pile up.
#[tokio::test]
async fn a_flood_of_pings_from_a_peer_that_does_not_read_takes_bounded_memory() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    writes.stall();
    let pings = masked(9, &[7; 125]).repeat(1_000);
    for _ in 0..20 {
        reads.put(&pings);
        while reads.len() > 0 {
            assert!(once(socket.recv()).await.is_pending());
        }
    }
    let held = socket.connection().output_len();
    assert!(held <= (64 << 10) + 127, "{held}");
}

/// L6: work for a peer that never stops is cut into turns.
#[tokio::test]
async fn a_flood_lets_other_tasks_run() {
    for frame in [
        masked(9, b""),
        masked(10, b""),
        masked(1, b"m"),
        masked(2, &[0; 4_000]),
    ] {
        let (mut socket, turns) = flooded(frame);
        let recv = async { while socket.recv().await.unwrap().is_some() {} };
        let mut recv = std::pin::pin!(recv);
        let mut bytes = 0;
        for _ in 0..3 {
            assert!(once(recv.as_mut()).await.is_pending(), "it yields");
            let read = turns.load(std::sync::atomic::Ordering::Relaxed);
            assert!(
                read - bytes <= 4 << 20,
                "{} bytes in one turn",
                read - bytes
            );
            bytes = read;
        }
    }
}

/// A socket whose peer sends the same frame for ever.
pub(super) fn flooded(
    frame: Vec<u8>,
) -> (
    WebSocket<Flood>,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    flooded_with(frame, Agreed::default())
}

pub(super) fn flooded_with(
    frame: Vec<u8>,
    agreed: Agreed,
) -> (
    WebSocket<Flood>,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    let count = std::sync::Arc::default();
    let flood = Flood {
        frame,
        read: std::sync::Arc::clone(&count),
    };
    let socket = WebSocket::new(flood, Role::Server, agreed, Config::default(), &[]);
    (socket, count)
}

/// Always has bytes to read, and takes all that is written.
pub(super) struct Flood {
    frame: Vec<u8>,
    read: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while buf.remaining() >= self.frame.len() {
            buf.put_slice(&self.frame);
        }
        self.read
            .fetch_add(buf.filled().len(), std::sync::atomic::Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A failed write does not take back what was read: the peer may have sent all it had and gone.
#[tokio::test]
async fn what_the_peer_sent_before_it_vanished_is_still_given() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&[masked(9, b""), masked(1, b"one"), masked(1, b"two")].concat());
    writes.reset();
    assert_eq!(socket.recv().await.unwrap(), Some("one".into()));
    socket.feed("answer").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some("two".into()));
    reads.put(&masked(1, b"three"));
    assert_eq!(socket.recv().await.unwrap(), Some("three".into()));
    reads.end();
    assert!(matches!(socket.recv().await, Err(Error::Io(_))));
    assert_eq!(socket.recv().await.unwrap(), None);
}

#[tokio::test]
async fn a_close_is_seen_although_it_cannot_be_answered() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    socket.feed("tick").await.unwrap();
    reads.put(&masked(8, &close_body(1001, "gone")));
    reads.end();
    writes.reset();
    assert!(socket.recv().await.is_err());
    let info = socket.close_info().unwrap();
    assert_eq!(
        (info.code(), info.reason()),
        (CloseCode::GOING_AWAY, "gone")
    );
    assert_eq!(socket.recv().await.unwrap(), None);
}

/// A half-closed peer that sent a message wants its answer.
#[tokio::test]
async fn what_was_fed_is_written_before_the_end_of_the_stream_is_read() {
    let (mut socket, reads, writes, _far) = server(Config::default());
    reads.put(&masked(1, b"question"));
    reads.end();
    let message = socket.recv().await.unwrap().unwrap();
    socket.feed(message).await.unwrap();
    assert!(matches!(socket.recv().await, Err(Error::ConnectionLost)));
    assert_eq!(
        messages(Role::Client, writes.take()),
        ["question".into()] as [Message; 1]
    );
}

#[tokio::test]
async fn a_write_that_fails_ends_send_and_flush_with_its_error_once() {
    let (mut socket, _reads, writes, _far) = server(Config::default());
    writes.reset();
    assert!(matches!(socket.send("a").await, Err(Error::Io(_))));
    assert_eq!(socket.state(), State::Closed);
    assert!(matches!(
        socket.send("b").await,
        Err(Error::Send(SendError::Closed))
    ));
    assert_eq!(socket.recv().await.unwrap(), None);
}

/// S28.
#[tokio::test]
async fn bytes_behind_the_handshake_are_the_first_frames() {
    let (near, _far) = pipe(ROOMY);
    let unread = [masked(1, b"early"), masked(1, b"bird")].concat();
    let (now, later) = unread.split_at(13);
    near.incoming().put(later);
    let mut socket = WebSocket::new(
        near,
        Role::Server,
        Agreed::default(),
        Config::default(),
        now,
    );
    assert_eq!(socket.recv().await.unwrap(), Some("early".into()));
    assert_eq!(socket.recv().await.unwrap(), Some("bird".into()));
}

/// F3, F4, §5.1: who is client and who is server decides about the mask.
#[tokio::test]
async fn a_client_refuses_masked_frames_and_a_server_unmasked_ones() {
    for (role, frame) in [
        (Role::Client, masked(1, b"x")),
        (Role::Server, plain(0x81, b"x")),
    ] {
        let (near, _far) = pipe(ROOMY);
        near.incoming().put(&frame);
        near.incoming().end();
        let mut socket = socket(near, role, Config::default());
        assert!(matches!(socket.recv().await, Err(Error::Protocol(_))));
    }
}

#[test]
fn futures_and_sockets_can_be_moved_to_other_threads() {
    fn is_send(_: impl Send) {}
    let (mut client, server) = both(ROOMY, Config::default());
    is_send(client.recv());
    is_send(client.send("x"));
    is_send(client.close(None));
    is_send(wsroom::connect("ws://localhost/"));
    is_send(server);
}
