//! The opening handshake for the crates that leave it to the application, or to hyper.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::create_response;

use super::Ended;

/// Reads the request, checks it and answers it. Clients here send nothing behind their request
/// before they have the response.
pub async fn by_hand<S>(stream: &mut S) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > 8192 {
            return Err("no request".into());
        }
    }
    let head = String::from_utf8(head)?;
    let (_, fields) = head.split_once("\r\n").ok_or("no request")?;
    let mut request = Request::builder().method("GET");
    for (name, value) in fields.lines().filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    let request = request.body(())?;
    create_response(&request)?;
    let key = request.headers()["Sec-WebSocket-Key"].as_bytes();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key)
    );
    stream.write_all(response.as_bytes()).await?;
    Ok(stream.flush().await?)
}

/// Serves one request with hyper; `upgrade` answers it and leaves a task behind.
pub async fn with_hyper<H, F, E>(stream: TcpStream, upgrade: H) -> Ended
where
    H: Fn(Request<Incoming>) -> Result<(Response<Empty<Bytes>>, F), E>,
    F: Future<Output = Ended> + Send + 'static,
{
    let service = service_fn(async |request| {
        let response = match upgrade(request) {
            Ok((response, handle)) => {
                tokio::spawn(handle);
                response
            }
            Err(_) => {
                let mut response = Response::new(Empty::new());
                *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
                response
            }
        };
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    Ok(connection.with_upgrades().await?)
}
