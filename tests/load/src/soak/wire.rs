//! Connections of clients: whole ones, and raw ones for those who break rules.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use wsroom::net::connect_over;
use wsroom::{Config, Error, Upgrade, WebSocket};

/// Where the server listens.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 10);

/// A client that follows the rules.
pub type Client = WebSocket<TcpStream>;

/// Opens a WebSocket.
pub async fn open(port: u16, path: &str) -> Result<Client, Error> {
    let stream = connect(port, None).await?;
    let upgrade = Upgrade::default().timeout(Duration::from_secs(30));
    // Its server sends the Pings.
    let config = Config::default().ping_interval(None);
    let url = format!("ws://{SERVER}:{port}{path}");
    let (socket, _) = connect_over(stream, &url, &upgrade, config).await?;
    Ok(socket)
}

/// Opens a WebSocket of which only the transport is left.
pub async fn open_raw(
    port: u16,
    path: &str,
    extension: &str,
    receive_buffer: Option<u32>,
) -> io::Result<TcpStream> {
    let mut stream = connect(port, receive_buffer).await?;
    let extension = match extension {
        "" => String::new(),
        name => format!("Sec-WebSocket-Extensions: {name}\r\n"),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {SERVER}:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{extension}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(1024);
    // What comes behind it is for nobody.
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = timeout(Duration::from_secs(30), stream.read_buf(&mut head)).await;
        if read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(io::Error::other("refused")),
    }
}

/// Connects from one of several addresses, so that ports do not run short.
pub async fn connect(port: u16, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    static TURN: AtomicU8 = AtomicU8::new(0);
    let source = Ipv4Addr::new(127, 0, 0, 2 + TURN.fetch_add(1, Ordering::Relaxed) % 8);
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind((source, 0).into())?;
    let stream = socket.connect((SERVER, port).into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends a connection with a reset, whatever is on its way.
pub fn reset(stream: TcpStream) {
    // Of one that is lost already it can't be set.
    let _ = stream.set_zero_linger();
}

/// A client's frame. The key is zero, which is as good as another to who wants no secret.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
