//! An echo server.
//!
//! ```text
//! cargo run --release --example echo -- PORT [--threads N]
//! ```
//!
//! It listens on 127.0.0.1 (port 0 takes a free one), answers each message with the same, and
//! makes one write for all messages of one read. One thread, unless told otherwise.

use std::error::Error;

use tokio::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let mut port = None;
    let mut threads = 1;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match &*arg {
            "--threads" => threads = args.next().ok_or("--threads takes a number")?.parse()?,
            _ => port = Some(arg.parse()?),
        }
    }
    let port: u16 = port.ok_or("usage: echo PORT [--threads N]")?;

    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(serve(port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream) -> Result<(), wsroom::Error> {
    stream.set_nodelay(true)?;
    let mut socket = wsroom::accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
