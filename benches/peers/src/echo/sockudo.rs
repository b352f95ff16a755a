//! sockudo-ws.

use bytes::{Buf, BytesMut};
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::frame::{encode_frame, encode_frame_header};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::protocol::Protocol;
use sockudo_ws::{Config, Message, RawMessage, Role, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Ended, MAX_MESSAGE};

async fn accept(mut stream: TcpStream) -> Result<WebSocketStream<TcpStream>, sockudo_ws::Error> {
    shake_hands(&mut stream).await?;
    let config = Config::builder()
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .build();
    Ok(WebSocketStream::server(stream, config))
}

async fn shake_hands(stream: &mut TcpStream) -> Result<(), sockudo_ws::Error> {
    let mut head = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(sockudo_ws::Error::ConnectionClosed);
        }
        if let Some((request, _)) = parse_request(&head)? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await?;
            return Ok(());
        }
    }
}

/// `next` and `send`, as its examples.
pub async fn send(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await?,
            _ => {}
        }
    }
    Ok(())
}

/// `next` and `feed`: the crate writes before it reads again, as its documentation advises for an
/// echo server.
pub async fn feed(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        match message {
            Message::Text(_) | Message::Binary(_) => socket.feed(message).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Its protocol without its stream: a read, all messages of it, a write. The protocol leaves text
/// unchecked on this way, so it is checked here.
pub async fn raw(mut stream: TcpStream) -> Ended {
    shake_hands(&mut stream).await?;
    let mut protocol = Protocol::new(Role::Server, MAX_MESSAGE, MAX_MESSAGE);
    let mut input = BytesMut::with_capacity(64 << 10);
    let mut output = BytesMut::with_capacity(64 << 10);
    let mut messages = Vec::new();
    loop {
        input.reserve(16 << 10);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        protocol.process_raw_into(&mut input, &mut messages)?;
        for message in messages.drain(..) {
            match message {
                RawMessage::Close(_) => {
                    protocol.encode_close_response(&mut output);
                    stream.write_all_buf(&mut output).await?;
                    return Ok(());
                }
                RawMessage::Ping(payload) => protocol.encode_pong(&payload, &mut output),
                RawMessage::Pong(_) => {}
                RawMessage::Text(_) | RawMessage::Binary(_) => {
                    let opcode = message.opcode();
                    let payload = message.into_bytes();
                    if opcode == sockudo_ws::OpCode::Text {
                        simdutf8::basic::from_utf8(&payload)?;
                    }
                    if payload.len() < 16 << 10 {
                        encode_frame(&mut output, opcode, &payload, true, None);
                    } else {
                        encode_frame_header(&mut output, opcode, payload.len(), true, None);
                        stream
                            .write_all_buf(&mut (&mut output).chain(payload))
                            .await?;
                    }
                }
            }
        }
        stream.write_all_buf(&mut output).await?;
    }
}
