//! An echo server.
//!
//! ```text
//! cargo run --release --example echo -- PORT [--threads N]
//! cargo run --release --features deflate --example echo -- 9002 --deflate
//! ```
//!
//! It listens on 127.0.0.1 (port 0 takes a free one), answers each message with the same, and
//! makes one write for all messages of one read. One thread, unless told otherwise. With `--deflate`
//! it compresses for clients that offer permessage-deflate.

#[path = "common/deflate.rs"]
mod deflate;

use std::error::Error;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use wsroom::net::accept_with;
use wsroom::{Config, Upgrade};

fn main() -> Result<(), Box<dyn Error>> {
    let mut port = None;
    let mut threads = 1;
    let mut upgrade = Upgrade::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match &*arg {
            "--threads" => threads = args.next().ok_or("--threads takes a number")?.parse()?,
            "--deflate" => upgrade = deflate::allow_deflate(upgrade)?,
            _ => port = Some(arg.parse()?),
        }
    }
    let port: u16 = port.ok_or("usage: echo PORT [--threads N] [--deflate]")?;

    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(serve(port, upgrade))
}

async fn serve(port: u16, upgrade: Upgrade) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let upgrade = Arc::new(upgrade);
    loop {
        let (stream, peer) = listener.accept().await?;
        let upgrade = upgrade.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, &upgrade).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, upgrade: &Upgrade) -> Result<(), wsroom::Error> {
    stream.set_nodelay(true)?;
    let mut socket = accept_with(stream, upgrade, Config::default()).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
