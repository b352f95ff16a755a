//! What a connection that waits costs, counted by the allocator: itself and all it holds.

#![cfg(feature = "tokio")]

mod common {
    pub(crate) mod counting;
}

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use common::counting::held;
use tokio::io::{AsyncRead, Join, ReadBuf, Sink, join, sink};
use tokio::task::yield_now;
use wsroom::{Agreed, Config, Role, Session, WebSocket};

const CONNECTIONS: usize = 200;

/// No buffer waits with the connection. All is in one test, since the
/// tests of a program share its allocator.
#[test]
fn an_idle_connection_is_small() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut sockets = Vec::with_capacity(CONNECTIONS + 1);
        let plain = || idle_socket(Agreed::default(), frames());
        let socket = each(async || sockets.push(plain().await)).await;
        let mut sessions = Vec::with_capacity(CONNECTIONS + 1);
        let session = each(async || sessions.push(idle_session().await)).await;
        // From the handshake on in one task, as a server has it.
        let task = each(async || drop(tokio::spawn(serve(accepted_and_busy())))).await;
        println!("idle: WebSocket {socket}, Session {session}, accepted in a task {task} bytes");
        assert!(socket <= 768, "{socket}");
        assert!(session <= 1_856, "{session}");
        assert!(task <= 1_280, "{task}");
    });
    drop(runtime);
    #[cfg(feature = "deflate")]
    compressing_connections_are_small();
}

/// Without context takeover no more than without compression, with it what was agreed on.
#[cfg(feature = "deflate")]
fn compressing_connections_are_small() {
    use bytes::Buf;
    use wsroom::Connection;
    use wsroom::deflate::DeflateParams;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (window_bits, takes_over, windows) in [
        (15, false, 0),
        (9, true, 512 + 250),
        (12, true, 2 * (4 << 10) - 262),
        (15, true, (32 << 10) + (4 << 10)),
    ] {
        let params = DeflateParams {
            server_no_context_takeover: !takes_over,
            client_no_context_takeover: !takes_over,
            server_max_window_bits: window_bits,
            client_max_window_bits: window_bits,
        };
        let agreed = Agreed::default().with_deflate(params);
        let mut client = Connection::new(Role::Client, agreed.clone(), Config::default());
        for len in [200, 40_000, 1000] {
            let message: String = (0..len / 5)
                .map(|i| format!("{:5}", i * i % 9973))
                .collect();
            client.send(message).unwrap();
        }
        let output = client.output();
        let frames: &'static [u8] = output.copy_to_bytes(output.remaining()).to_vec().leak();
        // As many as have the thread keep all the states that it keeps, and no others.
        let mut sockets = Vec::with_capacity(20);
        for _ in 0..10 {
            sockets.push(runtime.block_on(idle_socket(agreed.clone(), frames)));
        }
        let before = held();
        for _ in 0..10 {
            sockets.push(runtime.block_on(idle_socket(agreed.clone(), frames)));
        }
        let socket = (held() - before) / 10;
        println!("idle with a window of {window_bits} bits, takeover {takes_over}: {socket} bytes");
        assert!(socket <= windows + 1_024, "{socket}");
    }
}

/// What each call leaves held, once all tasks wait.
async fn each(mut make: impl AsyncFnMut()) -> isize {
    // The first one fills the pools of the thread.
    make().await;
    settle().await;
    let before = held();
    for _ in 0..CONNECTIONS {
        make().await;
    }
    settle().await;
    (held() - before) / CONNECTIONS as isize
}

async fn settle() {
    for _ in 0..1_000 {
        yield_now().await;
    }
}

/// A server that has taken and sent messages and waits in `recv`.
async fn idle_socket(agreed: Agreed, frames: &'static [u8]) -> Box<WebSocket<Stream>> {
    let mut socket = Box::new(WebSocket::new(
        stream(frames),
        Role::Server,
        agreed,
        Config::default(),
        &[],
    ));
    let mut echoed = 0;
    let waiting = async {
        while let Some(message) = socket.recv().await.unwrap() {
            socket.feed(message).await.unwrap();
            echoed += 1;
        }
    };
    tokio::select! {
        biased;
        () = waiting => panic!("it does not end"),
        () = yield_now() => {}
    }
    assert_eq!(echoed, 3);
    socket
}

async fn serve(stream: Stream) {
    let mut socket = wsroom::accept(stream).await.unwrap();
    while let Some(message) = socket.recv().await.unwrap() {
        socket.send(message).await.unwrap();
    }
}

/// A session that has taken and sent messages and waits, with its task.
async fn idle_session() -> Session {
    let socket = WebSocket::new(
        stream(frames()),
        Role::Server,
        Agreed::default(),
        Config::default(),
        &[],
    );
    let mut session = Session::spawn(socket);
    for _ in 0..3 {
        let message = session.recv().await.unwrap().unwrap();
        session.send(message).await.unwrap();
    }
    session
}

/// Reads what it holds and then waits, and swallows what is written: it costs nothing itself.
type Stream = Join<Script, Sink>;

struct Script(&'static [u8]);

fn stream(bytes: &'static [u8]) -> Stream {
    join(Script(bytes), sink())
}

fn frames() -> &'static [u8] {
    script(&[])
}

fn accepted_and_busy() -> Stream {
    stream(script(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ))
}

/// These bytes and three messages, made once.
fn script(head: &[u8]) -> &'static [u8] {
    static WITH_HEAD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    static WITHOUT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let cell = if head.is_empty() {
        &WITHOUT
    } else {
        &WITH_HEAD
    };
    cell.get_or_init(|| {
        let mut bytes = head.to_vec();
        bytes.extend(b"\x81\x82\0\0\0\0hi\x82\xfe\x75\x30\0\0\0\0");
        bytes.extend([7; 30_000]);
        bytes.extend(b"\x01\x82\0\0\0\0hi\x80\x82\0\0\0\0hi");
        bytes
    })
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = self.0.split_at(self.0.len().min(buf.remaining()));
        buf.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}
