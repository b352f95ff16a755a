//! Both ends against two other implementations, over loopback.

use std::future::Future;

use futures_util::{SinkExt, StreamExt};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode as Code};
use wsroom::net::{SocketEvent, connect_over};
use wsroom::{CloseCode, CloseFrame, Config, Incoming, Message, Upgrade, WebSocket};

/// Around the lengths at which the header changes (§5.2), and a large one.
const SIZES: [usize; 9] = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20];

const URL: &str = "ws://localhost/chat";

fn streams() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(64 << 10)
}

fn text(len: usize) -> String {
    "aé€".chars().cycle().take(len / 2).collect()
}

/// Our server: echoes until the peer closes, and says how it ended.
async fn our_server(stream: DuplexStream) -> wsroom::CloseInfo {
    let upgrade = Upgrade::default().protocols(["chat"]);
    let incoming = Incoming::read(stream, &upgrade).await.unwrap();
    let config = Config::default().max_message_size(2 << 20);
    let mut socket = incoming.accept(&upgrade, config).await.unwrap();
    assert_eq!(socket.protocol(), Some("chat"));
    while let Some(message) = socket.recv().await.unwrap() {
        socket.feed(message).await.unwrap();
    }
    socket.close_info().unwrap()
}

/// Our client against a server that echoes.
async fn our_client(stream: DuplexStream) -> WebSocket<DuplexStream> {
    let upgrade = Upgrade::default().protocols(["soap", "chat"]);
    let config = Config::default().max_message_size(2 << 20);
    let (mut socket, _) = connect_over(stream, URL, &upgrade, config).await.unwrap();
    for len in SIZES {
        for message in [Message::from(text(len)), vec![len as u8; len].into()] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(message));
        }
    }
    socket.ping(b"there?").await.unwrap();
    let Some(SocketEvent::Pong { payload, .. }) = socket.recv_event().await.unwrap() else {
        panic!("a Pong")
    };
    assert_eq!(payload, "there?");
    socket
}

async fn our_client_closes(mut socket: WebSocket<DuplexStream>) {
    let frame = CloseFrame::new(CloseCode::new(4001), "grüße");
    let info = socket.close(frame).await.unwrap();
    assert!(info.is_clean());
    assert_eq!(info.code(), CloseCode::new(4001));
}

async fn both<A, B>(one: impl Future<Output = A>, two: impl Future<Output = B>) -> (A, B) {
    tokio::join!(one, two)
}

#[tokio::test]
async fn our_server_serves_a_client_of_tungstenite() {
    let (near, far) = streams();
    let client = async move {
        let mut request = tungstenite::client::IntoClientRequest::into_client_request(URL).unwrap();
        let offered = http::HeaderValue::from_static("soap, chat");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", offered);
        let (mut socket, response) = tokio_tungstenite::client_async(request, near)
            .await
            .unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        for len in SIZES {
            let messages = [
                tungstenite::Message::text(text(len)),
                tungstenite::Message::binary(vec![1; len]),
            ];
            for message in messages {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
        }
        // §5.4: in three fragments, a Ping between them, a character cut in two.
        for (payload, code, fin) in [
            (&b"1 \xe2\x82"[..], Data::Text, false),
            (b"", Data::Continue, false),
            (b"\xac 2", Data::Continue, true),
        ] {
            let frame = Frame::message(payload, Code::Data(code), fin);
            socket
                .send(tungstenite::Message::Frame(frame))
                .await
                .unwrap();
            let ping = tungstenite::Message::Ping("p".into());
            socket.send(ping).await.unwrap();
        }
        let mut pongs = 0;
        loop {
            match socket.next().await.unwrap().unwrap() {
                tungstenite::Message::Pong(payload) if payload == "p" => pongs += 1,
                tungstenite::Message::Text(text) => assert_eq!(text.as_str(), "1 € 2"),
                other => panic!("{other:?}"),
            }
            if pongs == 3 {
                break;
            }
        }
        let close = tungstenite::protocol::CloseFrame {
            code: 4001.into(),
            reason: "grüße".into(),
        };
        socket.close(Some(close)).await.unwrap();
        loop {
            match socket.next().await {
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    assert_eq!(u16::from(frame.unwrap().code), 4001);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{error}"),
                None => break,
            }
        }
    };
    let (info, ()) = both(our_server(far), client).await;
    assert!(info.is_clean());
    assert_eq!((info.code().get(), info.reason()), (4001, "grüße"));
}

#[tokio::test]
#[expect(clippy::result_large_err, reason = "the callback's type is not ours")]
async fn our_client_uses_a_server_of_tungstenite() {
    use tungstenite::handshake::server::{Request, Response};

    let (near, far) = streams();
    let server = async move {
        let choose = |_: &Request, mut response: Response| {
            let chosen = http::HeaderValue::from_static("chat");
            response
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", chosen);
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(far, choose)
            .await
            .unwrap();
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                tungstenite::Message::Close(frame) => {
                    let frame = frame.unwrap();
                    assert_eq!(u16::from(frame.code), 4001);
                    assert_eq!(frame.reason.as_str(), "grüße");
                }
                message if message.is_text() || message.is_binary() => {
                    socket.send(message).await.unwrap();
                }
                _ => socket.flush().await.unwrap(),
            }
        }
    };
    let client = async move {
        let socket = our_client(near).await;
        assert_eq!(socket.protocol(), Some("chat"));
        our_client_closes(socket).await;
    };
    both(server, client).await;
}

#[tokio::test]
async fn a_close_begun_by_tungstenite_has_its_code_and_reason_here() {
    let (near, far) = streams();
    let server = async move {
        let mut socket = tokio_tungstenite::accept_async(far).await.unwrap();
        let close = tungstenite::protocol::CloseFrame {
            code: 1012.into(),
            reason: "back soon".into(),
        };
        socket.close(Some(close)).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let client = async move {
        let opened = connect_over(near, URL, &Upgrade::default(), Config::default()).await;
        let (mut socket, _) = opened.unwrap();
        assert_eq!(socket.recv().await.unwrap(), None);
        let info = socket.close_info().unwrap();
        assert_eq!(info.code(), CloseCode::SERVICE_RESTART);
        assert_eq!(info.reason(), "back soon");
        assert!(info.is_clean());
    };
    both(server, client).await;
}

#[tokio::test]
async fn our_server_serves_a_client_of_tokio_websockets() {
    let (near, far) = streams();
    let client = async move {
        let (mut socket, response) = tokio_websockets::ClientBuilder::new()
            .uri(URL)
            .unwrap()
            .add_header(
                http::header::SEC_WEBSOCKET_PROTOCOL,
                http::HeaderValue::from_static("chat"),
            )
            .unwrap()
            .limits(tokio_websockets::Limits::unlimited())
            .connect_on(near)
            .await
            .unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        for len in SIZES {
            let messages = [
                tokio_websockets::Message::text(text(len)),
                tokio_websockets::Message::binary(vec![1; len]),
            ];
            for message in messages {
                socket.send(message.clone()).await.unwrap();
                let echo = socket.next().await.unwrap().unwrap();
                assert!(echo.is_text() == message.is_text());
                assert!(echo.as_payload()[..] == message.as_payload()[..]);
            }
        }
        let ping = tokio_websockets::Message::ping("there?");
        socket.send(ping).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_pong());
        let code = tokio_websockets::CloseCode::try_from(4001).unwrap();
        socket
            .send(tokio_websockets::Message::close(Some(code), "grüße"))
            .await
            .unwrap();
        while let Some(message) = socket.next().await {
            if let Some((code, _)) = message.unwrap().as_close() {
                assert_eq!(u16::from(code), 4001);
            }
        }
    };
    let (info, ()) = both(our_server(far), client).await;
    assert!(info.is_clean());
    assert_eq!((info.code().get(), info.reason()), (4001, "grüße"));
}

#[tokio::test]
async fn our_client_uses_a_server_of_tokio_websockets() {
    let (near, far) = streams();
    let server = async move {
        let (_, mut socket) = tokio_websockets::ServerBuilder::new()
            .limits(tokio_websockets::Limits::unlimited())
            .accept(far)
            .await
            .unwrap();
        while let Some(message) = socket.next().await {
            let message = message.unwrap();
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            } else if let Some((code, reason)) = message.as_close() {
                assert_eq!((u16::from(code), reason), (4001, "grüße"));
            } else {
                socket.flush().await.unwrap();
            }
        }
    };
    let client = async move { our_client_closes(our_client(near).await).await };
    both(server, client).await;
}
