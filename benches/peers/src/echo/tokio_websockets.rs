//! tokio-websockets.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_websockets::{Error, Limits, ServerBuilder, WebSocketStream};

use super::corked::Corked;
use super::{Ended, MAX_MESSAGE};

async fn accept<S>(stream: S) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
    let accepted = ServerBuilder::new().limits(limits).accept(stream).await;
    accepted.map(|(_, socket)| socket)
}

/// `next` and `send`.
pub async fn send(stream: TcpStream) -> Ended {
    echo(stream).await
}

/// The same with one write for the messages of one read.
pub async fn batched(stream: TcpStream) -> Ended {
    echo(Corked::new(stream)).await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// `feed` for what is there already, then one `flush`. The crate itself flushes before it looks for
/// the next message, which leaves one write a message.
pub async fn feed(stream: TcpStream) -> Ended {
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
