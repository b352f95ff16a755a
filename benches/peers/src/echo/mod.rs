//! What answers each message with the same, crate by crate.
//!
//! A file a crate; in it, the loop that the crate's documentation shows, and where that makes a
//! write a message, the best loop that we could write with it by hand. Every loop has the same
//! duties: a correct upgrade, text checked to be UTF-8, [`MAX_MESSAGE`], Pings and Closes answered.

mod corked;
mod fastwebsockets;
mod nexus;
mod ratchet;
mod raw;
mod sockudo;
mod soketto;
mod tokio_websockets;
mod tungstenite;
mod upgrade;
mod web_socket;
mod wsroom;
mod wtx;
mod yawc;

use std::error::Error;
use std::future::Future;
use std::net::TcpListener;

use tokio::net::TcpStream;

/// The longest message that a server takes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// How one connection ended; nobody looks at it, since clients leave as they like.
pub type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// Runs the server of this name until the program ends.
///
/// # Panics
///
/// Panics if there is no such server, or the port is taken.
pub fn serve(contestant: &str, port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    match contestant {
        "epoll" => raw::epoll(listener),
        "tokio" => run(listener, raw::tokio),
        "wsroom" => run(listener, wsroom::feed),
        "wsroom-each" => run(listener, wsroom::each),
        "wsroom-send" => run(listener, wsroom::send),
        "wsroom-session" => run(listener, wsroom::session),
        "wsroom-room" => run(listener, wsroom::in_a_room()),
        "tungstenite" => run(listener, tungstenite::send),
        "tungstenite-batched" => run(listener, tungstenite::batched),
        "tokio-websockets" => run(listener, tokio_websockets::send),
        "tokio-websockets-feed" => run(listener, tokio_websockets::feed),
        "tokio-websockets-batched" => run(listener, tokio_websockets::batched),
        "fastwebsockets" => run(listener, fastwebsockets::send),
        "fastwebsockets-batched" => run(listener, fastwebsockets::batched),
        "sockudo" => run(listener, sockudo::send),
        "sockudo-feed" => run(listener, sockudo::feed),
        "sockudo-raw" => run(listener, sockudo::raw),
        "yawc" => run(listener, yawc::send),
        "yawc-tuned" => run(listener, yawc::tuned),
        "nexus" => run(listener, nexus::send),
        "nexus-batched" => run(listener, nexus::batched),
        "web-socket" => run(listener, web_socket::send),
        "web-socket-batched" => run(listener, web_socket::batched),
        "wtx" => run(listener, wtx::send),
        "soketto" => run(listener, soketto::send),
        "soketto-batched" => run(listener, soketto::batched),
        "ratchet" => run(listener, ratchet::send),
        "ratchet-batched" => run(listener, ratchet::batched),
        _ => panic!("there is no contestant {contestant:?}"),
    }
}

/// Accepts connections on a current-thread runtime, and gives each to a task.
fn run<F, H>(listener: TcpListener, handle: H)
where
    F: Future<Output = Ended> + Send + 'static,
    H: Fn(TcpStream) -> F,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        announce(&listener.local_addr().expect("a bound socket"));
        loop {
            let (stream, _) = listener.accept().await.expect("files are left");
            stream.set_nodelay(true).expect("a socket");
            tokio::spawn(handle(stream));
        }
    });
}

/// Says where the server listens, so that whoever started it can connect.
fn announce(address: &std::net::SocketAddr) {
    println!("listening on {address}");
}
