//! ratchet. It leaves the check of text to the application.

use bytes::BytesMut;
use ratchet_rs::{
    Message, NoExtProvider, PayloadType, SubprotocolRegistry, UpgradedServer, WebSocketConfig,
    WebSocketStream, accept_with,
};
use tokio::io::BufReader;
use tokio::net::TcpStream;

use super::corked::Corked;
use super::{Ended, MAX_MESSAGE};

/// `read` and `write`, as its example of a server.
pub async fn send(stream: TcpStream) -> Ended {
    echo(stream).await
}

/// Through a buffer for reading, and one write for the messages of one read.
pub async fn batched(stream: TcpStream) -> Ended {
    echo(BufReader::with_capacity(64 << 10, Corked::new(stream))).await
}

async fn echo<S: WebSocketStream>(stream: S) -> Ended {
    let config = WebSocketConfig {
        max_message_size: MAX_MESSAGE,
    };
    let protocols = SubprotocolRegistry::default();
    let upgrader = accept_with(stream, config, NoExtProvider, protocols).await?;
    let UpgradedServer { mut websocket, .. } = upgrader.upgrade().await?;
    let mut message = BytesMut::new();
    loop {
        let kind = match websocket.read(&mut message).await? {
            Message::Text => {
                simdutf8::basic::from_utf8(&message)?;
                PayloadType::Text
            }
            Message::Binary => PayloadType::Binary,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return Ok(()),
        };
        websocket.write(&mut message, kind).await?;
        message.clear();
    }
}
