//! Every public future, dropped at every await point: before it is polled, after one poll, after
//! two, and so on until it is done, over streams that cut and pause. What it was called on is used
//! again afterwards: nothing is lost, doubled, torn or stuck. What owned a stream has dropped it,
//! which its peer sees.
//!
//! `cancel.rs` drops them one after another at random.

use std::collections::BTreeSet;
use std::fs;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use wsroom::frame::OpCode;
use wsroom::net::{
    Arrival, Server, SessionConfig, SocketEvent, accept_with, connect_over, connect_with,
};
use wsroom::outbox::OutboxLimits;
use wsroom::protocol::CloseInfo;
use wsroom::{
    CloseCode, CloseFrame, Config, Error, Event, Fragment, Incoming, Message, PreparedMessage,
    Role, SendError, Session, Upgrade, WebSocket, accept, connect,
};

use super::pipe::Chopped;
use super::{binary, masked, pipe, socket};

/// A future polled so often at most, then dropped, over streams cut by a seed. Says whether it was
/// done.
type Case = fn(usize, u64) -> Pin<Box<dyn Future<Output = bool>>>;

/// A case of each future over streams in memory.
const IN_MEMORY: [(&str, Case); 31] = [
    ("outbox::closed", |n, seed| {
        Box::pin(closed(On::Outbox, n, seed))
    }),
    ("outbox::flush", |n, seed| {
        Box::pin(flush(On::Outbox, n, seed))
    }),
    ("outbox::send", |n, seed| {
        Box::pin(send(On::Outbox, n, seed))
    }),
    ("client::connect_over", |n, seed| {
        Box::pin(offering(n, seed))
    }),
    ("server::accept", |n, seed| {
        Box::pin(answering(Answer::Accept, n, seed))
    }),
    ("server::accept", |n, seed| {
        Box::pin(answering(Answer::IncomingAccept, n, seed))
    }),
    ("server::accept_with", |n, seed| {
        Box::pin(answering(Answer::AcceptWith, n, seed))
    }),
    ("server::read", |n, seed| {
        Box::pin(answering(Answer::IncomingRead, n, seed))
    }),
    ("server::reject", |n, seed| {
        Box::pin(answering(Answer::IncomingReject, n, seed))
    }),
    ("session::close", |n, seed| Box::pin(close(n, seed))),
    ("session::closed", |n, seed| {
        Box::pin(closed(On::Session, n, seed))
    }),
    ("session::flush", |n, seed| {
        Box::pin(flush(On::Session, n, seed))
    }),
    ("session::recv", |n, seed| {
        Box::pin(inbox(Take::Recv, n, seed))
    }),
    ("session::recv_timeout", |n, seed| {
        Box::pin(inbox(Take::RecvTimeout, n, seed))
    }),
    ("session::send", |n, seed| {
        Box::pin(send(On::Session, n, seed))
    }),
    ("websocket::close", |n, seed| {
        Box::pin(sending(Put::Close, n, seed))
    }),
    ("websocket::feed", |n, seed| {
        Box::pin(sending(Put::Feed, n, seed))
    }),
    ("websocket::feed_binary", |n, seed| {
        Box::pin(sending(Put::Binary, n, seed))
    }),
    ("websocket::feed_fragment", |n, seed| {
        Box::pin(sending(Put::Fragment, n, seed))
    }),
    ("websocket::feed_prepared", |n, seed| {
        Box::pin(sending(Put::Prepared, n, seed))
    }),
    ("websocket::feed_text", |n, seed| {
        Box::pin(sending(Put::Text, n, seed))
    }),
    ("websocket::flush", |n, seed| {
        Box::pin(sending(Put::Flush, n, seed))
    }),
    ("websocket::ping", |n, seed| {
        Box::pin(sending(Put::Ping, n, seed))
    }),
    ("websocket::recv", |n, seed| {
        Box::pin(taking(Take::Recv, 0, n, seed))
    }),
    ("websocket::recv", |n, seed| {
        Box::pin(taking(Take::Recv, 2, n, seed))
    }),
    ("websocket::recv_event", |n, seed| {
        Box::pin(taking(Take::RecvEvent, 2, n, seed))
    }),
    ("websocket::recv_fragment", |n, seed| {
        Box::pin(taking(Take::RecvFragment, 0, n, seed))
    }),
    ("websocket::recv_fragment", |n, seed| {
        Box::pin(taking(Take::RecvFragment, 3, n, seed))
    }),
    ("websocket::recv_timeout", |n, seed| {
        Box::pin(taking(Take::RecvTimeout, 1, n, seed))
    }),
    ("websocket::recv_with", |n, seed| {
        Box::pin(taking(Take::RecvWith, 2, n, seed))
    }),
    ("websocket::send", |n, seed| {
        Box::pin(sending(Put::Send, n, seed))
    }),
];

/// A case of each future that has a socket of the system.
const OVER_TCP: [(&str, Case); 8] = [
    ("client::connect", |n, _| Box::pin(connecting(false, n))),
    ("client::connect_with", |n, _| Box::pin(connecting(true, n))),
    ("listener::accept", |n, _| {
        Box::pin(arriving(Answer::Accept, n))
    }),
    ("listener::accept_with", |n, _| {
        Box::pin(arriving(Answer::AcceptWith, n))
    }),
    ("listener::bind", |n, _| Box::pin(binding(n))),
    ("listener::reject", |n, _| {
        Box::pin(arriving(Answer::IncomingReject, n))
    }),
    ("listener::serve", |n, _| Box::pin(serving(false, n))),
    ("listener::serve_until", |n, _| Box::pin(serving(true, n))),
];

/// Those of other features, and where they are dropped.
const ELSEWHERE: [&str; 1] = [
    // tests/hyper.rs
    "hyper::Upgrading",
];

/// A new public future needs a case, and has to say what a dropped call leaves behind.
#[test]
fn every_public_future_has_a_case_and_says_what_a_dropped_call_leaves_behind() {
    let mut found = BTreeSet::new();
    let mut unsaid = Vec::new();
    for (module, text) in sources() {
        for future in public_futures(&text) {
            let name = format!("{module}::{}", future.name);
            if !future.docs.contains("# Cancel safety") {
                unsaid.push(name.clone());
            }
            found.insert(name);
        }
    }
    let cases = IN_MEMORY.iter().chain(&OVER_TCP).map(|(name, _)| *name);
    let cases: BTreeSet<_> = cases.chain(ELSEWHERE).map(String::from).collect();
    assert_eq!(found, cases);
    assert_eq!(unsaid, [""; 0], "no section `Cancel safety`");
}

#[tokio::test(start_paused = true)]
async fn a_future_over_a_stream_may_be_dropped_at_every_await_point() {
    let mut points = 0;
    for (name, case) in IN_MEMORY {
        for seed in 0..12 {
            points += until_done(name, case, seed).await;
        }
    }
    assert!(points > 3_000, "{points}");
}

#[tokio::test]
async fn a_future_with_a_socket_may_be_dropped_at_every_await_point() {
    for (name, case) in OVER_TCP {
        until_done(name, case, 0).await;
    }
}

/// Drops the future of a case one poll later each time, until it is done; gives how often.
async fn until_done(name: &str, case: Case, seed: u64) -> usize {
    for polls in 0..1_000 {
        let run = timeout(Duration::from_secs(1_000), case(polls, seed));
        let run = Named {
            run: Box::pin(run),
            name,
            polls,
            seed,
        };
        match run.await {
            Ok(true) => return polls,
            Ok(false) => {}
            Err(_) => panic!("{name} is stuck: seed {seed}, dropped after {polls} polls"),
        }
    }
    panic!("{name} is never done: seed {seed}");
}

/// Says which case it is if it panics.
struct Named<'a, F> {
    run: Pin<Box<F>>,
    name: &'a str,
    polls: usize,
    seed: u64,
}

impl<F: Future> Future for Named<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl<F> Drop for Named<'_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                name, polls, seed, ..
            } = self;
            eprintln!("{name}, dropped after {polls} polls, seed {seed}");
        }
    }
}

/// Polls a future so often at most, then drops it.
async fn cut<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The same for a future that nothing wakes at last: it is polled every few milliseconds.
async fn cut_in_time<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = super::once(future.as_mut()).await {
            return Some(output);
        }
        sleep(Duration::from_millis(3)).await;
    }
    None
}

/// How messages are taken.
#[derive(Clone, Copy)]
enum Take {
    Recv,
    RecvTimeout,
    RecvEvent,
    RecvWith,
    RecvFragment,
}

/// What was taken.
enum Taken {
    Message(Message),
    Piece(Fragment),
    Control,
}

impl Take {
    async fn call(
        self,
        socket: &mut WebSocket<Chopped>,
        polls: usize,
    ) -> Option<Result<Option<Taken>, Error>> {
        let whole = |taken: Option<Message>| taken.map(Taken::Message);
        match self {
            Self::Recv => {
                let received = cut(polls, socket.recv()).await;
                received.map(|received| received.map(whole))
            }
            Self::RecvTimeout => {
                let received = cut(polls, socket.recv_timeout(Duration::from_secs(60))).await;
                received.map(|received| received.map(whole))
            }
            Self::RecvEvent => {
                let received = cut(polls, socket.recv_event()).await?;
                Some(received.map(|event| {
                    event.map(|event| match event {
                        SocketEvent::Message(message) => Taken::Message(message),
                        _ => Taken::Control,
                    })
                }))
            }
            Self::RecvWith => {
                let received = socket.recv_with(|event| match event {
                    Event::Text(text) => text.into(),
                    Event::Binary(payload) => payload.into(),
                    _ => unreachable!("messages only"),
                });
                let received = cut(polls, received).await;
                received.map(|received| received.map(whole))
            }
            Self::RecvFragment => {
                let received = cut(polls, socket.recv_fragment()).await;
                received.map(|received| received.map(|piece| piece.map(Taken::Piece)))
            }
        }
    }
}

/// A conversation to take messages from.
fn spoken() -> Vec<Message> {
    vec![
        "ä".repeat(350).into(),
        "".into(),
        vec![7; 126].into(),
        vec![8; 3_000].into(),
        "end".into(),
    ]
}

/// The end under test, whose output and pipe are soon full, and its peer.
fn ends(seed: u64) -> (WebSocket<Chopped>, WebSocket<Chopped>) {
    let (near, far) = pipe(300);
    let config = Config::default().write_mark(400);
    (
        socket(near.chopped(seed), Role::Server, config),
        socket(far.chopped(seed ^ 0xff), Role::Client, config),
    )
}

async fn speak(mut peer: WebSocket<Chopped>) -> CloseInfo {
    for message in spoken() {
        peer.ping(b"there?").await.unwrap();
        peer.send(message).await.unwrap();
    }
    peer.close(CloseCode::NORMAL).await.unwrap()
}

/// Drops one call, with some messages taken before; all others run to their end.
async fn taking(take: Take, before: usize, polls: usize, seed: u64) -> bool {
    let (mut near, far) = ends(seed);
    let speaking = tokio::spawn(speak(far));
    let (mut got, mut pieces, mut calls) = (Vec::new(), Vec::new(), 0);
    let mut is_done = false;
    loop {
        let is_cut = calls == before;
        calls += 1;
        let taken = take.call(&mut near, if is_cut { polls } else { usize::MAX });
        let taken = taken.await;
        is_done |= is_cut && taken.is_some();
        match taken.transpose().unwrap() {
            None => {}
            Some(None) => break,
            Some(Some(Taken::Control)) => {}
            Some(Some(Taken::Message(message))) => got.push(message),
            Some(Some(Taken::Piece(piece))) => {
                let is_last = piece.fin;
                pieces.push(piece);
                if is_last {
                    got.push(super::cancel::joined(&std::mem::take(&mut pieces)));
                }
            }
        }
    }
    assert_eq!(got, spoken());
    assert!(speaking.await.unwrap().is_clean());
    is_done
}

/// What is put in.
#[derive(Clone, Copy, PartialEq)]
enum Put {
    Send,
    Feed,
    Text,
    Binary,
    Prepared,
    Fragment,
    Flush,
    Ping,
    Close,
}

/// Drops one call while the output is above its mark.
async fn sending(put: Put, polls: usize, seed: u64) -> bool {
    let (mut near, far) = ends(seed);
    let hearing = tokio::spawn(hear(far));
    near.feed(binary(2_000)).await.unwrap();
    let piece = |opcode, fin, payload: &'static str| Fragment {
        opcode,
        fin,
        payload: payload.into(),
    };
    let beginning = piece(OpCode::Text, false, "c");
    let result = match put {
        Put::Send => cut(polls, near.send("cut")).await,
        Put::Feed => cut(polls, near.feed("cut")).await,
        Put::Text => cut(polls, near.feed_text("cut")).await,
        Put::Binary => cut(polls, near.feed_binary(b"cut")).await,
        Put::Prepared => cut(polls, near.feed_prepared(&PreparedMessage::new("cut"))).await,
        Put::Fragment => cut(polls, near.feed_fragment(&beginning)).await,
        Put::Flush => cut(polls, near.flush()).await,
        Put::Ping => cut(polls, near.ping(b"cut")).await,
        Put::Close => {
            let closed = cut(polls, near.close(CloseCode::NORMAL)).await;
            closed.map(|closed| closed.map(drop))
        }
    };
    let is_done = result.transpose().unwrap().is_some();
    if put == Put::Fragment {
        // Where it was dropped it has not begun a message, and may be called again.
        if !is_done {
            near.feed_fragment(&beginning).await.unwrap();
        }
        let rest = piece(OpCode::Continuation, true, "ut");
        near.feed_fragment(&rest).await.unwrap();
    }
    let after = near.feed("after").await;
    let has_closed = put == Put::Close && polls > 0;
    assert_eq!(
        matches!(after, Err(Error::Send(SendError::Closed))),
        has_closed
    );
    let info = near.close(CloseCode::NORMAL).await.unwrap();
    assert!(info.is_clean());

    let heard = hearing.await.unwrap();
    let count = |wanted: &str| heard.iter().filter(|heard| *heard == wanted).count();
    let is_in = count(if put == Put::Ping { "ping" } else { "cut" });
    match put {
        Put::Flush | Put::Close => assert_eq!(is_in, 0),
        Put::Fragment => assert_eq!(is_in, 1),
        // These put in first and write then.
        Put::Send | Put::Ping => assert!(is_in <= 1 && (is_in == 1 || !is_done)),
        _ => assert_eq!(is_in, usize::from(is_done)),
    }
    let mut expected = vec!["2000 bytes"];
    expected.extend((is_in == 1).then_some(if put == Put::Ping { "ping" } else { "cut" }));
    expected.extend((!has_closed).then_some("after"));
    // A Ping may overtake messages that wait, but no frame is torn.
    if put == Put::Ping {
        expected.sort_unstable();
        let mut heard = heard.clone();
        heard.sort_unstable();
        assert_eq!(heard, expected);
    } else {
        assert_eq!(heard, expected);
    }
    is_done
}

/// Takes all that comes.
async fn hear(mut socket: WebSocket<Chopped>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(event) = socket.recv_event().await.unwrap() {
        match event {
            SocketEvent::Message(message) if message.len() == 2_000 => {
                assert_eq!(message, binary(2_000));
                heard.push("2000 bytes".to_owned());
            }
            SocketEvent::Message(message) => {
                heard.push(str::from_utf8(message.as_bytes()).unwrap().to_owned());
            }
            SocketEvent::Ping(payload) if payload == "cut" => heard.push("ping".to_owned()),
            _ => {}
        }
    }
    heard
}

/// Which end of a session is asked.
#[derive(Clone, Copy)]
enum On {
    Session,
    Outbox,
}

/// A session that has room for one message in either direction, and its peer.
fn narrow(seed: u64) -> (Session, WebSocket<Chopped>) {
    let (near, far) = ends(seed);
    let config = SessionConfig::default()
        .outbox(OutboxLimits::default().max_messages(1))
        .inbox_messages(1);
    (Session::spawn_with(near, config), far)
}

async fn send(on: On, polls: usize, seed: u64) -> bool {
    let (session, far) = narrow(seed);
    let hearing = tokio::spawn(hear(far));
    session.send(binary(2_000)).await.unwrap();
    session.send("fills it").await.unwrap();
    let sent = match on {
        On::Session => cut(polls, session.send("cut")).await,
        On::Outbox => cut(polls, session.outbox().send("cut")).await,
    };
    let is_done = sent.transpose().unwrap().is_some();
    session.send("after").await.unwrap();
    let info = session.close(CloseFrame::from(CloseCode::NORMAL)).await;
    assert!(info.unwrap().is_clean());
    let mut expected = vec!["2000 bytes", "fills it"];
    expected.extend(is_done.then_some("cut"));
    expected.push("after");
    assert_eq!(hearing.await.unwrap(), expected);
    is_done
}

async fn flush(on: On, polls: usize, seed: u64) -> bool {
    let (session, far) = narrow(seed);
    let hearing = tokio::spawn(hear(far));
    session.send(binary(2_000)).await.unwrap();
    let flushed = match on {
        On::Session => cut(polls, session.flush()).await,
        On::Outbox => cut(polls, session.outbox().flush()).await,
    };
    let is_done = flushed.transpose().unwrap().is_some();
    session.send("after").await.unwrap();
    session.flush().await.unwrap();
    assert!(session.close(None).await.unwrap().is_clean());
    assert_eq!(hearing.await.unwrap(), ["2000 bytes", "after"]);
    is_done
}

async fn close(polls: usize, seed: u64) -> bool {
    let (session, far) = narrow(seed);
    let hearing = tokio::spawn(hear(far));
    session.send(binary(2_000)).await.unwrap();
    let closed = cut(polls, session.close(CloseFrame::from(CloseCode::NORMAL))).await;
    let is_done = closed.is_some();
    let has_begun = polls > 0;
    assert_eq!(session.send("after").await.is_err(), has_begun);
    let info = session.close(CloseFrame::from(CloseCode::NORMAL)).await;
    assert!(info.unwrap().is_clean());
    let after = (!has_begun).then_some("after");
    let expected: Vec<_> = ["2000 bytes"].into_iter().chain(after).collect();
    assert_eq!(hearing.await.unwrap(), expected);
    is_done
}

async fn closed(on: On, polls: usize, seed: u64) -> bool {
    let (session, mut far) = narrow(seed);
    let closing = tokio::spawn(async move { far.close(CloseCode::new(4000)).await.unwrap() });
    let ended = match on {
        On::Session => cut(polls, session.closed()).await,
        On::Outbox => cut(polls, session.outbox().closed()).await,
    };
    let info = session.closed().await.unwrap();
    assert_eq!((info.is_clean(), info.code()), (true, CloseCode::new(4000)));
    assert!(ended.as_ref().is_none_or(|ended| *ended == Some(info)));
    assert!(closing.await.unwrap().is_clean());
    ended.is_some()
}

async fn inbox(take: Take, polls: usize, seed: u64) -> bool {
    let (mut session, far) = narrow(seed);
    let speaking = tokio::spawn(speak(far));
    let mut got = Vec::new();
    let taken = match take {
        Take::RecvTimeout => cut(polls, session.recv_timeout(Duration::from_secs(60))).await,
        _ => cut(polls, session.recv()).await,
    };
    let is_done = taken.is_some();
    got.extend(taken.transpose().unwrap().flatten());
    while let Some(message) = session.recv().await.unwrap() {
        got.push(message);
    }
    assert_eq!(got, spoken());
    assert!(speaking.await.unwrap().is_clean());
    is_done
}

/// How a request is answered.
#[derive(Clone, Copy)]
enum Answer {
    Accept,
    AcceptWith,
    IncomingRead,
    IncomingAccept,
    IncomingReject,
}

/// A server that drops its handshake drops the stream: its peer gets the front part of the answer at
/// most, and then the end.
async fn answering(answer: Answer, polls: usize, seed: u64) -> bool {
    let (near, mut far) = pipe(64);
    let near = near.chopped(seed);
    let request = Upgrade::default()
        .offer("ws://localhost/")
        .unwrap()
        .encode();
    let peer = tokio::spawn(async move {
        let _ = far.write_all(&request).await;
        let _ = far.write_all(&masked(1, b"first")).await;
        let mut answer = Vec::new();
        let _ = far.read_to_end(&mut answer).await;
        answer
    });
    let upgrade = Upgrade::default();
    let config = Config::default();
    // None if it was dropped, then the socket if there is one.
    let opened: Option<Option<WebSocket<Chopped>>> = match answer {
        Answer::Accept => cut(polls, accept(near)).await.map(Result::ok),
        Answer::AcceptWith => {
            let accepted = cut(polls, accept_with(near, &upgrade, config)).await;
            accepted.map(Result::ok)
        }
        Answer::IncomingRead => match cut(polls, Incoming::read(near, &upgrade)).await {
            None => None,
            Some(incoming) => {
                let socket = incoming.unwrap().accept(&upgrade, config).await;
                Some(socket.ok())
            }
        },
        Answer::IncomingAccept => {
            let incoming = Incoming::read(near, &upgrade).await.unwrap();
            let accepted = cut(polls, incoming.accept(&upgrade, config)).await;
            accepted.map(Result::ok)
        }
        Answer::IncomingReject => {
            let incoming = Incoming::read(near, &upgrade).await.unwrap();
            let rejected = cut(polls, incoming.reject(&refusal())).await;
            rejected.map(|rejected| {
                rejected.unwrap();
                None
            })
        }
    };
    let is_done = opened.is_some();
    if let Some(Some(mut socket)) = opened {
        assert_eq!(socket.recv().await.unwrap(), Some("first".into()));
    }
    let answered = peer.await.unwrap();
    let expected: &[u8] = match answer {
        Answer::IncomingReject => b"HTTP/1.1 403 ",
        _ => b"HTTP/1.1 101 ",
    };
    let compared = answered.len().min(expected.len());
    assert_eq!(answered[..compared], expected[..compared]);
    assert!(!is_done || compared == expected.len());
    is_done
}

fn refusal() -> Response<&'static str> {
    Response::builder().status(403).body("no").unwrap()
}

async fn offering(polls: usize, seed: u64) -> bool {
    let (near, far) = pipe(64);
    let near = near.chopped(seed);
    let far = far.chopped(seed ^ 0xff);
    let accepting = tokio::spawn(accept(far));
    let upgrade = Upgrade::default();
    let connecting = connect_over(near, "ws://localhost/", &upgrade, Config::default());
    let connected = cut(polls, connecting).await;
    let is_done = connected.is_some();
    match (connected, accepting.await.unwrap()) {
        (Some(connected), accepted) => {
            let (mut client, mut server) = (connected.unwrap().0, accepted.unwrap());
            client.send("open").await.unwrap();
            assert_eq!(server.recv().await.unwrap(), Some("open".into()));
        }
        // It had read all that was said to it.
        (None, Ok(mut server)) => assert!(server.recv().await.is_err()),
        (None, Err(error)) => assert!(
            matches!(
                error,
                Error::ConnectionLost | Error::Handshake(_) | Error::Io(_)
            ),
            "{error:?}"
        ),
    }
    is_done
}

/// A client that drops its handshake ends the connection, if there was one.
async fn connecting(with: bool, polls: usize) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = match accept(stream).await {
            Ok(socket) => socket,
            Err(_) => return false,
        };
        matches!(socket.recv().await, Ok(Some(_)))
    });
    let connected = match with {
        false => cut(polls, connect(&url)).await,
        true => {
            let upgrade = Upgrade::default();
            let connected = cut(polls, connect_with(&url, &upgrade, Config::default())).await;
            connected.map(|connected| connected.map(|(socket, _)| socket))
        }
    };
    let Some(socket) = connected else {
        // If the connection was not made, the server waits for one still.
        drop(TcpStream::connect(&url[5..url.len() - 1]).await);
        assert!(!serving.await.unwrap());
        return false;
    };
    socket.unwrap().send("open").await.unwrap();
    assert!(serving.await.unwrap());
    true
}

async fn binding(polls: usize) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bound = cut(polls, Server::bind(address)).await;
    let is_done = bound.is_some();
    drop(bound);
    assert!(Server::bind(address).await.is_ok(), "nobody listens");
    is_done
}

/// A handler that drops the answer closes the connection, and gives its place to the next one.
async fn arriving(answer: Answer, polls: usize) -> bool {
    let done = Arc::new(AtomicUsize::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let server = Server::bind("127.0.0.1:0").await.unwrap().max_handshakes(1);
    let address = server.local_addr().unwrap();
    let ended = Arc::new(Notify::new());
    let handler = {
        let (done, calls, ended) = (Arc::clone(&done), Arc::clone(&calls), Arc::clone(&ended));
        move |arrival: Arrival| {
            let (done, calls, ended) = (Arc::clone(&done), Arc::clone(&calls), Arc::clone(&ended));
            async move {
                // The second client is not dropped.
                let polls = match calls.fetch_add(1, Ordering::SeqCst) {
                    0 => polls,
                    _ => usize::MAX,
                };
                let upgrade = arrival.upgrade().clone();
                let is_done = match answer {
                    Answer::IncomingReject => {
                        let refusal = refusal();
                        cut(polls, arrival.reject(&refusal)).await.is_some()
                    }
                    Answer::AcceptWith => {
                        let accepting = arrival.accept_with(&upgrade, Config::default());
                        greet(cut(polls, accepting).await).await
                    }
                    _ => greet(cut(polls, arrival.accept()).await).await,
                };
                done.fetch_add(usize::from(is_done), Ordering::SeqCst);
                ended.notify_one();
            }
        }
    };
    let serving = tokio::spawn(server.serve(handler));
    let first = visit(address).await;
    ended.notified().await;
    let second = visit(address).await;
    ended.notified().await;
    serving.abort();
    let done = done.load(Ordering::SeqCst);
    let rejects = matches!(answer, Answer::IncomingReject);
    assert_eq!(second, if rejects { "refused" } else { "hello" });
    assert!(done == 1 || done == 2);
    assert!(done == 2 || first != "hello");
    done == 2
}

async fn greet(accepted: Option<Result<WebSocket<TcpStream>, Error>>) -> bool {
    let Some(accepted) = accepted else {
        return false;
    };
    accepted.unwrap().send("hello").await.unwrap();
    true
}

/// What a client hears.
async fn visit(address: SocketAddr) -> String {
    match connect(&format!("ws://{address}/")).await {
        Ok(mut socket) => match socket.recv().await {
            Ok(Some(message)) => message.as_text().unwrap().to_owned(),
            ended => format!("{ended:?}"),
        },
        Err(Error::Handshake(wsroom::HandshakeError::Refused(_))) => "refused".to_owned(),
        Err(_) => "nothing".to_owned(),
    }
}

/// A server that is dropped has let go of its port and of every connection.
async fn serving(until: bool, polls: usize) -> bool {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let started = Arc::new(Notify::new());
    let handler = {
        let (running, started) = (Arc::clone(&running), Arc::clone(&started));
        move |arrival: Arrival| {
            running.fetch_add(1, Ordering::SeqCst);
            let guard = Running(Arc::clone(&running));
            started.notify_one();
            async move {
                let _guard = guard;
                let mut socket = arrival.accept().await?;
                while socket.recv().await?.is_some() {}
                Ok::<(), Error>(())
            }
        }
    };
    let client = tokio::spawn(visit(address));
    let served = match until {
        false => cut_in_time(polls, server.serve(handler)).await.map(|()| 0),
        // From the first connection on it waits for the handlers.
        true => cut_in_time(polls, server.serve_until(started.notified(), handler)).await,
    };
    assert!(served.is_none(), "the client stays");
    assert_ne!(client.await.unwrap(), "hello");
    while running.load(Ordering::SeqCst) > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(TcpListener::bind(address).await.is_ok(), "nobody listens");
    // It is never done: after so many polls it has accepted, called and waited.
    polls == 12
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The sources whose futures users see, by module.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = ["net", "rooms"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let files = folders
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    files
        .chain([root.join("outbox.rs")])
        .map(|path| {
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (module, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

struct PublicFuture {
    name: String,
    docs: String,
}

/// Public functions that are asynchronous or give a future, and public types that are one.
fn public_futures(text: &str) -> Vec<PublicFuture> {
    let mut futures = Vec::new();
    let mut docs = String::new();
    let mut documented: Vec<(String, String)> = Vec::new();
    let lines: Vec<_> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let line = line.trim();
        if line.starts_with("///") {
            docs.push_str(line);
            docs.push('\n');
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let docs = std::mem::take(&mut docs);
        let head: String = lines[number..]
            .iter()
            .flat_map(|line| [line.split("//").next().unwrap(), " "])
            .collect();
        let head = head.split(['{', ';']).next().unwrap();
        if let Some(name) = after(line, "pub async fn ") {
            futures.push(PublicFuture { name, docs });
        } else if let Some(name) = after(line, "pub fn ") {
            let gives = head.split("->").last().unwrap();
            if gives.contains("impl Future") || gives.contains("dyn Future") {
                futures.push(PublicFuture { name, docs });
            }
        } else if let Some(name) = after(line, "pub struct ") {
            documented.push((name, docs));
        } else if line.starts_with("impl") && head.contains("Future for ") {
            let name = after(head.split("Future for ").last().unwrap(), "").unwrap();
            if let Some((name, docs)) = documented.iter().find(|(known, _)| *known == name) {
                let (name, docs) = (name.clone(), docs.clone());
                futures.push(PublicFuture { name, docs });
            }
        }
    }
    futures
}

/// The name that follows `start`.
fn after(line: &str, start: &str) -> Option<String> {
    let rest = line.strip_prefix(start)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

#[test]
fn public_futures_are_found_in_every_form() {
    let text = "/// # Cancel safety\npub async fn a(&self) {}\n\
                pub fn b<B>(\n    x: u8,\n) -> impl Future<Output = B>\nwhere\n    B: Sized,\n{\n}\n\
                pub fn c(shutdown: impl Future) -> u8 {}\nasync fn private() {}\n\
                pub(super) async fn inner() {}\n/// D.\n#[must_use]\npub struct D {}\n\
                impl Future for D {\n";
    let found: Vec<_> = public_futures(text)
        .into_iter()
        .map(|future| (future.name, future.docs.len() > 5))
        .collect();
    let expected = [("a", true), ("b", false), ("D", true)];
    assert_eq!(found, expected.map(|(name, has)| (name.to_owned(), has)));
}
