//! tungstenite over tokio, through tokio-tungstenite.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

use super::{Ended, MAX_MESSAGE};

async fn accept(stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    accept_async_with_config(stream, Some(config)).await
}

/// `next` and `send`. Pings and Closes are answered by the crate.
pub async fn send(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// `feed` for what is there already, then one `flush`.
pub async fn batched(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        let mut next = Some(message);
        while let Some(message) = next {
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
            next = socket.next().now_or_never().flatten().transpose()?;
        }
        socket.flush().await?;
    }
    Ok(())
}
