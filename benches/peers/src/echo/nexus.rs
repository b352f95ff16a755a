//! nexus-async-web over nexus-web.

use nexus_async_web::ws::{MaybeTls, WsReader, WsStreamBuilder, WsWriter};
use nexus_web::ws::{CloseCode, Error, FrameWriter, Message, Role};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Ended, MAX_MESSAGE};

/// What a message needs beside its payload.
const HEADER: usize = 14;

async fn accept(stream: TcpStream) -> Result<(WsReader, WsWriter, MaybeTls), Error> {
    let builder = WsStreamBuilder::new()
        .max_frame_size(MAX_MESSAGE as u64)
        .max_message_size(MAX_MESSAGE)
        .buffer_capacity(2 * MAX_MESSAGE)
        .max_read_size(128 << 10)
        .write_buffer_capacity(MAX_MESSAGE + HEADER);
    builder.accept(MaybeTls::Plain(stream)).await
}

/// `recv` and `send_text`, as its documentation shows.
pub async fn send(stream: TcpStream) -> Ended {
    let (mut reader, mut writer, mut stream) = accept(stream).await?;
    while let Some(message) = reader.recv(&mut stream).await? {
        match message {
            Message::Text(text) => writer.send_text(&mut stream, text).await?,
            Message::Binary(bytes) => writer.send_binary(&mut stream, bytes).await?,
            Message::Ping(payload) => writer.send_pong(&mut stream, payload).await?,
            Message::Pong(_) => {}
            Message::Close(_) => {
                writer.close(&mut stream, CloseCode::Normal, "").await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// All messages of a read are encoded into one buffer, which leaves in one write.
pub async fn batched(stream: TcpStream) -> Ended {
    let (mut reader, _, mut stream) = accept(stream).await?;
    let mut writer = FrameWriter::new(Role::Server);
    let mut output = Vec::new();
    while let Some(message) = reader.recv(&mut stream).await? {
        let mut open = encode(&mut writer, &message, &mut output)?;
        while open && reader.frame_reader_mut().poll()? {
            let Some(message) = reader.frame_reader_mut().next()? else {
                break;
            };
            open = encode(&mut writer, &message, &mut output)?;
        }
        stream.write_all(&output).await?;
        output.clear();
        if !open {
            break;
        }
    }
    Ok(())
}

/// Encodes the answer to a message; `false` if that was a Close.
fn encode(
    writer: &mut FrameWriter,
    message: &Message<'_>,
    output: &mut Vec<u8>,
) -> Result<bool, nexus_web::ws::EncodeError> {
    let at = output.len();
    output.resize(at + message.as_bytes().len() + HEADER, 0);
    let place = &mut output[at..];
    let encoded = match message {
        Message::Text(text) => writer.encode_text(text.as_bytes(), place),
        Message::Binary(bytes) => writer.encode_binary(bytes, place),
        Message::Ping(payload) => writer.encode_pong(payload, place)?,
        Message::Pong(_) => 0,
        Message::Close(_) => writer.encode_empty_close(place),
    };
    output.truncate(at + encoded);
    Ok(!matches!(message, Message::Close(_)))
}
