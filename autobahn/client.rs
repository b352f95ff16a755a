//! The echo client that the Autobahn testsuite examines.
//!
//! ```text
//! cargo run --release --features deflate --example autobahn_client -- ws://127.0.0.1:9001 wsroom
//! ```

use std::error::Error;

use tokio::net::TcpStream;
use wsroom::deflate::Deflate;
use wsroom::{Config, Upgrade, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(agent)) = (args.next(), args.next()) else {
        return Err("usage: client URL AGENT".into());
    };
    let mut socket = connect(&format!("{url}/getCaseCount")).await?;
    let count = socket.recv().await?.ok_or("no count of cases came")?;
    let count: u32 = count.as_text().ok_or("the count is no text")?.parse()?;
    socket.close(None).await?;

    for case in 1..=count {
        let url = format!("{url}/runCase?case={case}&agent={agent}");
        // Most cases end in an error, and that is what they are for.
        let _ = echo(connect(&url).await?).await;
    }
    let url = format!("{url}/updateReports?agent={agent}");
    connect(&url).await?.close(None).await?;
    println!("{count} cases");
    Ok(())
}

async fn echo(mut socket: WebSocket<TcpStream>) -> Result<(), wsroom::Error> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn connect(url: &str) -> Result<WebSocket<TcpStream>, wsroom::Error> {
    // Group 9 has messages of 16 MiB, and of 65,536 fragments.
    let config = Config::default()
        .max_message_size(64 << 20)
        .max_fragments(1 << 17);
    let upgrade = Upgrade::default().deflate(Deflate::default());
    let (socket, _) = wsroom::net::connect_with(url, &upgrade, config).await?;
    Ok(socket)
}
