//! How a connection ends over real TCP (§7.1.1, C10): the peer reads the Close whatever it has in
//! flight.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use wsroom::{CloseCode, CloseFrame, Config, Error, Role};

use super::{close_body, frames, masked, masked_piece, socket};

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (near, far)
}

/// C10: the peer has sent a megabyte that nobody will read when the server closes and drops the
/// socket.
#[tokio::test]
async fn a_peer_with_unread_data_in_flight_still_reads_the_close() {
    let (mut peer, stream) = tcp().await;
    let serving = tokio::spawn(async move {
        let mut socket = socket(stream, Role::Server, Config::default());
        assert_eq!(socket.recv().await.unwrap(), Some("first".into()));
        socket.feed("answer").await.unwrap();
        let frame = CloseFrame::from(CloseCode::GOING_AWAY);
        socket.close(frame).await.unwrap()
    });
    peer.write_all(&masked(1, b"first")).await.unwrap();
    for _ in 0..16 {
        peer.write_all(&masked(2, &[0; 65_536])).await.unwrap();
    }
    peer.write_all(&masked(8, &close_body(1001, "")))
        .await
        .unwrap();
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    assert_eq!(
        frames(&wire),
        [(0x81, b"answer".to_vec()), (0x88, close_body(1001, ""))]
    );
    drop(peer);
    assert!(serving.await.unwrap().is_clean());
}

/// C10, §7.1.7: the same after a fault, which the peer learns from the code.
#[tokio::test]
async fn a_peer_that_goes_on_sending_after_a_fault_still_reads_the_close() {
    let (mut peer, stream) = tcp().await;
    let serving = tokio::spawn(async move {
        let mut socket = socket(stream, Role::Server, Config::default());
        socket.recv().await
    });
    peer.write_all(b"\x81\x01x").await.unwrap();
    for _ in 0..16 {
        peer.write_all(&masked(2, &[0; 65_536])).await.unwrap();
    }
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    let reason = close_body(1002, "frame of a client is not masked");
    assert_eq!(frames(&wire), [(0x88, reason)]);
    drop(peer);
    assert!(matches!(serving.await.unwrap(), Err(Error::Protocol(_))));
}

/// X4 (server).
#[tokio::test]
async fn a_reset_is_one_error() {
    let (peer, stream) = tcp().await;
    let mut socket = socket(stream, Role::Server, Config::default());
    peer.set_zero_linger().unwrap();
    drop(peer);
    assert!(matches!(socket.recv().await, Err(Error::Io(_))));
    assert_eq!(socket.recv().await.unwrap(), None);
    assert_eq!(socket.close_info().unwrap().code(), CloseCode::ABNORMAL);
}

#[tokio::test]
async fn a_server_that_drops_its_socket_after_none_has_let_the_client_go_first() {
    let (near, far) = tcp().await;
    let mut client = socket(near, Role::Client, Config::default());
    let mut server = socket(far, Role::Server, Config::default());
    let serving = tokio::spawn(async move {
        assert_eq!(server.recv().await.unwrap(), None);
        server.close_info().unwrap()
    });
    let sent = CloseFrame::new(CloseCode::new(3000), "done");
    let info = client.close(sent.clone()).await.unwrap();
    assert!(info.is_clean());
    assert_eq!(info.code(), CloseCode::new(3000));
    let info = serving.await.unwrap();
    assert_eq!(info.received, Some(sent));
    assert!(info.is_clean());
}

/// Gives one piece a read, then the end of the stream; keeps what is written.
struct Pieces {
    pieces: VecDeque<io::Result<Vec<u8>>>,
    written: Vec<u8>,
}

impl Pieces {
    /// A client's message whose second fragment comes a byte at a time, as far as it comes, and what
    /// follows it.
    fn cut_short(second: &[u8], last: io::Result<Vec<u8>>) -> Self {
        let mut wire = masked_piece(0x01, b"first");
        wire.extend(masked_piece(0x80, second));
        wire.pop();
        let bytes = wire.into_iter().map(|byte| Ok(vec![byte]));
        Self {
            pieces: bytes.chain([last]).collect(),
            written: Vec::new(),
        }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.pieces.pop_front() {
            buffer.put_slice(&piece?);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// X4: pieces are read together, but each has its own end.
#[tokio::test]
async fn what_ends_the_stream_between_the_pieces_of_a_message_is_reported_as_what_it_was() {
    let reset = Pieces::cut_short(&[b'a'; 40], Err(io::ErrorKind::ConnectionReset.into()));
    let mut server = socket(reset, Role::Server, Config::default());
    let Err(Error::Io(error)) = server.recv().await else {
        panic!("the stream failed");
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let ended = Pieces::cut_short(&[b'a'; 40], Ok(Vec::new()));
    let mut server = socket(ended, Role::Server, Config::default());
    assert!(matches!(server.recv().await, Err(Error::ConnectionLost)));
}

/// §7.1.7: a peer that has ended its half of the stream still reads.
#[tokio::test]
async fn a_fault_in_the_last_pieces_before_the_end_of_the_stream_is_told() {
    let ended = Pieces::cut_short(&[0xff; 40], Ok(Vec::new()));
    let mut server = socket(ended, Role::Server, Config::default());
    assert!(matches!(server.recv().await, Err(Error::Protocol(_))));
    let wire = &server.get_ref().written;
    assert_eq!(frames(wire)[0].1[..2], close_body(1007, "")[..]);
}
