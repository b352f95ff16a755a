//! What is logged, and what never is.
#![cfg(all(feature = "tokio", feature = "tracing"))]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;
use wsroom::net::connect_over;
use wsroom::{CloseCode, CloseFrame, Config, Error, Incoming, Upgrade, WebSocket};

/// C12.
#[tokio::test]
async fn a_connection_is_logged_without_its_payloads() {
    let log = Log::default();
    let _logging = log.start();
    let (mut client, mut server) = pair().await;

    client.send("secret text").await.unwrap();
    server.recv().await.unwrap();
    server.send(b"secret bytes".as_slice()).await.unwrap();
    client.recv().await.unwrap();
    client.ping(b"secret ping").await.unwrap();
    let close = CloseFrame::new(CloseCode::new(4000), "bye\nforged line");
    let (closed, received) = tokio::join!(client.close(close), server.recv());

    closed.unwrap();
    assert_eq!(received.unwrap(), None);
    let text = log.text();
    assert_eq!(text.matches("connection opened").count(), 2, "{text}");
    assert_eq!(text.matches("connection ended").count(), 2, "{text}");
    assert!(text.contains(r#"closed by the peer, sent 4000, received 4000 "bye\nforged line""#));
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_fault_is_logged_without_the_frame() {
    let log = Log::default();
    let _logging = log.start();
    let (client, stream) = tokio::io::duplex(4096);
    let mut server = WebSocket::new(
        stream,
        wsroom::Role::Server,
        wsroom::Agreed::default(),
        Config::default(),
        b"\x81\x06secret",
    );
    drop(client);

    assert!(matches!(server.recv().await, Err(Error::Protocol(_))));

    let text = log.text();
    assert_eq!(text.matches("connection ended").count(), 1, "{text}");
    assert!(text.contains("frame of a client is not masked"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_refused_request_is_logged_with_its_status_only() {
    let log = Log::default();
    let _logging = log.start();

    let answer = ask("GET /secret HTTP/1.1\r\nHost: secret\r\nCookie: secret\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    let answer = ask("GET /secret HTTP/1.1\r\nHost : secret\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = ask("GET /closed HTTP/1.1\r\nHost: secret\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");

    let text = log.text();
    let [first, second, third] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    assert!(first.contains("handshake refused status=426"), "{first}");
    assert!(second.contains("handshake refused status=400"), "{second}");
    assert!(third.contains("status=403"), "{third}");
    assert!(!text.contains("secret"), "{text}");
}

/// The answer of a server that accepts any path but one.
async fn ask(request: &str) -> String {
    let (mut client, stream) = tokio::io::duplex(4096);
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let upgrade = Upgrade::default();
    if let Ok(incoming) = Incoming::read(stream, &upgrade).await {
        if incoming.request().uri().path() == "/closed" {
            let mut response = Response::new("");
            *response.status_mut() = StatusCode::FORBIDDEN;
            incoming.reject(&response).await.unwrap();
        } else {
            incoming
                .accept(&upgrade, Config::default())
                .await
                .unwrap_err();
        }
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn pair() -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(4096);
    let upgrade = Upgrade::default();
    let (client, server) = tokio::join!(
        connect_over(client, "ws://localhost/", &upgrade, Config::default()),
        wsroom::accept(server),
    );
    (client.unwrap().0, server.unwrap())
}

/// Collects what this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start(&self) -> impl Sized + use<> {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .set_default()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
