//! The ready-made server: routes, limits, faults of others, the end.
#![cfg(feature = "tokio")]

mod common {
    pub(crate) mod http;
}

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::http as raw;
use http::{Response, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use wsroom::net::{Arrival, Server, connect_with};
use wsroom::{
    CloseCode, CloseFrame, Config, Error, HandshakeError, Message, Upgrade, WebSocket, connect,
};

/// S22.
#[tokio::test]
async fn the_handler_routes_by_path() {
    let (address, _) = serve(server().await, route).await;

    let mut socket = connect(&format!("ws://{address}/echo")).await.unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::from("hello")));

    let chat = format!("ws://{address}/chat");
    let offer = Upgrade::default().protocols(["chat"]);
    let (socket, _) = connect_with(&chat, &offer, Config::default())
        .await
        .unwrap();
    assert_eq!(socket.protocol(), Some("chat"));

    let refused = connect(&format!("ws://{address}/nowhere")).await;
    let Err(Error::Handshake(HandshakeError::Refused(response))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(response.status(), 404);
    assert_eq!(&response.body()[..], b"nothing here\n");
}

#[tokio::test]
async fn its_limits_reach_the_connections() {
    let small = server().await.config(Config::default().max_message_size(4));
    let (address, _) = serve(small, route).await;
    let mut socket = connect(&format!("ws://{address}/echo")).await.unwrap();

    socket.send("12345").await.unwrap();

    assert_eq!(socket.recv().await.unwrap(), None);
    let received = socket.close_info().unwrap().received.unwrap();
    assert_eq!(received.code, CloseCode::MESSAGE_TOO_BIG);
}

#[tokio::test]
async fn small_frames_leave_at_once() {
    let (seen, mut settings) = mpsc::unbounded_channel();
    let handler = move |arrival: Arrival| {
        let seen = seen.clone();
        async move {
            let peer = arrival.peer_addr();
            let socket = arrival.accept().await?;
            seen.send((socket.get_ref().nodelay()?, peer)).unwrap();
            Ok::<(), Error>(())
        }
    };
    let (address, _) = serve(server().await, handler).await;

    let client = connect(&format!("ws://{address}/")).await.unwrap();

    let local = client.get_ref().local_addr().unwrap();
    assert_eq!(settings.recv().await.unwrap(), (true, local));
}

/// S21, §10.2.
#[tokio::test]
async fn pages_of_other_sites_are_not_let_in_unless_that_is_said() {
    let listed = Upgrade::default().allow_origins(["http://friend.example"]);
    let same = server().await;
    let friends = server().await.upgrade(listed.clone());
    let only_friends = server().await.upgrade(listed).any_origin();
    let any = server().await.any_origin();
    let cases = [
        (same, [403, 403, 101]),
        (friends, [403, 101, 101]),
        (only_friends, [403, 101, 403]),
        (any, [101, 101, 101]),
    ];
    for (server, expected) in cases {
        let (address, _) = serve(server, route).await;
        let origins = ["other.example", "friend.example", "server.example.com"];
        for (origin, status) in origins.into_iter().zip(expected) {
            let request = raw::request("/echo", &[&format!("Origin: http://{origin}")]);
            assert_eq!(raw::send(address, request.as_bytes()).await.0, status);
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_harms_nobody_else() {
    let handler = |arrival: Arrival| {
        assert_ne!(arrival.request().uri().path(), "/at-once");
        async move {
            let mut socket = arrival.accept().await?;
            while let Some(message) = socket.recv().await? {
                assert_ne!(message, Message::from("panic"));
                socket.send(message).await?;
            }
            Ok::<(), Error>(())
        }
    };
    // A place that a panic kept would be missed.
    let small = server().await.max_handshakes(1).max_connections(2);
    let (address, _) = serve(small, handler).await;
    let url = format!("ws://{address}/");
    let mut bystander = connect(&url).await.unwrap();

    for _ in 0..2 {
        assert!(connect(&format!("{url}at-once")).await.is_err());
        let mut victim = connect(&url).await.unwrap();
        victim.send("panic").await.unwrap();
        assert!(victim.recv().await.is_err());
    }

    assert_echo(&mut bystander).await;
    let mut newcomer = connect(&url).await.unwrap();
    assert_echo(&mut newcomer).await;
}

/// L5.
#[tokio::test]
async fn only_so_many_handshakes_are_open() {
    let open = Arc::new(AtomicUsize::new(0));
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let decide = Arc::new(Semaphore::new(0));
    let handler = {
        let (open, decide) = (open.clone(), decide.clone());
        move |arrival: Arrival| {
            let (open, decide, arrived) = (open.clone(), decide.clone(), arrived.clone());
            async move {
                if arrival.request().uri().path() != "/echo" {
                    open.fetch_add(1, Ordering::SeqCst);
                    arrived.send(()).unwrap();
                    decide.acquire().await.unwrap().forget();
                    open.fetch_sub(1, Ordering::SeqCst);
                }
                echo(arrival.accept().await?).await
            }
        }
    };
    let (address, _) = serve(server().await.max_handshakes(2), handler).await;
    let mut bystander = connect(&format!("ws://{address}/echo")).await.unwrap();

    let waiting: Vec<_> = (0..5)
        .map(|_| tokio::spawn(async move { connect(&format!("ws://{address}/")).await }))
        .collect();
    for round in 0..5 {
        if round < 4 {
            arrivals.recv().await.unwrap();
            if round == 0 {
                arrivals.recv().await.unwrap();
            }
        }
        // Whatever is to come in comes in while these go to and fro.
        for _ in 0..20 {
            assert_echo(&mut bystander).await;
        }
        assert_eq!(open.load(Ordering::SeqCst), if round < 4 { 2 } else { 1 });
        decide.add_permits(1);
    }
    for socket in waiting {
        assert_echo(&mut socket.await.unwrap().unwrap()).await;
    }
}

/// L5, S25.
#[tokio::test]
async fn a_silent_connection_does_not_keep_its_place() {
    let hasty = Upgrade::default().timeout(Duration::from_millis(100));
    let small = server().await.upgrade(hasty).max_handshakes(1);
    let (address, _) = serve(small, route).await;

    let silent = raw::send(address, b"GET / HTTP/1.1\r\n");
    let url = format!("ws://{address}/echo");
    let ((status, ..), socket) = tokio::join!(silent, connect(&url));

    assert_eq!(status, 408);
    assert_echo(&mut socket.unwrap()).await;
}

/// L5.
#[tokio::test]
async fn only_so_many_connections_are_open() {
    let (address, _) = serve(server().await.max_connections(1), route).await;
    let url = format!("ws://{address}/echo");
    let mut first = connect(&url).await.unwrap();

    let second = tokio::spawn(async move { connect(&url).await });
    for _ in 0..20 {
        assert_echo(&mut first).await;
    }
    assert!(!second.is_finished());
    first.close(None).await.unwrap();

    assert_echo(&mut second.await.unwrap().unwrap()).await;
}

#[tokio::test]
async fn the_end_waits_for_handlers_that_close() {
    let (leave, leaving) = watch::channel(());
    let handler = move |arrival: Arrival| {
        let mut leaving = leaving.clone();
        async move {
            let mut socket = arrival.accept().await?;
            socket.send("welcome").await?;
            let _ = leaving.changed().await;
            socket.close(CloseFrame::from(CloseCode::GOING_AWAY)).await
        }
    };
    let server = server().await;
    let address = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_until(
        async {
            let _ = stopped.await;
            drop(leave);
        },
        handler,
    ));
    let mut socket = connect(&format!("ws://{address}/")).await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::from("welcome")));

    stop.send(()).unwrap();

    assert_eq!(socket.recv().await.unwrap(), None);
    let received = socket.close_info().unwrap().received.unwrap();
    assert_eq!(received.code, CloseCode::GOING_AWAY);
    assert_eq!(serving.await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_end_drops_handlers_that_do_not_close() {
    let handler = |arrival: Arrival| async move {
        let _socket = arrival.accept().await;
        std::future::pending::<()>().await;
    };
    let server = server().await.shutdown_timeout(Duration::ZERO);
    let address = server.local_addr().unwrap();
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone().notified_owned();
    let serving = tokio::spawn(server.serve_until(stopped, handler));
    let url = format!("ws://{address}/");
    let mut sockets = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];

    stop.notify_one();

    assert_eq!(serving.await.unwrap(), 2);
    for socket in &mut sockets {
        assert!(socket.recv().await.is_err());
    }
}

/// L5: in a process of its own, because the limit of descriptors is one of the process.
#[cfg(unix)]
#[test]
fn accepting_survives_a_lack_of_descriptors() {
    let output = Command::new("sh")
        .args([
            "-c",
            r#"ulimit -n 48 && exec "$0" --ignored --exact with_few_descriptors"#,
        ])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "needs a process with few descriptors"]
async fn with_few_descriptors() {
    #[cfg(feature = "tracing")]
    let warnings = Arc::new(AtomicUsize::new(0));
    #[cfg(feature = "tracing")]
    let _logging = log_to(&warnings);
    let (address, _) = serve(server().await, route).await;
    let url = format!("ws://{address}/echo");
    let mut bystander = connect(&url).await.unwrap();

    // The clients are of the same process, so they take what there is; the last ones wait to be
    // accepted and there is no descriptor for them.
    let mut clients = Vec::new();
    while let Ok(client) = std::net::TcpStream::connect(address) {
        clients.push(client);
        assert!(clients.len() < 48, "the limit does not hold");
    }
    for _ in 0..20 {
        assert_echo(&mut bystander).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // It waits longer each time, and says so: after 5, 15, 35, 75, 155 and 315 ms.
    #[cfg(feature = "tracing")]
    assert!((2..=20).contains(&warnings.load(Ordering::Relaxed)));
    let freed = clients.len();
    drop(clients);

    assert!(freed > 10, "there were descriptors to take");
    let again = tokio::time::timeout(Duration::from_secs(5), connect(&url)).await;
    assert_echo(&mut again.unwrap().unwrap()).await;
    assert_echo(&mut bystander).await;
}

/// Counts the warnings of this thread.
#[cfg(feature = "tracing")]
fn log_to(warnings: &Arc<AtomicUsize>) -> impl Sized + use<> {
    use tracing_subscriber::util::SubscriberInitExt;

    let warnings = Arc::clone(warnings);
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(move || {
            warnings.fetch_add(1, Ordering::Relaxed);
            std::io::sink()
        })
        .set_default()
}

async fn server() -> Server {
    Server::bind("127.0.0.1:0").await.unwrap()
}

async fn serve<H, F>(server: Server, handler: H) -> (SocketAddr, tokio::task::JoinHandle<()>)
where
    H: Fn(Arrival) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
{
    let address = server.local_addr().unwrap();
    (address, tokio::spawn(server.serve(handler)))
}

async fn route(arrival: Arrival) -> Result<(), Error> {
    match arrival.request().uri().path() {
        "/echo" => echo(arrival.accept().await?).await,
        "/chat" => {
            let upgrade = arrival.upgrade().clone().protocols(["chat"]);
            let config = arrival.config();
            echo(arrival.accept_with(&upgrade, config).await?).await
        }
        _ => {
            let mut response = Response::new("nothing here\n");
            *response.status_mut() = StatusCode::NOT_FOUND;
            arrival.reject(&response).await
        }
    }
}

async fn echo(mut socket: WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn assert_echo(socket: &mut WebSocket<TcpStream>) {
    socket.send("echo").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::from("echo")));
}
