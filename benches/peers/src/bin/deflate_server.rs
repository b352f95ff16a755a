//! `deflate_server CONTESTANT TASK TAKEOVER LEVEL PORT`: a server with permessage-deflate, on one
//! thread.
//!
//! TASK is `echo` or `room`, TAKEOVER is `takeover` or `no-takeover` for both directions, and LEVEL
//! is `default` or a level, with which messages of any length are compressed. It prints its port,
//! and answers a line on its standard input with the bytes of its heap. Who connects to `/publish`
//! is no member of the room. Echoes of what was read together leave together, in each contestant.

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, SinkExt, StreamExt};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::{CompressedWebSocketStream, PubSub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wsroom::deflate::Deflate;
use wsroom::{Config, Hub, Incoming, Session, Upgrade};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Clone, Copy)]
struct Mode {
    takeover: bool,
    level: Option<u8>,
}

fn main() -> Result {
    let args: Vec<_> = env::args().skip(1).collect();
    let [contestant, task, takeover, level, port] = &args[..] else {
        return Err("usage: deflate_server CONTESTANT TASK TAKEOVER LEVEL PORT".into());
    };
    let mode = Mode {
        takeover: takeover == "takeover",
        level: level.parse().ok(),
    };
    std::thread::spawn(|| {
        for _ in std::io::stdin().lines() {
            println!("{}", HEAP.load(Ordering::Relaxed));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let serve = serve(format!("{contestant} {task}"), mode, port.parse()?);
    runtime.block_on(LocalSet::new().run_until(serve))
}

async fn serve(what: String, mode: Mode, port: u16) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("{}", listener.local_addr()?.port());
    match &*what {
        "wsroom echo" => accept(listener, |stream| wsroom_echo(stream, mode)).await,
        "wsroom room" => {
            let hub = Hub::new();
            accept(listener, |stream| wsroom_room(stream, mode, hub.clone())).await
        }
        "sockudo echo" => accept(listener, |stream| sockudo_echo(stream, mode)).await,
        "sockudo room" => {
            let room = Arc::default();
            accept(listener, |stream| {
                sockudo_room(stream, mode, Arc::clone(&room))
            })
            .await
        }
        "yawc echo" => accept(listener, |stream| yawc_echo(stream, mode, None)).await,
        "yawc-pooled echo" => {
            let pool = yawc::DeflatePool::new(1);
            accept(listener, |stream| {
                yawc_echo(stream, mode, Some(pool.clone()))
            })
            .await
        }
        _ => Err(format!("there is no {what}").into()),
    }
}

/// A task for each connection.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Result
where
    F: Future<Output = Result> + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // An error is the reset at the end of a run.
        tokio::task::spawn_local(serve(stream));
    }
}

fn wsroom_config(mode: Mode) -> (Upgrade, Config) {
    let mut deflate = Deflate::default();
    if !mode.takeover {
        deflate = deflate
            .server_no_context_takeover()
            .client_no_context_takeover();
    }
    let mut config = Config::default();
    if let Some(level) = mode.level {
        config = config.compression_level(level).compression_threshold(0);
    }
    (Upgrade::default().deflate(deflate), config)
}

async fn wsroom_echo(stream: TcpStream, mode: Mode) -> Result {
    let (upgrade, config) = wsroom_config(mode);
    let mut socket = wsroom::net::accept_with(stream, &upgrade, config).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn wsroom_room(stream: TcpStream, mode: Mode, hub: Hub) -> Result {
    let (upgrade, config) = wsroom_config(mode);
    let incoming = Incoming::read(stream, &upgrade).await?;
    let publishes = incoming.request().uri().path() == "/publish";
    let mut session = Session::spawn(incoming.accept(&upgrade, config).await?);
    let member = hub.attach(session.outbox().clone());
    if !publishes {
        member.join("room")?;
    }
    while let Some(message) = session.recv().await? {
        member.to("room").send(message);
    }
    Ok(())
}

async fn sockudo_accept(
    mut stream: TcpStream,
    mode: Mode,
) -> Result<(CompressedWebSocketStream<TcpStream>, bool)> {
    let mut policy = DeflateConfig {
        server_no_context_takeover: !mode.takeover,
        client_no_context_takeover: !mode.takeover,
        ..DeflateConfig::default()
    };
    if let Some(level) = mode.level {
        policy.compression_level = level.into();
        policy.compression_threshold = 0;
    }
    let request = Request::read(&mut stream).await?;
    let agreed = negotiate_server_deflate(&request.extensions, &policy).ok_or("no deflate")?;
    request
        .accept(&mut stream, &agreed.to_response_header())
        .await?;
    let config = sockudo_ws::Config::default();
    let socket = CompressedWebSocketStream::server(stream, config, agreed.config);
    Ok((socket, request.path == "/publish"))
}

async fn sockudo_echo(stream: TcpStream, mode: Mode) -> Result {
    let (mut socket, _) = sockudo_accept(stream, mode).await?;
    while let Some(message) = socket.next().await {
        socket.feed(message?).await?;
        while let Some(Some(message)) = socket.next().now_or_never() {
            socket.feed(message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn sockudo_room(stream: TcpStream, mode: Mode, room: Arc<PubSub>) -> Result {
    let (mut socket, publishes) = sockudo_accept(stream, mode).await?;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let id = room.create_subscriber(sender);
    if !publishes {
        room.subscribe(id, "room");
    }
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => {
                    room.publish_excluding(id, "room", message?);
                }
                None => break,
            },
            Some(message) = receiver.recv() => {
                socket.feed(message).await?;
                while let Ok(message) = receiver.try_recv() {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
    room.remove_subscriber(id);
    Ok(())
}

async fn yawc_echo(mut stream: TcpStream, mode: Mode, pool: Option<yawc::DeflatePool>) -> Result {
    let mut options = yawc::Options::default()
        .with_utf8()
        .with_compression_level(yawc::CompressionLevel::default());
    if let Some(level) = mode.level {
        let level = yawc::CompressionLevel::new(level.into());
        options = options.with_compression_level(level);
    }
    let mut agreed = "permessage-deflate".to_owned();
    if !mode.takeover {
        agreed += "; server_no_context_takeover; client_no_context_takeover";
    }
    if let Some(pool) = pool {
        options = options.with_deflate_pool(pool);
    }
    let request = Request::read(&mut stream).await?;
    request.accept(&mut stream, &agreed).await?;
    let role = yawc::Role::Server;
    let mut socket =
        yawc::WebSocket::from_stream_with_extensions(stream, role, Some(&agreed), options)?;
    while let Some(frame) = socket.next().await {
        socket.feed(frame).await?;
        while let Some(Some(frame)) = socket.next().now_or_never() {
            socket.feed(frame).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

/// An opening handshake by hand, for crates that leave the extensions to the application.
struct Request {
    path: String,
    key: String,
    extensions: String,
}

impl Request {
    async fn read(stream: &mut TcpStream) -> Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Err("no request".into());
            }
        }
        let head = String::from_utf8(head)?;
        let header = |wanted| {
            let mut headers = head.lines().filter_map(|line| line.split_once(": "));
            let found = headers.find(|(name, _)| *name == wanted);
            found.map_or_else(String::new, |(_, value)| value.to_owned())
        };
        Ok(Self {
            path: head.split(' ').nth(1).ok_or("no path")?.to_owned(),
            key: header("Sec-WebSocket-Key"),
            extensions: header("Sec-WebSocket-Extensions"),
        })
    }

    async fn accept(&self, stream: &mut TcpStream, extensions: &str) -> Result {
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n",
            derive_accept_key(self.key.as_bytes()),
        );
        stream.write_all(response.as_bytes()).await?;
        Ok(())
    }
}

/// The bytes of the heap that are in use.
static HEAP: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HEAP.fetch_add(size, Ordering::Relaxed);
        HEAP.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}
