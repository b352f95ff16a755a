//! The opening handshake over streams (§4).

use std::time::Duration;

use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use wsroom::net::{connect_over, connect_with};
use wsroom::{Config, Error, HandshakeError, Incoming, Message, Role, Upgrade, WebSocket};

use super::pipe::{Chopped, Lane};
use super::{ROOMY, masked, messages, pipe, plain};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\n";

/// A valid request (§1.2).
fn request() -> Vec<u8> {
    b"GET /chat?room=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
      Sec-WebSocket-Protocol: chat\r\n\r\n"
        .to_vec()
}

/// A stream that carries this to a server, and what the server writes.
fn carrying(bytes: &[u8]) -> (Chopped, Lane, Lane, Chopped) {
    let (near, far) = pipe(ROOMY);
    let (reads, writes) = (near.incoming(), near.outgoing());
    reads.put(bytes);
    (near, reads, writes, far)
}

async fn accept(stream: Chopped) -> Result<WebSocket<Chopped>, Error> {
    wsroom::accept(stream).await
}

fn status(error: &Error) -> u16 {
    match error {
        Error::Handshake(error) => error.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// S28: frames in the packet of the request.
#[tokio::test(start_paused = true)]
async fn a_request_is_accepted_in_two_steps_with_a_wait_between_them() {
    let bytes = [request(), masked(1, b"early")].concat();
    let (stream, reads, writes, _far) = carrying(&bytes);
    let upgrade = Upgrade::default().protocols(["chat"]);
    let incoming = Incoming::read(stream, &upgrade).await.unwrap();
    assert_eq!(incoming.request().uri().query(), Some("room=1"));
    assert_eq!(incoming.request().headers()["host"], "localhost");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(writes.len(), 0);
    let upgrade = upgrade.header("X-Room", "1");
    let accepted = incoming.accept(&upgrade, Config::default()).await;
    let mut socket = accepted.unwrap();
    assert_eq!(socket.protocol(), Some("chat"));
    let answer = text(writes.take());
    assert!(answer.starts_with(ACCEPTED), "{answer}");
    assert!(answer.to_lowercase().contains("x-room: 1\r\n"));
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(socket.recv().await.unwrap(), Some("early".into()));
    reads.put(&masked(1, b"later"));
    assert_eq!(socket.recv().await.unwrap(), Some("later".into()));
}

/// S23, S29.
#[tokio::test(start_paused = true)]
async fn a_request_is_rejected_with_any_response_and_the_connection_ended() {
    let (stream, reads, writes, _far) = carrying(&request());
    let start = Instant::now();
    let incoming = Incoming::read(stream, &Upgrade::default()).await.unwrap();
    let response = Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header("WWW-Authenticate", "Bearer")
        .body("who are you?")
        .unwrap();
    let rejecting = tokio::spawn(async move { incoming.reject(&response).await });
    tokio::task::yield_now().await;
    assert!(writes.is_ended(), "the end follows the response at once");
    // Whatever comes now is neither answered nor a reason to reset the connection.
    reads.put(&request());
    rejecting.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    let answer = text(writes.take());
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nwho are you?"));
    assert!(answer.to_lowercase().contains("connection: close\r\n"));
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
}

/// S1, S13, S17, S29: each fault with its status, once, whatever is pipelined behind it.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_for_a_websocket_is_answered_once_with_its_status() {
    let valid = text(request());
    for (bad, expected) in [
        (valid.replace("GET", "POST"), 405),
        (valid.replace("Upgrade: websocket", "Upgrade: h2c"), 426),
        (valid.replace("Version: 13", "Version: 12"), 426),
        (valid.replace("Host: localhost\r\n", ""), 400),
        (valid.replace("HTTP/1.1", "HTTP/1.0"), 505),
        ("hello there\r\n\r\n".into(), 400),
        (valid.replace("localhost", "local\x01host"), 400),
        (valid.replace("localhost", &"a".repeat(20_000)), 431),
    ] {
        let bytes = format!("{bad}{bad}{valid}");
        let (stream, reads, writes, _far) = carrying(bytes.as_bytes());
        reads.end();
        let error = accept(stream.chopped(1)).await.unwrap_err();
        assert_eq!(status(&error), expected, "{bad}");
        let answer = text(writes.take());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{answer}"
        );
        assert_eq!(answer.to_lowercase().matches("connection: ").count(), 1);
        assert!(writes.is_ended());
    }
}

/// S25: one deadline for the whole head, not for each read.
#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_a_second_is_refused_after_10_seconds() {
    let (stream, reads, writes, _far) = carrying(b"");
    let start = Instant::now();
    let dripping = tokio::spawn(async move {
        for byte in request() {
            reads.put(&[byte]);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let error = accept(stream).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(status(&error), 408);
    // A second more for the peer to read the refusal.
    assert_eq!(start.elapsed(), Duration::from_secs(11));
    assert!(text(writes.take()).starts_with("HTTP/1.1 408 "));
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_is_no_request() {
    let (stream, reads, writes, _far) = carrying(b"");
    reads.end();
    assert!(matches!(accept(stream).await, Err(Error::ConnectionLost)));
    assert_eq!(writes.len(), 0, "nobody asked for anything");

    let (stream, reads, _writes, _far) = carrying(&request()[..50]);
    reads.end();
    let error = accept(stream).await.unwrap_err();
    assert!(matches!(error, Error::Handshake(HandshakeError::Truncated)));
}

/// Why the request was refused is known, be the refusal read or not.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_before_its_refusal_is_still_refused_for_its_fault() {
    for bytes in [
        &b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01",
        b"GET / HT",
    ] {
        let (stream, reads, writes, _far) = carrying(bytes);
        reads.end();
        writes.reset();
        let error = accept(stream).await.unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    }
}

/// A client over the stream, and the far end with the request read off.
async fn connecting(
    upgrade: Upgrade,
) -> (
    tokio::task::JoinHandle<Result<WebSocket<Chopped>, Error>>,
    Chopped,
    http::Request<()>,
) {
    let (near, mut far) = pipe(ROOMY);
    let connecting = tokio::spawn(async move {
        let opened = connect_over(near, "ws://localhost/chat", &upgrade, Config::default());
        opened.await.map(|(socket, _)| socket)
    });
    let mut head = wsroom::handshake::RequestHead::new(&Upgrade::default());
    let mut byte = [0];
    let request = loop {
        far.read_exact(&mut byte).await.unwrap();
        if let Some(request) = head.receive(&mut &byte[..]).unwrap() {
            break request;
        }
    };
    (connecting, far, request)
}

fn refused(error: Error) -> Response<bytes::Bytes> {
    match error {
        Error::Handshake(HandshakeError::Refused(response)) => *response,
        other => panic!("{other:?}"),
    }
}

/// A2, A10: frames in the packet of the 101, and interim responses before it.
#[tokio::test(start_paused = true)]
async fn frames_behind_the_101_are_kept() {
    let (connecting, mut far, request) = connecting(Upgrade::default()).await;
    let (response, _) = Upgrade::default().accept(&request).unwrap();
    let mut answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec();
    answer.extend(wsroom::handshake::encode_accepted(&request, &response));
    answer.extend([plain(0x81, b"one"), plain(0x81, b"two")].concat());
    far.write_all(&answer).await.unwrap();
    let mut client = connecting.await.unwrap().unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("one".into()));
    assert_eq!(client.recv().await.unwrap(), Some("two".into()));
    client.send("back").await.unwrap();
    let mut wire = vec![0; 10];
    far.read_exact(&mut wire).await.unwrap();
    assert_eq!(messages(Role::Server, wire), [Message::from("back")]);
}

/// A1: status, headers and content of a refusal, however the content comes.
#[tokio::test(start_paused = true)]
async fn a_client_gets_the_status_headers_and_content_of_a_refusal() {
    let late = [
        (&b"Content-Length: 6\r\n\r\n"[..], &b"sorry!"[..]),
        (
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nsor",
            b"\r\n3\r\nry!\r\n0\r\n\r\n",
        ),
        (b"\r\n", b"sorry!"),
    ];
    for (head, rest) in late {
        let (connecting, mut far, _) = connecting(Upgrade::default()).await;
        far.write_all(b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\n")
            .await
            .unwrap();
        far.write_all(head).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        far.write_all(rest).await.unwrap();
        // Without a length the content ends with the stream, or does not: two seconds are enough.
        let response = refused(connecting.await.unwrap().unwrap_err());
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["x-why"], "because");
        assert_eq!(&response.body()[..], b"sorry!");
    }
}

/// A1.
#[tokio::test(start_paused = true)]
async fn a_refusal_whose_content_never_ends_is_cut() {
    for (limit, seconds) in [(64, 0), (1 << 20, 2)] {
        let upgrade = Upgrade::default().max_error_body_size(limit);
        let (connecting, mut far, _) = connecting(upgrade).await;
        let start = Instant::now();
        far.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await.unwrap();
        let endless = tokio::spawn(async move {
            while far.write_all(&[b'x'; 100]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let response = refused(connecting.await.unwrap().unwrap_err());
        assert_eq!(start.elapsed(), Duration::from_secs(seconds));
        assert!((64..=2_100).contains(&response.body().len()));
        endless.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_none_fails_the_handshake() {
    for (answer, expected) in [
        (&b"SSH-2.0-OpenSSH_9\r\n"[..], "NotHttp"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Upgrade"),
        (b"HTTP/1.1 10", "Truncated"),
        (b"", "Truncated"),
    ] {
        let (connecting, mut far, _) = connecting(Upgrade::default()).await;
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let Err(Error::Handshake(error)) = connecting.await.unwrap() else {
            panic!("{answer:?} is an answer")
        };
        assert!(format!("{error:?}").contains(expected), "{error:?}");
    }
}

/// A12.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_after_10_seconds() {
    let (connecting, mut far, _) = connecting(Upgrade::default()).await;
    let start = Instant::now();
    let dripping = tokio::spawn(async move {
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" {
            let _ = far.write_all(&[*byte]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let error = connecting.await.unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    dripping.abort();
}

#[tokio::test]
async fn connect_says_what_is_wrong_before_it_connects() {
    let error = wsroom::connect("wss://localhost/").await.unwrap_err();
    assert!(matches!(error, Error::TlsNeeded));
    for url in [
        "http://localhost/",
        "ws://",
        "ws://localhost/#a",
        "nonsense",
    ] {
        let error = wsroom::connect(url).await.unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{url}: {error:?}");
    }
    // Taken, so that nobody else listens there.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = wsroom::connect(&format!("ws://{address}/"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_and_a_server_meet_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let upgrade = Upgrade::default().protocols(["b", "a"]);
        let incoming = Incoming::read(stream, &upgrade).await.unwrap();
        let mut socket = incoming.accept(&upgrade, Config::default()).await.unwrap();
        let message = socket.recv().await.unwrap().unwrap();
        socket.send(message).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), None);
    });
    let upgrade = Upgrade::default().protocols(["a", "b"]);
    let url = format!("ws://{address}/path");
    let (mut client, response) = connect_with(&url, &upgrade, Config::default())
        .await
        .unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(client.protocol(), Some("b"), "the server's preference");
    assert!(client.get_ref().nodelay().unwrap());
    client.send("hello").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("hello".into()));
    assert!(client.close(None).await.unwrap().is_clean());
    serving.await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_read_over_tcp_although_the_request_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        wsroom::accept(stream).await.unwrap_err()
    });
    let mut peer = tokio::net::TcpStream::connect(address).await.unwrap();
    peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
        .await
        .unwrap();
    peer.write_all(&[b'x'; 300_000]).await.unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    drop(peer);
    assert!(text(answer).starts_with("HTTP/1.1 405 "));
    assert_eq!(status(&serving.await.unwrap()), 405);
}

/// The future of a task that serves a connection must not keep the buffers of its handshake.
#[tokio::test]
async fn the_futures_of_a_handshake_are_small() {
    let (near, far) = tokio::io::duplex(64);
    let upgrade = Upgrade::default();
    let accepting = size_of_val(&wsroom::accept(near));
    let connecting = connect_over(far, "ws://localhost/", &upgrade, Config::default());
    let connecting = size_of_val(&connecting);
    println!("accept {accepting}, connect_over {connecting} bytes");
    assert!(accepting < 4_096 && connecting < 4_096);
}
