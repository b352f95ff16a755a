//! A server with one room: each message goes to all the other connections.
//!
//! ```text
//! cargo run --release --example broadcast -- PORT
//! cargo run --release --features deflate --example broadcast -- 9002 --deflate
//! ```
//!
//! It listens on 127.0.0.1 (port 0 takes a free one). A connection that does not keep up is closed
//! with 1013. With `--deflate` it compresses for clients that offer permessage-deflate.

#[path = "common/deflate.rs"]
mod deflate;

use std::error::Error;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use wsroom::net::accept_with;
use wsroom::{Config, Hub, Session, Upgrade};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut port = None;
    let mut upgrade = Upgrade::default();
    for arg in std::env::args().skip(1) {
        match &*arg {
            "--deflate" => upgrade = deflate::allow_deflate(upgrade)?,
            _ => port = Some(arg.parse()?),
        }
    }
    let port: u16 = port.ok_or("usage: broadcast PORT [--deflate]")?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);

    let hub = Hub::new();
    let upgrade = Arc::new(upgrade);
    loop {
        let (stream, peer) = listener.accept().await?;
        let hub = hub.clone();
        let upgrade = upgrade.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &upgrade, hub).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    upgrade: &Upgrade,
    hub: Hub,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut session = Session::spawn(accept_with(stream, upgrade, Config::default()).await?);
    let member = hub.attach(session.outbox().clone());
    member.join("everyone")?;
    while let Some(message) = session.recv().await? {
        member.to("everyone").send(message);
    }
    Ok(())
}
