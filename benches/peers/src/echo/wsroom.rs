//! wsroom, with its plain API.

use tokio::net::TcpStream;
use wsroom::net::accept_with;
use wsroom::{Config, Session, Upgrade, WebSocket};

use super::{Ended, MAX_MESSAGE};

async fn accept(stream: TcpStream) -> Result<WebSocket<TcpStream>, wsroom::Error> {
    let config = Config::default().max_message_size(MAX_MESSAGE);
    accept_with(stream, &Upgrade::default(), config).await
}

/// `recv` and `feed`, as in the crate's example of an echo server.
pub async fn feed(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

/// `recv` and `send`: each message is written before the next is taken.
pub async fn send(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A `Session`, whose `send` may be called from anywhere.
pub async fn session(stream: TcpStream) -> Ended {
    let mut session = Session::spawn(accept(stream).await?);
    while let Some(message) = session.recv().await? {
        session.send(message).await?;
    }
    Ok(())
}
