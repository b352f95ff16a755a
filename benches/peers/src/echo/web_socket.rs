//! web-socket. It leaves the handshake, the check of text and the size of messages to the
//! application.

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use web_socket::{CloseCode, DataType, Event, WebSocket};

use super::corked::Corked;
use super::upgrade::by_hand;
use super::{Ended, MAX_MESSAGE};

/// On the bare socket, as its documentation shows: several reads a message.
pub async fn send(mut stream: TcpStream) -> Ended {
    by_hand(&mut stream).await?;
    echo(stream).await
}

/// Through a buffer for reading, and one write for the messages of one read.
pub async fn batched(mut stream: TcpStream) -> Ended {
    by_hand(&mut stream).await?;
    echo(BufReader::with_capacity(64 << 10, Corked::new(stream))).await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Ended {
    let mut socket = WebSocket::server(stream);
    loop {
        match socket.recv().await? {
            Event::Data {
                ty: DataType::Complete(kind),
                data,
            } if data.len() <= MAX_MESSAGE => {
                if kind.is_text() {
                    socket.send(simdutf8::basic::from_utf8(&data)?).await?;
                } else {
                    socket.send(&data[..]).await?;
                }
            }
            Event::Ping(payload) => socket.send_pong(payload).await?,
            Event::Pong(_) => {}
            // The load has no fragments, so they are not put together here.
            Event::Data { .. } | Event::Error(_) => {
                return Ok(socket.close(CloseCode::ProtocolError).await?);
            }
            Event::Close { .. } => return Ok(socket.close(()).await?),
        }
    }
}
