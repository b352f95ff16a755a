//! A server with one room: each message goes to all the other connections.
//!
//! ```text
//! cargo run --release --example broadcast -- PORT
//! ```
//!
//! It listens on 127.0.0.1 (port 0 takes a free one). A connection that does not keep up is closed
//! with 1013.

use std::error::Error;

use tokio::net::{TcpListener, TcpStream};
use wsroom::{Hub, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .ok_or("usage: broadcast PORT")?
        .parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);

    let hub = Hub::new();
    loop {
        let (stream, peer) = listener.accept().await?;
        let hub = hub.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, hub).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve(stream: TcpStream, hub: Hub) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut session = Session::spawn(wsroom::accept(stream).await?);
    let member = hub.attach(session.outbox().clone());
    member.join("everyone")?;
    while let Some(message) = session.recv().await? {
        member.to("everyone").send(message);
    }
    Ok(())
}
