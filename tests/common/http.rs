//! HTTP/1.1 by hand, for what no client library would send.

#![allow(dead_code, reason = "no test uses all of it")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request for a WebSocket, with lines of one's own.
pub(crate) fn request(path: &str, lines: &[&str]) -> String {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\n\
         Host: server.example.com\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n"
    );
    for line in lines {
        request += line;
        request += "\r\n";
    }
    request + "\r\n"
}

/// The status and the head of the answer to `bytes`, and the stream behind it.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> (u16, String, TcpStream) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    let in_time = timeout(Duration::from_secs(60), read).await;
    in_time.expect("it answers");
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head["http/1.1 ".len()..][..3].parse().unwrap();
    (status, head, stream)
}
