//! Hostile peers over real sockets: requests that smuggle or inject, pages of other sites, servers
//! that answer wrongly, and streams that end at any time.
#![cfg(feature = "tokio")]

mod common {
    pub(crate) mod http;
}

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::http::request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wsroom::net::{Arrival, Server, accept_with, connect_over, connect_with};
use wsroom::{Agreed, CloseCode, CloseFrame, Config, Error, Role, Upgrade, WebSocket, connect};

/// S7 to S12, S15, S16, S26, S29: whatever could be two requests to one reader and one to another
/// is refused once, and nothing behind it is answered.
#[tokio::test]
async fn a_request_that_smuggles_gets_one_refusal_and_the_end() {
    let (address, calls) = serve(Upgrade::default()).await;
    let good = request("/", &[]);
    let with = |line: &str| request("/", &[line]);
    let shapes = [
        with("Content-Length: 5"),
        with("Content-Length: 0\r\nContent-Length: 0"),
        with("Content-Length: 0, 0"),
        with("Content-Length: +0"),
        with("Content-Length: 00"),
        with("Content-Length: 0x0"),
        with("Content-Length: "),
        with("Transfer-Encoding: chunked"),
        with("Transfer-Encoding: identity"),
        with("Transfer-Encoding: "),
        with("Transfer-Encoding : chunked"),
        with("Transfer-Encoding:\x0bchunked"),
        with("Content-Length: 0\r\nTransfer-Encoding: chunked"),
        with("X: a\r\n folded"),
        with("X: a\r\n\tTransfer-Encoding: chunked"),
        with("X: a\nTransfer-Encoding: chunked"),
        with("X: a\rTransfer-Encoding: chunked"),
        with("X: a\0b"),
        with("\0: a"),
        with("X\u{a0}: a"),
        with(": a"),
        with("Host: server.example.com"),
        with("Host: elsewhere.example"),
        with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        with("sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="),
        with("Sec-WebSocket-Version: 13"),
        good.replace("\r\n", "\n"),
        good.replace("HTTP/1.1\r\n", "HTTP/1.1\r\n "),
        good.replace("HTTP/1.1\r\n", "HTTP/1.1\n"),
        good.replace("server.example.com", "a/../b"),
        good.replace("server.example.com", "a, b"),
        good.replace("server.example.com", "a@b"),
        good.replace("GET / ", "GET / HTTP/1.1\tX "),
        good.replace("GET / ", "GET /%0d%0a#x "),
        good.replace("GET / ", "GET  / "),
    ];
    for shape in &shapes {
        let behind = format!("{good}GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
        let bytes = [shape.as_bytes(), behind.as_bytes(), MASKED_TEXT].concat();
        let answer = exchange(address, &bytes).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{shape:?}: {answer}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{answer}");
        let length = format!("\r\nContent-Length: {}", text.len());
        assert!(head.ends_with(&length), "one response: {answer}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0, "nobody was let in");
    assert!(connect(&format!("ws://{address}/")).await.is_ok());
}

/// S26, S28: what may be sent with a request that is accepted.
#[tokio::test]
async fn frames_behind_a_request_without_content_are_frames() {
    let (address, _) = serve(Upgrade::default()).await;
    let request = request("/", &["Content-Length: 0"]);
    let bytes = [request.as_bytes(), MASKED_TEXT, MASKED_CLOSE].concat();
    let answer = exchange(address, &bytes).await;
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.ends_with(b"\r\n\r\n\x81\x02hi\x88\x00"));
}

/// S21, §10.2: pages of the host that the request names, and who is no page.
#[tokio::test]
async fn a_server_lets_in_its_own_pages_only_unless_others_are_named() {
    let listed = Upgrade::default().allow_origins(["https://friend.example:8443"]);
    let (own, _) = serve(Upgrade::default()).await;
    let (friends, _) = serve(listed).await;
    for (lines, by_default, with_friends) in [
        (&[][..], 101, 101),
        (&["Origin: http://server.example.com"], 101, 101),
        (&["Origin: https://server.example.com"], 101, 101),
        (&["Origin: HTTPS://Server.Example.COM"], 101, 101),
        (&["Origin: https://server.example.com:443"], 101, 101),
        (&["Origin: https://server.example.com:8443"], 403, 403),
        (&["Origin: http://server.example.com:443"], 403, 403),
        (&["Origin: https://server.example.com/"], 403, 403),
        (&["Origin: https://server.example.com.evil"], 403, 403),
        (&["Origin: https://xserver.example.com"], 403, 403),
        (&["Origin: https://server.example.com@evil"], 403, 403),
        (&["Origin: https://evil?server.example.com"], 403, 403),
        (&["Origin: server.example.com"], 403, 403),
        (&["Origin: file://server.example.com"], 403, 403),
        (&["Origin: null"], 403, 403),
        (&["Origin: "], 403, 403),
        (&["Origin: https://friend.example:8443"], 403, 101),
        (&["Origin: http://friend.example:8443"], 403, 403),
        (&["Origin: https://friend.example"], 403, 403),
        (
            &["Origin: https://server.example.com", "Origin: https://evil"],
            400,
            400,
        ),
        (
            &["Origin: https://server.example.com https://evil"],
            403,
            403,
        ),
    ] {
        for (address, expected) in [(own, by_default), (friends, with_friends)] {
            let bytes = [request("/", lines).as_bytes(), MASKED_CLOSE].concat();
            let answer = exchange(address, &bytes).await;
            let expected = format!("HTTP/1.1 {expected} ");
            assert!(answer.starts_with(expected.as_bytes()), "{lines:?}");
        }
    }
}

/// S21: what a handler accepts with does not open the server to others by leaving the rule out.
#[tokio::test]
async fn a_handler_with_terms_of_its_own_keeps_the_rule_of_origins() {
    let others = "Origin: https://evil.example";
    let friends = "Origin: https://friend.example";
    for (any_origin, own, lines, expected) in [
        (false, Upgrade::default(), others, 403),
        (false, Upgrade::default(), "X: no page", 101),
        (
            false,
            Upgrade::default().allow_origins(["https://friend.example"]),
            friends,
            101,
        ),
        (
            false,
            Upgrade::default().allow_origins(["https://friend.example"]),
            others,
            403,
        ),
        (true, Upgrade::default(), others, 101),
        (true, Upgrade::default().same_origin(), others, 403),
    ] {
        let mut server = Server::bind("127.0.0.1:0").await.unwrap();
        if any_origin {
            server = server.any_origin();
        }
        let address = server.local_addr().unwrap();
        tokio::spawn(server.serve(move |arrival: Arrival| {
            let own = own.clone();
            async move {
                let config = arrival.config();
                arrival.accept_with(&own, config).await?.recv().await
            }
        }));
        let bytes = [request("/", &[lines]).as_bytes(), MASKED_CLOSE].concat();
        let answer = exchange(address, &bytes).await;
        let expected = format!("HTTP/1.1 {expected} ");
        assert!(
            answer.starts_with(expected.as_bytes()),
            "{any_origin} {lines}"
        );
    }
}

/// S18, S19, O11: what a client offers never shows in the answer, unless it is ours too.
#[tokio::test]
async fn an_offered_subprotocol_is_not_repeated() {
    let (address, _) = serve(Upgrade::default().protocols(["chat", "v2.chat"])).await;
    for (offered, status, chosen) in [
        ("chat", 101, Some("chat")),
        ("evil, v2.chat", 101, Some("v2.chat")),
        ("Chat", 101, None),
        ("evil", 101, None),
        ("chat;evil=1", 400, None),
        ("\"chat\"", 400, None),
        ("chat evil", 400, None),
        ("chat, chat", 400, None),
        ("chat\u{e9}", 400, None),
        ("chat\r\n evil", 400, None),
        (",", 400, None),
    ] {
        let line = format!("Sec-WebSocket-Protocol: {offered}");
        let bytes = [request("/", &[&line]).as_bytes(), MASKED_CLOSE].concat();
        let answer = exchange(address, &bytes).await;
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{line}");
        let named = answer
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(named, chosen, "{line}");
        assert!(!answer.contains("evil"), "{line}");
    }
}

/// U8, U11 (client), O09, O12, O17: a value that would make a line of its own, or that no server
/// would take, opens no connection.
#[tokio::test]
async fn a_client_that_would_inject_does_not_even_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("ws://{address}/");
    let plain = Upgrade::default;
    for (upgrade, path) in [
        (plain().header("x-a", "a\r\nHost: evil"), ""),
        (plain().header("x-a", "a\nb"), ""),
        (plain().header("x-a", "a\0b"), ""),
        (plain().header("x-a\r\nx-b", "a"), ""),
        (plain().header("x a", "a"), ""),
        (plain().header("Host", "evil"), ""),
        (plain().header("Content-Length", "5"), ""),
        (plain().header("Transfer-Encoding", "chunked"), ""),
        (plain().header("Sec-WebSocket-Key", "a"), ""),
        (plain().origin("http://a\r\nX: y"), ""),
        (plain().protocols(["chat\r\nX: y"]), ""),
        (plain().protocols(["chat", "chat"]), ""),
        (plain().protocols([""]), ""),
        (plain(), " HTTP/1.1\r\nX: y"),
        (plain(), "\r\n"),
        (plain(), "#fragment"),
    ] {
        let url = format!("{url}{path}");
        let refused = connect_with(&url, &upgrade, Config::default()).await;
        assert!(matches!(refused, Err(Error::Handshake(_))), "{url:?}");
    }
    // The first to arrive is the one that is allowed to.
    let probe = TcpStream::connect(address).await.unwrap();
    let (_, first) = listener.accept().await.unwrap();
    assert_eq!(first, probe.local_addr().unwrap());
}

/// U11 (server), O10, §10.5: the peer learns that the fault is the server's, and nothing of it.
#[tokio::test]
async fn a_server_that_would_inject_answers_500() {
    for upgrade in [
        Upgrade::default().header("x-a", "injected\r\nX-B: c"),
        Upgrade::default().header("x-a\r\n", "injected"),
        Upgrade::default().header("Upgrade", "injected"),
        Upgrade::default().protocols(["chat\r\ninjected: 1"]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            accept_with(stream, &upgrade, Config::default()).await.err()
        });
        let answer = exchange(address, request("/", &[]).as_bytes()).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(!answer.contains("injected"), "{answer}");
        let error = serving.await.unwrap();
        assert!(matches!(error, Some(Error::Handshake(_))), "{error:?}");
    }
}

/// A1, A3 to A8, §4.1: after an answer that opens nothing, nothing is written and the stream ends.
#[tokio::test]
async fn a_client_writes_nothing_after_an_answer_that_opens_nothing() {
    let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: KEY\r\n";
    for answer in [
        good.replace("101", "200"),
        good.replace("101", "301"),
        good.replace("HTTP/1.1", "HTTP/1.0"),
        good.replace("Upgrade: websocket", "Upgrade: h2c"),
        good.replace("Connection: Upgrade", "Connection: close"),
        good.replace("KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        good.replace("\r\n", "\n"),
        good.to_owned() + "Sec-WebSocket-Protocol: chat\r\n",
        good.to_owned() + "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        good.to_owned() + "X : a\r\n",
        good.to_owned() + "X: \0\r\n",
        "220 mail.example\r\n".to_owned(),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connecting = tokio::spawn(async move { connect(&format!("ws://{address}/")).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        let key = read_request(&mut stream).await;
        let answer = answer.replace("KEY", &key) + "Content-Length: 0\r\n\r\n\x01\x02hi\x09\x01p";
        stream.write_all(answer.as_bytes()).await.unwrap();

        let error = connecting.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{answer:?}");
        let mut rest = Vec::new();
        // Bytes that the client did not read may make its end a reset.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{answer:?}: {rest:02x?}");
    }
}

/// U10, §4.1: a client waits for the whole response before anything follows its request.
#[tokio::test(start_paused = true)]
async fn nothing_follows_a_request_before_its_response_is_complete() {
    let (near, mut far) = tokio::io::duplex(4096);
    let connecting = tokio::spawn(async move {
        let upgrade = Upgrade::default();
        let opened = connect_over(near, "ws://localhost/", &upgrade, Config::default());
        let (mut socket, _) = opened.await.unwrap();
        socket.send("first").await.unwrap();
    });
    let mut head = wsroom::handshake::RequestHead::new(&Upgrade::default());
    let request = loop {
        let byte = far.read_u8().await.unwrap();
        if let Some(request) = head.receive(&mut &[byte][..]).unwrap() {
            break request;
        }
    };
    let (response, _) = Upgrade::default().accept(&request).unwrap();
    let response = wsroom::handshake::encode_accepted(&request, &response);
    for byte in &response[..] {
        let waited = timeout(Duration::from_millis(50), far.read_u8()).await;
        assert!(waited.is_err(), "{waited:?} follows the request");
        far.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(far.read_u8().await.unwrap(), 0x81);
    connecting.await.unwrap();
}

/// X4, C7: wherever a stream ends or is reset, that is one error, 1006, and the end.
#[tokio::test]
async fn the_loss_of_a_stream_is_told_once_in_any_state() {
    for role in [Role::Client, Role::Server] {
        let mask = if role == Role::Server { 0x80 } else { 0 };
        let prefixes = [
            vec![],
            vec![0x81],
            vec![0x82, mask | 126, 1],
            vec![0x81, mask | 5, 0, 0, 0, 0],
            [&[0x01, mask | 1][..], &[0; 5][..usize::from(mask / 32 + 1)]].concat(),
        ];
        for prefix in prefixes {
            for (is_reset, is_closing) in [(false, false), (true, false), (false, true)] {
                let (mut peer, stream) = tcp().await;
                let agreed = Agreed::default();
                let mut socket = WebSocket::new(stream, role, agreed, Config::default(), &[]);
                peer.write_all(&prefix).await.unwrap();
                if is_closing {
                    socket
                        .start_close(CloseFrame::from(CloseCode::NORMAL))
                        .unwrap();
                    socket.flush().await.unwrap();
                }
                if is_reset {
                    peer.set_zero_linger().unwrap();
                }
                // Without a reset the peer reads all that it is sent, and then ends its side.
                let ending = async {
                    if is_closing {
                        let mut close = vec![0; if role == Role::Client { 8 } else { 4 }];
                        peer.read_exact(&mut close).await.unwrap();
                        assert_eq!(close[0], 0x88);
                    }
                    drop(peer);
                };
                let (lost, ()) = tokio::join!(socket.recv(), ending);
                let at = format!("{role:?} {prefix:02x?} {is_reset} {is_closing}: {lost:?}");
                assert!(
                    matches!(lost, Err(Error::ConnectionLost | Error::Io(_))),
                    "{at}"
                );
                for _ in 0..2 {
                    assert_eq!(socket.recv().await.unwrap(), None, "{at}");
                }
                assert!(socket.send("late").await.is_err(), "{at}");
                let info = socket.close_info().unwrap();
                assert_eq!(info.code(), CloseCode::ABNORMAL, "{at}");
                assert_eq!(info.received, None, "{at}");
            }
        }
    }
}

/// A text of "hi" and an empty Close of a client, masked with zeros.
const MASKED_TEXT: &[u8] = b"\x81\x82\0\0\0\0hi";
const MASKED_CLOSE: &[u8] = b"\x88\x80\0\0\0\0";

/// A server that echoes, and the number of requests that it accepted.
async fn serve(upgrade: Upgrade) -> (SocketAddr, Arc<AtomicUsize>) {
    let server = Server::bind("127.0.0.1:0").await.unwrap().upgrade(upgrade);
    let address = server.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&calls);
    let handler = move |arrival: Arrival| {
        let accepted = Arc::clone(&accepted);
        async move {
            let mut socket = arrival.accept().await?;
            accepted.fetch_add(1, Ordering::SeqCst);
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok::<(), Error>(())
        }
    };
    tokio::spawn(server.serve(handler));
    (address, calls)
}

/// All that is answered to `bytes`, until the end.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let in_time = timeout(Duration::from_secs(60), read).await;
    in_time.expect("it ends").unwrap();
    answer
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Reads a request, and gives the value that accepts its key.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut head = wsroom::handshake::RequestHead::new(&Upgrade::default());
    loop {
        let byte = stream.read_u8().await.unwrap();
        if let Some(request) = head.receive(&mut &[byte][..]).unwrap() {
            let (response, _) = Upgrade::default().accept(&request).unwrap();
            let accept = &response.headers()["sec-websocket-accept"];
            return accept.to_str().unwrap().to_owned();
        }
    }
}
