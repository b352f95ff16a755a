//! Every future of the adapter may be dropped at any time: each is polled a few times, dropped and
//! called again, over streams that cut and pause at random. Nothing is lost, doubled or torn.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use tokio::task::yield_now;
use wsroom::frame::OpCode;
use wsroom::net::SocketEvent;
use wsroom::outbox::OutboxLimits;
use wsroom::{Agreed, CloseCode, CloseFrame, Config, Fragment, Message, Role, Session, WebSocket};

use super::pipe::{Chance, Chopped};
use super::{messages, once, pipe, socket};

const SEEDS: u64 = 12;
const COUNT: usize = 60;

/// Polls a future up to `polls` times, then drops it.
pub(super) async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        Poll::Pending
    })
    .await
}

/// The same for a future that may wait for what only the caller can do: polled in turn with all
/// other tasks, whether it was woken or not.
async fn in_turn<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=polls {
        if let Poll::Ready(output) = once(future.as_mut()).await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

fn message(i: usize) -> Message {
    let len = [0, 1, 30, 125, 126, 700][i % 6];
    let text = format!("{i} {}", "x".repeat(len));
    if i.is_multiple_of(2) {
        text.into()
    } else {
        text.into_bytes().into()
    }
}

fn all() -> Vec<Message> {
    (0..COUNT).map(message).collect()
}

fn chopped(seed: u64) -> (WebSocket<Chopped>, WebSocket<Chopped>) {
    let (near, far) = pipe(300);
    let config = Config::default().write_mark(400);
    (
        socket(near.chopped(seed), Role::Client, config),
        socket(far.chopped(seed ^ 0xff), Role::Server, config),
    )
}

/// Takes all messages without ever being dropped.
async fn drain(mut socket: WebSocket<Chopped>) -> Vec<Message> {
    let mut got = Vec::new();
    while let Some(message) = socket.recv().await.unwrap() {
        got.push(message);
    }
    got
}

#[tokio::test(start_paused = true)]
async fn recv_in_any_form_may_be_dropped_anywhere() {
    for seed in 0..SEEDS {
        let (mut client, mut server) = chopped(seed);
        let sending = tokio::spawn(async move {
            for (i, message) in all().into_iter().enumerate() {
                if i % 3 == 0 {
                    client.ping(b"p").await.unwrap();
                }
                client.send(message).await.unwrap();
            }
            client
                .close(CloseFrame::from(CloseCode::NORMAL))
                .await
                .unwrap()
        });
        let mut chance = Chance::new(seed);
        let mut got = Vec::new();
        loop {
            let polls = chance.below(4);
            let received = match chance.below(3) {
                0 => at_most(polls, server.recv()).await,
                1 => {
                    let copied = server.recv_with(|event| match event {
                        wsroom::Event::Text(text) => Message::from(text),
                        wsroom::Event::Binary(payload) => Message::from(payload),
                        _ => unreachable!(),
                    });
                    at_most(polls, copied).await
                }
                _ => match at_most(polls, server.recv_event()).await {
                    Some(Ok(Some(SocketEvent::Message(message)))) => Some(Ok(Some(message))),
                    Some(Ok(None)) => Some(Ok(None)),
                    Some(Ok(Some(_))) | None => None,
                    Some(Err(error)) => panic!("{error}"),
                },
            };
            match received {
                Some(Ok(Some(message))) => got.push(message),
                Some(ended) => break assert!(ended.unwrap().is_none()),
                None => {}
            }
        }
        assert_eq!(got, all(), "seed {seed}");
        drop(server);
        assert!(sending.await.unwrap().is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn recv_fragment_may_be_dropped_anywhere() {
    for seed in 0..SEEDS {
        let (mut client, mut server) = chopped(seed);
        let sending = tokio::spawn(async move {
            for message in all() {
                client.send(message).await.unwrap();
            }
            client.close(None).await.unwrap()
        });
        let mut chance = Chance::new(seed);
        let mut got = Vec::new();
        let mut pieces = Vec::new();
        loop {
            match at_most(chance.below(4), server.recv_fragment()).await {
                None => {}
                Some(ended @ (Ok(None) | Err(_))) => break assert!(ended.unwrap().is_none()),
                Some(Ok(Some(piece))) => {
                    let begins = piece.opcode != OpCode::Continuation;
                    assert_eq!(begins, pieces.is_empty());
                    let fin = piece.fin;
                    pieces.push(piece);
                    if fin {
                        got.push(joined(&std::mem::take(&mut pieces)));
                    }
                }
            }
        }
        assert_eq!(got, all(), "seed {seed}");
        drop(server);
        sending.await.unwrap();
    }
}

pub(super) fn joined(pieces: &[Fragment]) -> Message {
    let bytes: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| piece.payload.to_vec())
        .collect();
    match pieces[0].opcode {
        OpCode::Text => String::from_utf8(bytes).unwrap().into(),
        _ => bytes.into(),
    }
}

/// O15 (client): A message is accepted when its feed is done, or when a dropped send has put it in:
/// the peer gets those and no other, in order.
#[tokio::test(start_paused = true)]
async fn send_feed_flush_and_ping_may_be_dropped_anywhere() {
    for seed in 0..SEEDS {
        let (mut client, server) = chopped(seed);
        let receiving = tokio::spawn(drain(server));
        let mut chance = Chance::new(seed);
        let mut accepted = Vec::new();
        for message in all() {
            let polls = chance.below(5);
            match chance.below(4) {
                0 => {
                    if let Some(fed) = at_most(polls, client.feed(message.clone())).await {
                        fed.unwrap();
                        accepted.push(message);
                    }
                }
                1 => {
                    // Whether a dropped send has put it in shows in the output: it waits at most
                    // for room first.
                    let before = client.connection().output_len();
                    if before > 400 {
                        continue;
                    }
                    if let Some(sent) = at_most(polls, client.send(message.clone())).await {
                        sent.unwrap();
                    }
                    accepted.push(message);
                }
                2 => drop(at_most(polls, client.flush()).await),
                _ => drop(at_most(polls, client.ping(b"ping")).await),
            }
        }
        let info = loop {
            let closing = client.close(CloseFrame::from(CloseCode::NORMAL));
            if let Some(info) = at_most(chance.below(4), closing).await {
                break info.unwrap();
            }
        };
        assert!(info.is_clean());
        assert_eq!(receiving.await.unwrap(), accepted, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_may_be_fed_by_futures_that_are_dropped() {
    for seed in 0..SEEDS {
        let (mut client, server) = chopped(seed);
        let receiving = tokio::spawn(drain(server));
        let mut chance = Chance::new(seed);
        for message in all() {
            let payload = message.clone().into_bytes();
            let middle = chance.below(payload.len() + 1);
            let opcode = if message.is_text() {
                OpCode::Text
            } else {
                OpCode::Binary
            };
            for (opcode, fin, payload) in [
                (opcode, false, payload.slice(..middle)),
                (OpCode::Continuation, true, payload.slice(middle..)),
            ] {
                let piece = Fragment {
                    opcode,
                    fin,
                    payload,
                };
                // A dropped call has not put it in.
                loop {
                    let feed = client.feed_fragment(&piece);
                    if let Some(fed) = at_most(chance.below(3), feed).await {
                        break fed.unwrap();
                    }
                }
            }
        }
        client.close(None).await.unwrap();
        assert_eq!(receiving.await.unwrap(), all(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn futures_of_a_session_and_its_outbox_may_be_dropped_anywhere() {
    for seed in 0..SEEDS {
        let (near, far) = pipe(300);
        let config = Config::default().write_mark(400);
        let near = socket(near.chopped(seed), Role::Client, config);
        let limits = OutboxLimits::default().max_messages(3);
        let mut session = Session::spawn_with(
            near,
            wsroom::net::SessionConfig::default()
                .outbox(limits)
                .inbox_messages(2),
        );
        let mut server = socket(far.chopped(seed ^ 0xff), Role::Server, config);
        // Echoes all of it.
        let echoing = tokio::spawn(async move {
            let mut got = Vec::new();
            while let Some(message) = server.recv().await.unwrap() {
                got.push(message.clone());
                server.feed(message).await.unwrap();
            }
            got
        });
        let outbox = session.outbox().clone();
        let mut chance = Chance::new(seed);
        let (mut accepted, mut back) = (0, Vec::new());
        while back.len() < COUNT {
            let polls = chance.below(4);
            if accepted < COUNT && chance.below(2) == 0 {
                let next = message(accepted);
                let queued = match chance.below(2) {
                    0 => in_turn(polls, outbox.send(next)).await,
                    _ => in_turn(polls, session.send(next)).await,
                };
                if let Some(queued) = queued {
                    queued.unwrap();
                    accepted += 1;
                }
            } else if let Some(message) = in_turn(polls, session.recv()).await {
                back.push(message.unwrap().unwrap());
            }
            if chance.below(5) == 0 {
                assert!(in_turn(polls, session.closed()).await.is_none());
            }
        }
        assert_eq!(back, all(), "seed {seed}");
        let info = loop {
            if let Some(info) = at_most(chance.below(4), session.close(None)).await {
                break info.unwrap();
            }
        };
        assert!(info.is_clean());
        assert_eq!(echoing.await.unwrap(), all(), "seed {seed}");
    }
}

/// A dropped `Outbox::send` has put its message in or has not, and never twice; a dropped `flush`
/// changes nothing.
#[tokio::test(start_paused = true)]
async fn send_of_an_outbox_may_be_dropped_anywhere() {
    for seed in 0..SEEDS {
        let (near, far) = pipe(300);
        let near = socket(near.chopped(seed), Role::Client, Config::default());
        let session = Session::spawn(near);
        let receiving = tokio::spawn(drain(socket(far, Role::Server, Config::default())));
        let mut chance = Chance::new(seed);
        for message in all() {
            // There is room, so that the first poll puts it in.
            let sent = async {
                session.send(message).await?;
                session.flush().await
            };
            if let Some(sent) = at_most(chance.below(6), sent).await {
                sent.unwrap();
            }
        }
        assert!(session.close(None).await.unwrap().is_clean());
        assert_eq!(receiving.await.unwrap(), all(), "seed {seed}");
    }
}

/// O15 (server): between polls the wire holds whole frames only, or the front of one that goes on later.
#[tokio::test(start_paused = true)]
async fn what_was_written_by_dropped_futures_decodes_to_what_was_accepted() {
    for seed in 0..SEEDS {
        let (near, _far) = pipe(usize::MAX);
        let writes = near.outgoing();
        let mut socket = WebSocket::new(
            near.chopped(seed),
            Role::Server,
            Agreed::default(),
            Config::default(),
            &[],
        );
        for i in 0..COUNT {
            let payload = Bytes::from(vec![i as u8; 5_000]);
            drop(at_most(2, socket.send(payload)).await);
        }
        socket.flush().await.unwrap();
        let got = messages(Role::Client, writes.take());
        let sent: Vec<Message> = (0..COUNT).map(|i| vec![i as u8; 5_000].into()).collect();
        // The last ones may have waited for room when they were dropped.
        assert!(!got.is_empty());
        let mut rest = sent.iter();
        for message in &got {
            assert!(rest.any(|sent| sent == message), "in order and once");
        }
    }
}
