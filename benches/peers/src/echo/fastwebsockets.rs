//! fastwebsockets.

use fastwebsockets::upgrade::upgrade;
use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::corked::Corked;
use super::upgrade::{by_hand, with_hyper};
use super::{Ended, MAX_MESSAGE};

/// As its example of an echo server: the upgrade by hyper, a collector for fragments.
pub async fn send(stream: TcpStream) -> Ended {
    with_hyper(stream, |mut request| {
        let (response, upgrading) = upgrade(&mut request)?;
        let handle = async { echo(upgrading.await?).await };
        Ok::<_, WebSocketError>((response, handle))
    })
    .await
}

/// On the bare socket, and one write for the messages of one read.
pub async fn batched(mut stream: TcpStream) -> Ended {
    by_hand(&mut stream).await?;
    echo(WebSocket::after_handshake(
        Corked::new(stream),
        Role::Server,
    ))
    .await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<S>) -> Ended {
    // It takes less than this.
    socket.set_max_message_size(MAX_MESSAGE + 1);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
