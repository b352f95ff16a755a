//! The futures of the opening handshake, over streams in memory.

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsroom::net::{accept_with, connect_over};
use wsroom::{Config, Error, Incoming, Upgrade, WebSocket, accept};

use super::super::pipe::Chopped;
use super::super::{masked, pipe};
use super::cut;

/// How a request is answered.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Accept,
    AcceptWith,
    IncomingRead,
    IncomingAccept,
    IncomingReject,
}

/// A server that drops its handshake drops the stream: its peer gets the front part of the answer at
/// most, and then the end.
pub(super) async fn answering(answer: Answer, polls: usize, seed: u64) -> bool {
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

pub(super) fn refusal() -> Response<&'static str> {
    Response::builder().status(403).body("no").unwrap()
}

pub(super) async fn offering(polls: usize, seed: u64) -> bool {
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
