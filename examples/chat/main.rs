//! A chat for the browser: rooms, who is here, joins and leaves.
//!
//! ```text
//! cargo run --release --example chat [-- PORT]
//! cargo run --release --features deflate --example chat -- --deflate
//! ```
//!
//! Open http://127.0.0.1:8181/ in two windows. A port as the last argument replaces 8181; 0 takes a
//! free one. With `--deflate`, before or after it, it compresses for clients that offer
//! permessage-deflate, as browsers do.
//!
//! | route | |
//! |---|---|
//! | `GET /`, `GET /r/{room}` | the page |
//! | `GET /ws/{room}?name=…` | the WebSocket of a room; its messages are in `protocol.rs` |
//! | `POST /rooms/{room}` | sends the body to the room: `curl -d hello 127.0.0.1:8181/rooms/lobby` |
//! | `GET /echo` | a WebSocket that sends back what it gets, with subprotocol `echo` only |
//!
//! The HTTP server is axum. With the features `axum` or `hyper` of wsroom the function [`upgrade`]
//! is part of the crate; here it shows what an integration with any HTTP server takes.

#[path = "../common/deflate.rs"]
mod deflate;
mod history;
mod protocol;

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use wsroom::rooms::Profile;
use wsroom::{Agreed, CloseCode, CloseFrame, Config, Hub, Role, Session, Upgrade, WebSocket};

use history::Histories;
use protocol::{FromClient, Name, Person, ToClient};

#[derive(Clone)]
struct App {
    hub: Hub,
    histories: Histories,
    upgrade: Arc<Upgrade>,
    /// Held by each connection, so that the end of the last one can be waited for.
    _alive: mpsc::Sender<()>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (flags, ports): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg == "--deflate");
    let port = match ports.last() {
        Some(port) => port.parse()?,
        None => 8181,
    };
    let mut upgrade = Upgrade::default();
    if !flags.is_empty() {
        upgrade = deflate::allow_deflate(upgrade)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("chat on http://{}/", listener.local_addr()?);

    // Small messages are not to wait for each other.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("cannot set TCP_NODELAY: {error}");
        }
    });

    let (alive, mut all_ended) = mpsc::channel(1);
    let hub = Hub::new();
    let router = Router::new()
        .route("/", get(page))
        .route("/r/{room}", get(page))
        .route("/ws/{room}", get(join))
        .route("/rooms/{room}", post(post_message))
        .route("/echo", get(echo))
        .with_state(App {
            hub: hub.clone(),
            histories: Histories::default(),
            upgrade: Arc::new(upgrade),
            _alive: alive,
        });

    let (stop, stopped) = oneshot::channel::<()>();
    let served = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let ended = async {
        served.await?;
        // The router is gone, so only connections hold a sender now.
        all_ended.recv().await;
        Ok(())
    };
    let interrupted = async {
        tokio::signal::ctrl_c().await?;
        drop(stop);
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "server is restarting");
        println!("closing {} connections", hub.close_all(frame.clone()));
        // Who is on the way in gets the same. After that time nobody is waited for any more.
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            hub.close_all(frame.clone());
        }
        Ok(())
    };
    tokio::select! {
        outcome = ended => outcome,
        outcome = interrupted => outcome,
    }
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

#[derive(Deserialize)]
struct JoinQuery {
    name: Option<String>,
}

/// The WebSocket of a room.
async fn join(
    State(app): State<App>,
    Path(room): Path<String>,
    Query(query): Query<JoinQuery>,
    mut request: Request,
) -> Response {
    let (response, pending) = upgrade(&mut request, &app.upgrade);
    let Some(pending) = pending else {
        return response;
    };
    let Some(name) = query.name.as_deref().and_then(Name::parse) else {
        return bad_request("a name of 1 to 32 characters is needed");
    };
    if !protocol::is_room(&room) {
        return bad_request(NO_ROOM);
    }
    tokio::spawn(async move {
        match pending.socket().await {
            Ok(socket) => chat(app, room, name, socket).await,
            Err(error) => eprintln!("upgrade failed: {error}"),
        }
    });
    response
}

/// One connection, from the welcome to the end.
async fn chat(app: App, room: String, name: Name, socket: Socket) {
    let mut session = Session::spawn(socket);
    let profile = Profile::new().data(name.clone());
    let member = app.hub.attach_with(session.outbox().clone(), profile);
    let id = member.id().to_string();
    let person = Person { id, name };

    let joined = app.histories.with(&room, |history| {
        member.join_with(&room, |others| {
            [ToClient::welcome(&person, &room, others, history).encode()]
        })
    });
    if let Err(error) = joined {
        eprintln!("{} cannot join {room}: {error}", person.id);
        session.close(CloseCode::TRY_AGAIN_LATER).await;
        return;
    }
    member.to(&*room).send(ToClient::Joined(&person).encode());

    if let Err(error) = converse(&app, &room, &person, &mut session).await {
        eprintln!("{} in {room}: {error}", person.id);
    }

    drop(member);
    app.histories.forget_if_empty(&app.hub, &room);
    app.hub.to(&*room).send(ToClient::Left(&person).encode());
}

/// Does what a client asks for, until the connection ends. What cannot be done is answered and
/// logged, and the connection lives.
async fn converse(
    app: &App,
    room: &str,
    person: &Person,
    session: &mut Session,
) -> Result<(), wsroom::Error> {
    while let Some(message) = session.recv().await? {
        let answer = match FromClient::decode(&message) {
            Ok(FromClient::Message { text }) => {
                app.histories.send(&app.hub, room, person, text);
                continue;
            }
            Ok(FromClient::Ping { n }) => ToClient::Pong { n },
            Err(error) => {
                eprintln!("{} in {room}: {error}", person.id);
                ToClient::Error { error }
            }
        };
        // A connection that ended meanwhile is noticed by `recv`.
        let _ = session.send(answer.encode()).await;
    }
    Ok(())
}

/// Sends a message to a room from HTTP: no socket is needed for it.
async fn post_message(State(app): State<App>, Path(room): Path<String>, body: String) -> Response {
    if !protocol::is_room(&room) {
        return bad_request(NO_ROOM);
    }
    let text = match protocol::check_text(body.trim()) {
        Ok(text) => text,
        Err(error) => return bad_request(error),
    };
    let report = app.histories.send(&app.hub, &room, &Person::http(), text);
    axum::Json(serde_json::json!({ "delivered": report.queued })).into_response()
}

/// Sends back what comes, in the subprotocol `echo` only.
async fn echo(State(app): State<App>, mut request: Request) -> Response {
    let wanted = Upgrade::clone(&app.upgrade).protocols(["echo"]);
    let (response, pending) = upgrade(&mut request, &wanted);
    let Some(pending) = pending else {
        return response;
    };
    if pending.agreed.protocol().is_none() {
        return bad_request("the subprotocol is echo");
    }
    tokio::spawn(async move {
        match pending.socket().await {
            Ok(socket) => send_back(app, socket).await,
            Err(error) => eprintln!("upgrade failed: {error}"),
        }
    });
    response
}

async fn send_back(app: App, socket: Socket) {
    let mut session = Session::spawn(socket);
    // In no room, but known to the hub, which closes it when the server ends.
    let _member = app.hub.attach(session.outbox().clone());
    while let Ok(Some(message)) = session.recv().await {
        if session.send(message).await.is_err() {
            break;
        }
    }
}

type Socket = WebSocket<TokioIo<hyper::upgrade::Upgraded>>;

/// An upgrade that is decided but not yet carried out.
struct Pending {
    agreed: Agreed,
    on_upgrade: hyper::upgrade::OnUpgrade,
}

impl Pending {
    /// Waits until the 101 was written.
    async fn socket(self) -> Result<Socket, hyper::Error> {
        let stream = TokioIo::new(self.on_upgrade.await?);
        Ok(WebSocket::new(
            stream,
            Role::Server,
            self.agreed,
            Config::default(),
            &[],
        ))
    }
}

/// Judges a request: the 101 and what is to follow it, or the refusal alone.
fn upgrade(request: &mut Request, upgrade: &Upgrade) -> (Response, Option<Pending>) {
    match upgrade.accept(request) {
        Ok((response, agreed)) => {
            let on_upgrade = hyper::upgrade::on(request);
            let pending = Pending { agreed, on_upgrade };
            (response.map(|()| Body::empty()), Some(pending))
        }
        Err(error) => (error.response().map(Body::from), None),
    }
}

const NO_ROOM: &str = "a room has 1 to 64 letters, digits, hyphens and underscores";

fn bad_request(text: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response()
}
