//! yawc.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use yawc::frame::OpCode;
use yawc::{Options, Role, WebSocket};

use super::upgrade::{by_hand, with_hyper};
use super::{Ended, MAX_MESSAGE};

/// Its check of text is off by default; the others check. Its limit is the first size that is too
/// much.
fn options() -> Options {
    Options::default()
        .with_utf8()
        .with_limits(MAX_MESSAGE + 1, 2 * MAX_MESSAGE)
}

/// The upgrade by hyper, then `next` and `send`.
pub async fn send(stream: TcpStream) -> Ended {
    with_hyper(stream, |request| {
        let (response, upgrading) = WebSocket::upgrade_with_options(request, options())?;
        let handle = async {
            let mut socket = upgrading.await?;
            while let Some(frame) = socket.next().await {
                if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                    socket.send(frame).await?;
                }
            }
            Ok(())
        };
        Ok::<_, yawc::WebSocketError>((response, handle))
    })
    .await
}

/// On the bare socket, with larger buffers: `feed` for what is there already, then one `flush`.
pub async fn tuned(mut stream: TcpStream) -> Ended {
    by_hand(&mut stream).await?;
    let options = options()
        .with_read_buffer_capacity(64 << 10)
        .with_write_buffer_capacity(64 << 10)
        .with_backpressure_boundary(64 << 10);
    let mut socket = WebSocket::from_stream(stream, Role::Server, options)?;
    while let Some(frame) = socket.next().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                socket.feed(frame).await?;
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}
