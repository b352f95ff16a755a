//! The server that is loaded: rooms, an echo, a sink, and figures about itself.
//!
//!   soak_server [OPTION=NUMBER...]
//!
//! It prints its port. SIGTERM has it close all connections with 1001, and exit with the number of
//! those that did not close in time.

#![expect(
    unsafe_code,
    reason = "an allocator that counts, and the C library's own trim"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use wsroom::deflate::Deflate;
use wsroom::net::{Arrival, Server, SessionConfig};
use wsroom::outbox::OutboxLimits;
use wsroom::rooms::{Hooks, LeaveReason, MemberInfo, RoomName};
use wsroom::{CloseCode, Config, Error, Hub, Session, Upgrade};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, and how many bytes it has given out.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What has become of the connections.
#[derive(Default)]
struct Counts {
    /// Those that were accepted, and are in their room if they wanted one.
    opened: AtomicUsize,
    /// Those that ended with a closing handshake.
    clean: AtomicUsize,
    /// Those that ended otherwise.
    lost: AtomicUsize,
    evicted: AtomicUsize,
}

struct Evictions(Arc<Counts>);

impl Hooks for Evictions {
    fn left(&self, _: &Hub, _: &MemberInfo, _: &RoomName, reason: LeaveReason) {
        if reason == LeaveReason::Evicted {
            self.0.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Clone)]
struct Shared {
    hub: Hub,
    counts: Arc<Counts>,
    session: SessionConfig,
    leaving: watch::Receiver<()>,
}

/// Two threads, whatever the machine has: each keeps memory of its own, which the bounds count.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let value = options
            .iter()
            .find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.parse::<usize>().expect("a number"))
    };
    let seconds = |name, default| Duration::from_secs(option(name).unwrap_or(default) as u64);
    let port = option("port").unwrap_or(0) as u16;

    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    socket.set_reuseaddr(true).expect("it is TCP");
    if let Some(bytes) = option("send_buffer") {
        socket
            .set_send_buffer_size(bytes as u32)
            .expect("it is TCP");
    }
    // Not the address of other programs: they would take the port while the server is away.
    socket
        .bind(([127, 0, 0, 10], port).into())
        .expect("the port is free");
    let listener = socket.listen(4096).expect("the port is free");

    let counts = Arc::new(Counts::default());
    let (leave, leaving) = watch::channel(());
    let outbox = OutboxLimits::default().max_bytes(option("outbox").unwrap_or(1 << 20));
    let shared = Shared {
        hub: Hub::with_hooks(Evictions(Arc::clone(&counts))),
        counts,
        session: SessionConfig::default().outbox(outbox),
        leaving,
    };
    let mut upgrade = Upgrade::default();
    if option("deflate").is_some() {
        upgrade = upgrade.deflate(Deflate::default());
    }
    let config = Config::default()
        .ping_interval(seconds("ping_interval", 20))
        .pong_timeout(seconds("pong_timeout", 20));
    let server = Server::new(listener)
        .upgrade(upgrade)
        .config(config)
        .max_handshakes(option("handshakes").unwrap_or(1024));
    println!("{}", server.local_addr().expect("it listens").port());
    let _ = std::io::stdout().flush();

    let mut term = signal(SignalKind::terminate()).expect("it can be handled");
    let hub = shared.hub.clone();
    let shutdown = async move {
        term.recv().await;
        hub.close_all(CloseCode::GOING_AWAY);
        drop(leave);
    };
    let dropped = server
        .serve_until(shutdown, move |arrival| handle(arrival, shared.clone()))
        .await;
    ExitCode::from(dropped.min(100) as u8)
}

async fn handle(arrival: Arrival, mut shared: Shared) -> Result<(), Error> {
    let path = arrival.request().uri().path().to_owned();
    if path == "/trimmed" {
        trim();
    }
    if path == "/stats" || path == "/trimmed" {
        return arrival.reject(&Response::new(stats(&shared.counts))).await;
    }
    let accepted = arrival.accept().await?;
    let counts = Arc::clone(&shared.counts);
    let ended = match path.strip_prefix("/room/") {
        Some(room) => chat(Session::spawn_with(accepted, shared.session), &shared, room).await,
        None => {
            counts.opened.fetch_add(1, Ordering::Relaxed);
            echo(accepted, path == "/sink", &mut shared.leaving).await
        }
    };
    let count = if ended.is_ok() {
        &counts.clean
    } else {
        &counts.lost
    };
    count.fetch_add(1, Ordering::Relaxed);
    ended
}

/// Sends what comes to all in the room.
async fn chat(mut session: Session, shared: &Shared, room: &str) -> Result<(), Error> {
    let member = shared.hub.attach(session.outbox().clone());
    let joined = member.join(room);
    // Who sees that it is counted may rely on its being told what is said from then on.
    shared.counts.opened.fetch_add(1, Ordering::Relaxed);
    if joined.is_err() {
        return Ok(());
    }
    if shared.leaving.has_changed().is_err() {
        // It came in when the others had been told already.
        session.close(CloseCode::GOING_AWAY).await;
    }
    while let Some(message) = session.recv().await? {
        member.to(room).including_self().send(message);
    }
    Ok(())
}

/// Sends back what comes, or drops it.
async fn echo<S>(
    mut socket: wsroom::WebSocket<S>,
    is_sink: bool,
    leaving: &mut watch::Receiver<()>,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            received = socket.recv() => match received? {
                Some(message) if !is_sink => socket.feed(message).await?,
                Some(_) => {}
                None => return Ok(()),
            },
            _ = leaving.changed() => {
                socket.close(CloseCode::GOING_AWAY).await?;
                return Ok(());
            }
        }
    }
}

/// Bytes of the heap, resident bytes, descriptors, and counts of connections.
fn stats(counts: &Counts) -> String {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    let descriptors = fs::read_dir("/proc/self/fd").expect("Linux has it").count();
    let Counts {
        opened,
        clean,
        lost,
        evicted,
    } = counts;
    let counts = [opened, clean, lost, evicted].map(|count| count.load(Ordering::Relaxed));
    let figures = [
        HELD.load(Ordering::Relaxed),
        pages.expect("a number") * 4096,
        descriptors,
    ];
    let figures = figures.iter().chain(&counts).map(usize::to_string);
    figures.collect::<Vec<_>>().join(" ")
}

/// Gives free memory back to the system, so that what is resident is what is held.
fn trim() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: it may be called at any time.
        unsafe { malloc_trim(0) };
    }
}
