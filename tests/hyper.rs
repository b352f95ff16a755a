//! The upgrade of hyper's requests, with real servers and clients.
#![cfg(feature = "hyper")]

mod common {
    pub(crate) mod early;
    pub(crate) mod http;
}

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use common::early::assert_early_frames_are_kept;
use common::http as raw;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;
use wsroom::net::connect_with;
use wsroom::net::hyper::{UpgradedSocket, upgrade};
use wsroom::{Config, Error, HandshakeError, Message, Upgrade};

#[tokio::test]
async fn an_upgraded_connection_speaks_with_our_client() {
    let address = serve(Upgrade::default().protocols(["echo"])).await;
    let offer = Upgrade::default().protocols(["other", "echo"]);

    let (mut socket, _) = connect_with(&format!("ws://{address}/"), &offer, Config::default())
        .await
        .unwrap();
    socket.send("hello").await.unwrap();

    assert_eq!(socket.protocol(), Some("echo"));
    assert_eq!(socket.recv().await.unwrap(), Some(Message::from("hello")));
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_speaks_with_a_foreign_client() {
    let address = serve(Upgrade::default()).await;

    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/"))
        .await
        .unwrap();
    socket
        .send(tungstenite::Message::text("hello"))
        .await
        .unwrap();

    let received = socket.next().await.unwrap().unwrap();
    assert_eq!(received, tungstenite::Message::text("hello"));
    socket.close(None).await.unwrap();
    while let Some(frame) = socket.next().await {
        assert!(frame.unwrap().is_close());
    }
}

/// S28.
#[tokio::test]
async fn frames_in_the_packet_of_the_request_are_kept() {
    let address = serve(Upgrade::default()).await;

    assert_early_frames_are_kept(address).await;
}

/// S1, S2, S13, S17, S21, W3.
#[tokio::test]
async fn each_refusal_has_its_status_on_the_wire() {
    let address = serve(Upgrade::default().same_origin()).await;
    let good = raw::request("/", &[]);
    let cases = [
        (good.replace("Upgrade: websocket\r\n", ""), 426),
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("Sec-WebSocket-Key", "X-Key"), 400),
        (good.replace("GET", "POST"), 405),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 505),
        (
            raw::request("/", &["Origin: https://elsewhere.example"]),
            403,
        ),
        (good, 101),
    ];
    for (request, expected) in cases {
        let (status, head, _) = raw::send(address, request.as_bytes()).await;
        assert_eq!(status, expected, "{request}");
        let names_version = head.contains("sec-websocket-version: 13\r\n");
        assert_eq!(names_version, status == 426, "{head}");
        assert_eq!(head.contains("allow: get\r\n"), status == 405, "{head}");
    }
}

#[tokio::test]
async fn the_future_fails_if_the_client_goes_away_first() {
    let (mut client, mut outcomes) = never_answer();

    client
        .write_all(raw::request("/", &[]).as_bytes())
        .await
        .unwrap();
    drop(client);

    let failure = outcomes.recv().await.unwrap();
    assert!(matches!(failure, Err(Error::Io(_))), "{failure:?}");
}

#[tokio::test]
async fn a_future_that_is_dropped_closes_the_connection_behind_the_response() {
    for polls in 0..2 {
        let address = serve_with(move |request| {
            let accepted = upgrade(request, &Upgrade::default(), Config::default());
            let (response, mut upgrading) = accepted.unwrap();
            if polls > 0 {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(Pin::new(&mut upgrading).poll(&mut cx).is_pending());
            }
            response.map(|()| String::new())
        })
        .await;

        let request = raw::request("/", &[]);
        let (status, _, mut stream) = raw::send(address, request.as_bytes()).await;
        let mut frames = Vec::new();
        stream.read_to_end(&mut frames).await.unwrap();

        assert_eq!(status, 101);
        assert!(frames.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_handover_has_a_deadline() {
    let (mut client, mut outcomes) = never_answer();
    let began = tokio::time::Instant::now();

    client
        .write_all(raw::request("/", &[]).as_bytes())
        .await
        .unwrap();

    let failure = outcomes.recv().await.unwrap();
    assert!(
        matches!(failure, Err(Error::Handshake(HandshakeError::TimedOut))),
        "{failure:?}"
    );
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_request_that_is_not_from_hyper_is_refused_as_the_servers_fault() {
    let mut request = Request::get("/")
        .header("Host", "server.example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .body(())
        .unwrap();

    let refused = upgrade(&mut request, &Upgrade::default(), Config::default());

    let error = refused.unwrap_err();
    assert!(matches!(error, HandshakeError::NotUpgradable));
    assert_eq!(error.status(), 500);
}

#[tokio::test]
async fn a_refused_connection_is_closed_by_the_server() {
    let address = serve(Upgrade::default()).await;

    let (status, _, mut stream) = raw::send(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut content = String::new();
    stream.read_to_string(&mut content).await.unwrap();

    assert_eq!(status, 426);
    assert_eq!(
        content,
        "request does not ask for an upgrade to websocket\n"
    );
}

/// A client of a service that is asked for an upgrade and never answers, and what comes of it.
fn never_answer() -> (
    DuplexStream,
    mpsc::UnboundedReceiver<Result<UpgradedSocket, Error>>,
) {
    let (client, server) = tokio::io::duplex(4096);
    let (outcome, outcomes) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (_, upgrading) = upgrade(&mut request, &Upgrade::default(), Config::default()).unwrap();
        let outcome = outcome.clone();
        tokio::spawn(async move { outcome.send(upgrading.await) });
        std::future::pending::<Result<Response<String>, Infallible>>()
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(connection.with_upgrades());
    (client, outcomes)
}

/// An echo server.
async fn serve(accepted: Upgrade) -> SocketAddr {
    serve_with(
        move |request| match upgrade(request, &accepted, Config::default()) {
            Ok((response, upgrading)) => {
                tokio::spawn(async move { echo(upgrading.await?).await });
                response.map(|()| String::new())
            }
            Err(error) => error.response(),
        },
    )
    .await
}

async fn echo(mut socket: UpgradedSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn serve_with<F>(respond: F) -> SocketAddr
where
    F: Fn(&mut Request<Incoming>) -> Response<String> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let respond = Arc::new(respond);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let respond = Arc::clone(&respond);
            let service = service_fn(move |mut request| {
                let response = respond(&mut request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}
