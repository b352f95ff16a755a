//! A `WebSocket`'s futures.

use std::time::Duration;

use wsroom::frame::OpCode;
use wsroom::net::{Answers, SocketEvent};
use wsroom::protocol::PreparedBatch;
use wsroom::{
    CloseCode, CloseInfo, Config, Error, Event, Fragment, Message, PreparedMessage, Role,
    SendError, Session, WebSocket,
};

use super::super::cancel::joined;
use super::super::pipe::Chopped;
use super::super::{binary, pipe, socket};
use super::cut;

/// How messages are taken.
#[derive(Clone, Copy)]
pub(super) enum Take {
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
pub(super) fn spoken() -> Vec<Message> {
    vec![
        "ä".repeat(350).into(),
        "".into(),
        vec![7; 126].into(),
        vec![8; 3_000].into(),
        "end".into(),
    ]
}

/// The end under test, whose output and pipe are soon full, and its peer.
pub(super) fn ends(seed: u64) -> (WebSocket<Chopped>, WebSocket<Chopped>) {
    let (near, far) = pipe(300);
    let config = Config::default().write_mark(400);
    (
        socket(near.chopped(seed), Role::Server, config),
        socket(far.chopped(seed ^ 0xff), Role::Client, config),
    )
}

pub(super) async fn speak(mut peer: WebSocket<Chopped>) -> CloseInfo {
    for message in spoken() {
        peer.ping(b"there?").await.unwrap();
        peer.send(message).await.unwrap();
    }
    peer.close(CloseCode::NORMAL).await.unwrap()
}

/// Drops one call, with some messages taken before; all others run to their end.
pub(super) async fn taking(take: Take, before: usize, polls: usize, seed: u64) -> bool {
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
                    got.push(joined(&std::mem::take(&mut pieces)));
                }
            }
        }
    }
    assert_eq!(got, spoken());
    assert!(speaking.await.unwrap().is_clean());
    is_done
}

/// Drops one call that answers a conversation; another answers the rest.
pub(super) async fn answered(polls: usize, seed: u64) -> bool {
    let (mut near, far) = ends(seed);
    let talking = tokio::spawn(async move {
        let mut peer = Session::spawn(far);
        for message in spoken() {
            peer.send(message).await.unwrap();
        }
        let mut heard = Vec::new();
        while heard.len() < spoken().len() {
            heard.push(peer.recv().await.unwrap().unwrap());
        }
        assert!(peer.close(CloseCode::NORMAL).await.unwrap().is_clean());
        heard
    });
    let echo = |event: Event<'_>, answers: &mut Answers<'_>| match event {
        Event::Text(text) => answers.send(text).unwrap(),
        Event::Binary(payload) => answers.send(payload).unwrap(),
        _ => unreachable!("messages only"),
    };
    let first = cut(polls, near.recv_each(echo)).await;
    let is_done = first.transpose().unwrap().is_some();
    near.recv_each(echo).await.unwrap();
    assert_eq!(talking.await.unwrap(), spoken());
    is_done
}

/// What is put in.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Put {
    Send,
    Feed,
    Text,
    Binary,
    Prepared,
    Batch,
    Fragment,
    Flush,
    Ping,
    Close,
}

/// Drops one call while the output is above its mark.
pub(super) async fn sending(put: Put, polls: usize, seed: u64) -> bool {
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
        Put::Batch => cut(polls, near.feed_batch(&PreparedBatch::new(["cut"]))).await,
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
pub(super) async fn hear(mut socket: WebSocket<Chopped>) -> Vec<String> {
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
