//! The futures that have a socket of the system: clients that connect, and the small server.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;
use wsroom::net::{Arrival, Server, connect_with};
use wsroom::{Config, Error, HandshakeError, Upgrade, WebSocket, accept, connect};

use super::super::once;
use super::cut;
use super::opening::{Answer, refusal};

/// A client that drops its handshake ends the connection, if there was one.
pub(super) async fn connecting(with: bool, polls: usize) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut socket) = accept(stream).await else {
            return false;
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

pub(super) async fn binding(polls: usize) -> bool {
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
pub(super) async fn arriving(answer: Answer, polls: usize) -> bool {
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
        Err(Error::Handshake(HandshakeError::Refused(_))) => "refused".to_owned(),
        Err(_) => "nothing".to_owned(),
    }
}

/// A server that is dropped has let go of its port and of every connection.
pub(super) async fn serving(until: bool, polls: usize) -> bool {
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

/// The same for a future that nothing wakes at last: it is polled every few milliseconds.
async fn cut_in_time<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = once(future.as_mut()).await {
            return Some(output);
        }
        sleep(Duration::from_millis(3)).await;
    }
    None
}
