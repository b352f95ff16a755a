//! Frames that come right behind the request.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;

use super::http::{request, send};

/// Sends two messages in the packet of the request, and wants them back from an echo server.
pub(crate) async fn assert_early_frames_are_kept(address: SocketAddr) {
    let mut bytes = request("/", &[]).into_bytes();
    // Masked with zeros.
    bytes.extend_from_slice(b"\x81\x85\0\0\0\0early\x81\x84\0\0\0\0bird");

    let (status, _, mut stream) = send(address, &bytes).await;
    let mut echo = [0; 13];
    stream.read_exact(&mut echo).await.unwrap();

    assert_eq!(status, 101);
    assert_eq!(&echo, b"\x81\x05early\x81\x04bird");
}
