//! wtx.

use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::rng::{Xorshift64, simple_seed};
use wtx::web_socket::{OpCode, WebSocket, WebSocketBuffer, WebSocketPayloadOrigin};

use super::upgrade::by_hand;
use super::{Ended, MAX_MESSAGE};

/// `read_frame` and `write_frame`.
pub async fn send(mut stream: TcpStream) -> Ended {
    by_hand(&mut stream).await?;
    let rng = Xorshift64::from(simple_seed());
    let mut socket =
        WebSocket::<_, _, _, _, false>::new((), false, rng, stream, WebSocketBuffer::new());
    // It takes less than this.
    socket.set_max_payload_len(MAX_MESSAGE + 1);
    let (mut common, mut reader, mut writer) = socket.split_mut();
    let mut buffer = Vector::new();
    loop {
        buffer.clear();
        let frame = reader.read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive);
        let mut frame = frame.await?;
        match frame.op_code() {
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
