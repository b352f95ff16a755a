//! The echo server that the Autobahn testsuite examines.
//!
//! ```text
//! cargo run --release --features deflate --example autobahn_server -- 127.0.0.1:9002
//! ```

use std::error::Error;

use tokio::net::{TcpListener, TcpStream};
use wsroom::deflate::Deflate;
use wsroom::net::accept_with;
use wsroom::{Config, Upgrade};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: server ADDRESS")?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // Most cases end in an error, and that is what they are for.
        tokio::spawn(echo(stream));
    }
}

async fn echo(stream: TcpStream) -> Result<(), wsroom::Error> {
    stream.set_nodelay(true)?;
    let upgrade = Upgrade::default().deflate(Deflate::default());
    let mut socket = accept_with(stream, &upgrade, config()).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

/// Group 9 has messages of 16 MiB, and of 65,536 fragments.
fn config() -> Config {
    Config::default()
        .max_message_size(64 << 20)
        .max_fragments(1 << 17)
}
