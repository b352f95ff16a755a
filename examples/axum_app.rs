//! An axum application with rooms: WebSockets among its other routes.
//!
//! ```text
//! cargo run --release --example axum_app --features axum [-- PORT]
//! ```
//!
//! It listens on 127.0.0.1:8080; a port as the last argument replaces 8080, and 0 takes a free one.
//! Ctrl-C closes every connection with 1001 and ends.
//!
//! | route | |
//! |---|---|
//! | `GET /` | this table |
//! | `GET /ws/{room}?name=…` | a WebSocket: what one says, the others in the room get |
//! | `GET /staff/ws/{room}?name=…` | the same, for who sends `Authorization: Bearer secret` |
//! | `POST /rooms/{room}` | sends the body to a room: `curl -d hello 127.0.0.1:8080/rooms/lobby` |

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::serve::ListenerExt;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wsroom::net::axum::WebSocketUpgrade;
use wsroom::{CloseCode, CloseFrame, Hub, Message, Session};

#[derive(Clone)]
struct App {
    hub: Hub,
    /// Held by each connection, so that the end of the last one can be waited for.
    _alive: mpsc::Sender<()>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => 8080,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    // Small frames are to leave at once.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });

    let (alive, mut all_ended) = mpsc::channel(1);
    let hub = Hub::new();
    let app = App {
        hub: hub.clone(),
        _alive: alive,
    };
    axum::serve(listener, router(app))
        .with_graceful_shutdown(shut_down(hub))
        .await?;
    // axum does not wait for connections that are no longer HTTP.
    let _ = tokio::time::timeout(Duration::from_secs(5), all_ended.recv()).await;
    Ok(())
}

fn router(app: App) -> Router {
    let staff = Router::new()
        .route("/ws/{room}", any(ws))
        .layer(from_fn(authorize));
    Router::new()
        .route("/", get(index))
        .route("/ws/{room}", any(ws))
        .route("/rooms/{room}", post(tell))
        .nest("/staff", staff)
        .with_state(app)
}

async fn index() -> &'static str {
    "GET  /ws/{room}?name=...        a WebSocket\n\
     GET  /staff/ws/{room}?name=...  the same, with a token\n\
     POST /rooms/{room}              sends the body to a room\n"
}

#[derive(Deserialize)]
struct Who {
    name: String,
}

/// A request without a name is refused by `Query`, with 400, before the upgrade.
async fn ws(
    ws: WebSocketUpgrade,
    Path(room): Path<String>,
    Query(who): Query<Who>,
    State(app): State<App>,
) -> Response {
    ws.same_origin()
        .max_message_size(4096)
        .on_failed_upgrade(|error| eprintln!("upgrade failed: {error}"))
        .on_session(|session| async move {
            if let Err(error) = talk(session, app, &room, &who.name).await {
                // The name is whatever the client sent.
                eprintln!("{:?}: {error}", who.name);
            }
        })
}

/// One connection, from joining the room to the end.
async fn talk(
    mut session: Session,
    app: App,
    room: &str,
    name: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let member = app.hub.attach(session.outbox().clone());
    if let Err(error) = member.join(room) {
        let reason = CloseFrame::new(CloseCode::POLICY_VIOLATION, error.to_string());
        session.close(reason).await;
        return Err(error.into());
    }
    while let Some(message) = session.recv().await? {
        if let Message::Text(text) = message {
            member.to(room).send(format!("{name}: {text}"));
        }
    }
    Ok(())
}

/// Sends from a plain HTTP handler, and says how many got it.
async fn tell(Path(room): Path<String>, State(app): State<App>, text: String) -> String {
    let report = app.hub.to(room).send(text);
    format!("sent to {}\n", report.queued)
}

/// Lets in who has the token. What is behind it needs to know nothing of that.
async fn authorize(request: Request, next: Next) -> Response {
    match request.headers().get(AUTHORIZATION) {
        Some(token) if token == "Bearer secret" => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Waits for Ctrl-C, then tells everybody.
async fn shut_down(hub: Hub) {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("cannot wait for Ctrl-C: {error}");
        std::future::pending::<()>().await;
    }
    let closing = hub.close_all(CloseCode::GOING_AWAY);
    println!("closing {closing} connections");
}
