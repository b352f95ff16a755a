//! soketto. It leaves the check of text to the application.

use futures_util::io::{BufReader, BufWriter};
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use soketto::{Data, connection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::corked::Corked;
use super::{Ended, MAX_MESSAGE};

/// Through the buffers that its documentation advises, with a `flush` a message.
pub async fn send(stream: TcpStream) -> Ended {
    echo(stream).await
}

/// The same with one write for the messages of one read.
pub async fn batched(stream: TcpStream) -> Ended {
    echo(Corked::new(stream)).await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Ended {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    let key = server.receive_request().await?.key();
    let protocol = None;
    server
        .send_response(&Response::Accept { key, protocol })
        .await?;
    let mut builder = server.into_builder();
    builder.set_max_message_size(MAX_MESSAGE);
    builder.set_max_frame_size(MAX_MESSAGE);
    let (mut sender, mut receiver) = builder.finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await {
            Ok(Data::Text(_)) => {
                sender
                    .send_text(simdutf8::basic::from_utf8(&message)?)
                    .await?;
            }
            Ok(Data::Binary(_)) => sender.send_binary_mut(&mut message).await?,
            Err(connection::Error::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        sender.flush().await?;
    }
}
