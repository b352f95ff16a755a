//! The extractor, in real axum servers with real clients.
#![cfg(all(feature = "axum", feature = "rooms"))]

mod common {
    pub(crate) mod early;
    pub(crate) mod http;
}

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use common::early::assert_early_frames_are_kept;
use common::http as raw;
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};
use tower::ServiceExt;
use wsroom::net::axum::{UpgradedSocket, WebSocketUpgrade};
use wsroom::net::connect_with;
use wsroom::{CloseCode, Config, Error, HandshakeError, Hub, Message, Upgrade};

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compression_is_agreed_on_if_it_is_allowed() {
    use wsroom::deflate::Deflate;

    let route = any(|ws: WebSocketUpgrade| async move {
        let deflate = Deflate::default().server_max_window_bits(12);
        ws.deflate(deflate)
            .on_upgrade(|mut socket| async move { socket.send("said again ".repeat(100)).await })
    });
    let address = serve(Router::new().route("/", route)).await;
    let url = format!("ws://{address}/");
    for (offer, expected) in [
        (Upgrade::default().deflate(Deflate::default()), Some(12)),
        (Upgrade::default(), None),
    ] {
        let connected = connect_with(&url, &offer, Config::default()).await;
        let (mut ours, response) = connected.unwrap();
        let answer = response.headers().get("sec-websocket-extensions");
        let bits = answer.map(|answer| answer == "permessage-deflate; server_max_window_bits=12");
        assert_eq!(bits, expected.map(|_| true));
        let said = ours.recv().await.unwrap();
        assert_eq!(said, Some(Message::from("said again ".repeat(100))));
    }
}

/// S19.
#[tokio::test]
async fn the_servers_preference_chooses_the_subprotocol() {
    let route = any(|ws: WebSocketUpgrade| async move {
        let ws = ws.protocols(["chat.v2", "chat.v1"]);
        let offered = ws.offered_protocols().join(" ");
        let selected = ws.selected_protocol().unwrap_or("none").to_owned();
        ws.on_upgrade(|mut socket| async move {
            let agreed = socket.protocol().unwrap_or("none").to_owned();
            let text = format!("{offered}, {selected}, {agreed}");
            socket.send(text).await
        })
    });
    let address = serve(Router::new().route("/", route)).await;
    let url = format!("ws://{address}/");

    let offer = Upgrade::default().protocols(["chat.v1", "chat.v2"]);
    let (mut ours, _) = connect_with(&url, &offer, Config::default()).await.unwrap();
    assert_eq!(ours.protocol(), Some("chat.v2"));
    let said = ours.recv().await.unwrap();
    assert_eq!(
        said,
        Some(Message::from("chat.v1 chat.v2, chat.v2, chat.v2"))
    );

    let mut request = url.into_client_request().unwrap();
    let offer = "other, chat.v1".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offer);
    let (mut theirs, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
    let said = theirs.next().await.unwrap().unwrap();
    let expected = "other chat.v1, chat.v1, chat.v1";
    assert_eq!(said, tungstenite::Message::text(expected));
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let route = any(|ws: WebSocketUpgrade| async { ws.max_message_size(16).on_upgrade(echo) });
    let address = serve(Router::new().route("/", route)).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/"))
        .await
        .unwrap();

    let longest = tungstenite::Message::text("x".repeat(16));
    socket.send(longest.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), longest);
    let longer = tungstenite::Message::text("x".repeat(17));
    socket.send(longer).await.unwrap();

    let tungstenite::Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else {
        panic!("no close");
    };
    assert_eq!(u16::from(frame.code), 1009);
}

#[tokio::test]
async fn the_hook_is_called_if_the_client_goes_away_before_the_101() {
    let (failed, mut failures) = mpsc::unbounded_channel();
    let handled = Arc::new(Notify::new());
    let ws = move |ws: WebSocketUpgrade| async move {
        ws.on_failed_upgrade(move |error| failed.send(error).unwrap())
            .on_upgrade(|_| async { panic!("there is no socket") })
    };
    // The response waits in a middleware for ever.
    let hold = |State(handled): State<Arc<Notify>>, request, next: Next| async move {
        let _response = next.run(request).await;
        handled.notify_one();
        std::future::pending::<Response>().await
    };
    let router = Router::new()
        .route("/", any(ws))
        .layer(from_fn_with_state(handled.clone(), hold));
    let address = serve(router).await;

    let mut client = TcpStream::connect(address).await.unwrap();
    let request = raw::request("/", &[]);
    client.write_all(request.as_bytes()).await.unwrap();
    handled.notified().await;
    drop(client);

    let failure = failures.recv().await.unwrap();
    assert!(matches!(failure, Error::Io(_)), "{failure:?}");
}

#[tokio::test]
async fn each_refusal_has_its_status_on_the_wire() {
    let same_origin = any(|ws: WebSocketUpgrade| async { ws.same_origin().on_upgrade(echo) });
    let get_only = get(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) });
    let faulty = any(|ws: WebSocketUpgrade| async {
        ws.header("Sec-WebSocket-Accept", "x").on_upgrade(echo)
    });
    let router = Router::new()
        .route("/", same_origin)
        .route("/get", get_only)
        .route("/faulty", faulty);
    let address = serve(router).await;
    let good = raw::request("/", &[]);
    let cases = [
        (good.replace("Upgrade: websocket\r\n", ""), 426),
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("Sec-WebSocket-Key", "X-Key"), 400),
        (raw::request("/", &["Sec-WebSocket-Protocol: a b"]), 400),
        (good.replace("GET", "POST"), 405),
        (raw::request("/get", &[]).replace("GET", "POST"), 405),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 505),
        (raw::request("/faulty", &[]), 500),
        (raw::request("/nowhere", &[]), 404),
        (raw::request("/", &["Origin: http://other.example"]), 403),
        (
            raw::request("/", &["Origin: http://server.example.com"]),
            101,
        ),
        (good, 101),
    ];
    for (request, expected) in cases {
        let (status, head, _) = raw::send(address, request.as_bytes()).await;
        assert_eq!(status, expected, "{request}");
        let names_version = head.contains("sec-websocket-version: 13\r\n");
        assert_eq!(names_version, status == 426, "{head}");
    }
}

#[tokio::test]
async fn an_extended_connect_over_http_2_is_refused() {
    let route = any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) });
    let optional = any(|ws: Option<WebSocketUpgrade>| async move { ws.is_some().to_string() });
    let router = Router::new().route("/", route).route("/optional", optional);

    for path in ["/", "/optional"] {
        let request = Request::connect(format!("https://server.example.com{path}"))
            .version(http::Version::HTTP_2)
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 505, "{path}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_hand_over_is_at_fault() {
    let route = any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) });
    let request = Request::get("/")
        .header("Host", "server.example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .body(Body::empty())
        .unwrap();

    let router: Router = Router::new().route("/", route);
    let response = router.oneshot(request).await.unwrap();

    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn middleware_refuses_before_the_upgrade() {
    let auth = |request: axum::extract::Request, next: Next| async move {
        match request.headers().get("authorization") {
            Some(token) if token == "Bearer secret" => next.run(request).await,
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    };
    let route = any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) });
    let address = serve(Router::new().route("/", route).layer(from_fn(auth))).await;
    let url = format!("ws://{address}/");

    let refused = connect_with(&url, &Upgrade::default(), Config::default()).await;
    let Err(Error::Handshake(HandshakeError::Refused(response))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(response.status(), 401);

    let token = Upgrade::default().header("Authorization", "Bearer secret");
    let (mut socket, _) = connect_with(&url, &token, Config::default()).await.unwrap();
    socket.send("in").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::from("in")));
}

#[tokio::test]
async fn other_extractors_stand_next_to_it() {
    #[derive(Deserialize)]
    struct Who {
        name: String,
        age: u8,
    }
    let ws = |ws: WebSocketUpgrade,
              Path(room): Path<u32>,
              Query(who): Query<Who>,
              State(greeting): State<&'static str>| async move {
        let query = ws.request().uri().query().unwrap_or_default().to_owned();
        ws.header("X-Room", room)
            .on_upgrade(move |mut socket| async move {
                let text = format!("{greeting} {} ({}) in {room}, {query}", who.name, who.age);
                socket.send(text).await
            })
    };
    let router = Router::new().route("/ws/{room}", any(ws));
    let address = serve(router.with_state("hello")).await;

    let url = format!("ws://{address}/ws/7?name=ann&age=30");
    let (mut socket, response) = connect_with(&url, &Upgrade::default(), Config::default())
        .await
        .unwrap();
    let expected = Message::from("hello ann (30) in 7, name=ann&age=30");
    assert_eq!(socket.recv().await.unwrap(), Some(expected));
    assert_eq!(response.headers()["x-room"], "7");

    for target in [
        "/ws/7?age=30",
        "/ws/7?name=ann&age=old",
        "/ws/x?name=ann&age=30",
    ] {
        let status = raw::send(address, raw::request(target, &[]).as_bytes())
            .await
            .0;
        assert_eq!(status, 400, "{target}");
    }
}

#[tokio::test]
async fn an_http_handler_broadcasts_to_the_sockets_of_a_room() {
    let ws = |ws: WebSocketUpgrade, Path(room): Path<String>, State(hub): State<Hub>| async move {
        ws.on_session(move |mut session| async move {
            let member = hub.attach(session.outbox().clone());
            member.join(&*room).unwrap();
            session.send("joined").await.unwrap();
            session.recv().await
        })
    };
    let tell = |Path(room): Path<String>, State(hub): State<Hub>, text: String| async move {
        hub.to(room).send(text).queued.to_string()
    };
    let router = Router::new()
        .route("/ws/{room}", any(ws))
        .route("/rooms/{room}", post(tell))
        .with_state(Hub::new());
    let address = serve(router).await;
    let mut members = Vec::new();
    for room in ["a", "a", "b"] {
        let url = format!("ws://{address}/ws/{room}");
        let mut socket = wsroom::connect(&url).await.unwrap();
        let joined = socket.recv().await.unwrap();
        assert_eq!(joined, Some(Message::from("joined")));
        members.push(socket);
    }

    for (room, text) in [("a", "to a"), ("b", "to b")] {
        let length = text.len();
        let post = format!(
            "POST /rooms/{room} HTTP/1.1\r\nHost: server.example.com\r\n\
             Content-Length: {length}\r\n\r\n{text}"
        );
        assert_eq!(raw::send(address, post.as_bytes()).await.0, 200);
    }

    for (socket, text) in members.iter_mut().zip(["to a", "to a", "to b"]) {
        assert_eq!(socket.recv().await.unwrap(), Some(Message::from(text)));
    }
}

/// S28.
#[tokio::test]
async fn frames_in_the_packet_of_the_request_are_kept() {
    let route = any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) });
    let address = serve(Router::new().route("/", route)).await;

    assert_early_frames_are_kept(address).await;
}

#[tokio::test]
async fn one_route_serves_a_page_and_sockets() {
    let route = any(|ws: Option<WebSocketUpgrade>| async {
        match ws {
            Some(ws) => ws.on_upgrade(echo),
            None => "a page".into_response(),
        }
    });
    let address = serve(Router::new().route("/", route)).await;

    let page = "GET / HTTP/1.1\r\nHost: server.example.com\r\n\r\n";
    assert_eq!(raw::send(address, page.as_bytes()).await.0, 200);
    let good = raw::request("/", &[]);
    assert_eq!(raw::send(address, good.as_bytes()).await.0, 101);
    let bad = good.replace("Version: 13", "Version: 12");
    assert_eq!(raw::send(address, bad.as_bytes()).await.0, 426);
}

#[tokio::test]
async fn a_handler_that_gives_up_closes_the_connection_of_its_session() {
    let route = any(|ws: WebSocketUpgrade| async { ws.on_session(|_| async {}) });
    let address = serve(Router::new().route("/", route)).await;

    let mut socket = wsroom::connect(&format!("ws://{address}/")).await.unwrap();

    assert_eq!(socket.recv().await.unwrap(), None);
    let received = socket.close_info().unwrap().received.unwrap();
    assert_eq!(received.code, CloseCode::NORMAL);
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

async fn echo(mut socket: UpgradedSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
